"""
The messages of a line to an MCP server: reading them, and marking errors. Pure.

The library tells failures apart by numbers and texts, and a server may send any number and any
text. So each error for the library gets a seal: a member of its ``data``, under a name that no
server knows, which says where the error came from. An error without a seal is the library's own.
"""

from __future__ import annotations

import math
import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic_core import from_json

from effectmq.protocol.encoding.narrowing import is_array, is_object, members_of, objects_of
from effectmq.protocol.text import printable

__all__ = [
    "MAX_MESSAGE_BYTES",
    "Seal",
    "Trouble",
    "UnreadableMessageError",
    "read_messages",
    "same",
]

#: The longest message that is read; 16 MiB is twice the limit of an effect on the wire.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

Origin = Literal["answer", "lost", "not_called", "unreadable", "http"]

_INTERNAL_ERROR = -32603


class UnreadableMessageError(Exception):
    """
    A message cannot be read.

    Args:
        reason: A phrase without secrets of the message.
        id_: The id of the call that it answers, if it can be found.
    """

    def __init__(self, reason: str, id_: str | int | None = None) -> None:
        self.reason = reason
        self.id = id_
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    Why a call has no result.

    Attributes:
        origin: ``answer``: the server said so. ``lost``: it is unknown how far the call came.
            ``not_called``: nothing was called. ``unreadable``: the answer cannot be read. ``http``:
            an HTTP status said so.
        reason: The server's words for ``answer`` and ``http``, else a phrase.
        status: The HTTP status; 0 for none.
        after_s: The wait that the server asked for, in seconds.
        in_session: Whether the call named a session.
    """

    origin: Origin
    reason: str
    status: int = 0
    after_s: float | None = None
    in_session: bool = False


@dataclass(frozen=True, slots=True)
class Seal:
    """
    Marks the members that this worker adds to the messages of one connection.

    Attributes:
        name: The name of the member; a server cannot know it.
    """

    name: str = field(default_factory=lambda: f"effectmq-{secrets.token_hex(8)}")

    def error(self, trouble: Trouble, error: object = None) -> dict[str, Any]:
        """
        The error of a message, with a seal.

        Args:
            trouble: The content of the seal.
            error: The server's own error, whose code and data are kept for the library to read.
        """
        own = members_of(error)
        code = own.get("code", _INTERNAL_ERROR)
        told = {name: getattr(trouble, name) for name in Trouble.__slots__}
        return {
            "code": code if isinstance(code, int) else _INTERNAL_ERROR,
            "message": trouble.reason,
            "data": {**members_of(own.get("data")), self.name: told},
        }

    def opened(self, data: object) -> Trouble | None:
        """The content of the seal in the data of an error; ``None`` without a seal of ours."""
        found = members_of(data).get(self.name)
        if not is_object(found):
            return None
        # No server knows the name of the member, so this content is ours.
        told: dict[str, Any] = found
        return Trouble(**told)


def read_messages(text: bytes) -> list[dict[str, Any]]:
    """
    The messages of one line, one body or one event; several when they are a batch.

    Raises:
        UnreadableMessageError: When it is not JSON, or not JSON-RPC.
    """
    if len(text) > MAX_MESSAGE_BYTES:
        raise UnreadableMessageError(
            f"it is larger than {MAX_MESSAGE_BYTES // 1024**2} MiB", _id_in(text)
        )
    text = text.removeprefix(b"\xef\xbb\xbf")
    try:
        found: object = from_json(text, allow_inf_nan=False)
    except ValueError:
        raise UnreadableMessageError(_why(text), _id_in(text)) from None
    given = found if is_array(found) else [found]
    messages = objects_of(given)
    if not messages or len(messages) < len(given):
        raise UnreadableMessageError(
            "it is JSON, but not a JSON-RPC message: "
            + printable(text[:60].decode(errors="replace"))
        )
    if not _finite(messages):
        raise UnreadableMessageError("it holds a number that is too large to be one", _id_in(text))
    return messages


def same(one: object, other: object) -> bool:
    """Whether two ids are the same; some servers turn numbers into texts."""
    return str(one) == str(other) and not isinstance(one, bool) and one is not None


def _why(text: bytes) -> str:
    try:
        text.decode()
    except UnicodeDecodeError as problem:
        return f"it is not UTF-8: byte {problem.start} is 0x{text[problem.start]:02x}"
    try:
        from_json(text, allow_inf_nan=True)
    except ValueError as problem:
        return f"it is not JSON: {printable(str(problem), 100)}"
    return "it holds NaN or Infinity, which JSON does not have"


_ID = re.compile(rb'"id"\s*:\s*(?:(\d{1,18})|"([^"\\]{1,100})")')
_EDGE_BYTES = 4_096


def _id_in(text: bytes) -> str | int | None:
    """The id in a text that is no JSON; looked for at its edges, where the message's own id is."""
    for part in (text[:_EDGE_BYTES], text[-_EDGE_BYTES:]):
        found = _ID.search(part)
        if found:
            return int(found[1]) if found[1] else found[2].decode(errors="replace")
    return None


def _finite(value: object) -> bool:
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, float) and not math.isfinite(one):
            return False
        if is_object(one):
            rest += one.values()
        elif is_array(one):
            rest += one
    return True
