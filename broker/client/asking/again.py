"""
Ask again for open effects after the reply queue was away.

While a producer is cut off, its queue can expire, be deleted or be lost, together with outcomes in
it or sent meanwhile. Asking again is safe: a recorded outcome is sent once more, and a running
effect is followed. Without a journal, asking again may carry an effect out a second time. So it is
done only when the queue was certainly declared anew, and only after an outcome that its worker kept
has had the time to arrive.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from effectmq.broker.client.replies.book import ReplyBook, Waiter
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.messages.log_names import log_names
from effectmq.protocol.text import describe, printable

__all__ = ["AskingAgain"]

logger = logging.getLogger("effectmq.client")

#: A little more than the time after which a worker sends a kept outcome again, in seconds.
_KEPT_ARRIVES_S = 6.5
#: How many effects are asked for at a time; answers arrive meanwhile.
_AT_A_TIME = 50


class AskingAgain:
    """
    Asks again for open effects, after the reply queue was away.

    Args:
        book: Knows the open effects.
        ask: Looks into the journal, if there is one, and publishes the effect again.
        recorded: Whether there is a journal, so that asking again runs nothing twice.
        counters: ``asked_again``.
    """

    def __init__(
        self,
        book: ReplyBook,
        ask: Callable[[Waiter], Awaitable[None]],
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
        """Ask again for all open effects."""
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
            await self._ask(waiter)
        except EffectmqError as problem:
            # The caller goes on waiting: the effect may be answered nevertheless.
            logger.warning(
                "could not ask again for effect %s: %s",
                printable(waiter.effect_id, 200),
                describe(problem),
                extra={"action": "ask_again_failed", **log_names(asked.request)},
            )
        else:
            self._counters["asked_again"] += 1
