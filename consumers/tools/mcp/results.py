"""
From the answer of an MCP server to the return value of a tool. Pure.

A server may answer with structured data, with content for a model (texts, images, sound,
resources), or with both. The tool's value is the structured data, if there is any, together with
content that says more; else it is the content: a single piece as itself, several as a list. Texts
that repeat the structured data are left out. Images become attachments. A piece that the worker
cannot keep is named in its place, so that the rest arrives; the tool fails only when nothing is
left.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from effectmq.consumers.tools.mcp.repeats import own_texts
from effectmq.consumers.tools.results.special import Attachment
from effectmq.protocol.encoding.narrowing import is_array, is_object, members_of
from effectmq.protocol.errors import AttachmentReferenceError, ToolCallError
from effectmq.protocol.text import printable
from effectmq.protocol.wire.media_types import media_type_of

__all__ = ["value_of"]

_STORE = "runtime_effect_attachment_store"
_MAX_LABEL_CHARS = 250


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """A piece that cannot be kept."""

    type: str
    what: dict[str, object]
    why: str
    code: str
    class_: str = "internal"

    def named(self) -> dict[str, object]:
        """The text in place of the piece."""
        told = {name: value for name, value in self.what.items() if value is not None}
        return {"type": self.type, **told, "left_out": self.why}


def value_of(
    result: dict[str, Any], *, repeatable: bool = False, room_bytes: int | None = 2**63
) -> object:
    """
    The value of a tool.

    Args:
        result: A ``CallToolResult`` of MCP as plain data.
        repeatable: Whether a failure of the tool may be tried again.
        room_bytes: How large an attachment may be; ``None`` without a store for attachments.

    Returns:
        Plain data with ``Attachment`` objects in it.

    Raises:
        ToolCallError: When the result says that the tool failed, or cannot be understood.
    """
    content: object = result.get("content")
    if content is not None and not is_array(content):
        raise _not_understood(f"its content is {type(content).__name__}, expected a list")
    plain = [(_kind(block), _piece(block, room_bytes)) for block in content or []]
    pieces = [piece.named() if isinstance(piece, _LeftOut) else piece for _, piece in plain]
    if result.get("isError"):
        raise _failed(pieces, result.get("structuredContent"), repeatable)
    structured: object = result.get("structuredContent")
    if structured is not None:
        others = _beside(structured, [kind for kind, _ in plain], pieces)
        return [structured, *others] if others else structured
    left_out = [piece for _, piece in plain if isinstance(piece, _LeftOut)]
    if left_out and len(left_out) == len(plain):
        raise _nothing_left(left_out)
    return pieces[0] if len(pieces) == 1 else (pieces or None)


def _beside(structured: object, kinds: list[str], pieces: list[object]) -> list[object]:
    """The pieces of content that say more than the structured data, in order."""
    texts = [str(piece) for kind, piece in zip(kinds, pieces, strict=True) if kind == "text"]
    own = iter(own_texts(texts, structured))
    return [piece for kind, piece in zip(kinds, pieces, strict=True) if kind != "text" or next(own)]


def _nothing_left(left_out: list[_LeftOut]) -> ToolCallError:
    return ToolCallError(
        "the tool ran, but nothing of its answer can be kept: "
        + "; ".join(printable(f"{one.type}: {one.why}", 300) for one in left_out[:5]),
        code=left_out[0].code,
        class_=left_out[0].class_,
        source="runtime",
        raw=[one.named() for one in left_out],
    )


def _failed(pieces: list[object], structured: object, repeatable: bool) -> ToolCallError:
    texts = [piece for piece in pieces if isinstance(piece, str)]
    others = [piece for piece in pieces if not isinstance(piece, str)]
    raw = others if structured is None else [structured, *others]
    return ToolCallError(
        "\n".join(texts) or "the tool failed and gave no reason",
        code="mcp_tool_error",
        retry=repeatable,
        raw=raw or None,
    )


def _kind(block: object) -> str:
    found = members_of(block).get("type")
    return found if isinstance(found, str) else ""


def _piece(block: object, room_bytes: int | None) -> object:
    """One block of content as a value."""
    if not is_object(block):
        raise _not_understood(f"a piece of it is {type(block).__name__}, expected an object")
    match _kind(block):
        case "text":
            return _text(block, "text")
        case "image" | "audio" as kind:
            return _bytes(kind, block.get("data"), block.get("mimeType"), None, room_bytes)
        case "resource":
            inside = block.get("resource")
            if not is_object(inside):
                raise _not_understood("a resource in it is not an object")
            if "blob" not in inside:
                return _text(inside, "text")
            mime, uri = inside.get("mimeType"), inside.get("uri")
            return _bytes("resource", inside["blob"], mime, uri, room_bytes)
        case _:
            # A link to a resource, or a newer kind: the model can read it as it is.
            return {name: value for name, value in block.items() if name != "_meta"}


def _text(members: dict[str, Any], name: str) -> str:
    text: object = members.get(name, "")
    if not isinstance(text, str):
        raise _not_understood(f"a text in it is {type(text).__name__}")
    return text


def _bytes(
    kind: str, data: object, mime: object, label: object, room_bytes: int | None
) -> Attachment | _LeftOut:
    if not isinstance(data, str):
        raise _not_understood(f"data in it is {type(data).__name__}, expected base64")
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise _not_understood("there is data in it that is not base64") from None
    media_type = str(mime or "application/octet-stream")
    what: dict[str, object] = {"mimeType": media_type, "bytes": len(decoded), "uri": label}
    try:
        media_type_of(media_type)
    except AttachmentReferenceError as problem:
        return _LeftOut(kind, what, problem.message, problem.code)
    if room_bytes is None:
        why = (
            "its worker has no attachment store for it; start the worker with "
            "attachments=, or with EFFECTMQ_ATTACHMENTS"
        )
        return _LeftOut(kind, what, why, _STORE)
    if len(decoded) > room_bytes:
        why = (
            f"it is {len(decoded)} bytes, and the limit of an attachment is {room_bytes}; raise "
            "max_attachment_bytes of the attachment settings"
        )
        return _LeftOut(kind, what, why, _STORE, "resource_limit")
    named = None if label is None else printable(str(label), _MAX_LABEL_CHARS)
    return Attachment(decoded, media_type, label=named)


def _not_understood(what: str) -> ToolCallError:
    return ToolCallError(
        f"the MCP server's answer cannot be understood: {what}; correct the server",
        code="mcp_unreadable",
        class_="external",
    )
