"""``effectmq limits``: list, set and clear limits that hold for all workers."""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from effectmq.broker.dead_letters.desk import operator
from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.store import LimitDesk
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.cli.arguments.journal_options import add_journal_options, journal_of, namespace_of
from effectmq.cli.arguments.options import (
    Commands,
    add_action,
    add_command,
    add_full_option,
    positive,
)
from effectmq.cli.limits.view import limits_document, limits_table
from effectmq.cli.terminal.output import note, write_json, write_text
from effectmq.cli.terminal.tables import room_of
from effectmq.cli.terminal.times import seconds
from effectmq.consumers.settings import WorkerSettings
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable
from effectmq.settings.resolution import resolved_for_command

__all__ = ["configure", "run"]

_action = partial(add_action, place=add_journal_options)

_DESCRIPTION = """\
Limits that hold for all workers together. They are kept in the journal's
database; workers heed a change within about a second.

  effectmq limits list
  effectmq limits set llm_call --key model --rate 60/m --concurrency 8
  effectmq limits set tool_call --key tool --only search --concurrency 2
  effectmq limits clear llm_call:model"""

_SET = """\
Set a limit, in place of the one of its name. It wins over what a program sets
with app.limit() under the same name, until it is cleared.

Each value of --key has the limit for itself: tool, model, session, turn,
tenant, or a member of the envelope, such as command.request.provider. Without
--key the whole route has one. What is not admitted waits outside of the
workers, in order."""

_CLEAR = """\
Remove a limit. What waits for it may start at once, unless another one holds.
A limit of a program comes back when a worker with that program starts."""


def configure(commands: Commands) -> None:
    """Add the parsers."""
    parser = add_command(
        commands, "limits", "limits that hold for all workers: list, set and clear", _DESCRIPTION
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    listing = _action(actions, "list", "show limits, what runs under them and what waits")
    add_full_option(listing)
    setting = _action(actions, "set", "set a limit", _SET)
    setting.add_argument("route", help="a kind, kind.lane, or '*' for every kind")
    setting.add_argument("--key", default="", help="what each has for itself")
    setting.add_argument("--only", default="", metavar="VALUE", help="only this value of the key")
    setting.add_argument("--concurrency", type=positive, default=0, help="how many run at a time")
    setting.add_argument("--rate", default="", help="how many start in a time, such as 60/m")
    setting.add_argument(
        "--breaker", type=positive, default=0, metavar="FAILURES", help="shut after so many"
    )
    setting.add_argument("--cooldown", type=seconds, default=None, help="and for how long")
    setting.add_argument("--name", default="", help="by default route:key")
    clearing = _action(actions, "clear", "remove a limit", _CLEAR)
    clearing.add_argument("name", help="its name, as 'limits list' shows it")
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Carry out one action.

    Raises:
        ConfigurationError: When there is no journal, or the limit cannot hold.
        DatabaseError: When the journal cannot be used.
    """
    actions = {"list": _list, "set": _set, "clear": _clear}
    return await actions[args.action](args)


@asynccontextmanager
async def _desk(args: argparse.Namespace) -> AsyncGenerator[LimitDesk]:
    async with open_archive(journal_of(args), namespace=namespace_of(args)) as archive:
        desk = LimitDesk(archive.database)
        await desk.ensure()
        yield desk


async def _list(args: argparse.Namespace) -> int:
    async with _desk(args) as desk:
        states = await desk.states()
        waiting = sum(route.waiting for route in await desk.waiting())
    if args.json:
        for document in limits_document(states):
            write_json(document)
    elif states:
        write_text(limits_table(states, time.time_ns() // 1_000_000, room_of(args)))
    else:
        note("no limit is set", quiet=args.quiet)
    most = resolved_for_command({}).get("max_waiting", WorkerSettings().max_waiting)
    if isinstance(most, int) and waiting >= most:
        note(
            f"the room is full: {waiting} effects wait, and {most} may (max_waiting); others go "
            "back to the broker and look again every half a minute",
            quiet=args.quiet,
        )
    return 0


async def _set(args: argparse.Namespace) -> int:
    limit = Limit.of(
        args.route,
        name=args.name,
        key=args.key,
        only=args.only,
        concurrency=args.concurrency,
        rate=args.rate,
        breaker=args.breaker,
        cooldown_s=args.cooldown,
        source="operator",
    )
    async with _desk(args) as desk:
        await desk.set(limit, operator())
        states = [state for state in await desk.states() if state.limit.name == limit.name]
    if args.json:
        for document in limits_document(states):
            write_json(document)
    else:
        note(f"the limit {limit.name} is set", quiet=args.quiet)
    return 0


async def _clear(args: argparse.Namespace) -> int:
    async with _desk(args) as desk:
        cleared = await desk.clear(args.name)
    if not cleared:
        raise ConfigurationError(
            f"there is no limit {printable(args.name, 120)!r}; 'effectmq limits list' shows them"
        )
    if args.json:
        write_json({"cleared": args.name})
    else:
        note(f"the limit {args.name} is cleared", quiet=args.quiet)
    return 0
