"""The shortcut reads and seals what the models read and seal, or the same error comes."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.codec import JSON, MSGPACK, encode_tree
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.exact.envelopes import read_envelope, write_cause, write_envelope
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectCommand, RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import (
    CausalRef,
    CausalRefEffect,
    RuntimeInvocation,
    RuntimeReplay,
    RuntimeScope,
    RuntimeSubjectEffect,
)
from tests.protocol.documents import vectors
from tests.protocol.exact.both_ways import outcome, read_both_ways, seal_both_ways
from tests.protocol.strategies import wire_values

CONTENT_TYPES = [MSGPACK, JSON]
EXACT_KINDS = ["tool_call", "exec_code", "checkpoint", "sync_execution_surface", "sleep"]

#: One of each kind, with every member that it may have.
COMMANDS: dict[str, dict[str, Any]] = {
    "tool_call": {
        "type": "tool_call",
        "call": {
            "call_id": "call-1",
            "tool_name": "écho",
            "args": {"b": [1, -0.0, 1e16, None, {"z": 2**64 - 1, "a": "NaN"}], "a": "🙂"},
            "replay": {"item_id": "i", "opaque": "Infinity"},
            "prepared_payload": {"y": 1, "x": []},
        },
    },
    "exec_code": {"type": "exec_code", "code": 'print("\\n")\x00'},
    "checkpoint": {"type": "checkpoint", "checkpoint": "after_work"},
    "sync_execution_surface": {"type": "sync_execution_surface", "update_machine_config": False},
    "sleep": {"type": "sleep", "duration_ms": 2**64 - 1},
}


def document(kind: str = "tool_call") -> dict[str, Any]:
    """A document of which the shortcut has every part."""
    return {
        "invocation": {
            "scope": {
                "session_id": "s",
                "turn_id": "t",
                "turn_index": 0,
                "protocol_iteration": 2**64 - 1,
            },
            "subject": {"type": "effect", "effect_id": "1:call-1", "kind": kind},
            "caused_by": {"type": "effect", "session_id": "s", "turn_id": "t", "effect_id": "1"},
            "replay": {"key": "s:t:0:1:tool_call:1:call-1"},
        },
        "command": copy.deepcopy(COMMANDS[kind]),
    }


def sent(tree: Any, content_type: str) -> Message:
    """A document as a stranger sends it."""
    return Message(body=encode_tree(tree, content_type), content_type=content_type)


def places(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object in a document."""
    if isinstance(tree, dict):
        yield tree
        for member in tree.values():
            yield from places(member)


ODD_VALUES = [None, True, 0, 1, -1, 2**63, 1.5, "", " ", "effect", [], {}, {"effect": None}]
ODD_VALUES += ["tool_call", "sleep", {"tool_call": {}}, [1], {"type": "effect"}]


def replaced(place: dict[str, Any], members: list[tuple[str, Any]]) -> None:
    """Give an object other members."""
    place.clear()
    place.update(members)


def changes(place: dict[str, Any]) -> Iterator[list[tuple[str, Any]]]:
    """An object with one member removed, added, moved, or of another value."""
    members = list(place.items())
    yield [*members, ("more", 1)]
    yield [("more", None), *members]
    for at, (name, _) in enumerate(members):
        rest = members[:at] + members[at + 1 :]
        yield rest
        yield [*rest, members[at]]
        yield [members[at], *rest]
        for value in ODD_VALUES:
            yield [*members[:at], (name, value), *members[at + 1 :]]


@pytest.mark.parametrize("kind", EXACT_KINDS)
def test_the_documents_of_these_tests_take_the_shortcut(kind: str) -> None:
    """Otherwise the models would be compared with themselves."""
    envelope = from_tree(RuntimeEffectEnvelope, document(kind))
    assert write_envelope(envelope) is not None
    assert read_envelope(document(kind)) is not None
    bare = document(kind)
    del bare["invocation"]["caused_by"]
    bare["invocation"]["scope"] = {"session_id": "s"}
    if kind == "tool_call":
        bare["command"]["call"] = {"call_id": "", "tool_name": "", "args": None}
    assert write_envelope(from_tree(RuntimeEffectEnvelope, bare)) is not None
    assert read_envelope(bare) is not None


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_recorded_documents_are_read_and_sealed_alike(content_type: str) -> None:
    """All that serde encoded, and all that it refused."""
    exact = 0
    for vector in vectors():
        if vector["kind"] != "envelope":
            continue
        try:
            tree = parse_json(vector["input"])
            message = sent(tree, content_type)
        except MalformedError:
            message = Message(body=vector["input"].encode(), content_type=JSON)
        found, expected = read_both_ways(message)
        assert found == expected
        if "canonical" in vector:
            envelope = from_tree(RuntimeEffectEnvelope, parse_json(vector["canonical"]))
            exact += write_envelope(envelope) is not None
            found, expected = seal_both_ways(envelope, content_type=content_type)
            assert found == expected
    assert exact > 100


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
@pytest.mark.parametrize("kind", EXACT_KINDS)
def test_nearly_exact_documents_are_read_alike(kind: str, content_type: str) -> None:
    """Each object with a member removed, added, moved, or of another value."""
    for at in range(len(list(places(document(kind))))):
        for members in changes(list(places(document(kind)))[at]):
            tree = document(kind)
            replaced(list(places(tree))[at], members)
            found, expected = read_both_ways(sent(tree, content_type))
            assert found == expected, tree


def test_recorded_documents_with_one_change_are_read_alike() -> None:
    """A change of each sort, somewhere in each of them."""
    chance = random.Random(1)
    for vector in vectors():
        if vector["kind"] != "envelope" or "canonical" not in vector:
            continue
        for _ in range(2):
            tree = parse_json(vector["canonical"])
            place = chance.choice(list(places(tree)))
            replaced(place, chance.choice(list(changes(place))))
            found, expected = read_both_ways(sent(tree, MSGPACK))
            assert found == expected, tree


@st.composite
def envelopes(draw: st.DrawFn) -> RuntimeEffectEnvelope:
    """Envelopes that mostly keep the rules, many of them of a frequent kind."""
    command = draw(wire_values(RuntimeEffectCommand))
    kind = command.type
    return RuntimeEffectEnvelope(
        invocation=RuntimeInvocation(
            scope=draw(wire_values(RuntimeScope)),
            subject=RuntimeSubjectEffect(effect_id=draw(st.text("a ", max_size=2)), kind=kind),
            caused_by=draw(st.none() | wire_values(CausalRefEffect)),
            replay=draw(wire_values(RuntimeReplay)),
        ),
        command=command,
    )


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(envelopes(), st.sampled_from(CONTENT_TYPES))
def test_random_envelopes_are_sealed_and_read_alike(
    envelope: RuntimeEffectEnvelope, content_type: str
) -> None:
    """Message, hash, canonical bytes, models and given fields, or the error."""
    found, expected = seal_both_ways(envelope, content_type=content_type)
    assert found == expected
    found, expected = read_both_ways(sent(to_tree(envelope), content_type))
    assert found == expected


class Text(str):
    """Text of a derived class."""


ODD_IN_PYTHON = [
    *ODD_VALUES,
    "\ud800",
    float("nan"),
    float("inf"),
    2**64,
    (1, 2),
    {1: 2},
    {"b": {"\ud800": 1}},
    {"deep": [[float("-inf")]]},
    Text("text"),
    Text("effect"),
    Text("tool_call"),
    object(),
    RuntimeReplay(key="k"),
    RuntimeReplay.model_construct(key=5),
    RuntimeScope.model_construct(session_id=None),
]


def models(value: Any) -> Iterator[Any]:
    """Every model in a model."""
    yield value
    for member in value.__dict__.values():
        if isinstance(member, BaseModel):
            yield from models(member)


@pytest.mark.parametrize("kind", EXACT_KINDS)
def test_models_that_somebody_broke_are_sealed_alike(kind: str) -> None:
    """Members of other values, of none, of more, and in another order: the same error."""
    whole = from_tree(RuntimeEffectEnvelope, document(kind))
    for at, model in enumerate(models(whole)):
        members = list(model.__dict__.items())
        broken = [members[::-1], members[1:], [*members, ("more", 1)]]
        for place, (name, _) in enumerate(members):
            broken += [
                [*members[:place], (name, value), *members[place + 1 :]] for value in ODD_IN_PYTHON
            ]
        for content in broken:
            envelope = copy.deepcopy(whole)
            replaced(list(models(envelope))[at].__dict__, content)
            found, expected = seal_both_ways(envelope)
            assert found == expected, content


@settings(max_examples=100, deadline=None)
@given(wire_values(CausalRef))
def test_random_causes_are_written_alike(cause: CausalRef) -> None:
    """Those that are an effect, and all others."""
    assert write_cause(cause) == canonical_json(to_tree(cause))


def _by_models(cause: CausalRef) -> bytes:
    return canonical_json(to_tree(cause))


def test_causes_that_somebody_broke_are_written_alike() -> None:
    """The same bytes, or the same error."""
    members = {"type": "effect", "session_id": "s", "turn_id": "t", "effect_id": "1"}
    for content in (
        {name: members[name] for name in reversed(members)},
        {**members, "more": 1},
        *({**members, name: value} for name in members for value in [None, *ODD_IN_PYTHON]),
    ):
        cause = from_tree(CausalRef, members)
        replaced(cause.__dict__, list(content.items()))
        found, expected = (
            outcome(partial(write_cause, cause)),
            outcome(partial(_by_models, cause)),
        )
        assert found == expected, content


def test_a_model_of_a_derived_class_is_left_to_the_models() -> None:
    """It may be written in another way."""

    class Loud(RuntimeReplay):
        """A key with something more."""

        volume: int = 11

    whole = from_tree(RuntimeEffectEnvelope, document())
    loud = whole.invocation.model_copy(update={"replay": Loud(key="k")})
    envelope = whole.model_copy(update={"invocation": loud})
    found, expected = seal_both_ways(envelope)
    assert found == expected


def test_arguments_that_change_after_they_were_built_are_sealed_in_one_state() -> None:
    """What is sealed is what they were when they were sealed, in hash and body alike."""
    envelope = from_tree(RuntimeEffectEnvelope, document())
    before = Request.seal(envelope)
    args = envelope.command.call.args
    args["c"] = {"z": 1, "a": 2}
    sealed, expected = seal_both_ways(envelope)
    assert sealed == expected
    after = Request.seal(envelope)
    args["c"]["a"] = 3
    assert after.hash != before.hash
    assert b'"c":{"a":2,"z":1}' in after.canonical
    assert Request.seal(envelope, content_type=JSON).canonical != after.canonical
    args["c"]["a"] = float("nan")
    with pytest.raises(MalformedError, match="finite"):
        Request.seal(envelope)


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
@pytest.mark.parametrize("kind", EXACT_KINDS)
def test_headers_are_read_alike(kind: str, content_type: str) -> None:
    """Right and wrong hashes, counts and texts."""
    known = {names.HASH, names.ATTEMPT, names.DEADLINE, names.SCOPE, names.TRACEPARENT}
    for name in sorted({*known, names.OUT_OF_LINE, names.PARK_NUMBER, names.BODY}):
        for value in ("", "x", 0, 1, -1, 2**63, True):
            message = sent(document(kind), content_type)
            message.headers[name] = value
            found, expected = read_both_ways(message)
            assert found == expected


def test_deep_arguments_are_sealed_alike() -> None:
    """At the limits of levels, of the canonical form and of a body."""
    for levels in (58, 59, 60, 61, 62, 126, 127, 128):
        args: Any = 1
        for _ in range(levels):
            args = {"a": args}
        envelope = from_tree(RuntimeEffectEnvelope, document())
        envelope.command.call.args["a"] = args
        for content_type in CONTENT_TYPES:
            found, expected = seal_both_ways(envelope, content_type=content_type)
            assert found == expected
