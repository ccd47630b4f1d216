"""
A producer's reply queue: declared, taken over from an earlier release, replaced, deleted.

Earlier releases declared a classic queue, and a queue cannot change its type. Its outcomes are read
first, then it is deleted and declared anew. A worker that answers in between keeps the outcome and
sends it again.

RabbitMQ writes its register of quorum queues to disk once a second. A queue that was not in it yet
when its broker was killed comes back without a leader, for ever: it can be declared, but never
answers a consumer or a publisher. Such a queue is deleted, which RabbitMQ does by force after five
seconds, and declared anew under the same name; workers that keep an outcome for it send it again. A
cluster that has lost its majority looks the same, and comes back with everything in its queues. So
a queue is replaced only when it may have been too young for the register, and when nothing in it
can be lost: because this process made it, or because there is a journal.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import suppress

from effectmq.broker.opening import opened_by
from effectmq.broker.transports.port import Delivery, Transport
from effectmq.protocol.errors import BrokerError, TopologyError
from effectmq.protocol.topology import Topology

__all__ = ["declare_reply_queue", "delete_reply_queue", "may_be_replaced", "replace_mute"]

logger = logging.getLogger("effectmq.client")

_READ_PREFETCH = 500
_POLL_S = 0.05
#: How long the outcomes of a former queue may take to be read, in seconds.
_READ_S = 10.0
_DELETE_S = 3.0
#: Far longer than the register takes to be written, in seconds.
_REGISTERED_S = 5.0


async def declare_reply_queue(
    transport: Transport, topology: Topology, take: Callable[[Delivery], None]
) -> None:
    """
    Declare the reply queue; it replaces a classic one, if there is one.

    Args:
        transport: An open transport.
        topology: The reply queue, and what else to declare.
        take: Reads and settles an outcome of the former queue.

    Raises:
        TopologyError: When it exists with other arguments, and cannot be replaced without losing
            its outcomes.
        ReplyQueueInUseError: When a live producer consumes from the former queue.
    """
    try:
        await transport.declare(topology)
        return
    except TopologyError as refusal:
        if "x-queue-type" not in str(refusal):
            raise
    queue = topology.queues[-1].name
    await _empty(transport, queue, take)
    await transport.declare(topology)
    logger.warning(
        "the reply queue %s was a classic queue, which a cluster loses together with a node; its "
        "outcomes have been read, and it is a quorum queue now",
        queue,
        extra={"action": "reply_queue_replaced", "queue": queue},
    )


async def _empty(transport: Transport, queue: str, take: Callable[[Delivery], None]) -> None:
    """Read the former queue until it can be deleted."""
    end = asyncio.get_running_loop().time() + _READ_S
    while True:
        await _read(transport, queue, take, end)
        if await transport.delete(queue, if_empty=True):
            return
        if asyncio.get_running_loop().time() > end:
            raise TopologyError(
                f"the reply queue {queue!r} is a classic one of an earlier release, and holds "
                "outcomes that this client cannot read, because their bodies are kept out of line. "
                "Open the client once with the attachment store of the workers, or delete the "
                f"queue (rabbitmqctl delete_queue {queue})"
            )


async def _read(
    transport: Transport, queue: str, take: Callable[[Delivery], None], end: float
) -> None:
    consumer = await transport.consume(queue, prefetch=_READ_PREFETCH, exclusive=True)

    async def read() -> None:
        async for delivery in consumer:
            take(delivery)

    reading = asyncio.get_running_loop().create_task(read())
    try:
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(_POLL_S)
            stats = await transport.stats(queue)
            if stats is None or not stats.ready:
                # Deliveries on their way are read before the consumer is closed.
                await asyncio.sleep(_POLL_S)
                break
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await consumer.close()


async def delete_reply_queue(transport: Transport, queue: str) -> None:
    """Delete a queue that is not needed any more; if that fails, it expires. Never raises."""
    with suppress(BrokerError, TimeoutError):
        async with asyncio.timeout(_DELETE_S):
            await transport.delete(queue)


def may_be_replaced(*, made_here: bool, recorded: bool, served_s: float) -> bool:
    """
    Whether a queue may have been too young for the register, and can be deleted without a loss.

    Args:
        made_here: Whether this process made it, so that its age is known and it has nothing of an
            earlier process.
        recorded: Whether there is a journal, which has the outcomes in it.
        served_s: The longest time for which it was consumed without a break, in seconds.
    """
    return (made_here or recorded) and served_s < _REGISTERED_S


async def replace_mute(transport: Transport, topology: Topology) -> bool:
    """
    Delete a queue that does not answer, and declare it anew.

    Args:
        transport: An open transport.
        topology: The queue, and what else to declare with it.

    Returns:
        Whether it was replaced. Not when the broker answers nothing else either: it would delete
        the queue after it has recovered.
    """
    queue = topology.queues[-1].name
    try:
        await transport.stats(queue)
        await transport.delete(queue)
        # A caller that still waited for it at the broker may break the connection now. Nobody else
        # would declare the deleted queue, so this goes on until it is done, or the client closes.
        await opened_by(math.inf, lambda: transport.declare(topology))
    except BrokerError as problem:
        logger.warning(
            "the reply queue %s does not answer, and could not be replaced: %s",
            queue,
            problem,
            extra={"action": "reply_queue_mute", "queue": queue},
        )
        return False
    logger.warning(
        "the reply queue %s did not answer, because its broker was killed when it was just "
        "declared; it was deleted and declared anew",
        queue,
        extra={"action": "reply_queue_replaced", "queue": queue},
    )
    return True
