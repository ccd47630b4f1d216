"""The schemas accept what serde wrote, and refuse what is wrong; the committed files are these."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from effectmq.protocol.encoding.codec import JSON
from effectmq.protocol.messages.chunk import Chunk, chunk_message
from effectmq.protocol.messages.reply import Reply, encode_reply, join_replies
from effectmq.protocol.messages.request import Request
from effectmq.protocol.schemas.files import FILES, schema_files
from effectmq.protocol.topology import Names
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError
from tests.protocol.documents import example, examples, vectors

_COMMITTED = Path(__file__).parents[3] / "docs" / "schema"
_TREES: dict[str, Any] = {name: json.loads(text) for name, text in schema_files().items()}
_REGISTRY: Registry[Any] = Registry().with_resources(
    (name, Resource.from_contents(tree))
    for name, tree in _TREES.items()
    if name.endswith(".schema.json")
)


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(_TREES[f"{name}.schema.json"], registry=_REGISTRY)


VALIDATORS = {name: validator(name) for name in ("envelope", "outcome", "answers", "chunk")}
ENVELOPE = json.loads(examples()["C1"]["document"])


def accepts(name: str, tree: object) -> bool:
    """Whether a schema accepts a document."""
    return VALIDATORS[name].is_valid(tree)


def test_the_committed_files_are_those_of_the_types() -> None:
    """Run ``effectmq schema --to docs/schema`` when this fails."""
    found = {path.name: path.read_text("utf-8") for path in _COMMITTED.glob("*.json")}
    # The HTTP API's is made of its own types, and has a test there.
    del found["openapi.json"]
    assert sorted(found) == sorted(FILES)
    stale = [name for name, text in schema_files().items() if found[name] != text]
    assert stale == [], "run: effectmq schema --to docs/schema"


@pytest.mark.parametrize("name", VALIDATORS)
def test_each_is_a_json_schema(name: str) -> None:
    Draft202012Validator.check_schema(_TREES[f"{name}.schema.json"])


def recorded(kind: str) -> list[dict[str, str]]:
    return [each for each in vectors() if each["kind"] == kind and "canonical" in each]


def test_every_outcome_that_was_recorded_is_accepted() -> None:
    """As serde writes it."""
    found = [each["canonical"] for each in recorded("outcome")]
    assert len(found) > 500
    assert [text for text in found if not accepts("outcome", json.loads(text))] == []


def test_the_schema_of_an_envelope_says_what_its_validation_says() -> None:
    """What breaks a rule between its halves is refused, and nothing else that serde wrote."""
    found = recorded("envelope")
    assert {each["validation"] for each in found} > {"ok", "runtime_effect_replay_required"}
    wrong = [
        each["canonical"]
        for each in found
        if accepts("envelope", json.loads(each["canonical"])) != (each["validation"] == "ok")
    ]
    assert wrong == []


#: What JSON Schema has no words for: texts that are no Unicode, a time whose parts overflow when
#: they are carried, the reserved key inside a tool value, a member that is given twice.
_BEYOND = ("hex escape", "SystemTime", "tool value", "duplicate field")


@pytest.mark.parametrize("kind", ["envelope", "outcome"])
def test_what_serde_refused_is_refused_as_far_as_a_schema_can_say(kind: str) -> None:
    """The vectors have a wrong document of every sort."""
    refused = [each for each in vectors() if each["kind"] == kind and "error" in each]
    assert len(refused) > 100
    accepted = [each["error"] for each in refused if accepts(kind, _parsed(each["input"]))]
    assert [error for error in accepted if not any(word in error for word in _BEYOND)] == []


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("command", "type"), "tool_cal"),
        (("command", "type"), None),
        (("invocation", "subject", "kind"), "sleep"),
        (("invocation", "subject", "effect_id"), " "),
        (("invocation", "subject", "effect_id"), 1),
        (("invocation", "subject", "type"), "process"),
        (("invocation", "scope", "turn_index"), -1),
        (("invocation", "scope", "session_id"), None),
        (("invocation", "replay", "key"), ""),
        (("invocation", "replay"), None),
        (("command",), []),
    ],
)
def test_the_obvious_mistakes_of_a_producer_are_refused(path: tuple[str, ...], value: Any) -> None:
    """A schema is there to tell them before anything is published."""
    assert accepts("envelope", ENVELOPE)
    broken = deepcopy(ENVELOPE)
    place = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert not accepts("envelope", broken)


@pytest.mark.parametrize("member", ["invocation", "command"])
def test_half_an_envelope_is_refused(member: str) -> None:
    assert not accepts("envelope", {member: ENVELOPE[member]})


def test_what_we_publish_is_accepted() -> None:
    """Requests, answers of both sides and chunks, as they lie in a queue."""
    request = Request.seal(example("C1"), content_type=JSON)
    assert accepts("envelope", json.loads(request.message.body))
    outcomes = [label for label, each in examples().items() if each["type"] == _OUTCOME]
    replies = [Reply("1", "k", "h", example(label)) for label in outcomes]
    replies.append(Reply("1", "k", "h", RuntimeEffectControllerError(code="c", message="m")))
    body = json.loads(join_replies([encode_reply(reply, JSON) for reply in replies], JSON))
    assert accepts("answers", body)
    assert not accepts("answers", [])
    assert not accepts("answers", body[0])
    assert not accepts("answers", [{**body[0], "result": {}}])
    chunk = json.loads(chunk_message(Chunk("1", "k", "ab" * 32, 1, 0, "text"), JSON).body)
    assert accepts("chunk", chunk)
    assert not accepts("chunk", {**chunk, "number": -1})


_OUTCOME = "RuntimeEffectOutcome"


def references(tree: object) -> Iterator[str]:
    """Every ``$ref`` of a document."""
    if isinstance(tree, Mapping):
        for name, member in tree.items():
            if name == "$ref":
                yield member
            else:
                yield from references(member)
    elif isinstance(tree, list):
        for item in tree:
            yield from references(item)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    """Inside itself, or to a schema that lies beside it."""
    document = _TREES["asyncapi.json"]
    found = set(references(document))
    assert found
    for reference in found:
        if reference.startswith("./"):
            assert reference.removeprefix("./") in _TREES
            continue
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_the_asyncapi_document_has_the_names_of_the_topology() -> None:
    """A generator of clients takes them from here."""
    document = _TREES["asyncapi.json"]
    assert document["asyncapi"] == "3.0.0"
    exchange = document["channels"]["work"]["bindings"]["amqp"]["exchange"]
    assert exchange["name"] == Names().work_exchange
    replies = document["channels"]["replies"]["bindings"]["amqp"]
    # The schema of AsyncAPI wants the member that ``is`` names.
    assert replies["is"] in replies
    named = [each["name"] for each in document["components"]["messages"].values()]
    assert named == ["effect.envelope.v1", "effect.outcome.v1", "effect.chunk.v1"]
