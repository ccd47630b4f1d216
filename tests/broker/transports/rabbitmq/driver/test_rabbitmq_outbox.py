"""The outbox: frames leave in order, in few writes, and nothing is left when it closes."""

from __future__ import annotations

import asyncio

import pytest

from effectmq.broker.transports.rabbitmq.driver.outbox import Outbox

pytestmark = pytest.mark.usefixtures("quiet")


async def test_what_is_written_in_one_turn_leaves_together() -> None:
    """A hundred publishes of one turn of the loop are one write."""
    written: list[bytes] = []
    outbox = Outbox(written.append)

    for number in range(100):
        outbox.write(b"%d" % number, b",")
    assert written == []
    await asyncio.sleep(0)

    assert written == [b"".join(b"%d," % number for number in range(100))]


async def test_the_next_turn_is_the_next_write() -> None:
    """And a turn without frames is none."""
    written: list[bytes] = []
    outbox = Outbox(written.append)
    for text in (b"1", b"", b"2"):
        if text:
            outbox.write(text)
        await asyncio.sleep(0)

    assert written == [b"1", b"2"]


async def test_what_must_not_be_overtaken_can_leave_at_once() -> None:
    """It leaves once, and what follows in the same turn leaves after it."""
    written: list[bytes] = []
    outbox = Outbox(written.append)
    outbox.write(b"1")

    outbox.flush()
    assert written == [b"1"]
    outbox.write(b"2")
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert written == [b"1", b"2"]


async def test_closing_drops_what_was_not_written() -> None:
    """Nobody reads at the other end of a dead connection."""
    written: list[bytes] = []
    outbox = Outbox(written.append)
    outbox.write(b"1")

    outbox.close()
    outbox.write(b"2")
    await asyncio.sleep(0)

    assert written == []
