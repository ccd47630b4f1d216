"""
The limits of a message, checked before it is sent.

The broker and its client answer a message that is too large by closing the channel or connection,
and every other publish in flight is lost with it; pamqp truncates long header names and writes
floats in 32 bits. So both adapters call ``check_message`` first, and refuse the same messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from effectmq.protocol.errors import ConfigurationError, PayloadTooLargeError
from effectmq.protocol.messages.headers import TRACEPARENT, TRACESTATE
from effectmq.protocol.messages.message import HeaderValue, Message

__all__ = ["MAX_HEADERS_BYTES", "check_message", "check_routing_key", "is_own_header"]

#: The size of all headers together in AMQP. The broker's own limit is one frame (128 KiB), and it
#: closes the connection beyond that.
MAX_HEADERS_BYTES = 8 * 1024

# AMQP 0-9-1: short strings (properties, routing keys) have a length of one byte.
_MAX_SHORT_STRING_BYTES = 255

# pamqp cuts longer header names, and only logs that.
_MAX_HEADER_NAME_BYTES = 128

# The last second of year 9999: the client turns timestamps into ``datetime``.
_MAX_TIMESTAMP = 253_402_300_799

_SHORT_STRINGS = ("content_type", "type", "correlation_id", "reply_to", "message_id")


def check_message(message: Message, max_body_bytes: int) -> None:
    """
    Refuse a message that the broker would refuse or change.

    Args:
        message: The message to publish.
        max_body_bytes: The body's limit, in bytes.

    Raises:
        PayloadTooLargeError: The body, the headers or a property is too large.
        ConfigurationError: A header or the timestamp has a type that cannot be sent.
    """
    if len(message.body) > max_body_bytes:
        raise PayloadTooLargeError("the body", len(message.body), max_body_bytes)
    # All of them together are short in nearly every message, which one look shows.
    if not _is_surely_short(
        message.content_type
        + message.type
        + message.correlation_id
        + message.reply_to
        + message.message_id
    ):
        for name in _SHORT_STRINGS:
            _check_short_string(f"the property {name}", getattr(message, name))
    if not 0 <= message.timestamp <= _MAX_TIMESTAMP:
        raise ConfigurationError(
            f"the timestamp is {message.timestamp}; expected seconds since 1970, before year 10000"
        )
    if message.headers:
        size = _headers_size(message.headers)
        if size > MAX_HEADERS_BYTES:
            raise PayloadTooLargeError("the headers", size, MAX_HEADERS_BYTES)


def check_routing_key(routing_key: str) -> None:
    """
    Refuse a routing key that cannot be sent.

    Raises:
        PayloadTooLargeError: It has more than 255 bytes.
        ConfigurationError: It is not text that UTF-8 can write.
    """
    if not _is_surely_short(routing_key):
        _check_short_string("the routing key", routing_key)


def is_own_header(name: str) -> bool:
    """
    Whether a header belongs to effectmq; others are neither sent nor shown.

    RabbitMQ adds its own headers to a message that it dead-letters. RabbitMQ 3.10 trusts an
    ``x-death`` that comes back with a publish, takes it for a cycle, and drops the message.
    """
    return name in (TRACEPARENT, TRACESTATE) or name.startswith("effect-")


def _is_surely_short(text: str) -> bool:
    return len(text) <= _MAX_SHORT_STRING_BYTES and text.isascii()


def _check_short_string(what: str, text: str) -> None:
    size = len(_utf8(what, text))
    if size > _MAX_SHORT_STRING_BYTES:
        raise PayloadTooLargeError(what, size, _MAX_SHORT_STRING_BYTES)


def _headers_size(headers: Mapping[str, HeaderValue]) -> int:
    """The headers' size in bytes, as an AMQP table."""
    size = 0
    for name, value in headers.items():
        size += 2 + _name_size(name)
        # Most values are plain text, and need no call.
        if type(value) is str and value.isascii():
            size += 4 + len(value)
        else:
            size += _value_size(name, value)
    return size


@lru_cache(maxsize=100)
def _name_size(name: str) -> int:
    if not is_own_header(name):
        raise ConfigurationError(
            f"the header {name!r} is unknown and would not arrive; expected a name that starts "
            f"with 'effect-', {TRACEPARENT!r} or {TRACESTATE!r}"
        )
    size = len(_utf8("a header name", name))
    if size > _MAX_HEADER_NAME_BYTES:
        raise ConfigurationError(
            f"the header name {name!r} has {size} bytes; expected at most {_MAX_HEADER_NAME_BYTES}"
        )
    return size


def _value_size(name: str, value: object) -> int:
    """The size of one value; ``object``, because callers do not always type-check."""
    if isinstance(value, bool):
        return 1
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ConfigurationError(
                f"the header {name!r} is {value}; expected an integer of 64 bits with sign"
            )
        return 8
    if isinstance(value, str):
        return 4 + len(_utf8(f"the header {name!r}", value))
    raise ConfigurationError(
        f"the header {name!r} is of type {type(value).__name__}; expected str, int or bool"
    )


def _utf8(what: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"{what} has a lone surrogate at position {error.start}; expected text that UTF-8 "
            "can write"
        ) from None
