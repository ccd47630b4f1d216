"""The envelopes, texts and hashes of ``examples/producers/wire.py`` are those of effectmq."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from hypothesis import given

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import read_request
from tests.front_door.producers.stage import PRODUCERS, example_module
from tests.protocol.documents import examples, vectors
from tests.protocol.strategies import json_values

wire: Any = example_module("wire")


@pytest.mark.parametrize("path", sorted(PRODUCERS.glob("*.py")), ids=lambda path: str(path.name))
def test_a_producer_does_not_need_effectmq(path: Any) -> None:
    """It is there to show what another language has to do."""
    imported = [node for node in ast.walk(ast.parse(path.read_text())) if _imports(node)]
    assert imported
    assert not any("effectmq" in ast.unparse(node) for node in imported)


def _imports(node: ast.AST) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom))


def test_it_makes_the_envelope_of_the_contract() -> None:
    """C5, byte for byte, from arguments in another order."""
    place = wire.Place("s1", "t1", number=2)
    envelope = wire.tool_call(place, "call-1", "echo", {"value": "hi", "count": 2})
    assert wire.canonical(envelope) == examples()["C5"]["document"]
    request = read_request(Message(body=wire.canonical(envelope).encode(), content_type=""))
    assert wire.hash_of(envelope) == request.hash


def test_every_recorded_envelope_has_its_recorded_hash() -> None:
    """The text of all kinds, as serde wrote and hashed it."""
    found = [each for each in vectors() if each["kind"] == "envelope" and "canonical" in each]
    wrong = [
        each["canonical"]
        for each in found
        if wire.hash_of(parse_json(each["canonical"])) != each["sha256"]
    ]
    assert wrong == []


@given(value=json_values)
def test_any_value_is_written_as_effectmq_writes_it(value: Any) -> None:
    """Floats of all sizes, every character, members in any order."""
    ordered = wire.in_order(json.loads(json.dumps(value)))
    assert wire.canonical(ordered).encode() == canonical_json(ordered)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, float("inf"), float("nan"), "\ud800"])
def test_what_has_no_place_on_the_wire_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.canonical(value)
