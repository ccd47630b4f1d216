"""A message that was published to a memory broker without waiting for the confirmation."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from effectmq.protocol.errors import PublishUnknownError, QueueFullError, UnroutableError

__all__ = ["MemoryPosted", "unknown"]


class MemoryPosted:
    """
    See the port's ``Posted``.

    Args:
        awaited: See the port.
        on_taken: See the port.
        failure: Why it was not taken; ``None`` when it was.
        counters: The transport's.
    """

    __slots__ = ("_awaited", "_counters", "_failure", "_on_taken", "taken")

    def __init__(
        self,
        awaited: asyncio.Future[Any],
        on_taken: Callable[[], None],
        failure: UnroutableError | QueueFullError | None,
        counters: Counter[str],
    ) -> None:
        self.taken = False
        self._awaited = awaited
        self._on_taken: Callable[[], None] | None = on_taken
        self._failure: UnroutableError | QueueFullError | PublishUnknownError | None = failure
        self._counters = counters

    def answer(self, *, lost: bool) -> None:
        """Confirm it, unless it was refused or the connection was lost meanwhile."""
        on_taken, self._on_taken = self._on_taken, None
        if on_taken is None:
            return
        if self._failure is None and lost:
            self._counters["unknown_publishes"] += 1
            self._failure = PublishUnknownError(unknown("the connection was lost"))
        if self._failure is None:
            self.taken = True
            self._counters["published"] += 1
            on_taken()
        elif not self._awaited.done():
            self._awaited.set_result(None)

    async def confirmed(self, given_s: float) -> None:
        """See the port."""
        if self._failure is not None:
            raise self._failure

    def leave(self, *, arrived: bool) -> None:
        """See the port."""
        if self._on_taken is not None:
            self._on_taken = None
            self._counters["published"] += self._failure is None


def unknown(reason: str) -> str:
    """The sentence for a publish of which nobody knows whether it was stored."""
    return (
        f"{reason} before the broker confirmed the message: it may or may not have been stored. "
        "Publish it again; the same effect is carried out once"
    )
