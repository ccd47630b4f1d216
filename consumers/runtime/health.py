"""
The state of a worker as a whole, and the wait at its start for what is away.

::

    stopped ──▶ starting ──▶ ready ⇄ paused ──▶ draining ──▶ stopping ──▶ stopped
                   ⇅
                waiting

Only ``ready`` takes work. A worker that starts while its broker or its database restarts waits as
long as a running one would. An error that will not pass ends the start at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from effectmq.broker.backoff import Backoff
from effectmq.broker.opening import passing
from effectmq.protocol.text import describe

__all__ = ["Health", "Patience", "State", "problem_of"]

logger = logging.getLogger("effectmq.worker")

State = Literal["stopped", "starting", "waiting", "ready", "paused", "draining", "stopping"]

T = TypeVar("T")

#: How long a step may be under way before it counts as waiting, in seconds.
_NOTICE_S = 2.0
_LONGEST_WAIT_S = 5.0
#: The reason while a step is under way.
_SILENCE = "no answer so far"


@dataclass(frozen=True, slots=True)
class Health:
    """
    The state of a worker as a whole.

    Attributes:
        state: The state; only ``ready`` takes work.
        detail: What it waits for when it is ``waiting`` or ``paused``; else empty.
    """

    state: State
    detail: str = ""


async def problem_of(asked: Awaitable[object], timeout_s: float) -> str:
    """
    What is wrong with something that is asked; empty when it answers.

    Args:
        asked: Its answer, which does not matter.
        timeout_s: How long it may take, in seconds.
    """
    try:
        async with asyncio.timeout(timeout_s):
            await asked
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except Exception as problem:
        return describe(problem)
    return ""


class Patience:
    """
    Tries the steps of a start until they succeed. It logs one line for each outage, and a second
    one when the first could not say why.

    Args:
        name: The worker's.
        tell: Hears of the worker's state.
    """

    def __init__(self, name: str, tell: Callable[[Health], None]) -> None:
        self._name = name
        self._tell = tell
        #: Why it waits, as it was logged; empty while it does not.
        self._said = ""

    async def open(self, what: str, step: Callable[[], Awaitable[T]], *, quick: bool = True) -> T:
        """
        Do a step, again and again until it succeeds; cancel it to stop.

        Args:
            what: What is opened, as a noun phrase.
            step: Opens it; leaves nothing behind when it fails.
            quick: Whether it usually takes no time, so that a slow one counts as waiting.

        Raises:
            EffectmqError: An error that will not pass.
        """
        backoff = Backoff(_LONGEST_WAIT_S)
        loop = asyncio.get_running_loop()
        while True:
            notice = None
            if quick:
                notice = loop.call_later(_NOTICE_S, self._wait_for, what, _SILENCE)
            try:
                result = await step()
            except Exception as problem:
                if not passing(problem):
                    raise
                self._wait_for(what, str(problem))
                wait_s = backoff.next_s()
            else:
                self._go_on(what)
                return result
            finally:
                if notice is not None:
                    notice.cancel()
            await asyncio.sleep(wait_s)

    def _wait_for(self, what: str, why: str) -> None:
        if why == _SILENCE and self._said:
            return  # less than what is known already
        self._tell(Health("waiting", f"{what}: {why}"))
        if self._said not in ("", _SILENCE):
            return
        self._said = why
        logger.warning(
            "worker %s is not ready, it waits for %s (%s); it starts by itself when that is back",
            self._name,
            what,
            why,
            extra={"action": "worker_waits", "what": what},
        )

    def _go_on(self, what: str) -> None:
        if not self._said:
            return
        self._said = ""
        self._tell(Health("starting"))
        logger.info(
            "worker %s goes on: %s is back",
            self._name,
            what,
            extra={"action": "worker_goes_on", "what": what},
        )
