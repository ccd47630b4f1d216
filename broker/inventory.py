"""
The queues of a namespace, as far as a connection to the broker shows them.

AMQP cannot list queues, so this asks for each name that effectmq would have given: one work queue
for each kind, and for each lane that the caller names; the delay levels; limbo and dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from effectmq.broker.transports.port import QueueStats, Transport
from effectmq.protocol.kinds import EFFECT_KINDS, prioritized, unprioritized
from effectmq.protocol.messages.chosen.priority import NORMAL, PRIORITIES
from effectmq.protocol.topology import (
    Binding,
    Names,
    Topology,
    TopologySettings,
    shared_topology,
    work_topology,
)

__all__ = [
    "Role",
    "Row",
    "Seen",
    "all_routes",
    "apart",
    "existing",
    "full_topology",
    "inventory",
    "rows_of",
]

Role = Literal["work", "delay", "limbo", "dead"]


@dataclass(frozen=True, slots=True)
class Seen:
    """
    One queue that there should be.

    Attributes:
        queue: Its name.
        role: What it is for.
        route: The kind, or ``kind.lane``, of a work queue; the milliseconds of a delay level.
        stats: What the broker says; ``None`` when it does not exist.
    """

    queue: str
    role: Role
    route: str
    stats: QueueStats | None


def all_routes(routes: Iterable[str] | None) -> tuple[str, ...]:
    """The eight kinds, and after them those routes that are lanes."""
    return tuple(dict.fromkeys([*EFFECT_KINDS, *(routes or ())]))


def apart(routes: Iterable[str]) -> tuple[str, ...]:
    """The routes of the priorities that these routes may have queues for."""
    return tuple(
        prioritized(route, priority)
        for route in dict.fromkeys(map(unprioritized, routes))
        for priority in PRIORITIES
        if priority != NORMAL
    )


def full_topology(settings: TopologySettings, routes: Iterable[str]) -> Topology:
    """Everything that workers of these routes declare."""
    return work_topology(settings, routes) | shared_topology(settings)


async def inventory(
    transport: Transport, settings: TopologySettings, routes: Iterable[str]
) -> list[Seen]:
    """
    Ask the broker for every queue.

    Args:
        transport: An open one.
        settings: The namespace and its delay levels.
        routes: The kinds and lanes whose work queues are asked for.
    """
    names = Names(settings.namespace)
    levels = settings.delay_levels_ms
    wanted: list[tuple[str, Role, str]] = [
        *((names.work_queue(route), "work", route) for route in routes),
        *((names.delay(level), "delay", str(level)) for level in levels),
        (names.limbo, "limbo", ""),
        (names.dead, "dead", ""),
    ]
    # At once, which the transport makes one look of.
    found = await asyncio.gather(*(transport.stats(queue) for queue, _, _ in wanted))
    return [
        Seen(queue, role, route, stats)
        for (queue, role, route), stats in zip(wanted, found, strict=True)
    ]


class Row(NamedTuple):
    """
    One exchange, queue or binding that there should be.

    Attributes:
        object: ``exchange``, ``queue`` or ``binding``.
        name: Its name; of a binding that of its queue.
        state: ``exists``, ``missing``, ``created`` or, for what cannot be seen, ``unknown``.
        arguments: How it is declared.
    """

    object: str
    name: str
    state: str
    arguments: Mapping[str, str | int]


async def existing(transport: Transport, topology: Topology) -> tuple[set[str], set[str]]:
    """The queues and the exchanges of a topology that exist, by name."""
    queues = {each.name for each in topology.queues if await transport.stats(each.name) is not None}
    exchanges = {
        each.name for each in topology.exchanges if await transport.has_exchange(each.name)
    }
    return queues, exchanges


def rows_of(
    topology: Topology,
    before: Collection[str],
    unbound: Collection[Binding] = (),
    *,
    applying: bool = False,
) -> Iterator[Row]:
    """
    The plan against what there is.

    Args:
        topology: The plan.
        before: The names of the queues and exchanges that exist.
        unbound: Bindings that are known to be missing.
        applying: Whether what is missing has just been declared.
    """
    absent = "created" if applying else "missing"
    for exchange in topology.exchanges:
        state = "exists" if exchange.name in before else absent
        yield Row("exchange", exchange.name, state, {"type": exchange.type})
    for queue in topology.queues:
        state = "exists" if queue.name in before else absent
        yield Row("queue", queue.name, state, dict(queue.arguments))
    for binding in topology.bindings:
        source = {"exchange": binding.exchange, "routing_key": binding.routing_key}
        new = {binding.exchange, binding.queue} - set(before) or binding in unbound
        state = ("created" if new else "exists") if applying else "unknown"
        yield Row("binding", binding.queue, state, source)
