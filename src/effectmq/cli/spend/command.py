"""``effectmq spend``: what effects have spent, by tenant, session, model or day, and ceilings."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.spend.book import SpendBook
from effectmq.broker.store.spend.ceilings import Ceiling
from effectmq.broker.store.spend.facts import ceiling_facts, sums_facts
from effectmq.broker.store.spend.reading import SpendRow
from effectmq.broker.store.spend.records import (
    DIMENSIONS,
    PERIODS,
    Dimension,
    Sums,
    budget_nanos,
    usd_text,
)
from effectmq.cli.arguments.journal_options import add_journal_options, journal_of, namespace_of
from effectmq.cli.arguments.options import (
    Commands,
    add_action,
    add_command,
    add_full_option,
    positive,
)
from effectmq.cli.terminal.output import note, write_json, write_text
from effectmq.cli.terminal.tables import Column, Room, room_of, table
from effectmq.cli.terminal.times import age, moment
from effectmq.protocol.errors import ConfigurationError

__all__ = ["configure", "run"]

_action = partial(add_action, place=add_journal_options)

_DESCRIPTION = """\
What effects have spent: tokens, and money where a price is known, as workers
have recorded it with their outcomes. Days are those of UTC.

  effectmq spend show
  effectmq spend show --by tenant --since 30d
  effectmq spend show --by day --since 2026-11-01 --json
  effectmq spend limit set --tenant acme --usd 50 --per month
  effectmq spend limit set --each tenant --usd 5 --per day
  effectmq spend limit list
  effectmq spend limit clear --tenant acme --per month"""

_SHOW = """\
Show what was spent since the beginning of a day, the most first. Of calls
without a known price there are tokens and no money; "unpriced" counts them.

With --json: {"name" or "day","calls","input_tokens","output_tokens",
"cached_tokens","nanos","usd","unpriced_calls"}, one object a line. "nanos" is
exact, in billionths of a US dollar."""

_LIMIT = """\
Ceilings: how much may be spent on calls of models. Who has reached one is
refused before the next call (effectmq_spend_exceeded), or waits until there is
room. Workers know within a second."""

_SET = """\
Set a ceiling, or change it, in US dollars, tokens, or both. Without --all,
--tenant, --session or --model it is for each one of --each. A ceiling with a
name counts instead of the one for each."""

_DAY_S = 86_400
_CEILINGS = (
    Column("for", least=12, priority=5, most=120),
    Column("ceiling", least=12, priority=4),
    Column("per", priority=3),
    Column("then", priority=2),
    Column("set by", priority=1, most=60),
    Column("set", least=4, priority=0),
)


def configure(commands: Commands) -> None:
    """Add the parsers."""
    parser = add_command(commands, "spend", "what effects have spent, and ceilings", _DESCRIPTION)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    show = _action(actions, "show", "show what was spent", _SHOW)
    show.add_argument(
        "--by",
        choices=("tenant", "session", "model", "day", "all"),
        default="model",
        help="what to sum up by; default: model",
    )
    add_full_option(show)
    show.add_argument(
        "--since", type=moment, default=0, metavar="TIME", help="for instance 7d or 2026-11-01"
    )
    show.add_argument(
        "--limit", type=positive, default=100, metavar="N", help="at most so many; default: 100"
    )
    limit = add_command(actions, "limit", "list, set and clear ceilings", _LIMIT)
    kinds = limit.add_subparsers(dest="limit", metavar="ACTION", title="actions", required=True)
    add_full_option(_action(kinds, "list", "list the ceilings"))
    set_ = _action(kinds, "set", "set a ceiling, or change it", _SET)
    set_.add_argument("--usd", metavar="AMOUNT", help="the most money, in US dollars")
    set_.add_argument("--tokens", type=int, metavar="N", help="the most tokens")
    set_.add_argument(
        "--on-exceeded",
        choices=("refuse", "wait"),
        default="refuse",
        help="refuse with an error, or wait until there is room; default: refuse",
    )
    clear = _action(kinds, "clear", "remove a ceiling")
    for one in (set_, clear):
        _add_whose(one)
    parser.set_defaults(run=run)


def _add_whose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="for everything together")
    parser.add_argument("--each", choices=("tenant", "session", "model"), help="for each of them")
    for name in ("tenant", "session", "model"):
        parser.add_argument(f"--{name}", metavar=name.upper(), help=f"for one {name}")
    parser.add_argument(
        "--per", choices=PERIODS, default="month", help="when it begins anew; default: month"
    )


async def run(args: argparse.Namespace) -> int:
    """
    Carry out one action.

    Raises:
        ConfigurationError: When there is no journal, or a ceiling cannot be used.
        DatabaseError: When the journal cannot be used.
    """
    actions = {"show": _show, "list": _list, "set": _set, "clear": _clear}
    return await actions[args.limit if args.action == "limit" else args.action](args)


@asynccontextmanager
async def _opened(args: argparse.Namespace) -> AsyncGenerator[tuple[SpendBook, int]]:
    """The book, and the time of the database in Unix milliseconds."""
    async with open_archive(journal_of(args), namespace=namespace_of(args)) as archive:
        yield SpendBook(archive.database), await archive.now_ms()


async def _show(args: argparse.Namespace) -> int:
    async with _opened(args) as (book, _):
        if args.by == "day":
            days = await book.days(since_ms=args.since)
            rows = [SpendRow(_date(day), sums) for day, sums in days.items()]
        else:
            rows = await book.by(args.by, since_ms=args.since, limit=args.limit)
    if args.json:
        key = "day" if args.by == "day" else "name"
        for row in rows:
            write_json({key: row.name or None, **sums_facts(row.sums)})
        return 0
    if not rows:
        note("nothing was spent", quiet=args.quiet)
        return 0
    write_text(_table(args.by, rows, room_of(args)))
    return 0


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY_S, UTC).date().isoformat()


def _table(by: str, rows: list[SpendRow], room: Room) -> str:
    columns = (
        Column(by, least=12, priority=6, most=120),
        Column("calls", priority=4),
        Column("input", priority=3),
        Column("cached", priority=1),
        Column("output", priority=2),
        Column("cost", priority=5),
        Column("unpriced", priority=0),
    )
    nobody = "everything" if by == "all" else "(none)"
    return table(columns, [(row.name or nobody, *_cells(row.sums)) for row in rows], room)


def _cells(sums: Sums) -> tuple[object, ...]:
    cost = usd_text(sums.nanos) if sums.unpriced < sums.calls else None
    return (
        sums.calls,
        sums.input_tokens,
        sums.cached_tokens,
        sums.output_tokens,
        cost,
        sums.unpriced or None,
    )


async def _list(args: argparse.Namespace) -> int:
    async with _opened(args) as (book, now_ms):
        found = await book.ceilings()
    if args.json:
        for each in found:
            write_json(ceiling_facts(each))
        return 0
    if not found:
        note("there are no ceilings", quiet=args.quiet)
        return 0
    rows = [
        (
            each.who,
            each.amount,
            each.per,
            each.on_exceeded,
            each.source,
            age(each.changed_ms, now_ms),
        )
        for each in found
    ]
    write_text(table(_CEILINGS, rows, room_of(args)))
    return 0


async def _set(args: argparse.Namespace) -> int:
    by, name = _whose(args)
    ceiling = Ceiling(
        by=by,
        name=name,
        per=args.per,
        nanos=None if args.usd is None else budget_nanos(args.usd),
        tokens=args.tokens,
        on_exceeded=args.on_exceeded,
    )
    async with _opened(args) as (book, now_ms):
        await book.set(ceiling)
    if args.json:
        write_json({**ceiling_facts(ceiling), "changed_ms": now_ms})
    else:
        per = "" if ceiling.per == "ever" else f" per {ceiling.per}"
        note(f"the ceiling for {ceiling.who} is {ceiling.amount}{per}", quiet=args.quiet)
    return 0


async def _clear(args: argparse.Namespace) -> int:
    by, name = _whose(args)
    async with _opened(args) as (book, _):
        cleared = await book.clear(by, name, args.per)
    if args.json:
        write_json({"by": by, "name": name, "per": args.per, "cleared": cleared})
    elif cleared:
        note("the ceiling is removed", quiet=args.quiet)
    else:
        note("there is no such ceiling; effectmq spend limit list shows those that there are")
    return 0 if cleared else 1


def _whose(args: argparse.Namespace) -> tuple[Dimension, str | None]:
    found: list[tuple[Dimension, str | None]] = []
    if args.all:
        found.append(("all", None))
    if args.each is not None:
        found.append((args.each, None))
    for by in DIMENSIONS:
        name: str | None = None if by == "all" else getattr(args, by)
        if name is not None:
            found.append((by, name))
    if len(found) != 1:
        # A group of the parser would say it, too, in a line that no terminal has room for.
        raise ConfigurationError(
            f"found {len(found)} of --all, --each, --tenant, --session and --model; a ceiling is "
            "for one of them"
        )
    return found[0]
