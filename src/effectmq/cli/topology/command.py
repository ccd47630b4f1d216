"""``effectmq topology plan|apply|remove``: the exchanges, queues and bindings on the broker."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection, Mapping

from effectmq.broker.client.fleet.marks import has_mark
from effectmq.broker.inventory import Row, all_routes, apart, existing, full_topology, rows_of
from effectmq.broker.progress_line import ProgressLine
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.cli.arguments.options import (
    Commands,
    add_command,
    add_full_option,
    add_json_option,
    add_quiet_option,
    route,
)
from effectmq.cli.arguments.setting_options import add_setting_options, place_of
from effectmq.cli.terminal.colours import Colour
from effectmq.cli.terminal.output import note, write_json, write_text
from effectmq.cli.terminal.tables import Column, room_of, table
from effectmq.cli.topology.bindings import try_binding
from effectmq.cli.topology.removal import Removed, remove
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.topology import (
    EVERY_ROUTE,
    NOTHING,
    Binding,
    Names,
    Topology,
    TopologySettings,
    pause_topology,
    reply_topology,
    work_topology,
)

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Every worker declares what it needs at its start. Where workers may not (no
configure permission), an operator declares it here, once.

plan shows what apply would declare and what exists. Whether something exists
with other arguments is only known by applying, which then changes nothing and
names the difference. RabbitMQ does not show bindings over AMQP: where it can,
apply tries them with a message that workers acknowledge unread.

With --json: {"object","name","state","arguments"}, one object a line; "state"
is exists, missing, created or, for what cannot be seen, unknown.

remove takes a namespace away, its queues first and then its exchanges. It is
refused while messages wait in a queue or a queue has a consumer; --force does
it anyway and loses the messages. AMQP does not list queues: name lanes
with --kind and producers with --reply. An exchange with a queue that was not
named stays, and the journal is not touched. With --json:
{"object","name","state","ready"}; "state" is removed, missing or left. Exit
code 1 when something is left."""


def configure(commands: Commands) -> None:
    """Add the parsers."""
    parser = add_command(
        commands,
        "topology",
        "plan, apply or remove exchanges and queues on the broker",
        _DESCRIPTION,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, summary in (
        ("plan", "show what would be declared, and what exists"),
        ("apply", "declare it"),
        ("remove", "take queues and exchanges away, unless messages wait"),
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
        if name == "remove":
            _add_removal(action)
    parser.set_defaults(run=run)


def _add_removal(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--reply",
        action="append",
        default=[],
        metavar="IDENTITY",
        help="also the reply queue of this producer; the broker removes others a week after their "
        "last use; may be repeated",
    )
    action.add_argument(
        "--force", action="store_true", help="remove also what is in use, with its messages"
    )
    action.add_argument("--dry-run", action="store_true", help="only say what would be removed")


async def run(args: argparse.Namespace) -> int:
    """
    Plan, apply or remove.

    Raises:
        NamespaceInUseError: When something that would be removed is in use.
        TopologyError: When something exists with other arguments.
        BrokerError: When the broker cannot be used.
    """
    if args.action == "remove":
        return await _remove(args)
    place = place_of(args)
    topology = full_topology(place.topology, args.kind or EFFECT_KINDS)
    applying = args.action == "apply"
    async with open_transport(place.broker, place.connection_of("effectmq topology")) as transport:
        before, exchanges = await existing(transport, topology)
        unbound = await _unbound(transport, topology, before, exchanges) if applying else ()
        if applying:
            await transport.declare(topology)
    missing = len(topology.queues) - len(before)
    _show(args, list(rows_of(topology, before | exchanges, unbound, applying=applying)))
    if applying:
        summary = f"{missing} queue(s) created, {len(before)} as they were"
    else:
        summary = f"{missing} queue(s) to create, {len(before)} exist"
    note(summary, quiet=args.quiet or args.json)
    return 0


async def _remove(args: argparse.Namespace) -> int:
    place = place_of(args)
    topology = full_topology(place.topology, all_routes(args.kind))
    for producer in args.reply:
        topology |= reply_topology(place.topology, producer)
    done: list[Removed] = []
    connection = place.connection_of("effectmq topology")
    try:
        async with open_transport(place.broker, connection) as transport:
            topology |= await _marks(transport, Names(place.topology.namespace), args.kind)
            topology |= await _priorities(transport, place.topology, args.kind)
            total = len(topology.queues) + len(topology.exchanges)
            with ProgressLine("queues and exchanges", total, quiet=args.quiet) as progress:

                def tell(one: Removed) -> None:
                    done.append(one)
                    progress.advance()

                await remove(
                    transport, topology, force=args.force, dry_run=args.dry_run, on_done=tell
                )
    finally:
        # After an error, too, it is shown what was removed.
        _show_removed(args, done)
    return int(any(one.fate == "left" for one in done))


async def _priorities(
    transport: Transport, settings: TopologySettings, kinds: Collection[str] | None
) -> Topology:
    """The queues of priorities that exist; they are made when they are first used."""
    found = work_topology(settings, apart(all_routes(kinds)))
    queues, _ = await existing(transport, Topology(queues=found.queues))
    return Topology(queues=tuple(queue for queue in found.queues if queue.name in queues))


async def _marks(transport: Transport, names: Names, kinds: Collection[str] | None) -> Topology:
    """The marks of paused routes that exist; each holds a message, so it counts as used."""
    found = NOTHING
    for name in (EVERY_ROUTE, *all_routes(kinds)):
        if await has_mark(transport, names, name):
            found |= pause_topology(names, name)
    return found


def _show_removed(args: argparse.Namespace, done: list[Removed]) -> None:
    if args.json:
        for one in done:
            write_json(
                {"object": one.object, "name": one.name, "state": one.fate, "ready": one.ready}
            )
        return
    found = [one for one in done if one.fate != "missing"]
    if found:
        rows = [(one.object, one.name, one.fate, one.ready or None) for one in found]
        write_text(table(_REMOVED, rows, room_of(args)))
    if done:
        note(_removal_summary(done, dry_run=args.dry_run), quiet=args.quiet)


def _removal_summary(done: list[Removed], *, dry_run: bool) -> str:
    count = Counter(one.fate for one in done)
    lost = sum(one.ready for one in done if one.fate == "removed")
    verb = "would be removed" if dry_run else "removed"
    said = f"{count['removed']} {verb}, {count['missing']} were not there, {count['left']} left"
    if lost:
        said += f"; {lost} message(s) {'would go' if dry_run else 'are gone'} with them"
    if any(one.fate == "left" and one.object == "exchange" for one in done):
        said += (
            ". To an exchange that is left, something is bound that was not named: a lane (--kind "
            "KIND.LANE), or a worker or client that is connected"
        )
    return f"{said}. Not looked for: lanes and reply queues that were not named, and the journal"


async def _unbound(
    transport: Transport, topology: Topology, queues: Collection[str], exchanges: Collection[str]
) -> set[Binding]:
    """The bindings that are missing although exchange and queue exist."""
    missing: set[Binding] = set()
    for one in topology.bindings:
        if one.queue in queues and one.exchange in exchanges:
            works = one.exchange == one.queue.removesuffix(f".{one.routing_key}")
            if await try_binding(transport, one, workers=works) == "missing":
                missing.add(one)
    return missing


_STATE_COLOURS = {
    "missing": Colour.YELLOW,
    "created": Colour.GREEN,
    "removed": Colour.GREEN,
    "left": Colour.RED,
}
_REMOVED = (
    Column("object", priority=1),
    Column("name", least=16, priority=3),
    Column("state", priority=2, colours=_STATE_COLOURS),
    Column("ready", priority=0),
)
_SHOWN = (
    Column("object", priority=1),
    Column("name", least=16, priority=3),
    Column("state", priority=2, colours=_STATE_COLOURS),
    Column("detail", least=12, priority=0),
)


def _show(args: argparse.Namespace, rows: list[Row]) -> None:
    if args.json:
        for row in rows:
            write_json(dict(zip(("object", "name", "state", "arguments"), row, strict=True)))
    else:
        shown = [(what, name, state, _detail(what, found)) for what, name, state, found in rows]
        write_text(table(_SHOWN, shown, room_of(args)))


def _detail(what: str, arguments: Mapping[str, str | int]) -> str:
    """The arguments that can differ, in the words of this project."""
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
