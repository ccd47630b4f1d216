"""
Publish something that must not be lost: again and again, until its fate is known.

Unknown, refused, blocked and unreachable are all passing conditions for a worker that holds the
original message unsettled: nothing is lost while it waits, and a duplicate is absorbed later.
A permission that is missing passes when somebody grants it; a watch hears of that wait, because a
worker that cannot publish should not take more work. Unroutable and too large are answers, and are
raised.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Protocol

from effectmq.broker.backoff import Backoff
from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import (
    AccessRefusedError,
    BrokerBlockedError,
    BrokerError,
    BrokerUnreachableError,
    PublishUnknownError,
    QueueFullError,
    TransportClosedError,
)
from effectmq.protocol.messages.message import Message

__all__ = ["PASSING", "UNTAKEN", "RefusalWatch", "publish_until_known"]

logger = logging.getLogger("effectmq.publish")

#: What trying again can mend.
PASSING = (PublishUnknownError, QueueFullError, BrokerBlockedError, BrokerUnreachableError)
#: What can be the fault of one queue, while the broker serves all others.
UNTAKEN = (PublishUnknownError, QueueFullError)

#: The slowest line on which a large message gets its time, in bytes a second. Sent again too early
#: it would queue up behind itself, and never arrive.
_SLOWEST = 2_000
#: Below this the transport's own time is enough, in seconds.
_ORDINARY_S = 15.0

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0


class RefusalWatch(Protocol):
    """Hears of publishes that wait for a permission."""

    def refused(self, problem: AccessRefusedError) -> None:
        """One more waits, for this reason."""
        ...

    def relieved(self) -> None:
        """One of them waits no more: it was taken, or given up."""
        ...


def publish_try_s(message: Message, ordinary_s: float) -> float:
    """How long one try may take, in seconds: the usual time, more for what is large."""
    return max(ordinary_s, len(message.body) / _SLOWEST)


async def publish_until_known(
    transport: Transport,
    exchange: str,
    routing_key: str,
    message: Message,
    watch: RefusalWatch | None = None,
    patience_s: float = math.inf,
) -> None:
    """
    Publish and wait for the confirmation, for as long as it takes.

    Cancel it to stop trying.

    Args:
        transport: An open one.
        exchange: As in ``Transport.publish``.
        routing_key: Likewise.
        message: Likewise.
        watch: Hears when the publish waits for a permission, and when it does no more.
        patience_s: For how long the queue may refuse it, or leave it unconfirmed, in seconds. Only
            for a queue that somebody else answers for; a broker that is away is waited for.

    Raises:
        UnroutableError: When no queue takes it.
        QueueFullError: When the queue refused it for longer than ``patience_s``.
        PublishUnknownError: When it was not confirmed for longer than ``patience_s``.
        PayloadTooLargeError: When it is over the size cap.
        TransportClosedError: When the transport was closed.
        ConfigurationError: When a property or a header is of a kind that does not travel.
    """
    backoff: Backoff | None = None
    refused = False
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    try:
        while True:
            try:
                await transport.publish(exchange, routing_key, message)
                return
            except TransportClosedError:
                raise
            except (*PASSING, BrokerError) as problem:
                # A broker that refuses us may be mended, too; who asks us to publish has a message
                # in hand that would be stuck otherwise.
                if not isinstance(problem, UNTAKEN):
                    begun_s = loop.time()
                elif loop.time() - begun_s >= patience_s:
                    raise
                watched = False
                if isinstance(problem, AccessRefusedError) and watch is not None:
                    watched = True
                    if not refused:
                        refused = True
                        watch.refused(problem)
                backoff = backoff or Backoff(_LONGEST_WAIT_S, first_s=_FIRST_WAIT_S)
                wait_s = backoff.next_s()
                logger.log(
                    # Whoever watches has said it.
                    logging.DEBUG if watched else logging.WARNING,
                    "publishing again in %.1f s: %s",
                    wait_s,
                    problem,
                    extra={"action": "publish_again", "correlation_id": message.correlation_id},
                )
                await asyncio.sleep(wait_s)
    finally:
        if refused and watch is not None:
            watch.relieved()
