"""
Publish a message that must not be lost: again and again, until its fate is known.

Unknown, refused, blocked and unreachable are passing conditions for a worker that holds the
original message unsettled: nothing is lost while it waits, and a duplicate is recognised later. A
missing permission passes when somebody grants it; a watch is told of that wait, because a worker
that may not publish should not take more work. Unroutable and too large are final, and are raised.
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

#: Errors after which another try may succeed.
PASSING = (PublishUnknownError, QueueFullError, BrokerBlockedError, BrokerUnreachableError)
#: Errors that a single queue may cause, while the broker serves all others.
UNTAKEN = (PublishUnknownError, QueueFullError)

#: The slowest line for which a large message gets enough time, in bytes a second. If it were sent
#: again too early, it would wait behind itself and never arrive.
_SLOWEST = 2_000
#: Below this the transport's own timeout is enough, in seconds.
_ORDINARY_S = 15.0

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0


class RefusalWatch(Protocol):
    """Is told of publishes that wait for a permission."""

    def refused(self, problem: AccessRefusedError) -> None:
        """One more publish waits, for this reason."""
        ...

    def relieved(self) -> None:
        """One publish no longer waits: it was taken, or given up."""
        ...


def publish_try_s(message: Message, ordinary_s: float) -> float:
    """How long one try may take, in seconds: the usual time, and more for a large message."""
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
        transport: An open transport.
        exchange: As in ``Transport.publish``.
        routing_key: As in ``Transport.publish``.
        message: As in ``Transport.publish``.
        watch: Is told when the publish waits for a permission, and when it no longer does.
        patience_s: How long the queue may refuse it, or leave it unconfirmed, in seconds. Only for
            a queue that somebody else is responsible for; a broker that is away is waited for.

    Raises:
        UnroutableError: When no queue takes it.
        QueueFullError: When the queue refused it for longer than ``patience_s``.
        PublishUnknownError: When it was not confirmed for longer than ``patience_s``.
        PayloadTooLargeError: When it is over the size limit.
        TransportClosedError: When the transport was closed.
        ConfigurationError: When a property or a header has a type that cannot be sent.
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
                # A refusing broker may be mended, too; the caller holds a message that would
                # otherwise be stuck.
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
                    # The watch has logged it.
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
