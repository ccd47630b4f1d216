"""
The two content types of a body, and how one is told from the other when none was sent.

AMQP lets a sender leave ``content_type`` out, and several libraries do so by default. What a
message holds is a map or a list, and these begin with other bytes in JSON than in MessagePack.
"""

from __future__ import annotations

from typing import Final

__all__ = ["JSON", "MSGPACK", "recognised"]

MSGPACK: Final = "application/msgpack"
JSON: Final = "application/json"

#: MessagePack reads a byte below this as a whole small integer, which no message is, so that all
#: of them are left for JSON: its brackets, its white space, and what is wrong JSON.
_FIRST_OF_MSGPACK = 0x80
#: Some libraries begin JSON text with it. It is not JSON, and the JSON reader says so.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def recognised(body: bytes) -> str:
    """
    The content type of a body that came without one, by how it begins.

    Args:
        body: The bytes as received; none at all count as MessagePack.
    """
    if not body:
        return MSGPACK
    begins_as_json = body[0] < _FIRST_OF_MSGPACK or body.startswith(_BYTE_ORDER_MARK)
    return JSON if begins_as_json else MSGPACK
