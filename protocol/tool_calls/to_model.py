"""
The text of a tool's output for the model, with attachments between it.

The rules are those of the wire format, section 3.4: a success string is one text part; any other
success value is printed as compact sorted JSON, split around its attachments; a failure or a
cancellation is a fixed line, its message, and the attachments of its raw value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.narrowing import is_object, is_sequence
from effectmq.protocol.encoding.opaque import canonical_value
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.tools import (
    ModelToolReturn,
    ModelToolReturnPart,
    ModelToolReturnPartAttachment,
    ModelToolReturnPartText,
    ToolCallOutcomeCancelled,
    ToolCallOutcomeSuccess,
    ToolCallOutput,
)

__all__ = ["model_tool_return"]

_FAILED = "[Tool execution failed]"
_CANCELLED = "[Tool execution cancelled]"


def model_tool_return(call_id: str, tool_name: str, output: ToolCallOutput) -> ModelToolReturn:
    """The parts of a tool's output for the model."""
    outcome = output.outcome
    if isinstance(outcome, ToolCallOutcomeSuccess):
        value: object = outcome.payload
        pieces = iter([value]) if isinstance(value, str) else _printed(value)
    else:
        cancelled = isinstance(outcome, ToolCallOutcomeCancelled)
        line = _CANCELLED if cancelled else _FAILED
        message = outcome.payload.message
        pieces = _failure(f"{line}\n{message}" if message else line, outcome.payload.raw)
    return ModelToolReturn(call_id=call_id, tool_name=tool_name, parts=_parts(pieces))


def _failure(text: str, raw: object) -> Iterator[str | AttachmentRef]:
    yield text
    for piece in _printed(raw):
        if isinstance(piece, AttachmentRef):
            yield piece


def _printed(value: object) -> Iterator[str | AttachmentRef]:
    """The value as JSON text, in pieces, with each attachment unchanged."""
    if isinstance(value, AttachmentRef):
        yield value
    elif is_object(value):
        yield from _members(value)
    elif is_sequence(value):
        yield from _items(value)
    else:
        yield canonical_json(canonical_value(value)).decode()


def _members(value: dict[str, object]) -> Iterator[str | AttachmentRef]:
    yield "{"
    for index, key in enumerate(sorted(value)):
        yield ("," if index else "") + canonical_json(key).decode() + ":"
        yield from _printed(value[key])
    yield "}"


def _items(value: Sequence[object]) -> Iterator[str | AttachmentRef]:
    yield "["
    for index, item in enumerate(value):
        if index:
            yield ","
        yield from _printed(item)
    yield "]"


def _parts(pieces: Iterator[str | AttachmentRef]) -> list[ModelToolReturnPart]:
    parts: list[ModelToolReturnPart] = []
    text: list[str] = []
    for piece in pieces:
        if isinstance(piece, str):
            text.append(piece)
            continue
        _flush(text, parts)
        parts.append(
            ModelToolReturnPartAttachment(
                id=piece.id,
                media_type=piece.media_type,
                byte_len=piece.byte_len,
                width=piece.width,
                height=piece.height,
                label=piece.label,
            )
        )
    _flush(text, parts)
    return parts


def _flush(text: list[str], parts: list[ModelToolReturnPart]) -> None:
    joined = "".join(text)
    text.clear()
    if joined:
        parts.append(ModelToolReturnPartText(text=joined))
