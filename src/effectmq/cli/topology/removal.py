"""
Remove a namespace: its queues first, then the exchanges to which nothing is bound any more.

AMQP lists neither queues nor bindings. A lane that was not named is noticed nevertheless: its queue
is bound to the exchange of the work queues, which the broker then refuses to delete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from effectmq.broker.transports.port import QueueStats, Transport
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.topology import Topology

__all__ = ["Fate", "NamespaceInUseError", "Removed", "remove", "used"]

#: ``left``: it was in use when its turn came, or a queue that was not named is bound to it.
Fate = Literal["removed", "missing", "left"]

_MOST_NAMED = 5


class NamespaceInUseError(EffectmqError):
    """A namespace has waiting messages or consumers, so nothing of it was removed."""


@dataclass(frozen=True, slots=True)
class Removed:
    """
    One queue or exchange, and what was done with it.

    Attributes:
        object: ``queue`` or ``exchange``.
        name: Its name.
        fate: What was done with it.
        ready: Messages that waited in the queue; they are lost when it was removed.
    """

    object: Literal["queue", "exchange"]
    name: str
    fate: Fate
    ready: int = 0


def used(stats: QueueStats | None) -> str:
    """Why a queue is in use; empty when it is not."""
    if stats is None:
        return ""
    if stats.ready:
        return f"{stats.name} ({stats.ready} waiting)"
    if stats.locked:
        return f"{stats.name} (belongs to a live connection)"
    return f"{stats.name} ({stats.consumers} consuming)" if stats.consumers else ""


async def remove(
    transport: Transport,
    topology: Topology,
    *,
    force: bool = False,
    dry_run: bool = False,
    on_done: Callable[[Removed], None],
) -> None:
    """
    Remove queues and exchanges, unless one of the queues is used.

    Args:
        transport: An open transport.
        topology: The queues and exchanges that may exist.
        force: Remove what is in use as well, with its messages.
        dry_run: Change nothing, and only say what would be done.
        on_done: Called with each object, one after the other.

    Raises:
        NamespaceInUseError: When a queue is in use; nothing was removed then.
        BrokerError: When the broker refuses, or does not answer.
    """
    queues = [queue.name for queue in topology.queues]
    if not force:
        _refuse([used(await transport.stats(queue)) for queue in queues])
    for queue in queues:
        on_done(await _remove_queue(transport, queue, force=force, dry_run=dry_run))
    for exchange in topology.exchanges:
        on_done(await _remove_exchange(transport, exchange.name, force=force, dry_run=dry_run))


def _refuse(reasons: Iterable[str]) -> None:
    found = [reason for reason in reasons if reason]
    if not found:
        return
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    raise NamespaceInUseError(
        f"nothing was removed: the namespace is in use: {', '.join(found[:_MOST_NAMED])}{more}. "
        "Stop its workers and producers, let the effects finish or take the dead letters away "
        "(effectmq dead export, effectmq dead purge), or remove it with its messages: --force"
    )


async def _remove_queue(transport: Transport, queue: str, *, force: bool, dry_run: bool) -> Removed:
    # Looked at again: a message may have arrived since, and a deleted one is lost.
    stats = await transport.stats(queue)
    if stats is None:
        return Removed("queue", queue, "missing")
    if used(stats) and not force:
        return Removed("queue", queue, "left", stats.ready)
    gone = dry_run or await transport.delete(queue)
    return Removed("queue", queue, "removed" if gone else "left", stats.ready)


async def _remove_exchange(
    transport: Transport, exchange: str, *, force: bool, dry_run: bool
) -> Removed:
    if not await transport.has_exchange(exchange):
        return Removed("exchange", exchange, "missing")
    gone = dry_run or await transport.delete_exchange(exchange, if_unused=not force)
    return Removed("exchange", exchange, "removed" if gone else "left")
