"""
The queues of a namespace, as far as a connection to the broker shows them.

AMQP cannot list queues, so this asks for each name that effectmq would have given: one work queue
for each kind, and for each lane that the caller names; the delay levels; limbo and dead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from effectmq.broker.transports.port import QueueStats, Transport
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.topology import (
    Names,
    Topology,
    TopologySettings,
    shared_topology,
    work_topology,
)

__all__ = ["Role", "Seen", "all_routes", "full_topology", "inventory"]

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
    return [Seen(queue, role, route, await transport.stats(queue)) for queue, role, route in wanted]
