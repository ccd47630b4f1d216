"""``effectmq queues``: what waits in each queue, how fast it comes and goes, and its consumers."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping

from effectmq.broker.client.fleet.fleet import ANSWER_S
from effectmq.broker.place import first_said
from effectmq.broker.queues.looking import QueueLooks
from effectmq.broker.queues.management import Management
from effectmq.broker.queues.reports import QueueReport, QueuesSeen
from effectmq.broker.store.admission.steps import ADMISSION_SCHEMA
from effectmq.broker.store.admission.store import LimitDesk
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.cli.arguments.options import (
    Commands,
    add_broker_options,
    add_command,
    add_full_option,
    add_journal_option,
    add_json_option,
    add_quiet_option,
    route,
)
from effectmq.cli.arguments.setting_options import add_named_options, place_of, said_of
from effectmq.cli.dead.opening import index_of, opened_desk
from effectmq.cli.fleet.opening import opened_fleet
from effectmq.cli.terminal.output import complain, note, write_json, write_text
from effectmq.cli.terminal.tables import Column, room_of, table
from effectmq.cli.terminal.times import seconds
from effectmq.protocol.errors import ConfigurationError, DatabaseError
from effectmq.protocol.text import printable
from effectmq.protocol.urls import mask_url
from effectmq.settings.environment import read_environment

__all__ = ["configure", "run"]

_OVER_S = 1.0
_DESCRIPTION = """\
List the queues that exist: work queues, delay levels, limbo (what the broker
gave up on) and dead (dead letters).

  ready      messages that wait
  held       messages that workers have at hand
  in/s out/s messages that came and that were taken, a second
  oldest     the oldest that waits is at most so old: it was published after
             the last one that a worker took
  state      "paused" where nobody takes from it; below, who wanted that

With --management (EFFECTMQ_MANAGEMENT) ready, held, consumers and rates are
those of RabbitMQ's management API, which also knows lanes that no worker has.
Without it they are what the broker counts and workers report. The last line
says which. Dead letters are counted by reason when there is an index of them
(effectmq dead), and effects that wait for a limit of the fleet (effectmq
limits) when there is a journal.

  effectmq queues
  effectmq queues --management http://monitor:secret@rabbit:15672

With --json: {"queue","role","route","ready","consumers","in_flight",
"in_per_s","out_per_s","oldest_at_most_s","waited_s","paused","reasons",
"admission_waiting","source"}, one object a line; null is not known."""


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = add_command(
        commands,
        "queues",
        "list queues: what waits, how fast it comes and goes, who takes it",
        _DESCRIPTION,
    )
    parser.add_argument(
        "--kind",
        action="append",
        type=route,
        metavar="KIND",
        help="also look for this lane (kind.lane), which no worker has now; may be repeated",
    )
    parser.add_argument(
        "--over",
        type=seconds,
        default=_OVER_S,
        metavar="TIME",
        help="measure rates over this time, without the management API; default: 1s",
    )
    add_named_options(parser, "what it asks", ("management",))
    add_json_option(parser)
    add_full_option(parser)
    add_broker_options(parser)
    add_journal_option(parser)
    add_quiet_option(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Print one row for each queue that exists.

    Raises:
        ConfigurationError: When the address of the management API cannot be used.
        BrokerError: When the broker cannot be used.
    """
    place = place_of(args)
    said = first_said(said_of(args, "api"), read_environment()).get("management")
    management = Management(str(said), place.broker) if said else None
    settings = place.connection_of("effectmq queues")
    async with (
        open_transport(place.broker, settings) as transport,
        opened_fleet(args, transport) as fleet,
    ):
        looks = QueueLooks(transport, place.topology, fleet, management)
        seen = await looks.look(args.kind or (), timeout_s=ANSWER_S)
        if seen.source == "workers" and fleet is not None:
            await asyncio.sleep(args.over)
            seen = await looks.look(args.kind or (), timeout_s=ANSWER_S)
        dead = next((one.ready for one in seen.queues if one.role == "dead"), 0)
        reasons: Mapping[str, int] | None = await _reasons(args, transport) if dead else {}
    _show(args, seen, reasons, await _waiting(args))
    return 0


async def _waiting(args: argparse.Namespace) -> Mapping[str, int] | None:
    """By route how many effects wait for admission; ``None`` when nobody knows."""
    journal = index_of(args)
    if journal is None:
        return None
    try:
        async with open_archive(journal, namespace=place_of(args).topology.namespace) as archive:
            if not await ADMISSION_SCHEMA.found(archive.database):
                return {}
            waiting = await LimitDesk(archive.database).waiting()
    except (DatabaseError, ConfigurationError) as problem:
        complain(f"what waits for admission cannot be counted: {problem}")
        return None
    return {one.route: one.waiting for one in waiting}


async def _reasons(args: argparse.Namespace, transport: Transport) -> Mapping[str, int] | None:
    """Dead letters by reason, as the index has them; ``None`` without one."""
    database = index_of(args)
    if database is None:
        return None
    try:
        async with opened_desk(args, transport, database) as desk:
            return (await desk.facets()).counts["reason"]
    except DatabaseError as problem:
        complain(f"the index of the dead letters cannot be read: {problem}")
        return None


def _show(
    args: argparse.Namespace,
    seen: QueuesSeen,
    reasons: Mapping[str, int] | None,
    waiting: Mapping[str, int] | None,
) -> None:
    documents = [_document(one, seen, reasons, waiting) for one in seen.queues]
    if args.json:
        for document in documents:
            write_json(document)
    elif not documents:
        place = place_of(args)
        write_text(
            f"There are no queues in namespace {place.topology.namespace!r} on "
            f"{mask_url(place.broker)}. A worker declares what it needs, or run: effectmq topology "
            "apply"
        )
    else:
        _show_table(args, seen, reasons)
    if waiting and not args.json:
        by = ", ".join(f"{count} {route}" for route, count in waiting.items())
        write_text(printable(f"wait for admission, outside of the queues: {by}", 1_000))
    if seen.problem:
        complain(f"{seen.problem}; what workers report is shown instead")
    if seen.silent:
        complain(f"{seen.silent} worker(s) did not answer; what they hold and took is missing")
    if documents:
        note(_source(seen), quiet=args.quiet or args.json)


def _show_table(
    args: argparse.Namespace, seen: QueuesSeen, reasons: Mapping[str, int] | None
) -> None:
    shown = [one for one in seen.queues if args.full or one.ready or one.role != "delay"]
    write_text(table(_SHOWN, [_row(one) for one in shown], room_of(args)))
    for one in shown:
        if one.paused is not None:
            write_text(printable(f"{one.route} is {one.paused}", 400))
    if len(shown) < len(seen.queues):
        write_text(f"({len(seen.queues) - len(shown)} delay level(s) are empty; --full)")
    if reasons:
        by = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        write_text(f"dead letters by reason: {by}")


def _source(seen: QueuesSeen) -> str:
    if seen.source == "management":
        return "source: RabbitMQ's management API; ages from what workers took"
    count = sum(one.answered for one in seen.workers)
    over = f", rates over {seen.rated_s:.1f} s" if seen.rated_s else ""
    return f"source: the broker's counts and {count} worker(s){over}"


_SHOWN = (
    Column("queue", least=16, priority=9),
    Column("ready", priority=8),
    Column("held", priority=7),
    Column("in/s", priority=4),
    Column("out/s", priority=5),
    Column("oldest", priority=3),
    Column("consumers", priority=2),
    Column("state", priority=6),
)


def _row(one: QueueReport) -> tuple[object, ...]:
    return (
        one.queue,
        one.ready,
        one.in_flight,
        _rate(one.in_per_s),
        _rate(one.out_per_s),
        None if one.oldest_at_most_s is None else f"≤ {_span(one.oldest_at_most_s)}",
        one.consumers,
        None if one.paused is None else "paused",
    )


def _rate(per_s: float | None) -> float | None:
    return None if per_s is None else round(per_s, 1)


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def _document(
    one: QueueReport,
    seen: QueuesSeen,
    reasons: Mapping[str, int] | None,
    waiting: Mapping[str, int] | None,
) -> dict[str, object]:
    return {
        "queue": one.queue,
        "role": one.role,
        "route": one.route or None,
        "ready": one.ready,
        "consumers": one.consumers,
        "in_flight": one.in_flight,
        "in_per_s": one.in_per_s,
        "out_per_s": one.out_per_s,
        "oldest_at_most_s": one.oldest_at_most_s,
        "waited_s": one.waited_s,
        "paused": None if one.paused is None else one.paused.tree,
        "reasons": dict(reasons or {}) if one.role == "dead" and reasons is not None else None,
        "admission_waiting": waiting.get(one.route, 0)
        if one.role == "work" and waiting is not None
        else None,
        "source": seen.source,
    }
