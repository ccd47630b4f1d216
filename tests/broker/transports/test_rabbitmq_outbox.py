"""The outbox: frames leave in order, in few writes, and nothing is left when it closes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from effectmq.broker.transports.rabbitmq.outbox import Outbox

pytestmark = pytest.mark.usefixtures("quiet")


def drained(queue: asyncio.Queue[Any]) -> list[bytes]:
    """What a writer takes from the queue now, one payload each."""
    taken: list[bytes] = []
    while not queue.empty():
        taken.append(queue.get_nowait().payload)
    return taken


async def test_what_is_written_before_the_writer_comes_leaves_together() -> None:
    """A hundred publishes of one turn of the loop are one write."""
    queue: asyncio.Queue[Any] = asyncio.Queue(10)
    outbox = Outbox(queue)

    for number in range(100):
        outbox.write(b"%d," % number)

    assert drained(queue) == [b"".join(b"%d," % number for number in range(100))]


async def test_what_was_taken_is_not_added_to() -> None:
    """The next frames are the next write."""
    queue: asyncio.Queue[Any] = asyncio.Queue(10)
    outbox = Outbox(queue)
    outbox.write(b"1")
    assert drained(queue) == [b"1"]

    outbox.write(b"2")

    assert drained(queue) == [b"2"]


async def test_frames_keep_their_order_when_the_queue_is_full() -> None:
    """The library's own frames may take all places; ours wait, together, and lose nothing."""
    queue: asyncio.Queue[Any] = asyncio.Queue(1)
    outbox = Outbox(queue)
    outbox.write(b"1")
    assert queue.get_nowait().payload == b"1"
    queue.put_nowait(None)

    for text in (b"2", b"3", b"4"):
        outbox.write(text)
        await asyncio.sleep(0)

    assert queue.get_nowait() is None
    assert (await queue.get()).payload == b"234"
    assert queue.empty()


async def test_closing_drops_what_waits_for_a_place() -> None:
    """Nobody takes anything from the queue of a dead connection, and no task waits for it."""
    queue: asyncio.Queue[Any] = asyncio.Queue(1)
    queue.put_nowait(None)
    outbox = Outbox(queue)
    outbox.write(b"1")

    outbox.close()
    outbox.write(b"2")

    await asyncio.sleep(0)
    assert queue.get_nowait() is None
    assert queue.empty()
