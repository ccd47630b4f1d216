"""What is taken from an iterable, and when; what is left behind when somebody stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

from effectmq.broker.client.many.pump import pumped
from tests.waiting import eventually


class Work:
    """Items that end when the test says so."""

    def __init__(self) -> None:
        self.taken = 0
        self.running = set[int]()
        self.most = 0
        self.gates: dict[int, asyncio.Event] = {}

    def items(self, count: int | None = None) -> Iterator[int]:
        """So many, or without an end."""
        while count is None or self.taken < count:
            self.taken += 1
            yield self.taken - 1

    async def later(self, count: int) -> AsyncIterator[int]:
        """The same, from an asynchronous iterable."""
        for item in self.items(count):
            await asyncio.sleep(0)
            yield item

    async def do(self, index: int, item: int) -> str:
        """Ends at once, or when the gate of the item opens."""
        assert index == item
        self.running.add(item)
        self.most = max(self.most, len(self.running))
        try:
            if item in self.gates:
                await self.gates[item].wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.running.discard(item)
        return f"r{item}"


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("asynchronous", [True, False])
async def test_each_item_has_its_result(work: Work, in_order: bool, asynchronous: bool) -> None:
    source = work.later(50) if asynchronous else work.items(50)
    found = [each async for each in pumped(source, work.do, in_flight=7, in_order=in_order)]
    assert sorted(found, key=lambda one: int(one[1:])) == [f"r{number}" for number in range(50)]
    assert work.most <= 7


async def test_in_order_a_slow_one_is_waited_for(work: Work) -> None:
    work.gates[0] = asyncio.Event()
    async with aclosing(pumped(work.items(3), work.do, in_flight=3, in_order=True)) as results:
        first = asyncio.ensure_future(anext(results))
        await eventually(lambda: work.running == {0})
        assert not first.done()
        work.gates[0].set()
        assert [await first, await anext(results), await anext(results)] == ["r0", "r1", "r2"]


async def test_as_they_come_nothing_waits_for_a_slow_one(work: Work) -> None:
    work.gates[0] = asyncio.Event()
    found: list[str] = []
    async with aclosing(pumped(work.items(40), work.do, in_flight=2, in_order=False)) as results:
        async for each in results:
            found.append(each)
            if len(found) == 39:
                work.gates[0].set()
    assert found[-1] == "r0"
    assert len(found) == 40


@pytest.mark.parametrize("in_order", [True, False])
async def test_of_an_endless_iterable_only_what_is_in_flight_is_held(
    work: Work, in_order: bool
) -> None:
    """However slowly the results are read."""
    async with aclosing(pumped(work.items(), work.do, in_flight=5, in_order=in_order)) as results:
        for read in range(1, 20):
            await anext(results)
            for _ in range(50):
                await asyncio.sleep(0)
            assert work.taken <= read + 5


async def test_who_leaves_the_loop_leaves_no_task(work: Work) -> None:
    """Without ``aclosing``: the event loop closes the generator that nobody has any more."""
    before = asyncio.all_tasks()
    work.gates = {number: asyncio.Event() for number in range(1, 100)}
    async for each in pumped(work.items(), work.do, in_flight=5, in_order=True):
        assert each == "r0"
        await eventually(lambda: len(work.running) == 5)
        break
    await eventually(lambda: asyncio.all_tasks() <= before and not work.running)


async def test_who_is_cancelled_leaves_no_task(work: Work) -> None:
    before = asyncio.all_tasks()
    work.gates = {number: asyncio.Event() for number in range(100)}

    async def read() -> None:
        async with aclosing(pumped(work.items(), work.do, in_flight=4, in_order=False)) as results:
            async for _ in results:
                pass

    reading = asyncio.ensure_future(read())
    await eventually(lambda: len(work.running) == 4)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert not work.running
    await eventually(lambda: asyncio.all_tasks() <= before)


@pytest.mark.parametrize("in_order", [True, False])
async def test_an_error_of_the_source_comes_after_the_results_before_it(
    work: Work, in_order: bool
) -> None:
    def broken() -> Iterator[int]:
        yield from work.items(3)
        raise OSError("the disk is gone")

    results = pumped(broken(), work.do, in_flight=2, in_order=in_order)
    assert {await anext(results) for _ in range(3)} == {"r0", "r1", "r2"}
    with pytest.raises(OSError, match="the disk is gone"):
        await anext(results)


@pytest.mark.parametrize("in_order", [True, False])
async def test_a_source_that_waited_for_what_was_cancelled_ends_as_that(
    work: Work, in_order: bool
) -> None:
    """Nobody cancelled the reader, and it does not wait for ever."""

    async def broken() -> AsyncIterator[int]:
        for item in work.items(2):
            yield item
        gone = asyncio.ensure_future(asyncio.Event().wait())
        gone.cancel()
        await gone

    found: list[str] = []

    async def read() -> None:
        async for each in pumped(broken(), work.do, in_flight=5, in_order=in_order):
            found.append(each)

    reading = asyncio.ensure_future(read())
    await eventually(reading.done)
    assert reading.cancelled()
    assert set(found) == {"r0", "r1"}


@pytest.mark.parametrize("in_order", [True, False])
async def test_an_item_that_is_refused_comes_after_the_results_before_it(
    work: Work, in_order: bool
) -> None:
    """However long these take, and nothing after it is begun."""
    work.gates[0] = asyncio.Event()

    def check(index: int, item: int) -> None:
        assert index == item
        if item == 1:
            raise ValueError("refused")

    results = pumped(work.items(), work.do, in_flight=5, in_order=in_order, check=check)
    first = asyncio.ensure_future(anext(results))
    await eventually(lambda: work.taken == 2)
    work.gates[0].set()
    assert await first == "r0"
    with pytest.raises(ValueError, match="refused"):
        await anext(results)
    assert work.taken == 2


async def test_an_error_of_the_work_ends_all(work: Work) -> None:
    work.gates[0] = asyncio.Event()

    async def do(index: int, item: int) -> str:
        if item == 1:
            raise ValueError("a bug")
        return await work.do(index, item)

    with pytest.raises(ValueError, match="a bug"):
        async for _ in pumped(work.items(), do, in_flight=3, in_order=False):
            pass
    assert not work.running
