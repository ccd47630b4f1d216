"""``effectmq versions``: which version of the workers takes what, and how much of it."""

from __future__ import annotations

import argparse

from effectmq.broker.client.fleet.answers import Heard
from effectmq.broker.client.fleet.fleet import ANSWER_S, Fleet
from effectmq.broker.client.fleet.versions import VersionRow, version_rows
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.cli.arguments.options import (
    Commands,
    add_action,
    add_broker_options,
    add_command,
    add_full_option,
    route,
)
from effectmq.cli.arguments.setting_options import place_of
from effectmq.cli.fleet.opening import opened_fleet, say_nobody
from effectmq.cli.fleet.view import heard_table
from effectmq.cli.terminal.output import complain, note, write_json, write_text
from effectmq.cli.terminal.tables import Column, room_of, table
from effectmq.cli.terminal.times import seconds
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages.chosen.version import checked_version
from effectmq.protocol.topology import Names

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Two versions of the workers at once: what is bound to a version waits for it,
and what is bound to none is shared out. docs/versions.md has all of it.

  effectmq versions list
  effectmq versions ramp tool_call 2 --share 0.1 --why 'new prompts'
  effectmq versions ramp tool_call 2 --share 1
  effectmq versions drain tool_call 1
  effectmq versions clear tool_call

Exit code 1 when a worker did not answer."""
_LIST = """\
List the versions of each route: its workers, what they hold of how many they
may have, what waits for them alone, and which share of the unbound they take:
a number of the version that is ramped, "rest" of the others, "none" of one
that takes only what is bound to it. Lines without a version are workers
without one, and what waits there is bound to none.

With --json one object a line: {"route","version","workers","held","slots",
"waiting","takes","share","by","why"}."""
_RAMP = """\
Let workers of a version take a share of what is bound to no version, and all
others the rest. Which effects these are goes by their session, which stays
with one version; a larger share takes sessions over, and gives none back.

  effectmq versions ramp tool_call 2 --share 0.1
  effectmq versions ramp tool_call 2 --share 1      the others are drained"""
_DRAIN = """\
Let workers of a version take only what is bound to it, until that has ended;
the same as a ramp with share 0. `effectmq versions list` shows when nothing is
held and nothing waits; then they can be stopped.

  effectmq versions drain tool_call 1"""
_CLEAR = """\
Let workers of all versions take what is bound to none.

  effectmq versions clear tool_call"""
_DID = """

With --json: {"worker","did","detail"}, one object a line."""
_COLUMNS = (
    Column("route", least=12, priority=6),
    Column("version", priority=7),
    Column("workers", priority=4),
    Column("held", priority=3),
    Column("waiting", priority=5),
    Column("takes", priority=2),
    Column("why", least=8, priority=0, most=200),
)


def configure(commands: Commands) -> None:
    """Add the parsers."""
    parser = add_command(
        commands, "versions", "show, ramp and drain versions of the workers", _DESCRIPTION
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _action(actions, "list", "list the versions of each route", _LIST)
    for name, summary, description in (
        ("ramp", "let a version take a share of what is bound to none", _RAMP),
        ("drain", "let a version take only what is bound to it", _DRAIN),
        ("clear", "let all versions take what is bound to none", _CLEAR),
    ):
        action = _action(actions, name, summary, description + _DID)
        action.add_argument("route", type=route, metavar="ROUTE", help="a kind, or kind.lane")
        if name != "clear":
            action.add_argument("version", metavar="VERSION", help="the version of the workers")
            action.add_argument(
                "--why", default="", metavar="TEXT", help="the reason, shown to whoever looks"
            )
        if name == "ramp":
            action.add_argument(
                "--share", type=float, required=True, metavar="S", help="from 0 to 1"
            )
        action.add_argument(
            "--by",
            default="",
            metavar="NAME",
            help="who asks, shown with it; default: the user and the host",
        )
    parser.set_defaults(run=run)


def _action(
    actions: Commands, name: str, summary: str, description: str
) -> argparse.ArgumentParser:
    action = add_action(actions, name, summary, description, place=add_broker_options)
    action.add_argument(
        "--timeout",
        type=seconds,
        default=ANSWER_S,
        metavar="TIME",
        help=f"how long workers may take to answer; default: {ANSWER_S:g}s",
    )
    add_full_option(action)
    return action


async def run(args: argparse.Namespace) -> int:
    """
    Carry out one action.

    Raises:
        ConfigurationError: When a route, a version or a share cannot be used.
        AccessRefusedError: When the user may not.
        BrokerError: When the broker cannot be used.
    """
    if args.action in ("ramp", "drain") and not checked_version(args.version):
        raise ConfigurationError("the version is empty; name one, as in: versions drain ROUTE 1")
    place = place_of(args)
    settings = place.connection_of(f"effectmq versions {args.action}")
    async with (
        open_transport(place.broker, settings) as transport,
        opened_fleet(args, transport) as fleet,
    ):
        if fleet is None:
            return say_nobody(args)
        if args.action == "list":
            return await _list(args, fleet, transport, Names(place.topology.namespace))
        return _tell(args, await _steer(args, fleet))


async def _list(args: argparse.Namespace, fleet: Fleet, transport: Transport, names: Names) -> int:
    roster = await fleet.workers(timeout_s=args.timeout)
    rows = await version_rows(roster, transport, names)
    if args.json:
        for row in rows:
            write_json(row.facts)
    elif rows:
        write_text(table(_COLUMNS, [_cells(row) for row in rows], room_of(args)))
    else:
        write_text("No worker of this namespace has a version.")
    return _silent(roster.silent)


def _cells(row: VersionRow) -> tuple[object, ...]:
    ramp = row.ramp
    return (
        row.route,
        row.version,
        row.workers,
        f"{row.held}/{row.slots}",
        row.waiting,
        row.takes,
        "" if ramp is None else str(ramp),
    )


async def _steer(args: argparse.Namespace, fleet: Fleet) -> Heard:
    if args.action == "clear":
        return await fleet.clear_ramp(args.route, timeout_s=args.timeout)
    share = args.share if args.action == "ramp" else 0.0
    return await fleet.ramp(args.route, args.version, share, why=args.why, timeout_s=args.timeout)


def _tell(args: argparse.Namespace, heard: Heard) -> int:
    if args.json:
        for reply in heard.replies:
            write_json({"worker": reply.worker.name, "did": reply.did, "detail": reply.detail})
    elif heard.replies:
        write_text(heard_table(heard.replies, room_of(args)))
    else:
        write_text("No worker heard it.")
    for name in heard.changed:
        ended = args.action == "clear"
        note(
            f"{name} is {'no longer shared out' if ended else 'shared out'} for all workers"
            + ("" if ended else "; effectmq versions clear ends it"),
            quiet=args.quiet,
        )
    return _silent(heard.silent)


def _silent(count: int) -> int:
    if not count:
        return 0
    complain(f"{count} worker(s) did not answer in time; they look when they are back")
    return 1
