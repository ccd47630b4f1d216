"""
Publishes effects, and waits for the broker's confirmation within the time limit.

An effect whose fate is unknown is published again: a second copy does little harm, because its key
tells workers that it is the same effect.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from functools import partial

from effectmq.broker.client.asking.missing import Missing, MissingRoads, not_looked_up
from effectmq.broker.client.asking.opening import Openings
from effectmq.broker.client.replies.book import ReplyBook, Waiter
from effectmq.broker.crashpoints import reached
from effectmq.broker.inheritance import inherited
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.transports.port import Posted, Transport
from effectmq.broker.transports.publishing import PASSING, publish_try_s
from effectmq.protocol.errors import (
    AttachmentStoreError,
    BrokerBlockedError,
    BrokerError,
    UnroutableError,
)
from effectmq.protocol.kinds import PRIORITY_MARK, VERSION_MARK, unprioritized, unversioned
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import Reply
from effectmq.protocol.messages.request import known_sha256
from effectmq.protocol.topology import Names, TopologySettings

__all__ = ["Questions"]

_RESEND_WAIT_S = 0.2
#: How long to wait for the effect of a repair, in seconds. Shorter than the time for which the
#: answer about missing objects is used, so that they are not declared in a loop.
_MENDING_S = 0.9
#: How long it is taken for known that a route has no queue for a version or a priority, in seconds.
_NO_QUEUE_S = 2.0
#: How often no queue of a priority takes an effect although workers have one.
_MOST_MISSES = 3
_MOST_WITHOUT = 1_000


class Questions:
    """
    Publishes the effects of a client, on one connection.

    Args:
        transport: An open transport.
        topology: The namespace.
        book: Is told what was published.
        bodies: Keeps large bodies out of line; ``None`` without a store.
        try_s: The longest time for one try.
        counters: ``submitted`` and ``publish_retries``.

    Attributes:
        roads: Knows what is missing when no queue takes an effect.
        stores_bodies: Whether a message may have to be ``stored`` before it is published.
    """

    def __init__(
        self,
        transport: Transport,
        topology: TopologySettings,
        book: ReplyBook,
        bodies: LargeBodies | None,
        *,
        try_s: float,
        counters: Counter[str],
    ) -> None:
        self.roads = MissingRoads(transport, topology)
        self._transport = transport
        names = self._names = Names(topology.namespace)
        self._exchange = names.work_exchange
        self._openings = Openings(transport, names)
        self._book = book
        self._bodies = bodies
        self.stores_bodies = bodies is not None
        self._try_s = try_s
        self._loop = asyncio.get_running_loop()
        self._counters = counters
        #: Routes of versions and priorities that had no queue, and until when that is believed.
        self._without: dict[str, float] = {}
        #: The publishes of ``ask`` that are not confirmed; ``None`` for one that was not begun.
        self._open: dict[asyncio.Future[Reply | None], Posted | None] = {}

    async def close(self) -> None:
        """End every look for what is missing."""
        self._openings.close()
        await self.roads.close()

    async def publish(
        self, message: Message, route: str, end: float, limit_s: float, waiter: Waiter
    ) -> None:
        """
        Publish one effect to a durable queue.

        Args:
            message: The effect.
            route: Its kind, with the lane if it has one.
            end: The time of the event loop at which to give up.
            limit_s: The seconds that an error names.
            waiter: Gets the answer.

        Raises:
            PublishError: When it was not confirmed in time; ``UnroutableError`` when no queue takes
                it.
            AttachmentStoreError: When its body is kept out of line and could not be stored.
            ParentExpiredError: When the effect that is carried out here has passed its deadline.
        """
        outgoing = message
        if self.stores_bodies:
            outgoing = await self.stored(message, end, limit_s, waiter)
        self._check(waiter)
        reached("before_publish")
        if VERSION_MARK in route or PRIORITY_MARK in route:
            route = self.way(route)
        await self._until_taken(outgoing, route, end, limit_s)
        self._taken(waiter, message, route)

    async def stored(self, message: Message, end: float, limit_s: float, waiter: Waiter) -> Message:
        """
        What is to be sent for an effect: its body may have to be stored before.

        The arguments are those of ``publish``.

        Raises:
            AttachmentStoreError: When it could not be stored.
            ParentExpiredError: When the effect that is carried out here has passed its deadline.
        """
        self._check(waiter)
        return (
            message
            if self._bodies is None
            else await self._outgoing(self._bodies, message, end, limit_s)
        )

    def ask(
        self,
        message: Message,
        outgoing: Message,
        route: str,
        end: float,
        waiter: Waiter,
        until: float | None,
    ) -> asyncio.Future[Reply | None]:
        """
        Publish one effect, as soon as there is a place for it, and expect its answer.

        The answer proves that the effect was published, so one wait serves for both. This is no
        coroutine, and keeps nothing of the publish once it is confirmed: there may be many in
        flight, for long.

        Args:
            message: The effect.
            outgoing: What is sent for it, see ``stored``.
            route: Its kind, with the lane if it has one; with a version or a priority from ``way``.
            end: The time of the event loop at which to give up publishing.
            waiter: Gets the answer.
            until: The time of the event loop until which to wait for it, once the effect is
                published; ``None`` for no limit.

        Returns:
            What to await. Then ``is_open`` tells whether there is more to wait for, and ``see_to``
            does; a caller that stops waiting hands it to ``leave``.

        Raises:
            PayloadTooLargeError: When it is over the size limit.
            ConfigurationError: When a property or a header has a type that cannot be sent.
            ParentExpiredError: When the effect that is carried out here has passed its deadline.
        """
        self._check(waiter)
        reached("before_publish")
        answer = waiter.expect()
        try_s = publish_try_s(outgoing, self._try_s)
        try:
            posted = self._transport.post(
                self._exchange,
                route,
                outgoing,
                answer,
                timeout=max(0.0, min(try_s, end - self._loop.time())),
                on_taken=partial(self._taken_in_time, waiter, message, route, answer, until),
            )
        except BaseException:
            waiter.forget(answer)
            raise
        self._open[answer] = posted
        if posted is None:
            answer.set_result(None)
        return answer

    async def ask_and_wait(
        self,
        message: Message,
        route: str,
        end: float,
        limit_s: float,
        waiter: Waiter,
        until: float | None,
    ) -> None:
        """
        Publish one effect, and wait for its answer: ``ask`` and all that follows it.

        When it returns and the waiter has no answer, the effect was published; its caller waits on
        as it likes. The arguments and errors are those of ``ask`` and ``see_to``.
        """
        outgoing = message
        if self.stores_bodies:
            outgoing = await self.stored(message, end, limit_s, waiter)
        if VERSION_MARK in route or PRIORITY_MARK in route:
            route = self.way(route)
        answer = self.ask(message, outgoing, route, end, waiter, until)
        try:
            await answer
        except BaseException:
            self.leave(answer, waiter)
            raise
        if self.is_open(answer, waiter):
            await self.see_to(answer, message, outgoing, route, end, limit_s, waiter)

    def is_open(self, answer: asyncio.Future[Reply | None], waiter: Waiter) -> bool:
        """
        Whether it is still to be seen that the effect was published, after ``ask`` was awaited.

        When it is not, and the waiter has no answer, the time for the answer is over.
        """
        waiter.forget(answer)
        return answer in self._open

    def leave(self, answer: asyncio.Future[Reply | None], waiter: Waiter) -> None:
        """Nobody waits any more for what ``ask`` returned."""
        posted = self._open.pop(answer, None)
        if posted is not None:
            posted.leave(arrived=False)
        waiter.forget(answer)

    async def see_to(
        self,
        answer: asyncio.Future[Reply | None],
        message: Message,
        outgoing: Message,
        route: str,
        end: float,
        limit_s: float,
        waiter: Waiter,
    ) -> None:
        """
        See to it that the effect is published, after ``ask`` was awaited, or its answer is here.

        Args:
            answer: From ``ask``, and what follows was given to it.
            message: See there.
            outgoing: See there.
            route: See there.
            end: See there.
            limit_s: The seconds that an error names.
            waiter: Gets the answer.

        Raises:
            PublishError: What ``publish`` raises.
            TransportClosedError: When the client was closed meanwhile.
        """
        posted = self._open.pop(answer)
        if posted is not None and waiter.answer is not None:
            posted.leave(arrived=True)
        else:
            await self._until_taken(outgoing, route, end, limit_s, waiter, posted)
        self._taken(waiter, message, route)

    def _check(self, waiter: Waiter) -> None:
        parent = inherited()
        if parent.deadline_ms:
            parent.check(waiter.effect_id, time.time_ns() // 1_000_000)

    async def _until_taken(
        self,
        message: Message,
        route: str,
        end: float,
        limit_s: float,
        waiter: Waiter | None = None,
        posted: Posted | None = None,
    ) -> None:
        """
        Publish, again and again, until the broker has the message or the time is over.

        With a waiter, also until its answer is here. With a publish, the first try goes on.
        """
        mended_by = math.inf
        # Not all of the time for one try: a channel may be stuck on a frozen node, and the next
        # try takes another channel.
        try_s = publish_try_s(message, self._try_s)
        misses = 0
        while waiter is None or waiter.answer is None:
            begun, posted = posted, None
            try:
                if begun is not None:
                    await begun.confirmed(limit_s)
                    return
                await self._transport.publish(
                    self._exchange,
                    route,
                    message,
                    timeout=max(0.0, min(try_s, end - self._loop.time())),
                    given=limit_s,
                )
                return
            except UnroutableError:
                if PRIORITY_MARK in route:
                    misses += 1
                    if misses > _MOST_MISSES or not await self._openings.ask(route, end):
                        route = self._without_queue(route, unprioritized(route))
                elif VERSION_MARK in route:
                    route = self._without_queue(route, unversioned(route))
                else:
                    mended_by = await self._mended(route, end, mended_by)
            except PASSING as problem:
                self._counters["publish_retries"] += 1
                if isinstance(problem, BrokerBlockedError):
                    # It is on its way, and will be taken when the alarm ends: send no third copy.
                    try_s = max(try_s, end - self._loop.time())
                if end - self._loop.time() <= _RESEND_WAIT_S:
                    raise
                await asyncio.sleep(_RESEND_WAIT_S)

    def way(self, route: str) -> str:
        """Where to publish; a version or a priority may have no queue, as was found just now."""
        if PRIORITY_MARK in route and self._is_without(route):
            route = unprioritized(route)
        return unversioned(route) if self._is_without(route) else route

    def _is_without(self, route: str) -> bool:
        return self._without.get(route, 0.0) > self._loop.time()

    def _without_queue(self, route: str, common: str) -> str:
        """
        The route that all versions, or all priorities, share, because one has no queue of its own.

        Workers there know by its header where it belongs, declare that queue, and send it there.
        Those that take part in no versions carry it out, whatever it is bound to.

        Raises:
            ConfigurationError: When no queue can ever have its name, because it is too long.
        """
        self._names.work_queue(route)
        if len(self._without) >= _MOST_WITHOUT:
            self._without.clear()
        self._without[route] = self._loop.time() + _NO_QUEUE_S
        return common

    async def _mended(self, route: str, end: float, mended_by: float) -> float:
        """
        Wait for the effect of a repair, if there can be any; returns when it must be done.

        Raises:
            UnroutableError: When publishing again would not help.
        """
        missing = await self._missing(route, end)
        # Deleting or repairing a namespace takes several steps.
        wait_s = 0.0 if mended_by == math.inf else _RESEND_WAIT_S
        mended_by = min(mended_by, self._loop.time() + _MENDING_S)
        if not missing.passing or self._loop.time() + wait_s >= min(mended_by, end):
            raise UnroutableError(missing.sentence) from None
        await asyncio.sleep(wait_s)
        return mended_by

    def _taken_in_time(
        self,
        waiter: Waiter,
        message: Message,
        route: str,
        answer: asyncio.Future[Reply | None],
        until: float | None,
    ) -> None:
        """The broker has an effect whose answer is awaited; from now on the answer has the time."""
        self._open.pop(answer, None)
        self._taken(waiter, message, route)
        if until is not None:
            waiter.limit(answer, until - self._loop.time())

    def _taken(self, waiter: Waiter, message: Message, route: str) -> None:
        """The broker has an effect."""
        self.roads.worked(route)
        self._counters["submitted"] += 1
        self._book.note_asked(waiter, message, route)
        reached("after_confirm")

    async def _missing(self, route: str, end: float) -> Missing:
        try:
            async with asyncio.timeout_at(end):
                return await self.roads.explain(route)
        except (TimeoutError, BrokerError) as problem:
            return not_looked_up(route, problem)

    async def _outgoing(
        self, bodies: LargeBodies, message: Message, end: float, limit_s: float
    ) -> Message:
        try:
            async with asyncio.timeout_at(end):
                return await bodies.outgoing(message, known_sha256(message))
        except TimeoutError:
            raise AttachmentStoreError(
                f"the attachment store {bodies.store.where} did not take the body within "
                f"{limit_s:g} s; nothing was submitted"
            ) from None
