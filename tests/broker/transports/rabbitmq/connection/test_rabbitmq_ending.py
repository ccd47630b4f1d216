"""Ending a task whose cancellation the library may lose."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from effectmq.broker.transports.rabbitmq.connection.ending import end


async def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    """One lost cancellation must not keep a worker from stopping for ever."""
    lost = asyncio.Event()

    async def deaf_once() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        lost.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf_once())
    await asyncio.sleep(0)
    await asyncio.wait_for(end(task), 5)
    assert lost.is_set()
    assert task.cancelled()


async def test_a_task_that_has_ended_is_left_alone() -> None:
    """Its error stays with it."""

    async def failing() -> None:
        raise ValueError("its own business")

    task = asyncio.create_task(failing())
    await asyncio.wait({task})
    await end(task)
    assert isinstance(task.exception(), ValueError)


async def test_whoever_ends_a_task_can_be_cancelled() -> None:
    """A second stop signal must not wait for the first one's patience."""
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    ending = asyncio.create_task(end(task))
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait({ending}, timeout=1)
    assert ending.cancelled()
    release.set()
    await task
