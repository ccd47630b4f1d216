"""``effectmq effects``: list, compare, cancel and answer the effects in the journal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import islice

from effectmq.broker.client.asking.cancelling import announce_cancel
from effectmq.broker.client.asking.cancelling_one import cancel_one
from effectmq.broker.store.journal.archive.archive import Archive, open_archive
from effectmq.broker.store.journal.archive.facts import (
    detail_facts,
    effect_facts,
    lineage_facts,
    payload,
    progress_facts,
)
from effectmq.broker.store.journal.archive.summaries import (
    EffectDetail,
    EffectFilter,
    EffectIdError,
    EffectSummary,
    Place,
)
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Effect
from effectmq.broker.store.spend.book import SpendBook
from effectmq.broker.store.spend.facts import spend_facts
from effectmq.broker.transports import open_transport
from effectmq.cli.arguments.journal_options import journal_of, namespace_of
from effectmq.cli.arguments.options import Commands, add_command, is_memory
from effectmq.cli.arguments.setting_options import place_of
from effectmq.cli.effects.answering import answer, list_waiting
from effectmq.cli.effects.cancelling import cancel_chosen, is_choice
from effectmq.cli.effects.naming import meant
from effectmq.cli.effects.options import DESCRIPTION, add_actions, filter_of
from effectmq.cli.effects.pruning import prune
from effectmq.cli.effects.tailing import tail
from effectmq.cli.effects.view import (
    detail_text,
    difference_lines,
    effect_table,
    lineage_text,
)
from effectmq.cli.terminal.lines import whole
from effectmq.cli.terminal.output import note, write_json, write_text
from effectmq.cli.terminal.tables import room_of
from effectmq.cli.terminal.texts import pretty
from effectmq.protocol.encoding.differences import Difference, differences
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from effectmq.protocol.errors import (
    ConfigurationError,
    EffectmqError,
    InvalidEnvelopeError,
    MalformedError,
)
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.text import printable
from effectmq.protocol.topology import Names
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope

__all__ = ["configure", "run"]

_DEFAULT_ROWS = 50
_PAGE = 500
#: Telling the workers is not necessary, so the command does not wait long for it, in seconds.
_CONNECT_S = 5.0


def configure(commands: Commands) -> None:
    """Add the parsers."""
    parser = add_command(
        commands,
        "effects",
        "list, show, follow, compare and cancel effects of the journal",
        DESCRIPTION,
    )
    add_actions(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Carry out one action.

    Raises:
        ConfigurationError: When there is no journal, or options exclude each other.
        DatabaseError: When the journal cannot be used.
        EffectIdError: When a name fits no effect, or more than one.
    """
    actions = {
        "list": _list,
        "get": _get,
        "tail": tail,
        "tree": _tree,
        "diff": _diff,
        "cancel": _cancel,
        "prune": prune,
        "waiting": list_waiting,
        "complete": answer,
    }
    return await actions[args.action](args)


# Looking ---------------------------------------------------------------------------------------


async def _list(args: argparse.Namespace) -> int:
    chosen = filter_of(args)
    async with open_archive(journal_of(args), namespace=namespace_of(args)) as archive:
        if args.json:
            async for page in _pages(archive, chosen, args.limit):
                spent = await SpendBook(archive.database).of([each.identity for each in page])
                progress = await archive.progress(page)
                for effect, row, told in zip(page, spent, progress, strict=True):
                    facts = {"spend": row and spend_facts(row)}
                    facts["progress"] = progress_facts(effect, told)
                    write_json({**effect_facts(effect), **facts})
            return 0
        most: int = args.limit or _DEFAULT_ROWS
        found = await archive.find(chosen, limit=most + 1)
        now_ms = await archive.now_ms()
    if not found:
        write_text("no effects" if chosen == EffectFilter() else "no such effects")
        return 0
    write_text(effect_table(found[:most], now_ms, room_of(args)))
    if len(found) > most:
        note(f"the last {most} are shown; --limit N shows more", quiet=args.quiet)
    return 0


async def _pages(
    archive: Archive, chosen: EffectFilter, limit: int | None
) -> AsyncIterator[list[EffectSummary]]:
    after: Place | None = None
    left = sys.maxsize if limit is None else limit
    while left > 0:
        page = await archive.find(chosen, limit=min(_PAGE, left), after=after)
        yield page
        if len(page) < _PAGE:
            return
        left -= len(page)
        after = page[-1].place


async def _get(args: argparse.Namespace) -> int:
    async with open_archive(journal_of(args), namespace=namespace_of(args)) as archive:
        effect = await meant(archive, args)
        lineage = await archive.lineage(effect) if args.lineage else None
        [spent] = await SpendBook(archive.database).of([effect.identity])
        [told] = await archive.progress([effect])
        now_ms = await archive.now_ms()
    if args.envelope or args.outcome:
        _show_payload(effect, "envelope" if args.envelope else "outcome")
    elif args.json:
        tree = [lineage_facts(node, effect) for node in lineage.nodes] if lineage else None
        facts = {**detail_facts(effect), "spend": spent and spend_facts(spent)}
        facts["progress"] = progress_facts(effect, told)
        write_json({**facts, **({"lineage": tree} if lineage else {})})
    else:
        write_text(detail_text(effect, now_ms, room_of(args), spent, told))
        if lineage is not None:
            tree_shown = lineage_text(lineage, effect, now_ms, room_of(args))
            write_text(f"\nlineage:\n{tree_shown}")
    return 0


def _show_payload(effect: EffectDetail, what: str) -> None:
    text = effect.envelope_json if what == "envelope" else effect.outcome_json
    if not text:
        raise ConfigurationError(
            f"there is no {what} of this effect: it is {effect.status}. See what there is with: "
            f"effectmq effects get {effect.hash[:12]}"
        )
    write_text(pretty(payload(text)))


async def _tree(args: argparse.Namespace) -> int:
    async with open_archive(journal_of(args), namespace=namespace_of(args)) as archive:
        effect = await meant(archive, args)
        lineage = await archive.lineage(effect, most=args.limit)
        now_ms = await archive.now_ms()
    if args.json:
        for node in lineage.nodes:
            write_json(lineage_facts(node, effect))
    else:
        write_text(lineage_text(lineage, effect, now_ms, room_of(args)))
    if lineage.more:
        note(f"the first {args.limit} are shown; --limit N shows more", quiet=args.quiet)
    return 0


# Comparing -------------------------------------------------------------------------------------


async def _diff(args: argparse.Namespace) -> int:
    async with open_archive(journal_of(args), namespace=namespace_of(args)) as archive:
        sides = [await _side(archive, word, args.scope) for word in (args.a, args.b)]
    (one_envelope, one_outcome), (other_envelope, other_outcome) = sides
    parts = [("envelope", differences(one_envelope, other_envelope))]
    if one_outcome is not None and other_outcome is not None:
        parts.append(("outcome", differences(one_outcome, other_outcome)))
    differ = False
    for part, found in parts:
        first = list(islice(found, args.limit))
        more = sum(1 for _ in found)
        differ = differ or bool(first)
        _show_differences(args, part, first, more)
    return int(differ)


async def _side(archive: Archive, word: str, scope_id: str) -> tuple[object, object]:
    """Envelope and outcome of a recorded effect; of a file, its envelope."""
    if word == "-" or word.startswith("@") or word.endswith(".json"):
        return _envelope_in(word.removeprefix("@")), None
    effect = await archive.get(word, scope_id=scope_id)
    if not effect.envelope_json:
        raise ConfigurationError(
            f"the envelope of {printable(word, 200)!r} is not kept (it is {effect.status}), so "
            "there is nothing to compare"
        )
    return payload(effect.envelope_json), payload(effect.outcome_json)


def _show_differences(
    args: argparse.Namespace, part: str, found: list[Difference], more: int
) -> None:
    if args.json:
        for one in found:
            values = {} if args.paths else {"before": one.before, "after": one.after}
            write_json({"part": part, "change": one.change, "path": one.path, **values})
    elif found:
        write_text(f"{part}:")
        for line in difference_lines(found, values=not args.paths):
            write_text(f"  {line}")
    else:
        write_text(f"{part}: the same")
    if more:
        note(f"and {more} more in the {part}; --limit N shows more", quiet=args.quiet)


def _envelope_in(path: str) -> object:
    document = whole(path)
    try:
        return to_tree(from_tree(RuntimeEffectEnvelope, parse_json(document)))
    except MalformedError as problem:
        raise ConfigurationError(
            f"{path} holds no envelope: {problem}. Expected one as JSON, as 'effectmq effects get "
            "ID --envelope' prints it"
        ) from None


# Cancelling ------------------------------------------------------------------------------------


async def _cancel(args: argparse.Namespace) -> int:
    if is_choice(args):
        return await cancel_chosen(args)
    url, namespace = journal_of(args), namespace_of(args)
    async with open_archive(url, namespace=namespace) as archive:
        effect = await _to_cancel(archive, args)
    try:
        async with Journal(url, namespace=namespace) as journal:
            made = await cancel_one(journal, effect, args.reason)
    except InvalidEnvelopeError as problem:
        raise ConfigurationError(problem.message) from None
    won, status = made.won, made.status
    if won == "cancelled":
        await _announce(args, effect)
    name = printable(effect.effect_id or effect.identity.replay_key, 200)
    if args.json:
        write_json(
            {
                "scope_id": effect.identity.scope_id,
                "replay_key": effect.identity.replay_key,
                "effect_id": effect.effect_id or None,
                "won": won,
                "status": status or None,
            }
        )
    elif won == "cancelled":
        write_text(f"effect {name} is cancelled: it will never have an outcome")
    elif won == "outcome":
        write_text(f"effect {name} was not cancelled: it is {status} already. Nothing was changed")
    else:
        write_text(
            f"effect {name} was not cancelled: another envelope took its key in this moment. Look "
            "again, and cancel that one if you mean it"
        )
    return int(won != "cancelled")


async def _announce(args: argparse.Namespace, effect: Effect) -> None:
    """Tell the workers, if the broker can be reached; otherwise they learn it by themselves."""
    place = place_of(args)
    if is_memory(place.broker):
        return
    named = {"effect_id": effect.effect_id, "hash": effect.hash}
    try:
        connection = replace(place.connection_of("effectmq effects"), connect_timeout_s=_CONNECT_S)
        async with open_transport(place.broker, connection) as transport:
            names = Names(place.topology.namespace)
            await announce_cancel(transport, names, effect.identity, named)
    except EffectmqError as problem:
        note(
            f"workers could not be told and find out when they renew its lease: {problem}",
            quiet=args.quiet,
        )


async def _to_cancel(archive: Archive, args: argparse.Namespace) -> Effect:
    try:
        found = await meant(archive, args)
    except EffectIdError:
        if not (args.scope and args.key):
            raise
        # No worker has seen it yet: its name is known, and is enough.
        return Effect(Identity(args.scope, args.key))
    return Effect(found.identity, found.hash, kind=found.kind, effect_id=found.effect_id)
