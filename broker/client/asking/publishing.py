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

from effectmq.broker.client.asking.missing import Missing, MissingRoads, not_looked_up
from effectmq.broker.client.replies.book import ReplyBook
from effectmq.broker.crashpoints import reached
from effectmq.broker.inheritance import inherited
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.transports.port import Transport
from effectmq.broker.transports.publishing import PASSING, publish_try_s
from effectmq.protocol.errors import (
    AttachmentStoreError,
    BrokerBlockedError,
    BrokerError,
    UnroutableError,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request
from effectmq.protocol.topology import Names, TopologySettings

__all__ = ["Questions"]

_RESEND_WAIT_S = 0.2
#: How long to wait for the effect of a repair, in seconds. Shorter than the time for which the
#: answer about missing objects is used, so that they are not declared in a loop.
_MENDING_S = 0.9


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
        self._exchange = Names(topology.namespace).work_exchange
        self._book = book
        self._bodies = bodies
        self._try_s = try_s
        self._counters = counters

    async def close(self) -> None:
        """End every look for what is missing."""
        await self.roads.close()

    async def publish(self, request: Request, route: str, end: float, limit_s: float) -> None:
        """
        Publish one effect to a durable queue.

        Args:
            request: The effect.
            route: Its kind, with the lane if it has one.
            end: The time of the event loop at which to give up.
            limit_s: The seconds that an error names.

        Raises:
            PublishError: When it was not confirmed in time; ``UnroutableError`` when no queue takes
                it.
            AttachmentStoreError: When its body is kept out of line and could not be stored.
            ParentExpiredError: When the effect that is carried out here has passed its deadline.
        """
        inherited().check(request.effect_id, time.time_ns() // 1_000_000)
        loop = asyncio.get_running_loop()
        message = await self._outgoing(request.message, end, limit_s)
        reached("before_publish")
        mended_by = math.inf
        # Not all of the time for one try: a channel may be stuck on a frozen node, and the next
        # try takes another channel.
        try_s = publish_try_s(message, self._try_s)
        while True:
            try:
                await self._transport.publish(
                    self._exchange,
                    route,
                    message,
                    timeout=max(0.0, min(try_s, end - loop.time())),
                    given=limit_s,
                )
                break
            except UnroutableError:
                missing = await self._missing(route, end)
                # Deleting or repairing a namespace takes several steps.
                wait_s = 0.0 if mended_by == math.inf else _RESEND_WAIT_S
                mended_by = min(mended_by, loop.time() + _MENDING_S)
                if not missing.passing or loop.time() + wait_s >= min(mended_by, end):
                    raise UnroutableError(missing.sentence) from None
                await asyncio.sleep(wait_s)
            except PASSING as problem:
                self._counters["publish_retries"] += 1
                if isinstance(problem, BrokerBlockedError):
                    # It is on its way, and will be taken when the alarm ends: send no third copy.
                    try_s = max(try_s, end - loop.time())
                if end - loop.time() <= _RESEND_WAIT_S:
                    raise
                await asyncio.sleep(_RESEND_WAIT_S)
        self.roads.worked(route)
        self._counters["submitted"] += 1
        self._book.note_asked(request, route)
        reached("after_confirm")

    async def _missing(self, route: str, end: float) -> Missing:
        try:
            async with asyncio.timeout_at(end):
                return await self.roads.explain(route)
        except (TimeoutError, BrokerError) as problem:
            return not_looked_up(route, problem)

    async def _outgoing(self, message: Message, end: float, limit_s: float) -> Message:
        if self._bodies is None:
            return message
        try:
            async with asyncio.timeout_at(end):
                return await self._bodies.outgoing(message)
        except TimeoutError:
            raise AttachmentStoreError(
                f"the attachment store {self._bodies.store.where} did not take the body within "
                f"{limit_s:g} s; nothing was submitted"
            ) from None
