"""``effectmq schedule``: effects that are asked for again and again, at stated times."""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from effectmq.broker.schedules.effects import made_schedule
from effectmq.broker.store.database import open_database
from effectmq.broker.store.schedules.rows import ScheduleRow
from effectmq.broker.store.schedules.table import ScheduleTable
from effectmq.broker.timetable.missed import MISSED_POLICIES
from effectmq.broker.timetable.schedule import timing_of
from effectmq.cli.arguments.journal_options import add_journal_options, journal_of, namespace_of
from effectmq.cli.arguments.options import Commands, add_action, add_command, add_full_option
from effectmq.cli.terminal.output import note, write_json, write_text
from effectmq.cli.terminal.tables import Column, room_of, table
from effectmq.cli.terminal.times import age, at, seconds
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.text import describe, printable

__all__ = ["configure", "run"]

_action = partial(add_action, place=add_journal_options)

_DESCRIPTION = """\
Effects that are asked for again and again. Schedules are kept in the journal's
database; every worker with that journal carries them out, and each time has
one outcome, however many workers there are (docs/later.md).

  effectmq schedule add nightly --cron '30 2 * * *' --tool report
  effectmq schedule add pulse --every 30s --tool ping --args '{"n": 1}'
  effectmq schedule list
  effectmq schedule pause nightly
  effectmq schedule resume nightly
  effectmq schedule remove nightly"""
_ADD = """\
Make a schedule, or change the one of this name. It counts within ten seconds.
A schedule that a program has (app.schedule) is the program's again when a
worker starts.

An interval is counted from the beginning of 1970, UTC: --every 6h fires at
00:00, 06:00, 12:00 and 18:00 UTC. A cron expression has five fields: minute,
hour, day of the month, month, day of the week."""
_LIST = """\
List the schedules: name, when, what, the next time, the last one and how late
it was, how many times were carried out and given up, and what is wrong.

With --json one object a line: {"name","cron","zone","every_s","kind","lane",
"what","command",
"missed","origin","paused","next_ms","last_ms","late_ms","fired",
"given_up","problem","created_ms","updated_ms"}; the other actions print the
same object."""
_RESUME = """\
Fire again from now on. Times that fell into the pause are not carried out."""

_COLUMNS = (
    Column("name", least=12, priority=8, most=60),
    Column("when", least=12, priority=7, most=60),
    Column("what", priority=6, most=60),
    Column("next", least=6, priority=5),
    Column("last", least=6, priority=3),
    Column("late", least=4, priority=0),
    Column("fired", least=5, priority=2),
    Column("given up", priority=1),
    Column("problem", priority=4),
)


def configure(commands: Commands) -> None:
    """Add the parsers."""
    parser = add_command(
        commands, "schedule", "add, list, pause, resume and remove schedules", _DESCRIPTION
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    _configure_add(_action(actions, "add", "make a schedule, or change it", _ADD))
    add_full_option(_action(actions, "list", "list the schedules", _LIST))
    for name, summary, description in (
        ("pause", "let a schedule not fire until it is resumed", ""),
        ("resume", "let a schedule fire again", _RESUME),
        ("remove", "remove a schedule; its effects stay", ""),
    ):
        _action(actions, name, summary, description).add_argument("name", metavar="NAME")
    parser.set_defaults(run=run)


def _configure_add(add: argparse.ArgumentParser) -> None:
    add.add_argument("name", metavar="NAME", help="names it, and with its time each effect")
    when = add.add_mutually_exclusive_group(required=True)
    when.add_argument("--cron", metavar="EXPRESSION", help="for instance '30 2 * * MON-FRI'")
    when.add_argument("--every", type=seconds, metavar="TIME", help="for instance 30s or 6h")
    add.add_argument("--zone", metavar="ZONE", help="of the expression; default: UTC")
    what = add.add_mutually_exclusive_group(required=True)
    what.add_argument("--tool", metavar="NAME", help="call a tool")
    what.add_argument(
        "--kind",
        choices=[kind for kind in EFFECT_KINDS if kind != "process"],
        metavar="KIND",
        help="ask for an effect of this kind",
    )
    add.add_argument(
        "--args",
        metavar="JSON",
        default="{}",
        help="the tool's arguments, or the members of the command; default: {}",
    )
    add.add_argument("--lane", metavar="LANE", help="the lane of its kind")
    add.add_argument(
        "--missed",
        choices=MISSED_POLICIES,
        default="one",
        help="times at which no worker looked: carry out none, the last one, or up to a hundred; "
        "default: one",
    )


async def run(args: argparse.Namespace) -> int:
    """
    Carry out one action.

    Raises:
        ConfigurationError: When there is no journal, or no such schedule, or none can be made.
        DatabaseError: When the journal's database cannot be used.
    """
    actions = {"add": _add, "list": _list, "remove": _remove}
    return await actions.get(args.action, _set_paused)(args)


@asynccontextmanager
async def _opened(args: argparse.Namespace) -> AsyncGenerator[ScheduleTable]:
    async with open_database(journal_of(args), namespace=namespace_of(args)) as database:
        schedules = ScheduleTable(database)
        await schedules.ensure()
        yield schedules


async def _add(args: argparse.Namespace) -> int:
    schedule = made_schedule(
        args.name,
        timing_of(args.cron, args.zone, None if args.every is None else round(args.every * 1_000)),
        tool=args.tool,
        args=_members(args.args),
        kind=args.kind,
        lane=args.lane,
        missed=args.missed,
    )
    async with _opened(args) as schedules:
        row = await schedules.put(schedule, "operator")
    _tell(args, row, f"schedule {row.name} fires {schedule.timing}, next at {at(row.next_ms)}")
    return 0


async def _list(args: argparse.Namespace) -> int:
    async with _opened(args) as schedules:
        rows = await schedules.rows()
    if args.json:
        for row in rows:
            write_json(row.facts())
        return 0
    if not rows:
        note("there are no schedules in this namespace")
        return 0
    now_ms = time.time_ns() // 1_000_000
    write_text(table(_COLUMNS, [_cells(row, now_ms) for row in rows], room_of(args)))
    return 0


def _cells(row: ScheduleRow, now_ms: int) -> tuple[object, ...]:
    return (
        row.name,
        f"{row.cron} {row.zone}" if row.cron else f"every {row.every_ms / 1_000:g} s",
        row.what,
        "paused" if row.paused else f"in {age(now_ms, row.next_ms)}",
        f"{age(row.last_ms, now_ms)} ago" if row.last_ms else "",
        f"{row.late_ms / 1_000:g} s" if row.last_ms else "",
        row.fired,
        row.missed,
        row.problem,
    )


async def _set_paused(args: argparse.Namespace) -> int:
    async with _opened(args) as schedules:
        pauses = args.action == "pause"
        row = await (schedules.pause(args.name) if pauses else schedules.resume(args.name))
    if row is None:
        raise _no_schedule(args.name)
    told = "is paused" if row.paused else f"fires next at {at(row.next_ms)}"
    _tell(args, row, f"schedule {row.name} {told}")
    return 0


async def _remove(args: argparse.Namespace) -> int:
    async with _opened(args) as schedules:
        row = await schedules.row(args.name)
        if row is None or not await schedules.remove(args.name):
            raise _no_schedule(args.name)
    _tell(args, row, f"schedule {row.name} is removed; its effects stay")
    return 0


def _tell(args: argparse.Namespace, row: ScheduleRow, sentence: str) -> None:
    if args.json:
        write_json(row.facts())
    else:
        write_text(f"{sentence}\n")


def _no_schedule(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"there is no schedule {printable(name, 120)!r} in this namespace; "
        "effectmq schedule list shows those that there are"
    )


def _members(text: str) -> dict[str, JsonValue]:
    try:
        members = parse_json(text)
    except MalformedError as problem:
        raise ConfigurationError(f"--args is {describe(problem)}") from None
    if not isinstance(members, dict):
        raise ConfigurationError(
            "--args is not a JSON object; expected named members, for instance '{\"a\": 1}'"
        )
    return members
