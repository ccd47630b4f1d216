"""The check of ``effectmq doctor`` for the permissions of its user."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Iterable, Sequence

from effectmq.broker.inventory import full_topology
from effectmq.broker.transports.port import Transport
from effectmq.cli.doctor.checks import Finding, Status
from effectmq.protocol.errors import AccessRefusedError
from effectmq.protocol.permissions import operator_permissions
from effectmq.protocol.topology import Binding, Names, Queue, Topology, TopologySettings

__all__ = ["permission_findings"]

#: The three permissions of RabbitMQ, and the use of each.
_USES = {
    "configure": "workers and clients declare their own queues, and what is not there yet",
    "write": "effects, answers, retries and dead letters are published, and queues are bound",
    "read": "effects and dead letters are consumed, and queues are bound to exchanges",
}
_MOST_NAMED = 4


async def permission_findings(
    transport: Transport, settings: TopologySettings, routes: Iterable[str]
) -> AsyncIterator[Finding]:
    """
    One finding for each permission that a worker or an operator needs; nothing is declared for
    this.

    Args:
        transport: An open transport.
        settings: The namespace and its delay levels.
        routes: The kinds and lanes to check. Those without a queue are left out, unless none has
            one: it is unknown which of them will be used.
    """
    names, routes = Names(settings.namespace), tuple(routes)
    used = [route for route in routes if await _is_there(transport, names.work_queue(route))]
    whole = full_topology(settings, used or routes) | _listening(names)
    found = await transport.refusals(
        declares=whole,
        publishes=[
            # A reply queue that does not exist: only the permission is tested.
            ("", names.reply_queue("nobody")),
            *((each.name, "") for each in whole.exchanges),
        ],
        consumes=[each.name for each in whole.queues],
    )
    refused = [each for each in found if isinstance(each, AccessRefusedError)]
    absent = await _absent(transport, whole) if refused else []
    for permission, use in _USES.items():
        missing = [each for each in refused if each.permission == permission]
        if not missing:
            detail = f"granted for all of namespace {settings.namespace!r}: {use}"
            yield Finding(f"permission {permission}", "OK", detail)
        else:
            detail = f"{_missing(missing)}; {use}. Grant it: {_grant(missing[0], settings)}"
            yield Finding(f"permission {permission}", _status(permission, missing, absent), detail)


def _listening(names: Names) -> Topology:
    """The control queue of a worker, with a name that no worker has."""
    queue = names.control_queue("worker-doctor")
    return Topology(queues=(Queue(queue, {}),), bindings=(Binding(names.control, queue, ""),))


async def _is_there(transport: Transport, queue: str) -> bool:
    try:
        return await transport.stats(queue) is not None
    except AccessRefusedError:
        # From 4.3 on, looking needs any one of the three permissions.
        return True


async def _absent(transport: Transport, whole: Topology) -> list[str]:
    """Objects that do not exist, and that somebody must declare."""
    queues = [each.name for each in whole.queues]
    try:
        exchanges = [
            each.name for each in whole.exchanges if not await transport.has_exchange(each.name)
        ]
    except AccessRefusedError:
        exchanges = []
    return [*exchanges, *[each for each in queues if not await _is_there(transport, each)]]


def _status(permission: str, missing: Sequence[AccessRefusedError], absent: list[str]) -> Status:
    """The status of a permission; existing objects need not be declared again."""
    refused = {each.resource for each in missing}
    wanted = {f"{what} '{name}'" for name in absent for what in ("queue", "exchange")}
    return "WARN" if permission == "configure" and not refused & wanted else "FAIL"


def _missing(missing: Sequence[AccessRefusedError]) -> str:
    objects = list(dict.fromkeys(each.resource for each in missing))
    more = len(objects) - _MOST_NAMED
    shown = ", ".join(objects[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    first = missing[0]
    return f"user '{first.user}' has none on {shown} in the virtual host '{first.vhost}'"


def _grant(refused: AccessRefusedError, settings: TopologySettings) -> str:
    patterns = " ".join(map(shlex.quote, operator_permissions(settings.namespace)))
    vhost, user = shlex.quote(refused.vhost), shlex.quote(refused.user)
    return (
        f"rabbitmqctl set_permissions -p {vhost} {user} {patterns} (a producer needs less, see "
        "docs/operations.md)"
    )
