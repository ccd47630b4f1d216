"""``effectmq dead``: look at dead letters, and replay or remove them."""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import BinaryIO

from effectmq.broker.dead_letters.content import dead_facts, dead_record
from effectmq.broker.dead_letters.dead_letters import (
    DeadFilter,
    DeadLetters,
    DeadLettersLostError,
    DeadReport,
)
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.cli.arguments.options import Commands, add_command, bodies_of, is_memory
from effectmq.cli.arguments.setting_options import place_of
from effectmq.cli.dead.choice import chosen_by
from effectmq.cli.dead.options import DESCRIPTION, add_actions
from effectmq.cli.dead.view import letter_table, letter_text, report_lines, tally_line
from effectmq.cli.dead.waiting import replay_and_wait
from effectmq.cli.terminal.lines import whole
from effectmq.cli.terminal.output import json_line, note, stdout_bytes, write_json, write_text
from effectmq.cli.terminal.progress import Progress, waiting
from effectmq.cli.terminal.tables import room_of
from effectmq.cli.terminal.texts import pretty
from effectmq.protocol.errors import ConfigurationError, PayloadTooLargeError, ProtocolError
from effectmq.protocol.messages.dead_letter import DeadLetter
from effectmq.protocol.text import describe, printable
from effectmq.protocol.topology import Names
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError

__all__ = ["configure", "run"]

_DEFAULT_ROWS = 200


def configure(commands: Commands) -> None:
    """Add the parsers."""
    parser = add_command(
        commands, "dead", "list, show, replay, export and purge dead letters", DESCRIPTION
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
        "show": _show,
        "replay": _replay,
        "export": _export,
        "purge": _purge,
    }
    return await actions[args.action](args)


# Looking ---------------------------------------------------------------------------------------


async def _list(args: argparse.Namespace) -> int:
    chosen = chosen_by(args)
    most = args.limit if args.limit or args.json else _DEFAULT_ROWS
    tally: Counter[str] = Counter()
    rows: list[DeadLetter] = []
    lost: DeadLettersLostError | None = None
    async with _opened(args) as transport, _letters(args, transport).browse(chosen) as found:
        try:
            async for letter in found:
                tally[letter.reason] += 1
                if args.json:
                    write_json(dead_facts(letter))
                else:
                    rows.append(letter)
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


async def _show(args: argparse.Namespace) -> int:
    async with _opened(args) as transport:
        letters = _letters(args, transport)
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
    async with _opened(args) as transport:
        letters = _letters(args, transport)
        with _output(args.output) as output, Progress("letters", quiet=args.quiet) as progress:
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


# Changing --------------------------------------------------------------------------------------


async def _replay(args: argparse.Namespace) -> int:
    chosen = chosen_by(args)
    if args.edit is not None or args.wait:
        return await _replay_one(args, chosen)
    _refuse_empty(args, chosen)
    async with _opened(args) as transport:
        with _progress("letters replayed", args) as on_progress:
            report = await _letters(args, transport).replay(
                chosen,
                rate=args.rate,
                limit=args.limit,
                dry_run=args.dry_run,
                on_progress=on_progress,
            )
    return _tell(args, report, done="replayed", intended="would be replayed")


async def _replay_one(args: argparse.Namespace, chosen: DeadFilter) -> int:
    if len(chosen.ids) != 1 or chosen != DeadFilter(ids=chosen.ids):
        raise ConfigurationError(
            "--edit and --wait are for one letter: give its id, and no other choice"
        )
    (letter_id,) = chosen.ids
    document = None if args.edit is None else whole(args.edit)
    async with _opened(args) as transport:
        try:
            if args.wait and not args.dry_run:
                return await _replay_and_wait(args, transport, letter_id, document)
            if document is None:
                report = await _letters(args, transport).replay(chosen, dry_run=True)
                return _tell(args, report, done="replayed", intended="would be replayed")
            edit = await _letters(args, transport).replay_edited(
                letter_id, document, dry_run=args.dry_run
            )
        except (ProtocolError, PayloadTooLargeError) as problem:
            raise ConfigurationError(
                f"the edited envelope cannot be used: {describe(problem)}. The letter is still "
                "there"
            ) from None
    request = edit.request
    if args.json:
        write_json(
            {
                "dry_run": args.dry_run,
                "id": edit.letter.id,
                "effect_id": request.effect_id,
                "replay_key": request.replay_key,
                "route": edit.route,
                "edited_from": edit.edited_from,
                "hash": request.hash,
            }
        )
        return 0
    verb = "would be replayed" if args.dry_run else "replayed"
    write_text(f"effect {printable(request.effect_id, 200)} {verb} as edited")
    write_text(f"hash {printable(edit.edited_from)} -> {request.hash}")
    return 0


async def _replay_and_wait(
    args: argparse.Namespace, transport: Transport, letter_id: str, document: bytes | None
) -> int:
    async with waiting("waiting for the outcome", quiet=args.quiet):
        reply, passed_on = await replay_and_wait(
            place_of(args),
            transport,
            letter_id,
            document=document,
            bodies=bodies_of(args),
            timeout_s=args.timeout,
        )
    tree = reply.tree()
    failed = isinstance(reply.result, RuntimeEffectControllerError)
    if args.json:
        write_json(tree)
    else:
        word = "error" if failed else "outcome"
        write_text(f"{word} of effect {printable(reply.effect_id, 200)}, hash {reply.hash}")
        write_text(pretty(tree["result"]))
    if passed_on:
        note("passed on to the producer that asked", quiet=args.quiet)
    return int(failed)


async def _purge(args: argparse.Namespace) -> int:
    chosen = chosen_by(args)
    _refuse_empty(args, chosen)
    only_look = args.dry_run or not args.yes
    async with _opened(args) as transport:
        with _progress("letters purged", args) as on_progress:
            report = await _letters(args, transport).purge(
                chosen, limit=args.limit, dry_run=only_look, on_progress=on_progress
            )
    code = _tell(args, report, done="purged", intended="would be purged")
    if only_look and not args.dry_run and report.chosen:
        raise ConfigurationError("nothing was purged: what is purged is gone. Add --yes to do it")
    return code


def _refuse_empty(args: argparse.Namespace, chosen: DeadFilter) -> None:
    if chosen.empty and not args.all:
        raise ConfigurationError(
            f"which dead letters to {args.action}? Give ids or a filter (--kind, --reason, "
            "--since …), or --all"
        )


def _tell(args: argparse.Namespace, report: DeadReport, *, done: str, intended: str) -> int:
    if args.json:
        write_json(
            {
                "dry_run": report.dry_run,
                "chosen": report.chosen,
                "by_reason": dict(report.by_reason),
                done: report.done,
                "copies": report.copies,
                "skipped": report.skipped,
                "failed": report.failed,
                "gone": report.gone,
                "unseen": report.unseen,
                "problems": report.problems,
                "stopped": report.stopped,
            }
        )
    else:
        for line in report_lines(report, done=done, intended=intended):
            write_text(line)
        for problem in report.problems:
            note(printable(problem))
    if report.stopped:
        note(f"effectmq: stopped early, and the rest is still there: {printable(report.stopped)}")
    return int(bool(report.skipped or report.failed or report.stopped))


# What the actions share ------------------------------------------------------------------------


@asynccontextmanager
async def _opened(args: argparse.Namespace) -> AsyncGenerator[Transport]:
    place = place_of(args)
    settings = place.connection_of(f"effectmq dead {args.action}")
    async with open_transport(place.broker, settings) as transport:
        queue = Names(place.topology.namespace).dead
        if is_memory(place.broker) and await transport.stats(queue) is None:
            raise ConfigurationError(
                "memory:// is a broker inside one process, and this one has no dead letters; name "
                "the broker of your workers with --broker or EFFECTMQ_BROKER"
            )
        yield transport


def _letters(args: argparse.Namespace, transport: Transport) -> DeadLetters:
    return DeadLetters(transport, place_of(args).topology, bodies=bodies_of(args))


@contextmanager
def _progress(what: str, args: argparse.Namespace) -> Generator[Callable[[int, int], None]]:
    with ExitStack() as stack:
        shown: Progress | None = None

        def advance(done: int, total: int) -> None:
            nonlocal shown
            if shown is None:
                shown = stack.enter_context(Progress(what, total, quiet=args.quiet))
            shown.advance(done - shown.done)

        yield advance


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
