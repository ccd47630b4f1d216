"""``effectmq effects cancel`` with a filter: every effect in progress that is meant."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from effectmq.broker.client.asking.cancelling import announce_cancel
from effectmq.broker.client.asking.cancelling_many import CancelReport, cancel_and_note
from effectmq.broker.dead_letters.desk import operator
from effectmq.broker.progress_line import ProgressLine
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.journal.archive.summaries import EffectFilter
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Effect
from effectmq.broker.transports import open_transport
from effectmq.cli.arguments.journal_options import journal_of, namespace_of
from effectmq.cli.arguments.options import is_memory
from effectmq.cli.arguments.setting_options import place_of
from effectmq.cli.terminal.output import note, write_json, write_text
from effectmq.protocol.errors import ConfigurationError, EffectmqError
from effectmq.protocol.topology import Names

__all__ = ["cancel_chosen", "is_choice"]

#: Telling the workers is a courtesy; nobody waits long for it.
_CONNECT_S = 5.0

Announce = Callable[[Effect], Awaitable[None]]


def is_choice(args: argparse.Namespace) -> bool:
    """Whether effects are chosen by a filter, and not one by its name."""
    given = (args.kind, args.session, args.turn, args.worker, args.since, args.until, args.all)
    return any(value not in ([], "", None, False) for value in given)


async def cancel_chosen(args: argparse.Namespace) -> int:
    """
    Cancel them, or say how many there are.

    Raises:
        ConfigurationError: When one is named as well, or it was not confirmed.
        DatabaseError: When the journal cannot be used.
    """
    if args.name or args.key:
        raise ConfigurationError("give one effect, or options that choose several, but not both")
    if args.since is not None and args.until is not None and args.since >= args.until:
        raise ConfigurationError(
            "--since is not before --until, so no effect fits; correct one of them"
        )
    chosen = EffectFilter(
        kinds=tuple(args.kind),
        scope_id=args.scope,
        session_id=args.session,
        turn_id=args.turn,
        worker=args.worker,
        since_ms=args.since,
        until_ms=args.until,
    )
    only_look = args.dry_run or not args.yes
    report = await _cancelled(args, chosen, dry_run=only_look)
    _tell(args, report)
    if only_look and not args.dry_run and report.chosen:
        raise ConfigurationError(
            "nothing was cancelled: what is cancelled never has an outcome. Add --yes to do it"
        )
    return 0


async def _cancelled(
    args: argparse.Namespace, chosen: EffectFilter, *, dry_run: bool
) -> CancelReport:
    url, namespace = journal_of(args), namespace_of(args)
    async with (
        open_archive(url, namespace=namespace) as archive,
        Journal(url, namespace=namespace) as journal,
        _announcing(args, quiet=dry_run) as announce,
    ):
        with ProgressLine("effects cancelled", quiet=args.quiet or dry_run) as progress:
            return await cancel_and_note(
                archive,
                journal,
                chosen,
                args.reason,
                who=args.by or operator(),
                limit=args.limit,
                dry_run=dry_run,
                announce=announce,
                on_progress=lambda done: progress.advance(done - progress.done),
            )


@asynccontextmanager
async def _announcing(args: argparse.Namespace, *, quiet: bool) -> AsyncGenerator[Announce | None]:
    """What tells the workers of one; ``None`` when their broker cannot be reached."""
    place = place_of(args)
    if quiet or is_memory(place.broker):
        yield None
        return
    connection = replace(place.connection_of("effectmq effects"), connect_timeout_s=_CONNECT_S)
    transport = open_transport(place.broker, connection)
    try:
        await transport.__aenter__()
    except EffectmqError as problem:
        note(
            f"workers cannot be told and find out when they renew their leases: {problem}",
            quiet=args.quiet,
        )
        yield None
        return
    names = Names(place.topology.namespace)
    try:
        yield lambda effect: announce_cancel(
            transport,
            names,
            effect.identity,
            {"effect_id": effect.effect_id, "hash": effect.hash},
        )
    finally:
        await transport.__aexit__(None, None, None)


def _tell(args: argparse.Namespace, report: CancelReport) -> None:
    if args.json:
        write_json(report.facts())
        return
    if not report.chosen:
        write_text("no effect in progress fits; nothing was done")
        return
    verb = "would be cancelled" if report.dry_run else "cancelled"
    kinds = ", ".join(f"{count} {kind or 'unseen'}" for kind, count in report.by_kind.most_common())
    effects = "1 effect" if report.chosen == 1 else f"{report.chosen} effects"
    write_text(f"{report.done} of {effects} {verb} (chosen: {kinds})")
    if report.finished:
        write_text(f"{report.finished} not, because their outcome came first")
