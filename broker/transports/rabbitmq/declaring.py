"""
Declare a topology: strictly for a caller, as much of it as possible after a reconnect.

A refusal closes the channel, so declarations never share one with anything else.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from effectmq.broker.transports.rabbitmq.driver import Channel, Link
from effectmq.protocol.errors import AccessRefusedError, BrokerError, TopologyError
from effectmq.protocol.topology import Binding, Exchange, Queue, Topology

__all__ = ["declare", "restore"]

logger = logging.getLogger("effectmq.rabbitmq")

_Step = Callable[[Channel], Awaitable[None]]


async def declare(link: Link, topology: Topology) -> None:
    """
    Declare everything, in order.

    Raises:
        BrokerError: At the first object that the broker refuses.
    """
    channel = await link.channel(confirms=False)
    try:
        for step in _steps(topology):
            await step(channel)
    finally:
        await channel.close()


async def restore(link: Link, topology: Topology) -> None:
    """
    Declare everything again that can be; what is refused is logged.

    One queue that somebody has declared otherwise meanwhile must not keep a process from serving
    the others.

    Raises:
        BrokerUnreachableError: When the connection was lost.
    """
    channel = await link.channel(confirms=False)
    try:
        for step in _steps(topology):
            try:
                await step(channel)
            except (TopologyError, AccessRefusedError) as refusal:
                _log_refusal(refusal)
                await channel.close()
                channel = await link.channel(confirms=False)
    finally:
        await channel.close()


def _log_refusal(refusal: BrokerError) -> None:
    logger.error(
        "what was declared before cannot be declared again: %s",
        refusal,
        extra={"action": "redeclare_refused"},
    )


def _steps(topology: Topology) -> list[_Step]:
    return [
        *(_exchange_step(exchange) for exchange in topology.exchanges),
        *(_queue_step(queue) for queue in topology.queues),
        *(_binding_step(binding) for binding in topology.bindings),
    ]


def _exchange_step(exchange: Exchange) -> _Step:
    return lambda channel: channel.declare_exchange(exchange)


def _queue_step(queue: Queue) -> _Step:
    return lambda channel: channel.declare_queue(queue)


def _binding_step(binding: Binding) -> _Step:
    return lambda channel: channel.bind(binding)
