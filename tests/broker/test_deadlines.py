"""Deadlines: each wait ends in its time, and one timer serves them all."""

from __future__ import annotations

import asyncio

import pytest

from effectmq.broker.deadlines import Deadlines
from tests.waiting import eventually


def cancel(future: asyncio.Future[None]) -> None:
    """What the tests let an expired future come to."""
    future.cancel()


async def test_they_expire_in_the_order_of_their_ends_not_of_their_beginnings() -> None:
    """A short wait that begins behind a long one does not wait for it."""
    loop = asyncio.get_running_loop()
    expired: list[asyncio.Future[None]] = []
    deadlines: Deadlines[asyncio.Future[None]] = Deadlines(expired.append)
    futures = [loop.create_future() for _ in range(4)]
    for future, timeout_s in zip(futures, (3600.0, 0.03, 0.01, 0.02), strict=True):
        deadlines.add(future, timeout_s)

    await eventually(lambda: len(expired) == 3)

    assert expired == [futures[2], futures[3], futures[1]]
    deadlines.close()


async def test_what_was_discarded_does_not_expire_and_the_next_does() -> None:
    """The timer that was set for the one serves the other."""
    loop = asyncio.get_running_loop()
    deadlines: Deadlines[asyncio.Future[None]] = Deadlines(cancel)
    first, second = loop.create_future(), loop.create_future()
    deadlines.add(first, 0.005)
    deadlines.add(second, 0.01)

    deadlines.discard(first)
    deadlines.discard(first)
    await asyncio.wait((second,), timeout=10)

    assert (first.done(), second.cancelled()) == (False, True)


async def test_no_time_at_all_is_over_in_the_next_turns() -> None:
    """But not at once: whoever adds it has yet to wait for it."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    deadlines: Deadlines[asyncio.Future[None]] = Deadlines(cancel)

    deadlines.add(future, 0.0)

    assert not future.done()
    await asyncio.wait((future,), timeout=10)
    assert future.cancelled()


async def test_an_expiry_may_add_the_next_one() -> None:
    """A wait that is tried again sets its next deadline while the last one rings."""
    loop = asyncio.get_running_loop()
    expired: list[asyncio.Future[None]] = []

    def again(future: asyncio.Future[None]) -> None:
        expired.append(future)
        if len(expired) < 3:
            deadlines.add(loop.create_future(), 0.001)

    deadlines: Deadlines[asyncio.Future[None]] = Deadlines(again)
    deadlines.add(loop.create_future(), 0.001)
    await eventually(lambda: len(expired) == 3)

    assert len(set(expired)) == 3


async def test_after_closing_nothing_expires_and_it_can_be_used_again() -> None:
    """A client may be opened a second time."""
    loop = asyncio.get_running_loop()
    deadlines: Deadlines[asyncio.Future[None]] = Deadlines(cancel)
    old, new = loop.create_future(), loop.create_future()
    deadlines.add(old, 0.001)

    deadlines.close()
    deadlines.add(new, 0.005)
    await asyncio.wait((new,), timeout=10)

    assert (old.done(), new.cancelled()) == (False, True)


async def test_many_that_end_one_after_the_other_are_looked_at_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looking at all of them for each would take the square of their number."""
    loop = asyncio.get_running_loop()
    rings: list[int] = []
    expired: list[asyncio.Future[None]] = []
    deadlines: Deadlines[asyncio.Future[None]] = Deadlines(expired.append)
    count = 5_000
    ring = deadlines._ring

    def counted(loop: asyncio.AbstractEventLoop) -> None:
        rings.append(len(expired))
        ring(loop)

    monkeypatch.setattr(deadlines, "_ring", counted)
    for number in range(count):
        deadlines.add(loop.create_future(), 0.001 + number * 1e-5)

    await eventually(lambda: len(expired) == count)

    assert len(rings) < 100
