"""The actions of ``effectmq dead`` that change something: replay, edit, purge."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from effectmq.broker.dead_letters.dead_letters import DeadFilter, DeadReport
from effectmq.broker.dead_letters.desk import DeadDesk
from effectmq.broker.dead_letters.patching import Patch
from effectmq.broker.progress_line import ProgressLine, waiting
from effectmq.broker.transports.port import Transport
from effectmq.cli.arguments.options import bodies_of
from effectmq.cli.arguments.setting_options import place_of
from effectmq.cli.dead.choice import chosen_by
from effectmq.cli.dead.opening import opened, opened_desk
from effectmq.cli.dead.view import edit_lines, report_lines
from effectmq.cli.terminal.lines import whole
from effectmq.cli.terminal.output import note, write_json, write_text
from effectmq.cli.terminal.texts import pretty
from effectmq.protocol.errors import (
    ConfigurationError,
    MalformedError,
    PayloadTooLargeError,
    ProtocolError,
)
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError
from effectmq.replaying import replay_and_wait

__all__ = ["edit", "purge", "replay"]


async def replay(args: argparse.Namespace) -> int:
    """``effectmq dead replay``."""
    chosen = chosen_by(args)
    if args.edit is not None or args.wait:
        return await _replay_one(args, chosen)
    _refuse_empty(args, chosen)
    async with opened(args) as transport, opened_desk(args, transport) as desk:
        await desk.refresh()
        with _progress("letters replayed", args) as on_progress:
            report = await desk.replay(
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
    async with opened(args) as transport:
        try:
            async with opened_desk(args, transport) as desk:
                await desk.refresh()
                if args.wait and not args.dry_run:
                    return await _replay_and_wait(args, transport, desk, letter_id, document)
                if document is None:
                    report = await desk.replay(chosen, dry_run=True)
                    return _tell(args, report, done="replayed", intended="would be replayed")
                made = await desk.replace(letter_id, document, dry_run=args.dry_run)
        except (ProtocolError, PayloadTooLargeError) as problem:
            raise ConfigurationError(
                f"the edited envelope cannot be used: {describe(problem)}. The letter is still "
                "there"
            ) from None
    request = made.request
    if args.json:
        write_json(
            {
                "dry_run": args.dry_run,
                "id": made.letter.id,
                "effect_id": request.effect_id,
                "replay_key": request.replay_key,
                "route": made.route,
                "edited_from": made.edited_from,
                "hash": request.hash,
            }
        )
        return 0
    verb = "would be replayed" if args.dry_run else "replayed"
    write_text(f"effect {printable(request.effect_id, 200)} {verb} as edited")
    write_text(f"hash {printable(made.edited_from)} -> {request.hash}")
    return 0


async def _replay_and_wait(
    args: argparse.Namespace,
    transport: Transport,
    desk: DeadDesk,
    letter_id: str,
    document: bytes | None,
) -> int:
    async with waiting("waiting for the outcome", quiet=args.quiet):
        reply, passed_on = await replay_and_wait(
            place_of(args),
            transport,
            desk,
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


async def edit(args: argparse.Namespace) -> int:
    """``effectmq dead edit``."""
    chosen = chosen_by(args)
    _refuse_empty(args, chosen)
    try:
        patch = Patch.parse(whole(args.patch))
    except MalformedError as problem:
        raise ConfigurationError(
            f"the patch in {printable(args.patch)} cannot be used: {describe(problem)}"
        ) from None
    async with opened(args) as transport, opened_desk(args, transport) as desk:
        await desk.refresh()
        with _progress("letters edited and replayed", args) as on_progress:
            report = await desk.edit(
                chosen,
                patch,
                rate=args.rate,
                limit=args.limit,
                dry_run=args.dry_run,
                on_progress=on_progress,
            )
    if args.dry_run and not args.json:
        for line in edit_lines(report.edits):
            write_text(line)
    return _tell(
        args,
        report,
        done="replayed as edited",
        intended="would be replayed as edited",
        key="edited",
    )


async def purge(args: argparse.Namespace) -> int:
    """``effectmq dead purge``."""
    chosen = chosen_by(args)
    _refuse_empty(args, chosen)
    only_look = args.dry_run or not args.yes
    async with opened(args) as transport, opened_desk(args, transport) as desk:
        await desk.refresh()
        with _progress("letters purged", args) as on_progress:
            report = await desk.purge(
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


def _tell(
    args: argparse.Namespace, report: DeadReport, *, done: str, intended: str, key: str = ""
) -> int:
    if args.json:
        write_json(_facts(report, key or done))
    else:
        for line in report_lines(report, done=done, intended=intended):
            write_text(line)
        for problem in report.problems:
            note(printable(problem))
    if report.stopped:
        note(f"effectmq: stopped early, and the rest is still there: {printable(report.stopped)}")
    return int(bool(report.skipped or report.failed or report.stopped))


def _facts(report: DeadReport, done: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        done if name == "done" else name: value for name, value in report.facts().items()
    }
    edits = {"edits": report.edit_facts()} if done == "edited" else {}
    return {**facts, "problems": report.problems, **edits}


@contextmanager
def _progress(what: str, args: argparse.Namespace) -> Generator[Callable[[int, int], None]]:
    with ExitStack() as stack:
        shown: ProgressLine | None = None

        def advance(done: int, total: int) -> None:
            nonlocal shown
            if shown is None:
                shown = stack.enter_context(ProgressLine(what, total, quiet=args.quiet))
            shown.advance(done - shown.done)

        yield advance
