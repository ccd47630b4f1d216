"""
The ramps of routes on the broker, each a mark like that of a pause.

A mark cannot be changed, so it is taken away and made anew; who looks in between looks again before
it believes that there is none.
"""

from __future__ import annotations

from effectmq.broker.client.fleet.marks import message_in
from effectmq.broker.transports.port import Transport
from effectmq.protocol.messages.fleet.ramps import Ramp, ramp_message, read_ramp
from effectmq.protocol.topology import Names, ramp_topology

__all__ = ["has_ramp", "ramp_of", "remove_ramp", "set_ramp"]


async def set_ramp(transport: Transport, names: Names, route: str, ramp: Ramp) -> None:
    """
    Share out a route for all workers; it becomes true when they look.

    Raises:
        AccessRefusedError: When the user may not declare the queue, or publish to it.
        BrokerError: When the broker cannot be used.
    """
    mark = names.ramp_mark(route)
    if await has_ramp(transport, names, route):
        await transport.delete(mark)
    # Somebody else may end it: this connection must not make the queue again when it comes back.
    await transport.declare(ramp_topology(names, route), lasting=False)
    await transport.publish("", mark, ramp_message(ramp))


async def remove_ramp(transport: Transport, names: Names, route: str) -> bool:
    """
    Share a route out no more.

    Returns:
        Whether it was.

    Raises:
        BrokerError: When the broker cannot be used, or does not let us.
    """
    if not await has_ramp(transport, names, route):
        return False
    return await transport.delete(names.ramp_mark(route))


async def has_ramp(transport: Transport, names: Names, route: str) -> bool:
    """
    Whether a route has a ramp.

    Raises:
        BrokerError: When the broker cannot be used.
    """
    return await transport.stats(names.ramp_mark(route)) is not None


async def ramp_of(transport: Transport, names: Names, route: str) -> Ramp | None:
    """
    The ramp of a route; ``None`` when there is none, or it cannot be read in time.

    Raises:
        BrokerError: When the broker cannot be used.
    """
    if not await has_ramp(transport, names, route):
        return None
    message = await message_in(transport, names.ramp_mark(route))
    return None if message is None else read_ramp(message)
