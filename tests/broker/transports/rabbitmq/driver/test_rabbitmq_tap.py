"""The tap: what is ours is heard, the rest passes unchanged, and a fault ends it all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pamqp.body
import pamqp.commands
import pamqp.frame
import pamqp.header
import pamqp.heartbeat
import pytest

from effectmq.broker.transports.rabbitmq.driver.tap import Tap
from effectmq.protocol.messages.message import Message

OURS, OTHER = 1, 2
basic = pamqp.commands.Basic


def frame(value: Any, number: int = OURS) -> bytes:
    """One frame, as a broker sends it."""
    return pamqp.frame.marshal(value, number)


def content(method: Any, body: bytes, *, number: int = OURS, step: int = 4) -> bytes:
    """A method with a message behind it, its body in several frames."""
    header = pamqp.header.ContentHeader(
        body_size=len(body), properties=basic.Properties(message_id="m", content_type="c")
    )
    parts = [
        frame(pamqp.body.ContentBody(body[start : start + step]), number)
        for start in range(0, len(body), step)
    ]
    return frame(method, number) + frame(header, number) + b"".join(parts)


def delivery(body: bytes, tag: int, *, number: int = OURS, redelivered: bool = False) -> bytes:
    """A message that arrives."""
    return content(basic.Deliver("ctag", tag, redelivered, "ex", "key"), body, number=number)


@dataclass
class Ear:
    """Notes what it hears."""

    heard: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])

    def confirmed(self, tag: int, *, multiple: bool, taken: bool) -> None:
        """See ``Listener``."""
        self.heard.append((tag, multiple, taken))

    def returned(self, message: Message) -> None:
        """See ``Listener``."""
        self.heard.append((message.message_id,))

    def delivered(self, tag: int, routing_key: str, redelivered: bool, message: Message) -> None:
        """See ``Listener``."""
        self.heard.append((tag, routing_key, redelivered, message.body))


class Line:
    """A library's reader with a tap, and a listener on one channel."""

    def __init__(self) -> None:
        self.passed = b""
        self.ended = False
        self.reader = asyncio.StreamReader()
        self.reader.feed_data = self._pass  # type: ignore[method-assign, assignment]
        self.reader.feed_eof = self._end  # type: ignore[method-assign]
        self.tap = Tap(self.reader)
        self.ear = Ear()
        self.tap.listen(OURS, self.ear)

    def _pass(self, data: bytes) -> None:
        self.passed += data

    def _end(self) -> None:
        self.ended = True

    def feed(self, data: bytes, step: int | None = None) -> None:
        """What the socket reads, in pieces of this many bytes."""
        step = step or len(data)
        for start in range(0, len(data), step):
            self.reader.feed_data(data[start : start + step])

    @property
    def frames(self) -> list[str]:
        """What the library sees, without the signs of life."""
        names: list[str] = []
        data = self.passed
        while data:
            size, _, found = pamqp.frame.unmarshal(data)
            names.append(found.name)
            data = data[size:]
        return [name for name in names if name != pamqp.heartbeat.Heartbeat.name]


MIXED = (
    frame(pamqp.commands.Channel.OpenOk())
    + frame(basic.Ack(1, False))
    + delivery(b"for somebody else", 9, number=OTHER)
    + delivery(b"", 1)
    + frame(basic.Ack(7, True))
    + delivery(b"four", 2, redelivered=True)
    + delivery(b"in several pieces", 2**40)
    + frame(basic.Nack(8, True))
    + content(basic.Return(312, "NO_ROUTE", "ex", "key"), b"returned")
    + frame(basic.Ack(9, False))
    + frame(basic.CancelOk("ctag"))
)


@pytest.mark.parametrize("step", [None, 1, 2, 7, 8, 64])
async def test_ours_is_heard_and_the_rest_passes_in_order_however_it_is_cut(
    step: int | None,
) -> None:
    """A socket reads as many bytes as there are, not frames."""
    line = Line()

    line.feed(MIXED, step)

    assert line.ear.heard == [
        (1, False, True),
        (1, "key", False, b""),
        (7, True, True),
        (2, "key", True, b"four"),
        (2**40, "key", False, b"in several pieces"),
        (8, True, False),
        ("m",),
        (9, False, True),
    ]
    assert line.frames == [
        "Channel.OpenOk",
        "Basic.Deliver",
        "ContentHeader",
        *["ContentBody"] * 5,
        "Basic.CancelOk",
    ]


async def test_the_library_is_told_that_the_line_lives() -> None:
    """It would hang up on a line that carries nothing but what is ours."""
    line = Line()

    line.feed(frame(basic.Ack(1, False)))
    line.feed(frame(basic.Ack(2, False)))

    assert line.passed == frame(pamqp.heartbeat.Heartbeat(), 0)


async def test_who_leaves_hears_no_more_unless_the_number_is_somebody_elses() -> None:
    """Channel numbers are used again, at times before the old channel has noticed its end."""
    line, successor = Line(), Ear()
    line.tap.listen(OURS, successor)
    line.tap.leave(OURS, line.ear)
    line.feed(frame(basic.Ack(1, False)))
    line.tap.leave(OURS, successor)
    line.feed(frame(basic.Ack(2, False)))

    assert line.ear.heard == []
    assert successor.heard == [(1, False, True)]
    assert line.frames == ["Basic.Ack"]


async def test_what_is_no_frame_passes_as_it_is() -> None:
    """Another server, an older protocol: the library knows what to say."""
    for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"AMQP\x00\x00\x09\x01", b"\x15\x03\x01"):
        line = Line()
        line.feed(answer)
        line.reader.feed_eof()

        assert line.passed == answer
        assert line.ended


async def test_a_frame_with_a_wrong_end_is_passed_on_and_nothing_behind_it_is_heard() -> None:
    """What follows a fault means nothing."""
    line = Line()
    wrong = frame(basic.Ack(2, False))[:-1] + b"\x00"
    behind = frame(basic.Ack(3, False))

    line.feed(frame(basic.Ack(1, False)) + wrong + behind)
    line.feed(behind)

    assert line.ear.heard == [(1, False, True)]
    assert line.passed.endswith(wrong + behind + behind)


async def test_half_a_frame_at_the_end_is_passed_on() -> None:
    """The library says how many bytes were missing."""
    line = Line()
    half = frame(basic.Ack(1, False))[:-3]

    line.feed(half)
    assert line.passed == b""
    line.reader.feed_eof()

    assert (line.passed, line.ended) == (half, True)


UNREADABLE = {
    "a body that is longer than its header says": delivery(b"12345678", 1)[:-12]
    + frame(pamqp.body.ContentBody(b"123456")),
    "a body without a header": frame(basic.Deliver("c", 1, False, "", "k"))
    + frame(pamqp.body.ContentBody(b"1")),
    "a method in the middle of a message": frame(basic.Deliver("c", 1, False, "", "k"))
    + frame(basic.Ack(1, False)),
    "a header that is cut off": frame(basic.Deliver("c", 1, False, "", "k"))
    + b"\x02\x00\x01\x00\x00\x00\x04\x00\x3c\x00\x00\xce",
    "a confirmation that is cut off": b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x00\x50\xce",
}


@pytest.mark.parametrize("what", UNREADABLE)
async def test_content_that_cannot_be_read_is_heard_by_nobody_and_ends_the_line(what: str) -> None:
    """The library gets something that it cannot read either, and gives the connection up."""
    line = Line()

    line.feed(frame(pamqp.commands.Channel.OpenOk()) + UNREADABLE[what])
    line.feed(frame(basic.Ack(1, False)))

    assert line.ear.heard == []
    opened, _, _ = pamqp.frame.unmarshal(line.passed)
    with pytest.raises(pamqp.exceptions.UnmarshalingException):
        pamqp.frame.unmarshal(line.passed[opened:])


async def test_the_words_with_which_the_broker_hangs_up_are_kept() -> None:
    """The library does not tell those of the greeting."""
    line = Line()
    goodbye = frame(pamqp.commands.Connection.Close(530, "no such vhost", 0, 0), 0)

    line.feed(goodbye, 5)

    assert line.tap.last_words == goodbye
    assert line.passed == goodbye
