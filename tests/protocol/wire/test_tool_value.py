"""Tool values: attachments, the reserved key, and its escape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.wire.attachments import AttachmentRef, MediaTypeImage
from effectmq.protocol.wire.tool_value import ToolValue, decode_tool_value, encode_tool_value
from effectmq.protocol.wire.tools import ToolCallOutcome, ToolCallOutcomeSuccess
from tests.protocol.documents import example
from tests.protocol.strategies import wire_values

_REF = AttachmentRef(id="ab", media_type=MediaTypeImage(type="png"), byte_len=4)
_REF_TREE = {"id": "ab", "media_type": {"kind": "image", "type": "png"}, "byte_len": 4}
_ATTACHMENT = {"$lash_tool_value": "attachment", "ref": _REF_TREE}


def test_python_data_is_data() -> None:
    """A dict with the reserved key that a tool returned is the user's, and gets escaped."""
    outcome = ToolCallOutcomeSuccess(payload={"$lash_tool_value": "attachment", "ref": 1})
    written = to_tree(outcome)
    assert written["payload"] == {
        "$lash_tool_value": "object",
        "entries": {"$lash_tool_value": "attachment", "ref": 1},
    }
    assert from_tree(ToolCallOutcome, written) == outcome


def test_an_attachment_is_tagged_on_the_wire_and_a_model_in_python() -> None:
    """Anywhere in the value, at any depth."""
    outcome = ToolCallOutcomeSuccess(payload=[1, {"b": _REF, "a": "x"}])
    written = to_tree(outcome)
    assert written["payload"] == [1, {"a": "x", "b": _ATTACHMENT}]
    assert list(written["payload"][1]["b"]) == ["$lash_tool_value", "ref"]
    assert from_tree(ToolCallOutcome, written) == outcome


def test_the_example_of_the_contract_is_decoded_to_plain_data() -> None:
    """O7 holds text, an attachment and an escaped object."""
    payload = example("O7").result.output.outcome.payload
    assert payload[0] == "before"
    assert isinstance(payload[1], AttachmentRef)
    assert payload[2] == {"$lash_tool_value": "user"}


def test_a_needless_escape_is_read_and_written_back_without() -> None:
    """Only objects with the reserved key need one."""
    value = decode_tool_value({"$lash_tool_value": "object", "entries": {"b": 1, "a": _ATTACHMENT}})
    assert value == {"a": _REF, "b": 1}
    assert encode_tool_value(value) == {"a": _ATTACHMENT, "b": 1}


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        ('{"$lash_tool_value":1}', "", "reserved tool value tag must be a string"),
        ('[{"$lash_tool_value":"x"}]', "[0]", "unknown reserved tool value tag `x`"),
        ('{"$lash_tool_value":"attachment"}', "", "malformed attachment tool value"),
        ('{"$lash_tool_value":"attachment","ref":{},"x":1}', "", "malformed attachment"),
        ('{"$lash_tool_value":"attachment","r":{}}', "", "malformed attachment tool value"),
        ('{"$lash_tool_value":"attachment","ref":{}}', "ref.id", "missing"),
        ('{"$lash_tool_value":"attachment","ref":3}', "ref", "found the integer 3"),
        ('{"$lash_tool_value":"object","entries":[]}', "", "malformed escaped object tool value"),
        ('{"$lash_tool_value":"object"}', "", "malformed escaped object tool value"),
        ('{"$lash_tool_value":"object","entries":{},"x":1}', "", "malformed escaped object"),
        (
            '{"$lash_tool_value":"object","entries":{"a":[{"$lash_tool_value":null}]}}',
            "entries.a[0]",
            "reserved tool value tag must be a string",
        ),
    ],
)
def test_every_other_use_of_the_reserved_key_is_refused(text: str, path: str, problem: str) -> None:
    """The rules hold at every depth, inside escapes too."""
    with pytest.raises(MalformedError, match=problem) as caught:
        decode_tool_value(parse_json(text))
    assert caught.value.path == path
    with pytest.raises(MalformedError, match=problem) as caught:
        from_tree(ToolCallOutcome, {"status": "success", "payload": parse_json(text)})
    assert caught.value.path == (
        f"payload{path}" if path[:1] == "[" else f"payload.{path}".rstrip(".")
    )


def test_a_repeated_member_counts_once_the_last() -> None:
    """A tool value is read as opaque JSON first, attachments included."""
    text = '{"$lash_tool_value":1,"$lash_tool_value":"object","entries":1,"entries":{"a":1,"a":2}}'
    assert decode_tool_value(parse_json(text)) == {"a": 2}
    ref = canonical_json(_REF_TREE).decode()[1:]
    text = '{"$lash_tool_value":"attachment","ref":{"id":"x",' + ref + "}"
    assert decode_tool_value(parse_json(text)) == _REF


def test_a_repeated_field_is_refused() -> None:
    """The field itself belongs to a struct."""
    with pytest.raises(MalformedError, match="more than once"):
        from_tree(ToolCallOutcome, parse_json('{"status":"success","payload":1,"payload":2}'))


@pytest.mark.parametrize("value", [object(), [float("nan")], {"a": 2**64}, {1: 1}])
def test_what_is_no_tool_value_is_refused(value: Any) -> None:
    """In Python as anywhere else."""
    with pytest.raises(MalformedError):
        ToolCallOutcomeSuccess(payload=value)
    with pytest.raises(MalformedError):
        encode_tool_value(value)


def test_nesting_is_bounded_in_tool_values() -> None:
    """Values inside themselves and deep documents end in an error."""
    endless: list[Any] = []
    endless.append({"a": endless})
    with pytest.raises(MalformedError, match="nesting"):
        ToolCallOutcomeSuccess(payload=endless)
    with pytest.raises(MalformedError, match="nesting"):
        decode_tool_value(endless)


def test_a_value_changed_after_building_is_still_written_in_order() -> None:
    """Lists and dicts inside a frozen model can be changed."""
    outcome = ToolCallOutcomeSuccess(payload={"b": 1})
    outcome.payload["a"] = (_REF,)
    assert list(to_tree(outcome)["payload"]) == ["a", "b"]
    assert to_tree(outcome)["payload"]["a"] == [_ATTACHMENT]


@given(wire_values(ToolValue))
def test_encoding_and_decoding_are_inverse(value: Any) -> None:
    """Whatever a tool gives comes back as it was, and the wire form is stable."""
    tree = encode_tool_value(value)
    assert encode_tool_value(decode_tool_value(tree)) == tree
    again = decode_tool_value(parse_json(canonical_json(tree)))
    assert canonical_json(encode_tool_value(again)) == canonical_json(tree)
