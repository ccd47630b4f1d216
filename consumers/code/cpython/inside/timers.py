"""
The time of the event loops of a block, which moves only when the block sleeps.

So a time limit (``wait_for``, ``timeout``, ``wait``) ends at the same point in every run, however
fast calls are answered. A call takes no time by this clock. When the block can only wait for a
limit, it sleeps until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from effectmq.consumers.code.cpython.inside.clock import Clock

if TYPE_CHECKING:
    import asyncio

__all__ = ["Timers"]

_IDLE = (
    "the block waits for something that cannot happen: no call is under way, and no part of it "
    "sleeps"
)


class Timers:
    """
    The timers of a block.

    Args:
        clock: The clock of the block.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Sleeps beside another timer, with their ends.
        self._sleepers: dict[asyncio.Future[object], float] = {}

    def now_s(self) -> float:
        """The time of the loops, in seconds."""
        return self._clock.slept_s

    def idle(self, timeout_s: float | None) -> None:
        """
        Let time pass until the next timer.

        Args:
            timeout_s: The time until it, in seconds; ``None`` when there is none.

        Raises:
            RuntimeError: When there is no timer.
            Exception: When the block may not sleep, and no code of it asked for the sleep.
        """
        if timeout_s is None:
            raise RuntimeError(_IDLE)
        try:
            self._clock.sleep(timeout_s)
        except Exception as problem:
            waiting = [one for one in self._sleepers if not one.done()]
            if not waiting:
                raise
            min(waiting, key=self._sleepers.__getitem__).set_exception(problem)

    def install(self) -> None:
        """Make ``asyncio.sleep`` use the clock of the block."""
        import asyncio

        async def sleep(delay: object, result: object = None) -> object:
            loop = asyncio.get_running_loop()
            if isinstance(delay, int | float) and delay > self._next_s(loop):
                await self._beside_a_timer(loop, delay)
            else:
                self._clock.sleep(delay)
            return result

        asyncio.sleep = asyncio.tasks.sleep = sleep  # type: ignore[assignment]

    def _next_s(self, loop: Any) -> float:
        """The time until the next timer of a loop, in seconds."""
        timers = [one.when() for one in loop._scheduled if not one.cancelled()]
        return min(timers, default=float("inf")) - self.now_s()

    async def _beside_a_timer(self, loop: asyncio.AbstractEventLoop, delay_s: float) -> None:
        future: asyncio.Future[object] = loop.create_future()
        timer = loop.call_later(delay_s, _wake, future)
        self._sleepers[future] = timer.when()
        try:
            await future
        finally:
            timer.cancel()
            del self._sleepers[future]


def _wake(future: asyncio.Future[object]) -> None:
    if not future.done():
        future.set_result(None)
