"""
Carries out what an iterable gives, so many at a time.

An item is taken when there is a place for it, so that an iterable without an end is held in part
only. A place is free again when its result has been handed out: who reads slowly is not run over.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
)
from contextlib import aclosing
from typing import Any, Generic, TypeAlias, TypeVar

__all__ = ["Source", "pumped"]

T = TypeVar("T")
R = TypeVar("R")
#: Items for the taking; an asynchronous one may wait for each.
Source: TypeAlias = "Iterable[T] | AsyncIterable[T]"


class _Pump(Generic[T, R]):
    """The items that were taken and whose results were not handed out."""

    def __init__(
        self,
        carry_out: Callable[[int, T], Coroutine[Any, Any, R]],
        *,
        in_flight: int,
        in_order: bool,
        check: Callable[[int, T], None] | None,
    ) -> None:
        self._carry_out = carry_out
        self._check = check
        self._in_order = in_order
        self._places = asyncio.Semaphore(in_flight)
        #: Held until they are handed out, so that no error is lost with its task.
        self._held = set[asyncio.Task[R]]()
        #: The tasks as they are to be handed out; then nothing, or why the source ended.
        self._ready = asyncio.Queue[asyncio.Task[R] | BaseException | None]()

    async def take(self, source: Source[T]) -> None:
        """Take all items; an error of the source comes after the results of those before it."""
        end: BaseException | None = None
        try:
            await self._take_all(source)
        except asyncio.CancelledError as problem:
            if _is_cancelled():
                raise
            # The source waited for something else that was cancelled; who reads is to know.
            end = problem
        except Exception as problem:
            end = problem
        if self._held:
            await asyncio.wait(self._held)
        self._ready.put_nowait(end)

    async def _take_all(self, source: Source[T]) -> None:
        index = 0
        async with aclosing(_each_of(source)) as items:
            while True:
                await self._places.acquire()
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
                if self._check is not None:
                    self._check(index, item)
                self._begin(index, item)
                del item
                index += 1

    def _begin(self, index: int, item: T) -> None:
        task = asyncio.get_running_loop().create_task(self._carry_out(index, item))
        self._held.add(task)
        if self._in_order:
            self._ready.put_nowait(task)
        else:
            task.add_done_callback(self._ready.put_nowait)

    async def next(self) -> asyncio.Task[R] | None:
        """
        The next task to be handed out, which may still run; ``None`` at the end.

        Raises:
            BaseException: What the source or the check raised.
        """
        found = await self._ready.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def hand_out(self, task: asyncio.Task[R]) -> R:
        """The result of a task that is done; its place is free."""
        self._held.discard(task)
        self._places.release()
        return task.result()

    async def end(self, taking: asyncio.Task[None]) -> None:
        """Stop what still runs, and wait until it has stopped."""
        left: list[asyncio.Task[Any]] = [taking, *self._held]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def pumped(
    source: Source[T],
    carry_out: Callable[[int, T], Coroutine[Any, Any, R]],
    *,
    in_flight: int,
    in_order: bool,
    check: Callable[[int, T], None] | None = None,
) -> AsyncGenerator[R]:
    """
    Carry out each item, and give what became of it.

    Args:
        source: The items; read to its end unless the generator is closed before.
        carry_out: Carries out one, given its place in the source; what it raises ends all.
        in_flight: How many may be taken from the source and not handed out.
        in_order: Whether results come in the order of the items, or as they are ready.
        check: Given each item and its place before it is carried out; what it raises ends all, as
            an error of the source does.
    """
    pump = _Pump[T, R](carry_out, in_flight=in_flight, in_order=in_order, check=check)
    taking = asyncio.get_running_loop().create_task(pump.take(source), name="effectmq many")
    try:
        while (task := await pump.next()) is not None:
            if not task.done():
                await asyncio.wait([task])
            yield pump.hand_out(task)
    finally:
        await pump.end(taking)


def _is_cancelled() -> bool:
    """Whether somebody has cancelled this task itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _each_of(source: Source[T]) -> AsyncGenerator[T]:
    if isinstance(source, AsyncIterable):
        items: AsyncIterator[T] = aiter(source)
        async for item in items:
            yield item
        return
    for item in source:
        yield item
