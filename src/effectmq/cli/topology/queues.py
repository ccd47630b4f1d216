"""``effectmq queues``: what waits where, and who takes it."""

from __future__ import annotations

import argparse

from effectmq.broker.transports import open_transport
from effectmq.cli.arguments.options import (
    Commands,
    add_broker_options,
    add_command,
    add_full_option,
    add_json_option,
    add_quiet_option,
    route,
)
from effectmq.cli.arguments.setting_options import place_of
from effectmq.cli.terminal.output import note, write_json, write_text
from effectmq.cli.terminal.tables import Column, room_of, table
from effectmq.cli.topology.inventory import Seen, all_routes, inventory
from effectmq.protocol.urls import mask_url

__all__ = ["configure", "run"]

_DESCRIPTION = """\
List the queues that exist: work queues, delay levels, limbo (what the broker
gave up on) and dead (dead letters). "ready" counts what waits; what a worker
holds at the moment is not visible over AMQP. With --json:
{"queue","role","route","ready","consumers"}, one object a line."""


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = add_command(
        commands,
        "queues",
        "list queues, with what waits in them and who consumes them",
        _DESCRIPTION,
    )
    parser.add_argument(
        "--kind",
        action="append",
        type=route,
        metavar="KIND",
        help="also look for this lane (kind.lane); AMQP cannot list them; may be repeated",
    )
    add_json_option(parser)
    add_full_option(parser)
    add_broker_options(parser)
    add_quiet_option(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Print one row for each queue that exists.

    Raises:
        BrokerError: When the broker cannot be used.
    """
    place = place_of(args)
    broker, settings = place.broker, place.topology
    async with open_transport(broker, place.connection_of("effectmq queues")) as transport:
        seen = await inventory(transport, settings, all_routes(args.kind))
    found = [one for one in seen if one.stats is not None]
    if args.json:
        for one in found:
            write_json(_document(one))
        return 0
    if not found:
        write_text(
            f"There are no queues in namespace {settings.namespace!r} on {mask_url(broker)}. A "
            "worker declares what it needs, or run: effectmq topology apply"
        )
        return 0
    rows = [[document[name] for name in _COLUMNS] for document in map(_document, found)]
    write_text(table(_SHOWN, rows, room_of(args)))
    note(
        "ready: waiting to be taken. What workers hold at the moment is not visible over AMQP.",
        quiet=args.quiet,
    )
    return 0


_COLUMNS = ("queue", "role", "route", "ready", "consumers")
_SHOWN = (
    Column("queue", least=16, priority=4),
    Column("role", priority=1),
    Column("route", priority=0),
    Column("ready", priority=3),
    Column("consumers", priority=2),
)


def _document(one: Seen) -> dict[str, object]:
    return {
        "queue": one.queue,
        "role": one.role,
        "route": one.route or None,
        "ready": one.stats.ready if one.stats else 0,
        "consumers": one.stats.consumers if one.stats else 0,
    }
