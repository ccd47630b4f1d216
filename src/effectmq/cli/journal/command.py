"""``effectmq journal``: count, prune, migrate and verify what is in it."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from effectmq.broker.progress_line import ProgressLine, waiting
from effectmq.broker.store.journal.archive.archive import PruneReport, open_archive
from effectmq.broker.store.journal.archive.facts import effect_facts
from effectmq.broker.store.journal.archive.statistics import JournalStats
from effectmq.cli.arguments.journal_options import add_journal_options, journal_of, namespace_of
from effectmq.cli.arguments.options import Commands, add_action, add_command
from effectmq.cli.program.schemas import SCHEMAS
from effectmq.cli.terminal.output import note, write_json, write_text
from effectmq.cli.terminal.tables import Column, pairs, room_of, table
from effectmq.cli.terminal.times import age, seconds
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

__all__ = ["configure", "run"]

_action = partial(add_action, place=add_journal_options)

_DESCRIPTION = """\
Look after the journal: count its effects, remove old ones, migrate its tables,
and check it for damage.

  effectmq journal stats
  effectmq journal prune --older-than 30d --dry-run
  effectmq journal prune --older-than 30d --yes
  effectmq journal verify
  effectmq journal migrate"""

_PRUNE = """\
Remove effects that finished long ago. An effect loses its envelope and its
outcome. Its key and hash stay, so that asking for it again is an error
(effectmq_forgotten) and never runs it a second time. With --forget-keys
nothing stays, and asking again runs it again.

Effects that are not finished are never pruned, and parked ones only with
--parked. Workers may go on meanwhile. An interruption undoes nothing."""

_VERIFY = """\
Read every effect and check it: its envelope has the recorded hash, its outcome
can be read, and its status fits them. Exit code 1 when one is damaged."""

_MIGRATE = """\
Bring the tables to the version of this installation, or make them, each in one
transaction. Stop the workers of the older version first. Effects that were
recorded before there were namespaces get the one of --namespace."""

_COUNTS = (
    Column("kind", priority=1),
    Column("status", priority=2),
    Column("effects", priority=3),
)
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def configure(commands: Commands) -> None:
    """Add the parsers."""
    parser = add_command(
        commands,
        "journal",
        "statistics, pruning, migration and verification of the journal",
        _DESCRIPTION,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    _action(actions, "stats", "count effects by kind and status")
    prune = _action(actions, "prune", "remove effects that finished long ago", _PRUNE)
    prune.add_argument(
        "--older-than",
        type=seconds,
        required=True,
        metavar="AGE",
        help="time since the last change, for instance 12h or 30d",
    )
    prune.add_argument("--forget-keys", action="store_true", help="keep neither key nor hash")
    prune.add_argument(
        "--parked",
        action="store_true",
        help="also what was parked; its dead letter cannot be replayed any more",
    )
    prune.add_argument("--dry-run", action="store_true", help="only say what would be done")
    prune.add_argument("--yes", action="store_true", help="do it")
    _action(actions, "migrate", "bring the tables to the version of this installation", _MIGRATE)
    _action(actions, "verify", "check every effect for damage", _VERIFY)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Carry out one action.

    Raises:
        ConfigurationError: When there is no journal, or pruning was not confirmed.
        DatabaseError: When the journal cannot be used.
    """
    actions = {"stats": _stats, "prune": _prune, "migrate": _migrate, "verify": _verify}
    return await actions[args.action](args)


async def _stats(args: argparse.Namespace) -> int:
    async with open_archive(journal_of(args), namespace=namespace_of(args)) as archive:
        stats = await archive.stats()
        where = archive.where
    if args.json:
        write_json(_facts(stats, where))
        return 0
    oldest = stats.oldest
    values: list[tuple[str, object]] = [
        ("journal", where),
        ("size", _size(stats.size_bytes)),
        ("effects", stats.effects),
        ("parked", _counted(stats.parked)),
        ("dead letters not out", stats.letters_unsent or None),
        ("without a live worker", stats.unheld or None),
        ("longest in progress", oldest and f"{oldest.effect_id} ({oldest.hash[:12]})"),
        ("without a sign for", oldest and age(oldest.updated_ms, stats.now_ms)),
    ]
    write_text(pairs((name, value) for name, value in values if value not in (None, "")))
    if stats.counts:
        rows = [(kind, status, count) for (kind, status), count in sorted(stats.counts.items())]
        write_text(f"\n{table(_COUNTS, rows, room_of(args))}")
    return 0


def _facts(stats: JournalStats, where: str) -> dict[str, Any]:
    return {
        "journal": where,
        "size_bytes": stats.size_bytes,
        "effects": stats.effects,
        "counts": [
            {"kind": kind, "status": status, "count": count}
            for (kind, status), count in sorted(stats.counts.items())
        ],
        "parked": stats.parked,
        "letters_unsent": stats.letters_unsent,
        "unheld": stats.unheld,
        "oldest_in_progress": None if stats.oldest is None else effect_facts(stats.oldest),
    }


async def _prune(args: argparse.Namespace) -> int:
    only_look = args.dry_run or not args.yes
    async with open_archive(journal_of(args), namespace=namespace_of(args)) as archive:
        with ProgressLine("effects pruned", quiet=args.quiet or only_look) as progress:
            report = await archive.prune(
                older_than_s=args.older_than,
                keep_keys=not args.forget_keys,
                parked=args.parked,
                dry_run=only_look,
                on_progress=progress.advance,
            )
    _tell_pruned(args, report)
    if only_look and not args.dry_run and report.pruned:
        raise ConfigurationError("nothing was pruned: what is pruned is gone. Add --yes to do it")
    return 0


def _tell_pruned(args: argparse.Namespace, report: PruneReport) -> None:
    if args.json:
        write_json(
            {
                "dry_run": report.dry_run,
                "pruned": report.pruned,
                "payload_bytes": report.payload_bytes,
                "keys_kept": not args.forget_keys,
                "parked_left": report.parked,
            }
        )
        return
    if not report.pruned:
        write_text("no effect is finished and old enough; nothing to prune")
    else:
        verb = "would be pruned" if report.dry_run else "pruned"
        kept = "nothing is kept" if args.forget_keys else "keys and hashes are kept"
        write_text(f"{_effects(report.pruned)} {verb}, {_size(report.payload_bytes)}; {kept}")
    if report.parked:
        note(f"parked, and left as they are: {_effects(report.parked)}", quiet=args.quiet)


async def _migrate(args: argparse.Namespace) -> int:
    url, namespace = journal_of(args), namespace_of(args)
    async with open_archive(url, namespace=namespace, any_version=True) as archive:
        for schema in SCHEMAS:
            async with waiting(f"migrating {schema.component}", quiet=args.quiet):
                before, after = await schema.migrate(archive.database)
            _tell_migrated(args, schema.component, before, after)
    return 0


def _tell_migrated(args: argparse.Namespace, component: str, before: int, after: int) -> None:
    if args.json:
        write_json({"component": component, "before": before or None, "after": after})
    elif before == after:
        write_text(f"{component}: version {after} already")
    elif before:
        write_text(f"{component}: migrated from version {before} to {after}")
    else:
        write_text(f"{component}: made, version {after}")


async def _verify(args: argparse.Namespace) -> int:
    found = 0
    async with open_archive(journal_of(args), namespace=namespace_of(args)) as archive:
        total = (await archive.stats()).effects
        with ProgressLine("effects", total, quiet=args.quiet) as progress:
            async for damage in archive.verify(on_progress=progress.advance):
                found += 1
                progress.clear()
                scope_id, key = damage.identity.scope_id, damage.identity.replay_key
                if args.json:
                    facts = {"scope_id": scope_id, "replay_key": key, "problem": damage.problem}
                    write_json(facts)
                else:
                    name = f"{printable(key, 200)!r} in scope {printable(scope_id, 200)!r}"
                    write_text(f"{name}: {printable(damage.problem)}")
            checked = progress.done
    if not found:
        note(f"{_effects(checked)} verified, nothing is wrong", quiet=args.quiet)
        return 0
    things = "1 thing is" if found == 1 else f"{found} things are"
    note(
        f"{_effects(checked)} verified, {things} wrong. Restore the journal from a backup, or look "
        "at each with: effectmq effects get --scope SCOPE --key KEY"
    )
    return 1


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {printable(name, 40)}" for name, count in sorted(counts.items()))


def _size(size_bytes: int) -> str:
    for unit_bytes, unit in _UNITS:
        if size_bytes >= unit_bytes:
            return f"{size_bytes / unit_bytes:.1f} {unit}"
    return f"{size_bytes} bytes"


def _effects(count: int) -> str:
    return "1 effect" if count == 1 else f"{count} effects"
