"""``effectmq dead``: look at dead letters, and replay or remove them."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import BinaryIO

from effectmq.broker.dead_letters.content import dead_facts, dead_record
from effectmq.broker.dead_letters.dead_letters import DeadFilter, DeadLettersLostError
from effectmq.broker.dead_letters.desk import DeadDesk
from effectmq.broker.progress_line import ProgressLine
from effectmq.broker.store.letters.facts import LetterFacts, row_of
from effectmq.broker.store.letters.selecting import Cursor
from effectmq.broker.transports.port import Transport
from effectmq.cli.arguments.options import Commands, add_command
from effectmq.cli.dead.changing import edit, purge, replay
from effectmq.cli.dead.choice import chosen_by, cursor_text
from effectmq.cli.dead.opening import index_of, letters_of, looking_desk, opened, opened_desk
from effectmq.cli.dead.options import DESCRIPTION, add_actions
from effectmq.cli.dead.view import (
    audit_table,
    facets_text,
    letter_table,
    letter_text,
    tally_line,
)
from effectmq.cli.terminal.output import json_line, note, stdout_bytes, write_json, write_text
from effectmq.cli.terminal.tables import room_of
from effectmq.cli.terminal.texts import pretty
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages.dead_letter import read_dead_letter
from effectmq.protocol.text import printable

__all__ = ["configure", "run"]

_DEFAULT_ROWS = 200
_PAGE = 500


def configure(commands: Commands) -> None:
    """Add the parsers."""
    parser = add_command(
        commands,
        "dead",
        "list, count, show, replay, edit, export and purge dead letters",
        DESCRIPTION,
    )
    add_actions(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Carry out one action.

    Raises:
        ConfigurationError: When options exclude each other, or a file cannot be used.
        BrokerError: When the broker cannot be used, or another reader reads the letters.
        DeadLetterIdError: When an id names no letter, or more than one.
    """
    actions = {
        "list": _list,
        "facets": _facets,
        "show": _show,
        "replay": replay,
        "edit": edit,
        "export": _export,
        "purge": purge,
        "audit": _audit,
    }
    return await actions[args.action](args)


# Looking ---------------------------------------------------------------------------------------


async def _list(args: argparse.Namespace) -> int:
    chosen = chosen_by(args)
    most = args.limit if args.limit or args.json else _DEFAULT_ROWS
    async with opened(args) as transport, looking_desk(args, transport) as desk:
        if desk is not None:
            return await _list_index(args, desk, chosen, most)
        if args.newest or args.after:
            # In the order that is asked for only an index has them.
            async with opened_desk(args, transport) as own:
                await own.refresh()
                return await _list_index(args, own, chosen, most)
        return await _list_queue(args, transport, chosen, most)


async def _list_index(
    args: argparse.Namespace, desk: DeadDesk, chosen: DeadFilter, most: int | None
) -> int:
    rows: list[LetterFacts] = []
    after: Cursor | None = args.after
    left = sys.maxsize if most is None else most
    while left > 0:
        page = await desk.page(
            chosen, limit=min(_PAGE, left), after=after, newest_first=args.newest
        )
        if args.json:
            for message in await desk.index.messages([each.id for each in page.letters]):
                if message is not None:
                    write_json(dead_facts(read_dead_letter(*message)))
        else:
            rows += page.letters
        left -= len(page.letters)
        after = page.after
        if after is None:
            break
    if args.json:
        return 0
    facets = await desk.facets(chosen)
    total = (await desk.index.counts()).letters
    if rows:
        write_text(f"{letter_table(rows, _now_ms(), room_of(args))}\n")
    write_text(tally_line(Counter(facets.counts["reason"]), total))
    if after is not None:
        note(
            f"{len(rows)} of {facets.letters} are shown; --after {cursor_text(after)} goes on, and "
            "--limit N shows more",
            quiet=args.quiet,
        )
    return 0


async def _list_queue(
    args: argparse.Namespace, transport: Transport, chosen: DeadFilter, most: int | None
) -> int:
    tally: Counter[str] = Counter()
    rows: list[LetterFacts] = []
    lost: DeadLettersLostError | None = None
    async with letters_of(args, transport).browse(chosen) as found:
        try:
            async for letter in found:
                tally[letter.reason] += 1
                if args.json:
                    write_json(dead_facts(letter))
                else:
                    rows.append(row_of(letter))
                if tally.total() == most:
                    # The broker counts the letters after these, so they need not be read.
                    break
        except DeadLettersLostError as problem:
            # Show the letters that were read.
            lost = problem
    if not args.json:
        if rows:
            write_text(f"{letter_table(rows, _now_ms(), room_of(args))}\n")
        write_text(tally_line(tally, found.seen))
    if lost is not None:
        raise lost
    if found.unseen and tally.total() == most:
        note(
            f"the first {most} are shown, and {found.unseen} of {found.ready} letters were not "
            "looked at; --limit N shows more",
            quiet=args.quiet,
        )
    elif found.unseen:
        note(f"{found.unseen} more were there and are gone: somebody else took them meanwhile")
    return 0


async def _facets(args: argparse.Namespace) -> int:
    chosen = chosen_by(args)
    async with opened(args) as transport, looking_desk(args, transport) as desk:
        if desk is not None:
            facets = await desk.facets(chosen)
        else:
            async with opened_desk(args, transport) as own:
                await own.refresh()
                facets = await own.facets(chosen)
    if args.json:
        write_json(
            {
                "letters": facets.letters,
                "oldest_ms": facets.oldest_ms or None,
                "facets": facets.counts,
            }
        )
    else:
        write_text(facets_text(facets, args.most, _now_ms(), room_of(args)))
    return 0


async def _audit(args: argparse.Namespace) -> int:
    if index_of(args) is None:
        raise ConfigurationError(
            "who did what is kept in the journal's database, and there is none; name it with "
            "--journal or EFFECTMQ_JOURNAL. Without one it is in the log of who did it"
        )
    async with opened(args) as transport, opened_desk(args, transport) as desk:
        lines = await desk.audit(args.limit)
    if args.json:
        for line in lines:
            write_json(line.facts())
    else:
        write_text(audit_table(lines, _now_ms(), room_of(args)) if lines else "nothing was done")
    return 0


async def _show(args: argparse.Namespace) -> int:
    async with opened(args) as transport, looking_desk(args, transport) as desk:
        letters = desk or letters_of(args, transport)
        letter = await letters.find(args.letter.lower())
        content = await letters.content(letter)
    record, found = dead_record(letter, content, redact=args.redact)
    if args.envelope:
        if record["envelope"] is None:
            raise ConfigurationError(
                f"the body of the letter {letter.id} is no JSON data, so there is nothing to edit; "
                "write the whole envelope anew, or see the bytes with: effectmq dead show "
                f"{letter.id}"
            )
        write_text(pretty(record["envelope"]))
    elif args.json:
        write_json(record)
    else:
        write_text(letter_text(letter, content, record, _now_ms(), room_of(args)))
    _say_unfound(args.redact, found, 1)
    return 0


async def _export(args: argparse.Namespace) -> int:
    chosen = chosen_by(args)
    found: set[str] = set()
    count = 0
    async with opened(args) as transport:
        letters = letters_of(args, transport)
        with _output(args.output) as output, ProgressLine("letters", quiet=args.quiet) as progress:
            async with letters.browse(chosen) as browser:
                async for letter in browser:
                    if count == args.limit:
                        break
                    content = await letters.content(letter)
                    record, masked = dead_record(letter, content, redact=args.redact)
                    found |= masked
                    output.write(json_line(record))
                    count += 1
                    progress.advance()
    note(f"{count} dead letters exported", quiet=args.quiet)
    _say_unfound(args.redact, found, count)
    return 0


# What the actions share ------------------------------------------------------------------------


@contextmanager
def _output(path: str | None) -> Generator[BinaryIO]:
    if path is None:
        yield stdout_bytes()
        return
    try:
        # Letters may contain data that other users of this machine must not read.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as problem:
        raise ConfigurationError(f"{path} cannot be written: {problem.strerror}") from None
    with open(handle, "wb") as file:
        yield file


def _say_unfound(wanted: list[str], found: set[str], count: int) -> None:
    for path in wanted:
        if path not in found and count:
            note(f"--redact {printable(path)}: found in no letter, so nothing was masked by it")


def _now_ms() -> int:
    return round(time.time() * 1_000)
