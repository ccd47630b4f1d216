"""
Takes the frames of the hot path out of what arrives on a connection.

It is between the socket's bytes and the library's reader. Confirmations, returns and deliveries of
channels with a listener go to the listener in the same turn of the loop; everything else is passed
on unchanged, in order.

A fault of the framing is passed on as well, and so is the end: the library then closes the
connection as it always does. Content that cannot be read is answered with a frame that no reader
accepts, which has the same effect. Nothing after a fault is read.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Protocol

from effectmq.broker.transports.rabbitmq.driver.frames import (
    BODY,
    FRAME_END,
    HEAD,
    HEADER,
    HEARTBEAT,
    HEARTBEAT_FRAME,
    METHOD,
    read_content,
)
from effectmq.protocol.messages.message import Message

__all__ = ["Listener", "Tap"]

_KINDS = (METHOD, HEADER, BODY, HEARTBEAT)
_DELIVER, _ACK, _NACK, _RETURN = (
    b"\x00\x3c\x00\x3c",
    b"\x00\x3c\x00\x50",
    b"\x00\x3c\x00\x78",
    b"\x00\x3c\x00\x32",
)
_CONNECTION_CLOSE = b"\x00\x0a\x00\x32"
#: Tag, and a byte of flags.
_TAG = struct.Struct(">QB")
#: The position of the body's length in a content header.
_BODY_SIZE = struct.Struct(">4xQ")
#: A frame of a type that does not exist.
_POISON = b"\x00" * 8
#: How often the library is told that the connection is alive, when all data goes past it.
_SIGN_OF_LIFE_S = 1.0


class Listener(Protocol):
    """The listener of a channel, which is called at once."""

    def confirmed(self, tag: int, *, multiple: bool, taken: bool) -> None:
        """The broker has answered a publish; with ``multiple`` all up to this one."""
        ...

    def returned(self, message: Message) -> None:
        """No queue takes a message that was published; its confirmation comes nevertheless."""
        ...

    def delivered(self, tag: int, routing_key: str, redelivered: bool, message: Message) -> None:
        """A message has arrived."""
        ...


class Tap:
    """
    Between the socket and the library's reader; takes out the frames of listeners.

    Args:
        reader: The library's reader; all its data goes through here from now on.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._loop = asyncio.get_running_loop()
        self._pass_on: Callable[[bytes], None] = reader.feed_data
        self._pass_end: Callable[[], None] = reader.feed_eof
        # The protocol that owns the socket calls these by name.
        library: Any = reader
        library.feed_data = self._feed
        library.feed_eof = self._end
        self._rest: bytes = b""
        self._ears: dict[int, _Ear] = {}
        self._transparent = False
        #: When bytes last arrived, on the loop's clock.
        self.heard = self._loop.time()
        self._told = 0.0
        self._half_since = self.heard
        #: The frame with which the broker closed the connection, if it has.
        self.last_words: bytes = b""

    def listen(self, number: int, listener: Listener) -> None:
        """Send the frames of a channel to a listener from now on."""
        self._ears[number] = _Ear(listener)

    def leave(self, number: int, listener: Listener) -> None:
        """Stop, unless there is a newer listener: numbers are used again."""
        ear = self._ears.get(number)
        if ear is not None and ear.listener is listener:
            del self._ears[number]

    # In one piece: this runs for every part of every frame.
    def _feed(self, data: bytes) -> None:  # noqa: C901
        self.heard = self._loop.time()
        if self._transparent:
            self._pass_on(data)
            return
        if self._rest:
            data = self._rest + data
        heard = False
        at = kept = 0
        while len(data) - at > HEAD.size:
            kind, number, length = HEAD.unpack_from(data, at)
            end = at + HEAD.size + length + 1
            if kind not in _KINDS or (end <= len(data) and data[end - 1] != FRAME_END):
                self._transparent, at = True, len(data)
                break
            if end > len(data):
                break
            ear = self._ears.get(number)
            if ear is not None:
                try:
                    taken = ear.take(kind, data, at + HEAD.size, end - 1)
                except Exception:
                    # Any error: this content is no message.
                    self._refuse(data[kept:at])
                    return
                if taken:
                    heard = True
                    if kept < at:
                        self._pass_on(data[kept:at])
                    kept = end
            elif number == 0 and data.startswith(_CONNECTION_CLOSE, at + HEAD.size):
                self.last_words = data[at:end]
            at = end
        if kept < at:
            self._pass_on(data[kept:at])
        self._rest = data[at:]
        if at:
            self._half_since = self.heard
        # Half a frame also shows life: a large one may take minutes on a slow line.
        late = self._rest and self._ears and self.heard - self._half_since > _SIGN_OF_LIFE_S
        told_lately = self.heard - self._told <= _SIGN_OF_LIFE_S
        if (heard or late) and not told_lately and not self._transparent:
            # It keeps the library from closing a connection on which it sees no data.
            self._told = self.heard
            self._pass_on(HEARTBEAT_FRAME)

    def _refuse(self, before: bytes) -> None:
        self._rest, self._transparent = b"", True
        self._ears.clear()
        self._pass_on(before + _POISON)

    def _end(self) -> None:
        if self._rest:
            self._pass_on(self._rest)
            self._rest = b""
        self._pass_end()


class _Ear:
    """One channel: its listener, and the content that is being received."""

    __slots__ = ("_body", "_header", "_method", "_missing", "listener")

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self._method = b""
        self._header = b""
        self._body: list[bytes] = []
        self._missing = 0

    def take(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """
        Take the payload of a frame, if it is for the listener.

        Raises:
            Exception: Of any kind, when it cannot be read.
        """
        if kind == METHOD:
            return self._take_method(data, start, end)
        if not self._method:
            return False
        if kind == HEADER:
            self._header = data[start:end]
            (self._missing,) = _BODY_SIZE.unpack_from(self._header)
        else:
            self._body.append(data[start:end])
            self._missing -= end - start
        if self._missing <= 0:
            self._complete()
        return True

    def _take_method(self, data: bytes, start: int, end: int) -> bool:
        if self._method:
            raise ValueError("a method in the middle of a message")
        method = data[start : start + 4]
        if method in (_ACK, _NACK):
            tag, flags = _TAG.unpack_from(data, start + 4)
            self.listener.confirmed(tag, multiple=bool(flags & 1), taken=method == _ACK)
            return True
        if method in (_DELIVER, _RETURN):
            self._method = data[start:end]
            return True
        return False

    def _complete(self) -> None:
        method, header, body = self._method, self._header, self._body
        if self._missing or not header:
            raise ValueError("a message that is longer than it says")
        self._method = self._header = b""
        self._body = []
        message = read_content(header, body[0] if len(body) == 1 else b"".join(body))
        if method.startswith(_RETURN):
            self.listener.returned(message)
            return
        # Consumer tag, delivery tag, flags, exchange, routing key.
        at = 5 + method[4]
        tag, flags = _TAG.unpack_from(method, at)
        at += _TAG.size
        at += 1 + method[at]
        routing_key = method[at + 1 : at + 1 + method[at]].decode()
        self.listener.delivered(tag, routing_key, bool(flags & 1), message)
