"""Members that a newer producer sends: they are found, and named with their place."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from effectmq.protocol.encoding.canonical import digest
from effectmq.protocol.encoding.codec import JSON, MSGPACK, encode_tree
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from effectmq.protocol.errors import HashMismatchError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import read_request
from effectmq.protocol.messages.unknown import unknown_members
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from tests.protocol.documents import examples, vectors, wire_types
from tests.protocol.messages.test_request import sleep_envelope

DOCUMENTS = sorted(
    label
    for label, found in examples().items()
    if isinstance(wire_types()[found["type"]], type) or found["type"] == "RuntimeEffectOutcome"
)


def with_member(tree: Any, place: tuple[str | int, ...], name: str) -> Any:
    """The tree with one member more at a place."""
    changed = copy.deepcopy(tree)
    inner = changed
    for step in place:
        inner = inner[step]
    inner[name] = {"x": [1]}
    return changed


def objects(tree: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The places of all objects."""
    steps = tree.items() if isinstance(tree, dict) else enumerate(tree)
    if isinstance(tree, dict):
        yield place
    for step, inner in steps:
        if isinstance(inner, dict | list):
            yield from objects(inner, (*place, step))


@pytest.mark.parametrize("label", DOCUMENTS)
def test_a_member_more_is_found_wherever_it_is_dropped(label: str) -> None:
    """In each object of each example: what is not there when it is written again is named."""
    found = examples()[label]
    type_ = wire_types()[found["type"]]
    tree: Any = parse_json(found["document"])
    assert not unknown_members(from_tree(type_, tree), tree)
    for place in objects(tree):
        changed = with_member(tree, place, "from_the_future")
        try:
            model = from_tree(type_, changed)
        except Exception:
            continue  # a strict type, or an object that is a variant: it is refused
        lost = "from_the_future" not in str(to_tree(model))
        unknown = unknown_members(model, changed)
        assert unknown.count == lost, place
        if lost:
            assert unknown.paths[0].endswith("from_the_future")
            assert all(str(step) in unknown.paths[0] for step in place)


def test_no_recorded_document_of_known_members_has_unknown_ones() -> None:
    """What comes out byte for byte as it came in has lost nothing."""
    looked_at = 0
    for vector in vectors():
        if vector["kind"] == "value" or vector.get("canonical") != vector["input"]:
            continue
        type_: Any = RuntimeEffectOutcome if vector["kind"] == "outcome" else RuntimeEffectEnvelope
        tree = parse_json(vector["input"])
        assert not unknown_members(from_tree(type_, tree), tree), vector["input"]
        looked_at += 1
    assert looked_at > 100


def sent(extra: dict[str, Any], content_type: str, hash_: str = "") -> Message:
    """A sleep of a newer producer's, with members that are not ours."""
    tree: Any = to_tree(sleep_envelope())
    tree["invocation"]["replay"]["attribution"] = {"user": "u"}
    tree["command"]["language"] = "python"
    tree.update(extra)
    return Message(
        body=encode_tree(tree, content_type),
        content_type=content_type,
        headers={names.HASH: hash_ or digest(tree)},
    )


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
def test_a_hash_over_members_that_we_do_not_know_names_them(content_type: str) -> None:
    """It is refused, and the sentence says why and what to do."""
    with pytest.raises(HashMismatchError) as refused:
        read_request(sent({"group": 1}, content_type))
    said = str(refused.value)
    for path in ("invocation.replay.attribution", "command.language", "group"):
        assert path in said
    assert "upgrade the workers" in said


def test_a_hash_that_fits_says_that_they_do_not_matter() -> None:
    """The sender hashed what we hash: nothing is lost, and nothing is looked for."""
    message = sent({"group": 1}, MSGPACK, digest(to_tree(sleep_envelope())))
    assert not read_request(message).ignored


def test_without_a_hash_they_are_told_with_the_request() -> None:
    """Whoever runs the effect counts and logs them."""
    message = sent({"group": 1}, JSON)
    found = read_request(Message(body=message.body, content_type=JSON))
    assert found.ignored.count == 3
    assert set(found.ignored.paths) == {
        "invocation.replay.attribution",
        "command.language",
        "group",
    }


def test_names_of_strangers_are_few_short_and_printable() -> None:
    """10,000 of them, one with escapes of a terminal, one of a megabyte."""
    hostile = {f"u{index}": 1 for index in range(10_000)}
    hostile = {"\x1b[31m\n": 1, "x" * 500_000: 1, **hostile}
    found = read_request(Message(body=sent(hostile, JSON).body, content_type=JSON))
    assert found.ignored.count == 10_004
    text = str(found.ignored)
    assert len(text) < 1_000
    assert text.isprintable()
    assert text.endswith("and 9996 more")
