"""
Declare a topology: strictly for a caller, as far as possible after a reconnect.

A refusal closes the channel, so declarations have a separate channel. For a user who may not
declare, an object that exists already is enough: then it is only looked up.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from effectmq.broker.transports.rabbitmq.driver import Channel, Link
from effectmq.broker.transports.refusals import all_refused
from effectmq.protocol.errors import (
    AccessRefusedError,
    BrokerError,
    TopologyError,
)
from effectmq.protocol.topology import Binding, Exchange, Queue, Topology

__all__ = ["declare", "missing_queues", "restore"]

logger = logging.getLogger("effectmq.rabbitmq")

_Act = Callable[[Channel], Awaitable[object]]
#: The function that declares an object, and the one that looks it up, where that is possible.
_Step = tuple[_Act, _Act | None]


async def declare(link: Link, topology: Topology) -> None:
    """
    Declare everything, in order; missing permissions are reported together.

    Raises:
        AccessRefusedError: When the user may not declare an object that does not exist.
        BrokerError: At the first object that the broker refuses for another reason.
    """
    refused: list[AccessRefusedError] = []

    def wrong(problem: TopologyError) -> None:
        # After a refusal, objects may be missing that others need: only the permission helps.
        if not refused:
            raise problem

    await _each(link, topology, refused.append, wrong)
    if refused:
        raise all_refused(refused)


async def restore(link: Link, topology: Topology) -> None:
    """
    Declare everything again, as far as possible; refusals are logged.

    One queue that somebody has declared differently meanwhile must not keep a process from serving
    the others.

    Raises:
        BrokerUnreachableError: When the connection was lost.
    """
    await _each(link, topology, _log_refusal, _log_refusal)


async def missing_queues(link: Link, queues: Iterable[str]) -> set[str]:
    """
    Those of these queues that do not exist, before they are declared again.

    Raises:
        BrokerUnreachableError: When the connection was lost.
    """
    missing: set[str] = set()
    channel = None
    for queue in queues:
        channel = channel or await link.channel(confirms=False)
        try:
            await channel.stats(queue)
        except (TopologyError, AccessRefusedError) as refusal:
            if isinstance(refusal, TopologyError):
                missing.add(queue)
            await channel.close()
            channel = None
    if channel is not None:
        await channel.close()
    return missing


def _log_refusal(refusal: BrokerError) -> None:
    logger.error(
        "an earlier declaration cannot be repeated: %s",
        refusal,
        extra={"action": "redeclare_refused"},
    )


async def _each(
    link: Link,
    topology: Topology,
    refused: Callable[[AccessRefusedError], None],
    wrong: Callable[[TopologyError], None],
) -> None:
    channel = await link.channel(confirms=False)
    try:
        for act, find in _steps(topology):
            try:
                await act(channel)
            except (TopologyError, AccessRefusedError) as problem:
                await channel.close()
                channel = await link.channel(confirms=False)
                if not isinstance(problem, AccessRefusedError):
                    wrong(problem)
                elif find is None or not await _is_there(link, find):
                    refused(problem)
    finally:
        await channel.close()


async def _is_there(link: Link, find: _Act) -> bool:
    channel = await link.channel(confirms=False)
    try:
        # From 4.3 on, looking needs any one of the three permissions.
        with suppress(TopologyError, AccessRefusedError):
            await find(channel)
            return True
        return False
    finally:
        await channel.close()


def _steps(topology: Topology) -> list[_Step]:
    return [
        *map(_exchange_step, topology.exchanges),
        *map(_queue_step, topology.queues),
        *map(_binding_step, topology.bindings),
    ]


def _exchange_step(exchange: Exchange) -> _Step:
    return (
        lambda channel: channel.declare_exchange(exchange),
        lambda channel: channel.find_exchange(exchange.name),
    )


def _queue_step(queue: Queue) -> _Step:
    return (
        lambda channel: channel.declare_queue(queue),
        lambda channel: channel.stats(queue.name),
    )


def _binding_step(binding: Binding) -> _Step:
    # AMQP cannot show a binding.
    return lambda channel: channel.bind(binding), None
