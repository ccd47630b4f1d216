"""
What a tool may return besides plain values: attachments, and requests to the session.

An ``Attachment`` holds bytes that should not be in an outcome: the worker puts them into its
attachment store, and the outcome has a reference. ``ToolReturn`` is a value together with a request
to the session; a request may also be returned by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from effectmq.broker.store.attachments.store import AttachmentStore
from effectmq.protocol.encoding.narrowing import is_dict, is_sequence
from effectmq.protocol.errors import (
    AttachmentReferenceError,
    AttachmentStoreError,
    MalformedError,
    PayloadTooLargeError,
    ToolCallError,
)
from effectmq.protocol.text import describe
from effectmq.protocol.wire.attachments import AttachmentRef

__all__ = [
    "Attachment",
    "Control",
    "FailTurn",
    "FinishTurn",
    "SwitchAgentFrame",
    "ToolReturn",
    "stored",
]

_STORE = "runtime_effect_attachment_store"


class Attachment:
    """
    Bytes that a tool returns, alone or anywhere in dicts and lists.

    Args:
        data: The bytes.
        media_type: MIME type; the wire knows ``image/png``, ``jpeg``, ``gif``, ``webp``, ``bmp``.
        width: The width in pixels.
        height: The height in pixels.
        label: A name for people.
    """

    # No dataclass: code that prints values as JSON would take one apart and print its bytes.
    __slots__ = ("data", "height", "label", "media_type", "width")

    def __init__(
        self,
        data: bytes,
        media_type: str,
        *,
        width: int | None = None,
        height: int | None = None,
        label: str | None = None,
    ) -> None:
        self.data = data
        self.media_type = media_type
        self.width = width
        self.height = height
        self.label = label


@dataclass(frozen=True, slots=True)
class SwitchAgentFrame:
    """
    Ask the session to go on in another agent frame.

    Attributes:
        frame_id: The frame.
        task: The task of the new frame.
        initial_nodes: Plain data that the new frame starts with.
    """

    frame_id: str
    task: str | None = None
    initial_nodes: Sequence[object] = ()


@dataclass(frozen=True, slots=True)
class FinishTurn:
    """
    Asks the session to end the turn with a value; returned by itself, it is also the tool's value.

    Attributes:
        value: Any value that a tool may return.
    """

    value: object = None


@dataclass(frozen=True, slots=True)
class FailTurn:
    """
    Asks the session to end the turn with a failure; returned by itself, it is also the tool's
    failure.

    Attributes:
        message: A sentence for the model and for people.
        code: A short stable name.
        class_: A ``ToolFailureClass`` of the wire format.
        raw: Plain data that belongs to the failure.
    """

    message: str
    code: str = "tool_error"
    class_: str = "execution"
    raw: object = None


Control = SwitchAgentFrame | FinishTurn | FailTurn


@dataclass(frozen=True, slots=True)
class ToolReturn:
    """
    A value, together with a request to the session.

    Attributes:
        value: Any value that a tool may return.
        control: The request.
    """

    value: object = None
    control: Control | None = None


async def stored(result: object, store: AttachmentStore | None, *, repeatable: bool) -> object:
    """
    Put every attachment of a result into the store.

    Args:
        result: What a tool returned.
        store: The worker's store.
        repeatable: Whether the tool may run again when the store cannot be used for a time.

    Returns:
        The result with an ``AttachmentRef`` in place of each ``Attachment``.

    Raises:
        ToolCallError: When one of them cannot be stored.
    """
    if type(result) in _SCALARS:
        return result
    found: dict[int, Attachment] = {}
    try:
        _find(result, found)
    except RecursionError:
        # A value that contains itself cannot be sent; the code that writes it will say so.
        return result
    if not found:
        return result
    references: dict[int, AttachmentRef] = {}
    for key, attachment in found.items():
        references[key] = await _put(attachment, store, repeatable)
    return _replaced(result, references)


#: Most results; all others may contain an attachment.
_SCALARS = frozenset((str, int, float, bool, type(None)))


def _find(value: object, found: dict[int, Attachment]) -> None:
    if type(value) in _SCALARS:
        return
    if isinstance(value, Attachment):
        found[id(value)] = value
    elif is_dict(value):
        for item in value.values():
            _find(item, found)
    elif is_sequence(value):
        for item in value:
            _find(item, found)
    elif isinstance(value, ToolReturn):
        _find(value.value, found)
        _find(value.control, found)
    elif isinstance(value, FinishTurn):
        _find(value.value, found)
    elif isinstance(value, FailTurn):
        _find(value.raw, found)


def _replaced(value: object, references: dict[int, AttachmentRef]) -> object:
    if isinstance(value, Attachment):
        return references[id(value)]
    if is_dict(value):
        return {key: _replaced(item, references) for key, item in value.items()}
    if is_sequence(value):
        return [_replaced(item, references) for item in value]
    match value:
        case ToolReturn():
            control = None if value.control is None else _control(value.control, references)
            return ToolReturn(_replaced(value.value, references), control)
        case FinishTurn() | FailTurn():
            return _control(value, references)
        case _:
            return value


async def _put(
    attachment: Attachment, store: AttachmentStore | None, repeatable: bool
) -> AttachmentRef:
    _check(attachment.data, attachment.media_type)
    if store is None:
        raise ToolCallError(
            f"the tool returned an attachment of {len(attachment.data)} bytes, and its worker has "
            "no attachment store for it; start the worker with attachments=, or with "
            "EFFECTMQ_ATTACHMENTS",
            code=_STORE,
            class_="internal",
            source="runtime",
        )
    try:
        return await store.put(
            attachment.data,
            attachment.media_type,
            width=attachment.width,
            height=attachment.height,
            label=attachment.label,
        )
    except AttachmentReferenceError as problem:
        raise ToolCallError(
            problem.message, code=problem.code, class_="internal", source="runtime"
        ) from None
    except MalformedError as problem:
        raise _no_attachment(describe(problem)) from None
    except PayloadTooLargeError as problem:
        raise ToolCallError(
            describe(problem), code=_STORE, class_="resource_limit", source="runtime"
        ) from None
    except AttachmentStoreError as problem:
        raise ToolCallError(
            describe(problem),
            code=_STORE,
            class_="unavailable",
            source="runtime",
            retry=repeatable,
        ) from None


def _check(data: object, media_type: object) -> None:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise _no_attachment(f"its data is a Python {type(data).__name__}, expected bytes")
    if not isinstance(media_type, str):
        kind = type(media_type).__name__
        raise _no_attachment(f"its media type is a Python {kind}, expected text as image/png")


def _no_attachment(why: str) -> ToolCallError:
    return ToolCallError(
        f"the tool returned an attachment that cannot be used: {why}",
        code="invalid_tool_result",
        class_="internal",
        source="runtime",
    )


def _control(control: Control, references: dict[int, AttachmentRef]) -> Control:
    match control:
        case FinishTurn():
            return FinishTurn(_replaced(control.value, references))
        case FailTurn():
            raw = _replaced(control.raw, references)
            return FailTurn(control.message, control.code, control.class_, raw)
        case _:
            return control
