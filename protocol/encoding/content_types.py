"""
The two content types of a body, and how to recognise one when none was sent.

AMQP allows a sender to leave ``content_type`` out, and several libraries do so by default. The body
of a message is a map or a list, and these begin with different bytes in JSON and in MessagePack.
"""

from __future__ import annotations

from typing import Final

__all__ = ["JSON", "MSGPACK", "recognised"]

MSGPACK: Final = "application/msgpack"
JSON: Final = "application/json"

#: MessagePack reads a lower byte as a small integer, which no message is. So lower bytes mean JSON:
#: its brackets, its white space, and invalid JSON.
_FIRST_OF_MSGPACK = 0x80
#: Some libraries put it before JSON text. It is not JSON, and the JSON reader reports it.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def recognised(body: bytes) -> str:
    """
    The content type of a body that came without one, by its first byte.

    Args:
        body: The received bytes; an empty body counts as MessagePack.
    """
    if not body:
        return MSGPACK
    begins_as_json = body[0] < _FIRST_OF_MSGPACK or body.startswith(_BYTE_ORDER_MARK)
    return JSON if begins_as_json else MSGPACK
