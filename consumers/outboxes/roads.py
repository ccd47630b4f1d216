"""
Keep the exchanges, queues and bindings of a worker in place while it is connected.

A consumer is told when its queue is deleted. Nobody is told when an exchange or a binding is
deleted: producers notice it, but may not be permitted to declare it again, and messages that come
home from a delay level wait. Binding again what is bound changes nothing, so the
worker does it every few seconds. When that shows that something is missing, it declares everything.
"""

from __future__ import annotations

import asyncio
import logging

from effectmq.broker.sparingly import Sparingly
from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import (
    AccessRefusedError,
    BrokerError,
    TopologyError,
    TransportClosedError,
)
from effectmq.protocol.topology import Topology

__all__ = ["keep_roads"]

logger = logging.getLogger("effectmq.worker")

_EVERY_S = 5.0


async def keep_roads(
    transport: Transport, topology: Topology, *, every_s: float = _EVERY_S
) -> None:
    """
    Check a topology and repair it, until cancelled.

    Args:
        transport: An open transport that has declared it.
        topology: The worker's.
        every_s: The time between two checks, in seconds.
    """
    loop = asyncio.get_running_loop()
    bindings = Topology(bindings=topology.bindings)
    said = Sparingly()
    while True:
        await asyncio.sleep(every_s)
        try:
            try:
                await transport.declare(bindings)
            except TopologyError as missing:
                if said.due(loop.time()):
                    logger.warning(
                        "part of the namespace was deleted (%s); declaring it again",
                        missing,
                        extra={"action": "roads_missing"},
                    )
                await transport.declare(topology)
        except TransportClosedError:
            return
        except (AccessRefusedError, TopologyError) as problem:
            if said.due(loop.time()):
                logger.error(
                    "what this worker needs on the broker cannot be declared again: %s",
                    problem,
                    extra={"action": "roads_refused"},
                )
        except BrokerError:
            # The connection is lost; the transport logs that.
            continue
