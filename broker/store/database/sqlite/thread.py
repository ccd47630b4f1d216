"""
The one thread that uses a connection of SQLite: it runs functions in the order of their calls.

An executor of the library does the same, with a future of its own, locks and callbacks for each
call. At one effect at a time that is as much work as the transaction itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from effectmq.broker.store.database.faults import raisable

__all__ = ["OneThread"]

T = TypeVar("T")

_Call = tuple[Callable[[], Any], "asyncio.Future[Any] | None"]


class OneThread:
    """
    A thread that starts with the first call, and keeps no process alive.

    Args:
        name: The thread's, for people.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._inbox: SimpleQueue[_Call | None] = SimpleQueue()
        self._started = self._ended = False

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """
        Run a function; a call that is cancelled before it begins never does.

        Raises:
            BaseException: From the future: whatever the function raises.
            RuntimeError: When the thread has ended, or the system gives none.
        """
        told: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put((function, told))
        return told

    def submit(self, function: Callable[[], object]) -> None:
        """
        Run a function that nobody waits for, from any thread; its errors are dropped.

        Raises:
            RuntimeError: When the thread has ended, or the system gives none.
        """
        self._put((function, None))

    def end(self) -> None:
        """Take no more calls; the thread ends after those that it has."""
        self._ended = True
        self._inbox.put(None)

    def _put(self, call: _Call) -> None:
        if self._ended:
            raise RuntimeError(f"the thread {self._name!r} has ended, and takes no more calls")
        if not self._started:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
            self._started = True
        self._inbox.put(call)

    def _run(self) -> None:
        while (call := self._inbox.get()) is not None:
            function, told = call
            if told is None or not told.cancelled():
                _perform(function, told)
            # An idle thread must keep no object alive.
            del call, function, told


def _perform(function: Callable[[], T], told: asyncio.Future[T] | None) -> None:
    given: T | None = None
    problem: BaseException | None = None
    try:
        try:
            given = function()
        except BaseException as raised:
            problem = raised
        if told is not None:
            # When the loop is closed, nobody waits.
            with suppress(RuntimeError):
                told.get_loop().call_soon_threadsafe(_tell, told, given, problem)
    finally:
        # The error has this frame, which must not have the error.
        del given, problem, told


def _tell(told: asyncio.Future[Any], given: object, problem: BaseException | None) -> None:
    if told.done():
        return
    if problem is None:
        told.set_result(given)
    else:
        told.set_exception(raisable(problem) if isinstance(problem, Exception) else problem)
