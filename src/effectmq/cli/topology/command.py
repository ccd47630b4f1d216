"""``effectmq topology plan|apply``: the exchanges, queues and bindings on the broker."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator

from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.cli.options import (
    Commands,
    add_command,
    add_full_option,
    add_json_option,
    add_quiet_option,
    route,
)
from effectmq.cli.setting_options import add_setting_options, place_of
from effectmq.cli.terminal.output import note, write_json, write_text
from effectmq.cli.terminal.tables import Column, room_of, table
from effectmq.cli.topology.bindings import try_binding
from effectmq.cli.topology.inventory import full_topology
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.topology import Binding, Topology

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Every worker declares what it needs at its start. Where workers may not (no configure permission),
an operator declares it here, once.

plan shows what apply would declare and what exists. Whether something exists with other arguments
is only known by applying, which then changes nothing and names the difference. RabbitMQ does not
show bindings over AMQP: apply tries them with a message that workers settle unread, where it can.

With --json: {"object","name","state","arguments"}, one object a line; "state" is exists, missing,
created or, for what cannot be seen, unknown."""


def configure(commands: Commands) -> None:
    """Add the parsers."""
    parser = add_command(
        commands, "topology", "plan or apply the exchanges and queues on the broker", _DESCRIPTION
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, summary in (
        ("plan", "show what would be declared, and what exists"),
        ("apply", "declare it"),
    ):
        action = actions.add_parser(name, help=summary, description=summary)
        action.add_argument(
            "--kind",
            action="append",
            type=route,
            metavar="KIND",
            help="a kind, or kind.lane, to have a work queue for; may be repeated; default: all "
            "eight kinds",
        )
        add_json_option(action)
        add_full_option(action)
        add_setting_options(action, "place")
        add_quiet_option(action)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Plan or apply.

    Raises:
        TopologyError: When something exists with other arguments.
        BrokerError: When the broker cannot be used.
    """
    place = place_of(args)
    topology = full_topology(place.topology, args.kind or EFFECT_KINDS)
    applying = args.action == "apply"
    async with open_transport(place.broker, place.connection_of("effectmq topology")) as transport:
        before = await _existing(transport, topology)
        exchanges = {
            one.name for one in topology.exchanges if await transport.has_exchange(one.name)
        }
        unbound = await _unbound(transport, topology, before, exchanges) if applying else ()
        if applying:
            await transport.declare(topology)
    missing = len(topology.queues) - len(before)
    _show(args, list(_rows(topology, before | exchanges, unbound, applying=applying)))
    if applying:
        summary = f"{missing} queue(s) created, {len(before)} as they were"
    else:
        summary = f"{missing} queue(s) to create, {len(before)} exist"
    note(summary, quiet=args.quiet or args.json)
    return 0


async def _existing(transport: Transport, topology: Topology) -> set[str]:
    names = [queue.name for queue in topology.queues]
    return {name for name in names if await transport.stats(name) is not None}


async def _unbound(
    transport: Transport, topology: Topology, queues: Collection[str], exchanges: Collection[str]
) -> set[Binding]:
    """The bindings that are known to be missing, of what exists on both ends."""
    missing: set[Binding] = set()
    for one in topology.bindings:
        if one.queue in queues and one.exchange in exchanges:
            works = one.exchange == one.queue.removesuffix(f".{one.routing_key}")
            if await try_binding(transport, one, workers=works) == "missing":
                missing.add(one)
    return missing


_Row = tuple[str, str, str, dict[str, str | int]]


def _rows(
    topology: Topology,
    before: Collection[str],
    unbound: Collection[Binding],
    *,
    applying: bool,
) -> Iterator[_Row]:
    absent = "created" if applying else "missing"
    for exchange in topology.exchanges:
        state = "exists" if exchange.name in before else absent
        yield "exchange", exchange.name, state, {"type": exchange.type}
    for queue in topology.queues:
        state = "exists" if queue.name in before else absent
        yield "queue", queue.name, state, dict(queue.arguments)
    for binding in topology.bindings:
        source: dict[str, str | int] = {
            "exchange": binding.exchange,
            "routing_key": binding.routing_key,
        }
        new = {binding.exchange, binding.queue} - set(before) or binding in unbound
        state = ("created" if new else "exists") if applying else "unknown"
        yield "binding", binding.queue, state, source


_SHOWN = (
    Column("object", priority=1),
    Column("name", least=16, priority=3),
    Column("state", priority=2),
    Column("detail", least=12, priority=0),
)


def _show(args: argparse.Namespace, rows: list[_Row]) -> None:
    if args.json:
        for row in rows:
            write_json(dict(zip(("object", "name", "state", "arguments"), row, strict=True)))
    else:
        shown = [(what, name, state, _detail(what, found)) for what, name, state, found in rows]
        write_text(table(_SHOWN, shown, room_of(args)))


def _detail(what: str, arguments: dict[str, str | int]) -> str:
    """The arguments in the words of this project; what never differs is left out."""
    if what == "exchange":
        return str(arguments["type"])
    if what == "binding":
        key = arguments["routing_key"]
        return f"from {arguments['exchange']}" + (f" by {key}" if key else "")
    parts = [str(arguments["x-queue-type"]), f"limit {arguments['x-delivery-limit']}"]
    if "x-message-ttl" in arguments:
        parts.append(f"{arguments['x-message-ttl']} ms")
    if "x-max-length" in arguments:
        parts.append(f"at most {arguments['x-max-length']}")
    if "x-dead-letter-exchange" in arguments:
        parts.append(f"then to {arguments['x-dead-letter-exchange']}")
    return ", ".join(parts)
