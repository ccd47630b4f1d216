"""
Ask again for what is open, after the reply queue was away.

While a producer is cut off its queue can expire, be deleted or be lost, and with it outcomes that
were in it or were sent meanwhile. Asking again is safe: an outcome on record is sent once more, an
effect that runs is followed. Where no journal is in reach, asking again may carry an effect out a
second time; so it is done only when the queue is known to have been made anew, and only after an
outcome that its worker kept has had the time to arrive.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from effectmq.broker.client.replies.book import Asked, ReplyBook, Waiter
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.text import describe, printable

__all__ = ["AskingAgain"]

logger = logging.getLogger("effectmq.client")

#: More than a worker waits before it sends a kept outcome again, and a little for the way.
_KEPT_ARRIVES_S = 6.5
#: So many at a time; the answers come meanwhile.
_AT_A_TIME = 50


class AskingAgain:
    """
    Asks again for what is open, once the reply queue was away.

    Args:
        book: Who waits.
        ask: Looks into the journal, if there is one, and publishes the question again.
        recorded: Whether a journal is in reach, so that asking again runs nothing twice.
        counters: ``asked_again``.
    """

    def __init__(
        self,
        book: ReplyBook,
        ask: Callable[[Asked], Awaitable[None]],
        *,
        recorded: bool,
        counters: Counter[str],
    ) -> None:
        self._book = book
        self._ask = ask
        self._recorded = recorded
        self._counters = counters
        self._task: asyncio.Task[None] | None = None
        self._once_more = False
        self._looks: set[asyncio.Task[bool]] = set()

    def look(self, recalled: Coroutine[object, object, bool]) -> None:
        """Look into the journal for an outcome that an earlier process asked for."""
        task = asyncio.get_running_loop().create_task(recalled, name="effectmq look")
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    def begin(self) -> None:
        """Ask for everything that is open now."""
        if self._task is not None and not self._task.done():
            self._once_more = True
            return
        self._task = asyncio.get_running_loop().create_task(
            self._ask_for_all(), name="effectmq asking again"
        )

    async def close(self) -> None:
        """Stop asking."""
        task, self._task = self._task, None
        tasks: list[asyncio.Task[Any]] = [*self._looks]
        if task is not None:
            tasks.append(task)
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_for_all(self) -> None:
        self._once_more = True
        while self._once_more:
            self._once_more = False
            if not self._recorded:
                await asyncio.sleep(_KEPT_ARRIVES_S)
            waiting = self._book.open_questions()
            for start in range(0, len(waiting), _AT_A_TIME):
                group = waiting[start : start + _AT_A_TIME]
                await asyncio.gather(*(self._ask_for(waiter) for waiter in group))
            if waiting:
                logger.warning(
                    "the reply queue was away; asked again for %d effect(s)",
                    len(waiting),
                    extra={"action": "asked_again", "count": len(waiting)},
                )

    async def _ask_for(self, waiter: Waiter) -> None:
        asked = waiter.asked
        if asked is None or waiter.answer is not None:
            return
        try:
            await self._ask(asked)
        except EffectmqError as problem:
            # Whoever waits goes on waiting: the effect may be answered all the same.
            logger.warning(
                "could not ask again for effect %s: %s",
                printable(asked.request.effect_id, 200),
                describe(problem),
                extra={"action": "ask_again_failed"},
            )
        else:
            self._counters["asked_again"] += 1
