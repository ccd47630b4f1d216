"""
The frames of the hot path, written and read by hand.

Every publish has the same few properties, and almost every delivery has. pamqp handles each field
through several calls; at thousands of messages per second that is the larger part of the work.
Messages of another form (properties of a foreign producer, tables in headers) are left to pamqp,
which decides what can be read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache

import pamqp.commands
import pamqp.frame
import pamqp.header

from effectmq.broker.transports.limits import is_own_header
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages.message import HeaderValue, Message

__all__ = [
    "BODY",
    "FRAME_END",
    "HEAD",
    "HEADER",
    "HEARTBEAT",
    "HEARTBEAT_FRAME",
    "METHOD",
    "ack_frame",
    "close_frame",
    "content_frames",
    "publish_frame",
    "read_content",
    "reject_frame",
]

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
#: Type, channel and size of the payload, which one byte follows.
HEAD = struct.Struct(">BHI")
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"

_END = bytes([FRAME_END])
_BASIC = 60
_PERSISTENT = 2
#: Class, weight, size of the body, flags.
_CONTENT = struct.Struct(">HHQH")
_ACK = struct.Struct(">BHIHHQBB")
_ACK_PAYLOAD_BYTES = 13
_METHOD_ACK, _METHOD_REJECT = 80, 90
_LONG = struct.Struct(">I")
_LONG_LONG = struct.Struct(">q")
_TIMESTAMP = struct.Struct(">Q")

# The flags of the properties that we know; all others are left to pamqp.
_CONTENT_TYPE = 1 << 15
_HEADERS = 1 << 13
_DELIVERY_MODE = 1 << 12
_CORRELATION_ID = 1 << 10
_REPLY_TO = 1 << 9
_MESSAGE_ID = 1 << 7
_TIMESTAMP_FLAG = 1 << 6
_TYPE = 1 << 5
_UNUSUAL = 0xFFFF & ~(
    _CONTENT_TYPE
    | _HEADERS
    | _DELIVERY_MODE
    | _CORRELATION_ID
    | _REPLY_TO
    | _MESSAGE_ID
    | _TIMESTAMP_FLAG
    | _TYPE
)

#: pamqp reads a larger timestamp as milliseconds.
_LAST_SECOND = 0xFFFF_FFFF

_TEXT, _BOOL = ord("S"), ord("t")
_INTEGERS = {
    ord(code): struct.Struct(form)
    for code, form in (
        ("b", ">b"),
        ("B", ">B"),
        ("s", ">h"),
        ("u", ">H"),
        ("I", ">i"),
        ("i", ">I"),
        ("l", ">q"),
        ("L", ">q"),
    )
}


#: The broker's count of returns. 3.10 to 4.2 count every return; 4.3 counts those after a lost
#: channel or a rejection. On a message that is not redelivered the sender wrote it.
_RETURNS = "x-delivery-count"


class _UnusualError(Exception):
    """The message is not of the usual form; pamqp reads it."""


# Writing ----------------------------------------------------------------------------------------


def publish_frame(exchange: str, routing_key: str, number: int) -> bytes:
    """
    The method frame of a mandatory publish; it does not depend on the message.

    Raises:
        ConfigurationError: When this cannot be the name of an exchange.
    """
    try:
        frame = pamqp.commands.Basic.Publish(
            exchange=exchange, routing_key=routing_key, mandatory=True
        )
    except ValueError:
        raise ConfigurationError(
            f"the exchange name is {exchange!r}; expected at most 127 letters, digits and "
            "-_.:@#,/+ or blanks"
        ) from None
    return pamqp.frame.marshal(frame, number)


def content_frames(message: Message, message_id: str, number: int, max_bytes: int) -> list[bytes]:
    """
    The frames of a persistent message that follow the method.

    Args:
        message: Within the limits of ``broker.limits``.
        message_id: The message id to send.
        number: The number of the channel.
        max_bytes: How many bytes of the body one frame may carry.
    """
    body = message.body
    properties = _properties(message, message_id, len(body))
    pieces = [HEAD.pack(HEADER, number, len(properties)), properties, _END]
    if len(body) <= max_bytes:
        if body:
            pieces += HEAD.pack(BODY, number, len(body)), body, _END
        return pieces
    for start in range(0, len(body), max_bytes):
        part = body[start : start + max_bytes]
        pieces += HEAD.pack(BODY, number, len(part)), part, _END
    return pieces


def _properties(message: Message, message_id: str, body_size: int) -> bytes:
    flags = _DELIVERY_MODE | _MESSAGE_ID
    # AMQP's order of the properties: by their flags, the highest first.
    parts = [b""]
    if message.content_type:
        flags |= _CONTENT_TYPE
        parts.append(_often(message.content_type))
    if message.headers:
        flags |= _HEADERS
        parts.append(_table(message.headers))
    parts.append(b"\x02")
    if message.correlation_id:
        flags |= _CORRELATION_ID
        parts.append(_short(message.correlation_id))
    if message.reply_to:
        flags |= _REPLY_TO
        parts.append(_often(message.reply_to))
    parts.append(_short(message_id))
    if message.timestamp:
        flags |= _TIMESTAMP_FLAG
        parts.append(_TIMESTAMP.pack(message.timestamp))
    if message.type:
        flags |= _TYPE
        parts.append(_often(message.type))
    parts[0] = _CONTENT.pack(_BASIC, 0, body_size, flags)
    return b"".join(parts)


def _short(text: str) -> bytes:
    data = text.encode()
    return b"%c%b" % (len(data), data)


#: For what many messages have alike.
_often = lru_cache(maxsize=256)(_short)


def _table(headers: Mapping[str, HeaderValue]) -> bytes:
    parts = [b""]
    size = 0
    for name, value in headers.items():
        key = _often(name)
        if isinstance(value, str):
            data = value.encode()
            entry = b"%bS%b%b" % (key, _LONG.pack(len(data)), data)
        elif isinstance(value, bool):
            entry = b"%bt%c" % (key, value)
        else:
            entry = b"%bl%b" % (key, _LONG_LONG.pack(value))
        size += len(entry)
        parts.append(entry)
    parts[0] = _LONG.pack(size)
    return b"".join(parts)


def ack_frame(number: int, tag: int, *, multiple: bool) -> bytes:
    """An acknowledgement, of all up to this tag when ``multiple``."""
    return _ACK.pack(
        METHOD, number, _ACK_PAYLOAD_BYTES, _BASIC, _METHOD_ACK, tag, multiple, FRAME_END
    )


def reject_frame(number: int, tag: int, *, requeue: bool = False) -> bytes:
    """A rejection: to the dead-letter exchange, or with ``requeue`` back to the queue."""
    return _ACK.pack(
        METHOD, number, _ACK_PAYLOAD_BYTES, _BASIC, _METHOD_REJECT, tag, requeue, FRAME_END
    )


def close_frame(number: int, reason: str) -> bytes:
    """The request to close a channel."""
    return pamqp.frame.marshal(pamqp.commands.Channel.Close(200, reason, 0, 0), number)


# Reading ----------------------------------------------------------------------------------------


def read_content(header: bytes, body: bytes) -> Message:
    """
    A message from the payload of its content header, and its body.

    Raises:
        Exception: Of whatever kind, when the header cannot be read.
    """
    try:
        return _read_usual(header, body)
    except (_UnusualError, IndexError, UnicodeDecodeError, struct.error):
        return _read_unusual(header, body)


# Read in one piece: this runs for every delivery.
def _read_usual(data: bytes, body: bytes) -> Message:  # noqa: C901
    _, _, _, flags = _CONTENT.unpack_from(data)
    if flags & _UNUSUAL:
        raise _UnusualError
    at = _CONTENT.size
    content_type = correlation_id = reply_to = message_id = type_ = ""
    headers: dict[str, HeaderValue] = {}
    timestamp = 0
    if flags & _CONTENT_TYPE:
        start, at = at + 1, at + 1 + data[at]
        content_type = data[start:at].decode()
    if flags & _HEADERS:
        start, at = at, at + 4 + _LONG.unpack_from(data, at)[0]
        headers = _read_table(data, start + 4, at)
    if flags & _DELIVERY_MODE:
        at += 1
    if flags & _CORRELATION_ID:
        start, at = at + 1, at + 1 + data[at]
        correlation_id = data[start:at].decode()
    if flags & _REPLY_TO:
        start, at = at + 1, at + 1 + data[at]
        reply_to = data[start:at].decode()
    if flags & _MESSAGE_ID:
        start, at = at + 1, at + 1 + data[at]
        message_id = data[start:at].decode()
    if flags & _TIMESTAMP_FLAG:
        (timestamp,) = _TIMESTAMP.unpack_from(data, at)
        at += 8
        if timestamp > _LAST_SECOND:
            raise _UnusualError
    if flags & _TYPE:
        start, at = at + 1, at + 1 + data[at]
        type_ = data[start:at].decode()
    # A slice beyond the end is silently shorter; the sum of all lengths shows it.
    if at != len(data):
        raise _UnusualError
    return Message(
        body=body,
        content_type=content_type,
        type=type_,
        correlation_id=correlation_id,
        reply_to=reply_to,
        message_id=message_id,
        timestamp=timestamp,
        returns=_returns(headers),
        headers=headers,
    )


def _returns(headers: dict[str, HeaderValue]) -> int:
    """Take the broker's own count out of the headers."""
    value = headers.pop(_RETURNS, 0)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _read_table(data: bytes, at: int, end: int) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    while at < end:
        start, at = at + 1, at + 1 + data[at]
        name = data[start:at].decode()
        kind = data[at]
        at += 1
        value: HeaderValue
        if kind == _TEXT:
            start, at = at + 4, at + 4 + _LONG.unpack_from(data, at)[0]
            value = data[start:at].decode()
        elif kind == _BOOL:
            value = data[at] != 0
            at += 1
        else:
            form = _INTEGERS.get(kind)
            if form is None:
                raise _UnusualError
            (value,) = form.unpack_from(data, at)
            at += form.size
        if name == _RETURNS or is_own_header(name):
            headers[name] = value
    if at != end:
        raise _UnusualError
    return headers


def _read_unusual(header: bytes, body: bytes) -> Message:
    content = pamqp.header.ContentHeader()
    content.unmarshal(header)
    properties = content.properties
    timestamp = properties.timestamp
    headers = _own_headers(properties.headers)
    return Message(
        body=body,
        content_type=properties.content_type or "",
        type=properties.message_type or "",
        correlation_id=properties.correlation_id or "",
        reply_to=properties.reply_to or "",
        message_id=properties.message_id or "",
        timestamp=int(timestamp.timestamp()) if timestamp else 0,
        returns=_returns(headers),
        headers=headers,
    )


def _own_headers(headers: Mapping[str, object] | None) -> dict[str, HeaderValue]:
    # x-death and its like are left out: 3.10 believes the x-death of a client, and would drop a
    # republished message with a copy of it as a cycle.
    if not headers:
        return {}
    return {
        name: value
        for name, value in headers.items()
        if (name == _RETURNS or is_own_header(name)) and isinstance(value, str | int | bool)
    }
