"""
Bodies that are kept out of line: a message whose body is in the attachment store (claim check).

Such a message is unchanged, except that its body is empty and the header ``effect-body`` names the
body by its content: ``sha256:<64 hex digits>;<bytes>``. The header is kept when an effect is
published again, so that delays, dead letters and replays work on the small message. On a request,
``effect-out-of-line`` says that its sender can fetch an answer that is kept out of line; without
it, no answer is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from effectmq.protocol.encoding.canonical import sha256_hex
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import Message
from effectmq.protocol.text import printable

__all__ = [
    "BodyReference",
    "accepts_out_of_line",
    "body_reference",
    "known_body",
    "refuse_reference",
    "with_body",
    "with_reference",
]

_FORM = "sha256:<64 lowercase hex digits>;<bytes>"
#: ASCII digits only, and not more than a 64-bit integer has.
_REFERENCE = re.compile(r"sha256:([0-9a-f]{64});([1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True)
class BodyReference:
    """
    The hash and the size of a body.

    Attributes:
        sha256: SHA-256 of its bytes, 64 lowercase hex digits; its id in the store.
        size_bytes: Its length, at least 1.
    """

    sha256: str
    size_bytes: int

    @property
    def header(self) -> str:
        """The value of the header ``effect-body``."""
        return f"sha256:{self.sha256};{self.size_bytes}"


def body_reference(message: Message) -> BodyReference | None:
    """
    The reference to a message's body; ``None`` when the body is in the message.

    Raises:
        MalformedError: When the header has another form, or when there is a body as well.
    """
    if names.BODY not in message.headers:
        return None
    given = names.text(message.headers, names.BODY)
    found = _REFERENCE.fullmatch(given)
    if found is None:
        raise MalformedError(names.BODY, f"found {printable(given, 100)!r}, expected {_FORM}")
    if message.body:
        raise MalformedError(
            names.BODY,
            f"found a body of {len(message.body)} bytes beside the reference to one, expected none",
        )
    return BodyReference(found[1], int(found[2]))


def refuse_reference(message: Message) -> None:
    """
    Refuse to read a message whose body was not fetched.

    Raises:
        MalformedError: When its body is kept out of line, or its header says so wrongly.
    """
    if body_reference(message) is not None:
        raise MalformedError(
            names.BODY,
            "the body is kept out of line and there is no attachment store here; set "
            "EFFECTMQ_ATTACHMENTS to the store of the sender",
        )


def accepts_out_of_line(message: Message) -> bool:
    """
    Whether the sender of a request can take an answer that is kept out of line.

    Raises:
        MalformedError: When the header is not a boolean.
    """
    value = message.headers.get(names.OUT_OF_LINE, False)
    if not isinstance(value, bool):
        raise MalformedError(names.OUT_OF_LINE, "expected true or false")
    return value


def with_reference(message: Message, reference: BodyReference) -> Message:
    """The message without its body, to be published."""
    return replace(message, body=b"", headers={**message.headers, names.BODY: reference.header})


def with_body(message: Message, body: bytes) -> Message:
    """The message with its fetched body, to be read."""
    headers = {name: value for name, value in message.headers.items() if name != names.BODY}
    return replace(message, body=body, headers=headers)


def known_body(message: Message) -> tuple[str, int]:
    """
    SHA-256 and size in bytes of a message's body, in the message or out of line; never raises.
    """
    try:
        reference = body_reference(message)
    except MalformedError:
        reference = None
    if reference is not None:
        return reference.sha256, reference.size_bytes
    return sha256_hex(message.body), len(message.body)
