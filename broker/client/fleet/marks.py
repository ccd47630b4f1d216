"""
The marks of paused routes on the broker.

While a route is paused for all workers, a queue of a certain name exists, and its one message says
who paused it, when and why. The broker is the only thing that every worker and every operator
reaches, so the mark is the truth: it needs no journal, survives every restart, and a worker that
starts later or has missed a message finds it. The queue itself counts, not its message: whoever
reads that holds it for a moment.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import BrokerError
from effectmq.protocol.messages.fleet.pauses import Pause, mark_message, read_mark
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names, pause_topology

__all__ = ["has_mark", "message_in", "pause_of", "remove_mark", "set_mark"]

#: How long its message may take; others may be reading it, one after the other.
_READ_S = 2.0


async def set_mark(transport: Transport, names: Names, route: str, pause: Pause) -> bool:
    """
    Mark a route as paused for all workers; it becomes true when they look.

    Args:
        transport: An open one.
        names: The namespace.
        route: A kind, ``kind.lane``, or ``EVERY_ROUTE``.
        pause: Who, when and why.

    Returns:
        Whether it was not marked before; an earlier mark stays as it is.

    Raises:
        AccessRefusedError: When the user may not declare the queue, or publish to it.
        BrokerError: When the broker cannot be used.
    """
    if await has_mark(transport, names, route):
        return False
    # Somebody else may resume it: this connection must not make the queue again when it comes back.
    await transport.declare(pause_topology(names, route), lasting=False)
    await transport.publish("", names.pause_mark(route), mark_message(pause))
    return True


async def remove_mark(transport: Transport, names: Names, route: str) -> bool:
    """
    Take the mark of a route away.

    Returns:
        Whether there was one.

    Raises:
        BrokerError: When the broker cannot be used, or does not let us.
    """
    if not await has_mark(transport, names, route):
        return False
    return await transport.delete(names.pause_mark(route))


async def has_mark(transport: Transport, names: Names, route: str) -> bool:
    """
    Whether a route is marked as paused.

    Raises:
        BrokerError: When the broker cannot be used.
    """
    return await transport.stats(names.pause_mark(route)) is not None


async def pause_of(transport: Transport, names: Names, route: str) -> Pause | None:
    """
    Who paused a route, when and why; ``None`` when it is not marked.

    A pause that says nothing when its message cannot be read in time.

    Raises:
        BrokerError: When the broker cannot be used.
    """
    if not await has_mark(transport, names, route):
        return None
    message = await message_in(transport, names.pause_mark(route))
    found = Pause() if message is None else read_mark(message)
    return found if await has_mark(transport, names, route) else None


async def message_in(transport: Transport, mark: str) -> Message | None:
    """
    The message of a mark, which stays there; ``None`` when it cannot be read in time.

    Others may be reading it, and it may be taken away meanwhile.
    """
    with suppress(BrokerError, TimeoutError):
        async with asyncio.timeout(_READ_S):
            consumer = await transport.consume(mark, prefetch=1)
            try:
                async for delivery in consumer:
                    return delivery.message
            finally:
                await consumer.close()
    return None
