"""``effectmq ping``: whether a worker of each route takes what is sent to it."""

from __future__ import annotations

import argparse

from effectmq.broker.client.pinging import Ping, ping
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.cli.arguments.options import (
    Commands,
    add_broker_options,
    add_command,
    add_full_option,
    add_json_option,
    no_worker,
    route,
)
from effectmq.cli.arguments.setting_options import place_of
from effectmq.cli.terminal.output import complain, write_json, write_text
from effectmq.cli.terminal.tables import Column, room_of, table
from effectmq.cli.terminal.times import seconds
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.topology import Names

__all__ = ["configure", "run"]

_TIMEOUT_S = 5.0
_DESCRIPTION = """\
Send a probe to a worker of each route, over the exchange and the queue that
effects take, and wait for its answer. No handler sees it. An answer proves
the whole way; a worker that holds as many effects as it may answers when one
of them has ended.

Without a route: every kind that has a queue. Exit code 1 when one of them
does not answer.

With --json: {"route","worker","ms","problem"}, one object a line."""


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = add_command(
        commands, "ping", "send a probe to a worker of each route, and back", _DESCRIPTION
    )
    parser.add_argument(
        "route", nargs="*", type=route, metavar="ROUTE", help="a kind, or kind.lane"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=_TIMEOUT_S,
        metavar="TIME",
        help="how long an answer may take; default: 5s",
    )
    add_json_option(parser)
    add_full_option(parser)
    add_broker_options(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Print one row for each route.

    Raises:
        TopologyError: When no worker ever used this namespace.
        BrokerError: When the broker cannot be used.
    """
    place = place_of(args)
    names = Names(place.topology.namespace)
    async with open_transport(place.broker, place.connection_of("effectmq ping")) as transport:
        routes = args.route or await _routes(transport, names)
        if not routes or not await transport.has_exchange(names.control):
            complain(no_worker(place))
            return 1
        found = await ping(transport, names, dict.fromkeys(routes), args.timeout)
    _show(args, found)
    return 1 if any(one.problem for one in found) else 0


async def _routes(transport: Transport, names: Names) -> list[str]:
    return [
        kind for kind in EFFECT_KINDS if await transport.stats(names.work_queue(kind)) is not None
    ]


_SHOWN = (
    Column("route", priority=3),
    Column("worker", priority=1),
    Column("ms", least=4, priority=2),
    Column("problem", least=16, priority=4),
)


def _show(args: argparse.Namespace, found: list[Ping]) -> None:
    if args.json:
        for one in found:
            write_json(_document(one))
        return
    rows = [[document[column.name] for column in _SHOWN] for document in map(_document, found)]
    write_text(table(_SHOWN, rows, room_of(args)))


def _document(one: Ping) -> dict[str, object]:
    return {
        "route": one.route,
        "worker": one.worker or None,
        "ms": None if one.problem else round(one.took_s * 1_000, 1),
        "problem": one.problem or None,
    }
