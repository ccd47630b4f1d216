"""
The form of an answer, by its first bytes. Pure.

Content types are unreliable: servers that cannot stream send any type, gateways call a stream JSON,
and proxies answer with pages of their own.
"""

from __future__ import annotations

import re
from typing import Literal

from effectmq.consumers.llm.port import CallFailure, ModelCallError
from effectmq.protocol.text import printable

__all__ = ["EVENTS", "Form", "form_of", "not_json", "title_of", "unreadable", "unreadable_as"]

Form = Literal["json", "events", "page", "nothing", "other"]

#: The content type of a stream.
EVENTS = "text/event-stream"
_BOM = b"\xef\xbb\xbf"
#: A field of an event, or a comment.
_FIELD = re.compile(rb"(data|event|id|retry)?:")
#: Enough to tell the forms apart.
_ENOUGH_BYTES = 8
_TITLE = re.compile(r"<title[^>]*>\s*([^<]{1,200}?)\s*</title", re.IGNORECASE)
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_MAX_RAW = 4_000


def form_of(start: bytes, kind: str, *, ended: bool = False) -> Form | None:
    """
    The form of an answer.

    Args:
        start: Its first bytes.
        kind: Its content type.
        ended: Whether these are all.

    Returns:
        ``None`` when more bytes are needed.
    """
    text = _without_mark(start)
    if not ended and len(text) < _ENOUGH_BYTES and b"\n" not in text:
        return None
    if not text:
        return "nothing"
    if text[:1] in (b"{", b"["):
        return "json"
    if text[:1] == b"<":
        return "page"
    if _FIELD.match(text) or (kind == EVENTS and text.isascii()):
        return "events"
    return "other"


def unreadable(found: str, raw: str | None = None) -> ModelCallError:
    """The failure of an answer that cannot be read."""
    message = f"the provider's answer cannot be read: {found}"
    return ModelCallError(CallFailure("unreadable_response", message, retryable=True, raw=raw))


def unreadable_as(form: Form, kind: str, content: bytes) -> ModelCallError:
    """
    The failure of an answer with status 200 that is not an answer of a model.

    Args:
        form: Its form.
        kind: Its content type.
        content: The body.
    """
    typed = f"of the type {printable(kind, 60)}" if kind else "without a content type"
    if form == "nothing":
        return unreadable(f"it is empty, {typed}; expected JSON or events")
    raw = printable(content[: 2 * _MAX_RAW].decode(errors="replace"), _MAX_RAW)
    packed = next((name for mark, name in _PACKED.items() if content.startswith(mark)), None)
    if packed is not None:
        return unreadable(f"it is compressed ({packed}), but its content-encoding does not say so")
    if form == "page":
        title = title_of(content[:_MAX_RAW].decode(errors="replace"))
        named = f" with the title {title!r}" if title else ""
        return unreadable(
            f"found a page{named}, {typed}, expected JSON or events; check whether base_url is "
            "right, and whether a proxy is in front of the provider",
            raw,
        )
    if form == "json":
        return unreadable(f"it begins as JSON, {typed}, but is not one complete document", raw)
    return unreadable(f"found text {typed}, expected JSON or events", raw)


def not_json(data: str) -> ModelCallError:
    """The failure of a stream with an event that cannot be read."""
    return unreadable("an event of its stream is not JSON", printable(data, _MAX_RAW))


def title_of(page: str) -> str:
    """The title of a page; empty without one."""
    found = _TITLE.search(page)
    return printable(found[1], 100) if found else ""


def _without_mark(start: bytes) -> bytes:
    text = start.lstrip()
    return b"" if _BOM.startswith(text) else text.removeprefix(_BOM).lstrip()
