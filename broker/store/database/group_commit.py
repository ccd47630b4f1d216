"""
Group commit: operations that arrive during a transaction share the next one.

A commit waits for the disk, and costs the same for one operation as for a hundred. So there is one
transaction at a time, and an operation only waits for the one under way. Nothing is answered before
it is durable.

Operations that share a transaction fail separately. When a transaction fails because of its
content, and not because the database is out of reach, it is halved until the failing operation is
alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from effectmq.broker.store.database.faults import raisable, verdict_of
from effectmq.protocol.errors import DatabaseUnavailableError
from effectmq.protocol.text import describe

__all__ = ["GroupCommit"]

Q = TypeVar("Q")
A = TypeVar("A")

#: The largest number of operations in a transaction, so that other processes get their turn.
_MAX_GROUP = 500


class GroupCommit(Generic[Q, A]):
    """
    Collects operations during a transaction, and commits them together in the next.

    Args:
        commit: Carries out operations in one transaction and returns an answer for each.
    """

    def __init__(self, commit: Callable[[list[Q]], asyncio.Future[list[A]]]) -> None:
        self._commit = commit
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        #: The halves of transactions that failed.
        self._halves: deque[list[tuple[Q, asyncio.Future[A]]]] = deque()
        self._under_way: asyncio.Future[list[A]] | None = None
        self._scheduled = False
        self._closed = False

    def ask(self, question: Q) -> asyncio.Future[A]:
        """
        Queue one operation for the next transaction.

        Raises:
            DatabaseUnavailableError: From the future; nothing was kept.
        """
        answer: asyncio.Future[A] = self._loop.create_future()
        if self._closed:
            answer.set_exception(DatabaseUnavailableError("the journal has been closed"))
            return answer
        self._waiting.append((question, answer))
        if self._under_way is None and not self._scheduled:
            # At the end of this turn of the loop: operations of the rest of the turn are included.
            self._scheduled = True
            self._loop.call_soon(self._begin)
        return answer

    def _begin(self) -> None:
        self._scheduled = False
        group = self._halves.popleft() if self._halves else self._next()
        try:
            under_way = self._commit([question for question, _ in group])
        except Exception as problem:
            # It could not even begin. Report it like any other failure, so that nobody waits for
            # ever.
            under_way = self._loop.create_future()
            under_way.set_exception(raisable(problem))
        self._under_way = under_way
        under_way.add_done_callback(lambda done: self._end(group, done))

    def _next(self) -> list[tuple[Q, asyncio.Future[A]]]:
        group, self._waiting = self._waiting[:_MAX_GROUP], self._waiting[_MAX_GROUP:]
        return group

    def _end(self, group: list[tuple[Q, asyncio.Future[A]]], done: asyncio.Future[list[A]]) -> None:
        self._under_way = None
        problem = _problem(done)
        apart = problem is not None and len(group) > 1 and verdict_of(problem) != "unavailable"
        if apart:
            middle = len(group) // 2
            # In their order, and before later operations.
            self._halves.extendleft((group[middle:], group[:middle]))
        if self._halves or self._waiting:
            self._begin()
        if apart:
            return
        if problem is not None:
            for _, answer in group:
                if not answer.done():
                    answer.set_exception(problem)
                    # The caller may have gone; then there is nobody to tell.
                    answer.exception()
            return
        for (_, answer), given in zip(group, done.result(), strict=True):
            if not answer.done():
                answer.set_result(given)

    async def drain(self) -> None:
        """Accept no more, and wait until every operation is answered."""
        self._closed = True
        while self._under_way is not None or self._scheduled:
            if self._under_way is None:
                await asyncio.sleep(0)
            else:
                await asyncio.wait([self._under_way])


def _problem(done: asyncio.Future[list[A]]) -> Exception | None:
    if done.cancelled():
        return DatabaseUnavailableError("the journal was closed before it could answer")
    problem = done.exception()
    if problem is None or isinstance(problem, Exception):
        return problem
    # Raised as it is, it would cancel or end the task that asked.
    return DatabaseUnavailableError(f"the journal was interrupted: {describe(problem)}")
