"""Frames by hand: the same to pamqp, in both directions, as those that pamqp makes itself."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import pamqp.commands
import pamqp.frame
import pamqp.header
import pytest

from effectmq.broker.transports.rabbitmq.driver.frames import (
    ack_frame,
    content_frames,
    publish_frame,
    read_content,
    reject_frame,
)
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages.message import Message

FULL = Message(
    body=b"body",
    content_type="application/json",
    type="effect.envelope.v1",
    correlation_id="1:call-\N{SNOWMAN}",
    reply_to="effects.reply.x",
    message_id="m-1",
    timestamp=1_700_000_000,
    headers={
        "effect-hash": "a" * 300,
        "effect-attempt": 3,
        "effect-deadline": 2**63 - 1,
        "effect-low": -(2**63),
        "effect-flag": True,
        "effect-no": False,
        "traceparent": "\N{SNOWMAN}",
    },
)
BARE = Message(body=b"", content_type="", message_id="m-2")


def payload(frame: bytes) -> bytes:
    """What is between the frame's head and its end."""
    return frame[7:-1]


def theirs(**properties: Any) -> bytes:
    """A content header as pamqp writes it, without its frame."""
    header = pamqp.header.ContentHeader(
        body_size=4, properties=pamqp.commands.Basic.Properties(**properties)
    )
    return payload(pamqp.frame.marshal(header, 1))


def frames_of(data: bytes) -> list[Any]:
    """What pamqp reads from the frames of one channel."""
    found: list[Any] = []
    while data:
        size, number, frame = pamqp.frame.unmarshal(data)
        assert number == 7
        found.append(frame)
        data = data[size:]
    return found


@pytest.mark.parametrize("message", [FULL, BARE])
def test_what_is_written_pamqp_reads_as_it_was_meant(message: Message) -> None:
    """Every property and header, persistent, with the message id that was chosen."""
    header, *body = frames_of(b"".join(content_frames(message, message.message_id, 7, 1_000)))

    properties = header.properties
    assert header.body_size == len(message.body)
    assert b"".join(part.value for part in body) == message.body
    assert properties.delivery_mode == 2
    assert properties.message_id == message.message_id
    assert (properties.content_type or "") == message.content_type
    assert (properties.message_type or "") == message.type
    assert (properties.correlation_id or "") == message.correlation_id
    assert (properties.reply_to or "") == message.reply_to
    assert (properties.headers or {}) == message.headers
    time = properties.timestamp
    assert (time.timestamp() if time else 0) == message.timestamp


@pytest.mark.parametrize(("size", "parts"), [(0, 0), (1, 1), (10, 1), (11, 2), (30, 3), (31, 4)])
def test_a_body_is_cut_into_frames_of_the_agreed_size(size: int, parts: int) -> None:
    """The last one holds the rest, and an empty body has none."""
    body = bytes(range(size))

    _, *found = frames_of(b"".join(content_frames(Message(body=body), "m", 7, 10)))

    assert [len(part.value) <= 10 for part in found] == [True] * parts
    assert b"".join(part.value for part in found) == body


def test_methods_are_those_of_pamqp() -> None:
    """Byte for byte."""
    ack, reject = pamqp.commands.Basic.Ack, pamqp.commands.Basic.Reject
    publish = pamqp.commands.Basic.Publish(exchange="e", routing_key="k", mandatory=True)

    for multiple in (False, True):
        expected = pamqp.frame.marshal(ack(2**40, multiple), 7)
        assert ack_frame(7, 2**40, multiple=multiple) == expected
    assert reject_frame(7, 5) == pamqp.frame.marshal(reject(5, requeue=False), 7)
    assert publish_frame("e", "k", 7) == pamqp.frame.marshal(publish, 7)
    with pytest.raises(ConfigurationError, match="exchange name"):
        publish_frame("a name?", "k", 7)


@pytest.mark.parametrize("message", [FULL, BARE])
def test_what_was_written_is_read_back(message: Message) -> None:
    """Nothing is lost on the way through our own two ends."""
    pieces = content_frames(message, message.message_id, 7, 1_000)

    assert read_content(pieces[1], message.body) == message


def test_what_pamqp_writes_is_read_as_pamqp_reads_it() -> None:
    """It writes each integer in its shortest form."""
    numbers = (0, -1, 127, -128, 128, -129, 2**15, -(2**15) - 1, 2**16, 2**31, 2**32, -(2**63))
    headers = {f"effect-{number}": number for number in numbers}
    header = theirs(
        headers={**headers, "effect-t": True},
        content_type="c",
        timestamp=datetime.fromtimestamp(2**32 - 1, UTC),
    )

    assert read_content(header, b"body") == Message(
        body=b"body",
        content_type="c",
        timestamp=2**32 - 1,
        headers={**headers, "effect-t": True},
    )


def test_properties_and_tables_of_strangers_are_read_too() -> None:
    """They are not shown, and what is ours beside them is."""
    header = theirs(
        content_type="c",
        content_encoding="gzip",
        priority=3,
        user_id="guest",
        app_id="other",
        expiration="1000",
        timestamp=datetime.fromtimestamp(1_700_000_000, UTC),
        headers={
            "x-death": [{"count": 1, "reason": "expired", "time": datetime.now(UTC)}],
            "effect-table": {"a": 1},
            "effect-attempt": 2,
            "x-count": 9,
            "x-other": "text",
        },
    )

    message = read_content(header, b"body")

    assert message.headers == {"effect-attempt": 2}
    assert (message.content_type, message.timestamp) == ("c", 1_700_000_000)


def test_text_that_is_none_is_left_out_where_pamqp_leaves_it_bytes() -> None:
    """A header may hold any bytes; a property may not."""
    bad = b"\x00\x3c" + bytes(2) + struct.pack(">QH", 4, 1 << 13)
    bad += struct.pack(">I", 14) + b"\x08effect-xS" + struct.pack(">I", 0)
    assert read_content(bad, b"body").headers == {"effect-x": ""}

    bad = bad[:14] + struct.pack(">I", 15) + b"\x08effect-xS" + struct.pack(">I", 1) + b"\xff"
    assert read_content(bad, b"body").headers == {}


@pytest.mark.parametrize("length", range(len(theirs(content_type="ct", reply_to="rt"))))
def test_a_header_that_was_cut_off_is_never_taken_for_a_whole_one(length: int) -> None:
    """Whatever pamqp makes of it is what is made of it."""
    whole = theirs(content_type="ct", reply_to="rt")
    cut = whole[:length]
    try:
        expected = pamqp.header.ContentHeader()
        expected.unmarshal(cut)
    except (ValueError, struct.error):
        with pytest.raises((ValueError, struct.error)):
            read_content(cut, b"body")
    else:
        properties = expected.properties
        found = read_content(cut, b"body")
        assert found.content_type == (properties.content_type or "")
        assert found.reply_to == (properties.reply_to or "")
