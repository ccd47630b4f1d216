"""
Threads for functions that are not ``async``.

A thread cannot be stopped. A call that waits for a thread can always be taken back, and then never
begins. A call that has begun and is given up is *abandoned*: another thread takes its place at
once, and its result is dropped. All are daemon threads, so none keeps the process from ending.

Everything but the bodies runs on the event loop. Only whether a call has begun is decided between
loop and thread, under a lock.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from effectmq.consumers.runtime.abandoned import Abandoned
from effectmq.protocol.text import describe

__all__ = ["Confirm", "Seat", "Threads", "in_thread", "take_seat", "waited_s"]

logger = logging.getLogger("effectmq.worker")

#: The pause before another try when the system gives no thread, in seconds.
_AGAIN_S = 1.0

Body = Callable[[], object]
#: Finds out whether a call that had to wait is still wanted; calls back with the answer.
Confirm = Callable[[Callable[[bool], None]], None]


class _Call:
    """One call: it waits, then has begun or was taken back, then is over."""

    __slots__ = (
        "_began_s",
        "_body",
        "_lock",
        "_queued_s",
        "_taken_back",
        "confirm",
        "given_up",
        "over",
        "waiter",
    )

    def __init__(self, body: Body, confirm: Confirm | None) -> None:
        self.over = False
        self.given_up = False
        self.confirm = confirm
        self.waiter: asyncio.Future[tuple[object, BaseException | None] | None] | None = None
        self._body: Body | None = body
        self._lock = threading.Lock()
        self._queued_s = time.monotonic()
        self._began_s: float | None = None
        self._taken_back = False

    @property
    def begun(self) -> bool:
        return self._began_s is not None

    @property
    def waits(self) -> bool:
        return self._began_s is None and not self._taken_back

    def waited_s(self) -> float:
        """How long it waited for a thread, or has waited until now, in seconds."""
        return (self._began_s or time.monotonic()) - self._queued_s

    def take_back(self) -> bool:
        """Keep it from beginning; returns whether that succeeded."""
        with self._lock:
            self._taken_back = self._began_s is None
            return self._taken_back

    def perform(self) -> tuple[object, BaseException | None] | None:
        """In the thread: run the body, unless the call was taken back."""
        with self._lock:
            if self._taken_back:
                return None
            self._began_s = time.monotonic()
        body, self._body = self._body, None
        try:
            return body() if body is not None else None, None
        except BaseException as problem:
            return None, problem

    def end(self, given: tuple[object, BaseException | None] | None) -> None:
        self.over = True
        self.wake(given)

    def wake(self, given: tuple[object, BaseException | None] | None = None) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(given)


class Seat:
    """
    The calls of one attempt in the threads of the worker.

    Args:
        threads: The worker's.
        confirm: Asked before a call begins that had to wait for a thread.
    """

    __slots__ = ("_calls", "_waited_s", "begun", "called", "confirm", "threads")

    def __init__(self, threads: Threads, confirm: Confirm | None = None) -> None:
        self.threads = threads
        self.confirm = confirm
        #: Whether any finished call of the attempt had begun.
        self.begun = False
        #: Whether it ever asked for a thread.
        self.called = False
        self._waited_s = 0.0
        self._calls: set[_Call] = set()

    @property
    def waits(self) -> bool:
        """Whether a call waits for a thread now."""
        return any(call.waits for call in self._calls)

    @property
    def untouched(self) -> bool:
        """Whether it has made calls, of which none has begun."""
        return bool(self._calls) and not self.begun and not any(one.begun for one in self._calls)

    def waited_s(self) -> float:
        """
        How long the attempt has waited for threads, in seconds; it does not count as its time.
        """
        # A call to a function that is ``async`` has none.
        now_s = sum(call.waited_s() for call in self._calls) if self._calls else 0.0
        return self._waited_s + now_s

    def take_back(self) -> None:
        """Take back all calls that wait for a thread: they never begin."""
        for call in self._calls:
            call.take_back()

    def abandon(self) -> bool:
        """Give up the calls that run in threads; returns whether there were any."""
        running = [call for call in self._calls if call.begun and not call.over]
        for call in running:
            self.threads.abandon(call)
        return bool(running)

    def add(self, call: _Call) -> None:
        """Add a call of the attempt."""
        self.called = True
        self._calls.add(call)

    def remove(self, call: _Call) -> None:
        """Remove a call; the attempt no longer waits for it."""
        self._calls.discard(call)
        self.begun = self.begun or call.begun
        self._waited_s += call.waited_s()


class _Thread(threading.Thread):
    """A thread that takes one call after the other, until it gets ``None``."""

    def __init__(self, pool: Threads, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="effectmq tool", daemon=True)
        self.call: _Call | None = None
        self.abandoned = False
        self._pool = pool
        self._loop = loop
        self._inbox: SimpleQueue[_Call | None] = SimpleQueue()

    def give(self, call: _Call | None) -> None:
        self.call = call
        self._inbox.put(call)

    def run(self) -> None:
        while (call := self._inbox.get()) is not None:
            given = call.perform()
            try:
                self._loop.call_soon_threadsafe(self._pool.returned, self, call, given)
            except RuntimeError:
                # The loop is closed: nobody waits for a result.
                return
            # An idle thread must keep no object alive.
            del call, given


class Threads:
    """
    As many threads as bodies may run at a time, started when they are needed.

    Args:
        size: How many; abandoned ones do not count.
        abandoned: Counts the abandoned ones.
    """

    def __init__(self, size: int, abandoned: Abandoned | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self._size = size
        self._abandoned = abandoned
        self._threads: set[_Thread] = set()
        self._idle: list[_Thread] = []
        self._waiting: deque[_Call] = deque()
        self._closed = False
        self._again: asyncio.TimerHandle | None = None

    def resize(self, size: int) -> None:
        """Change how many there may be; those that are too many go on and are used."""
        self._size = size
        self._serve()

    async def run(self, body: Body, seat: Seat | None = None) -> object:
        """
        Run a body in a thread, in the order of the calls.

        A call that is cancelled while it waits never begins. When it is cancelled while it runs,
        this still waits for its end, so that the caller sees that it goes on. Cancelled again, or
        abandoned by its seat, it is left alone.

        Raises:
            BaseException: Whatever the body raises.
            RuntimeError: When the threads have been closed.
        """
        if self._closed:
            raise RuntimeError(
                "the worker has been stopped, and its threads take no more calls; start it first"
            )
        call = _Call(body, seat.confirm if seat is not None else None)
        call.waiter = self.loop.create_future()
        if seat is not None:
            seat.add(call)
        self._waiting.append(call)
        self._serve(waited=len(self._waiting) > 1)
        try:
            given = await call.waiter
            if given is None:
                raise asyncio.CancelledError
            value, problem = given
            if problem is not None:
                raise problem
            return value
        except asyncio.CancelledError:
            if not (call.over or call.given_up or call.take_back()):
                await self._until_it_ends(call)
            raise
        finally:
            if seat is not None:
                seat.remove(call)

    async def _until_it_ends(self, call: _Call) -> None:
        call.waiter = self.loop.create_future()
        try:
            await call.waiter
        except asyncio.CancelledError:
            self.abandon(call)

    def abandon(self, call: _Call) -> None:
        """Give up a call that runs: another thread takes its place."""
        thread = next((one for one in self._threads if one.call is call), None)
        if thread is None or call.over:
            return
        self._threads.discard(thread)
        thread.abandoned = call.given_up = True
        if self._abandoned is not None:
            self._abandoned.add()
        call.wake()
        self._serve()

    def close(self) -> None:
        """Begin no more calls; the threads end when they are idle."""
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        for call in self._waiting:
            call.take_back()
            call.wake()
        self._waiting.clear()
        self._idle.clear()
        for thread in [one for one in self._threads if one.call is None]:
            self._end(thread)

    def returned(
        self, thread: _Thread, call: _Call, given: tuple[object, BaseException | None] | None
    ) -> None:
        """Called by a thread that is done with a call; it reports through the loop."""
        thread.call = None
        call.end(given)
        if thread.abandoned:
            if self._abandoned is not None:
                self._abandoned.remove()
            thread.give(None)
        elif self._closed:
            self._end(thread)
        else:
            self._idle.append(thread)
            self._serve()

    def _end(self, thread: _Thread) -> None:
        self._threads.discard(thread)
        thread.give(None)

    def _serve(self, *, waited: bool = True) -> None:
        while self._waiting and not self._closed:
            if not self._waiting[0].waits:
                self._waiting.popleft()
                continue
            thread = self._idle.pop() if self._idle else self._another()
            if thread is None:
                return
            self._give(thread, self._waiting.popleft(), waited=waited)

    def _give(self, thread: _Thread, call: _Call, *, waited: bool) -> None:
        """Begin a call; first confirm one that had to wait, because it may no longer be wanted."""
        if call.confirm is None or not waited:
            thread.give(call)
            return

        def confirmed(wanted: bool) -> None:
            if not wanted:
                call.take_back()
            if self._closed:
                self._end(thread)
            elif call.waits:
                thread.give(call)
            else:
                self._idle.append(thread)
                self._serve()

        call.confirm(confirmed)

    def _another(self) -> _Thread | None:
        if len(self._threads) >= self._size:
            return None
        thread = _Thread(self, self.loop)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as problem:
            self._try_again(problem)
            return None
        self._threads.add(thread)
        return thread

    def _try_again(self, problem: BaseException) -> None:
        """The system gives no more threads: use those that exist, and try again later."""
        if self._again is not None:
            return
        logger.error(
            "no thread can be started (%s), and %d call(s) wait for one; raise the limit of "
            "threads (ulimit -u, pids of the container), or lower the concurrency",
            describe(problem),
            len(self._waiting),
            extra={"action": "no_threads"},
        )

        def again() -> None:
            self._again = None
            self._serve()

        self._again = self.loop.call_later(_AGAIN_S, again)


_SEAT: contextvars.ContextVar[Seat | None] = contextvars.ContextVar("effectmq_seat", default=None)


def take_seat(seat: Seat) -> None:
    """Let the calls of this task take their threads from this seat."""
    _SEAT.set(seat)


def waited_s() -> float:
    """How long the current attempt has waited for threads, in seconds."""
    seat = _SEAT.get()
    # An attempt that has called nothing in a thread has waited for none.
    return seat.waited_s() if seat is not None and seat.called else 0.0


async def in_thread(body: Body) -> object:
    """
    Run a body in a thread of the current attempt; outside of an attempt, in a new thread.

    The body sees the context variables of its caller.

    Raises:
        BaseException: Whatever the body raises.
    """
    context = contextvars.copy_context()
    seat = _SEAT.get()
    if seat is not None and seat.threads.loop is asyncio.get_running_loop():
        return await seat.threads.run(lambda: context.run(body), seat)
    threads = Threads(1)
    try:
        return await threads.run(lambda: context.run(body))
    finally:
        threads.close()
