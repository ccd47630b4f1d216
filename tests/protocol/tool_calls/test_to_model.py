"""What a model gets to read of a tool's output: the rules of the wire format, section 3.4."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.tool_calls.to_model import model_tool_return
from effectmq.protocol.wire.attachments import AttachmentRef, MediaTypeImage
from effectmq.protocol.wire.tool_value import RESERVED_KEY
from effectmq.protocol.wire.tools import (
    ModelToolReturnPartAttachment,
    ModelToolReturnPartText,
    ToolCallOutcomeCancelled,
    ToolCallOutcomeFailure,
    ToolCallOutcomeSuccess,
    ToolCallOutput,
    ToolCancellation,
    ToolFailure,
    ToolRetryDispositionNever,
)
from tests.protocol.documents import example

IMAGE = AttachmentRef(id="a" * 64, media_type=MediaTypeImage(type="png"), byte_len=4)
LABELLED = IMAGE.model_copy(update={"width": 2, "height": 3, "label": "L"})


def parts(output: ToolCallOutput) -> list[Any]:
    """Text parts as their text, attachments as the reference they carry."""
    found = model_tool_return("c", "t", output)
    assert (found.call_id, found.tool_name) == ("c", "t")
    shown: list[Any] = []
    for part in found.parts:
        if isinstance(part, ModelToolReturnPartText):
            shown.append(part.text)
        else:
            assert isinstance(part, ModelToolReturnPartAttachment)
            fields = to_tree(part)
            assert fields.pop("type") == "attachment"
            shown.append(AttachmentRef(**{**fields, "media_type": part.media_type}))
    return shown


def success(value: object) -> list[Any]:
    """The parts of a success."""
    return parts(ToolCallOutput(outcome=ToolCallOutcomeSuccess(payload=value)))


def failure(message: str, raw: object = None) -> list[Any]:
    """The parts of a failure."""
    payload = ToolFailure(
        class_="execution",
        code="c",
        message=message,
        source="tool",
        retry=ToolRetryDispositionNever(),
        raw=raw,
    )
    return parts(ToolCallOutput(outcome=ToolCallOutcomeFailure(payload=payload)))


def cancelled(message: str, raw: object = None) -> list[Any]:
    """The parts of a cancellation."""
    payload = ToolCancellation(message=message, source="cancellation", raw=raw)
    return parts(ToolCallOutput(outcome=ToolCallOutcomeCancelled(payload=payload)))


def test_a_success_string_is_one_text_part_as_it_is() -> None:
    """No quotes, no escapes."""
    assert success('say "hi"\n') == ['say "hi"\n']


def test_an_empty_string_is_nothing_to_read() -> None:
    """Empty text is dropped."""
    assert success("") == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (1.0, "1.0"),
        (1e16, "1e+16"),
        ([], "[]"),
        ({}, "{}"),
        (["a", 1, None], '["a",1,null]'),
        ({"b": 1, "a": {"d": 2, "c": "x\n"}}, '{"a":{"c":"x\\n","d":2},"b":1}'),
    ],
)
def test_any_other_success_is_compact_sorted_json(value: object, text: str) -> None:
    """Numbers print as on the wire, members are sorted at every depth."""
    assert success(value) == [text]


def test_the_text_is_split_around_attachments() -> None:
    """Adjacent text is merged; nothing is left between two attachments but the comma."""
    assert success(IMAGE) == [IMAGE]
    assert success([IMAGE, LABELLED, "x"]) == ["[", IMAGE, ",", LABELLED, ',"x"]']
    assert success({"b": 1, "a": IMAGE}) == ['{"a":', IMAGE, ',"b":1}']
    assert success({"a": [[IMAGE]]}) == ['{"a":[[', IMAGE, "]]}"]


def test_an_object_with_the_reserved_key_is_printed_raw() -> None:
    """The escape is for the wire; a model reads what the tool returned."""
    assert success({RESERVED_KEY: "user"}) == ['{"$lash_tool_value":"user"}']


def test_a_failure_is_a_line_its_message_and_the_attachments_of_raw() -> None:
    """The rest of raw is not for the model."""
    assert failure("slow") == ["[Tool execution failed]\nslow"]
    assert failure("") == ["[Tool execution failed]"]
    raw = {"b": "hidden", "a": [IMAGE, 1], "c": LABELLED}
    assert failure("slow", raw) == ["[Tool execution failed]\nslow", IMAGE, LABELLED]


def test_a_cancellation_is_the_same_with_its_own_line() -> None:
    """So that a model can tell the two apart."""
    assert cancelled("tool call cancelled") == ["[Tool execution cancelled]\ntool call cancelled"]
    assert cancelled("", [IMAGE]) == ["[Tool execution cancelled]", IMAGE]


@pytest.mark.parametrize("label", ["O4", "O5", "O6", "O7"])
def test_the_examples_of_the_contract_have_the_return_that_we_would_make(label: str) -> None:
    """Byte for byte what the pinned Rust types printed."""
    result = example(label).result
    made = model_tool_return(result.call_id, result.tool_name, result.output)
    assert made == result.model_return
