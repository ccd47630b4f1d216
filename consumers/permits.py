"""
What a worker may do on the broker, checked before it takes work.

A worker that cannot answer, delay or park would run bodies and lose their outcomes. So it tests
every permission that it will need at the start, and one error names all that are missing. Nothing
is published or consumed for this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from effectmq.broker.transports.port import Transport
from effectmq.broker.transports.refusals import all_refused
from effectmq.protocol.errors import AccessRefusedError, TopologyError
from effectmq.protocol.kinds import kind_of
from effectmq.protocol.permissions import worker_permissions
from effectmq.protocol.topology import Names, Topology, TopologySettings

__all__ = ["declare_and_check"]

#: One reason of a dead letter stands for all of them: they share an exchange.
_REASON = "exhausted"


async def declare_and_check(
    transport: Transport,
    settings: TopologySettings,
    topology: Topology,
    routes: Iterable[str],
    control_queue: Callable[[], str],
) -> None:
    """
    Declare what a worker needs, and find out whether it may use it.

    Args:
        transport: An open one.
        settings: The namespace and its delay levels.
        topology: What to declare.
        routes: The kinds and lanes that the worker takes.
        control_queue: Makes the name of a new control queue.

    Raises:
        AccessRefusedError: When permissions are missing; names all of them.
        BrokerError: When something cannot be declared for another reason.
    """
    refused: list[AccessRefusedError] = []
    try:
        await transport.declare(topology)
    except AccessRefusedError as problem:
        refused += problem.parts or (problem,)
    names, routes = Names(settings.namespace), tuple(routes)
    kept = {names.dead, *map(names.delay, settings.delay_levels_ms)}
    found = await transport.refusals(
        publishes=[
            # A reply queue that does not exist: only the permission is tested.
            ("", names.reply_queue("nobody")),
            (names.control, ""),
            *((names.delay(level), routes[0]) for level in settings.delay_levels_ms),
            *((names.dead, f"{kind}.{_REASON}") for kind in dict.fromkeys(map(kind_of, routes))),
        ],
        # The work queues and limbo; the worker does not read delay queues and dead letters.
        consumes=[queue.name for queue in topology.queues if queue.name not in kept],
    )
    try:
        await (await transport.listen(names.control, name=control_queue, prefetch=1)).close()
    except (AccessRefusedError, TopologyError) as problem:
        found.append(problem)
    refused += [each for each in found if isinstance(each, AccessRefusedError)]
    if refused:
        raise all_refused(refused, "a worker", worker_permissions(settings.namespace))
    for each in found:
        if isinstance(each, TopologyError):
            raise each
