"""
``effectmq effects tail``: the changes of a journal, how far effects are, and what they stream.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from effectmq.broker.store.journal.archive.archive import Archive, open_archive
from effectmq.broker.store.journal.archive.facts import effect_facts, is_former, progress_facts
from effectmq.broker.store.journal.archive.summaries import EffectSummary
from effectmq.broker.store.journal.archive.tail import News
from effectmq.broker.store.journal.progress import RecordedProgress
from effectmq.broker.store.journal.records import FINISHED
from effectmq.broker.transports import open_transport
from effectmq.cli.arguments.journal_options import journal_of, namespace_of
from effectmq.cli.arguments.options import no_worker
from effectmq.cli.arguments.setting_options import place_of
from effectmq.cli.effects.chunks import Chunks, Lines, chunk_facts
from effectmq.cli.effects.options import filter_of
from effectmq.cli.effects.view import news_line
from effectmq.cli.fleet.opening import opened_fleet
from effectmq.cli.terminal.output import flush, note, write_json, write_text
from effectmq.cli.terminal.tables import room_of
from effectmq.protocol.errors import ConfigurationError, DatabaseUnavailableError
from effectmq.protocol.messages.fleet.watched import Watched
from effectmq.protocol.messages.request import Identity

__all__ = ["tail"]

_POLL_S = 0.5
#: How many of those that run already are followed.
_RUNNING = 20


async def tail(args: argparse.Namespace) -> int:
    """
    Print effects as they change, until interrupted.

    Raises:
        ConfigurationError: When options exclude each other, or no worker can be asked.
        BrokerError: With --chunks, when the broker cannot be used.
        DatabaseError: When the journal cannot be used.
    """
    chosen = filter_of(args)
    if args.chunks and chosen.statuses and "in_progress" not in chosen.statuses:
        raise ConfigurationError(
            "--chunks shows what effects in progress stream, and --status leaves those out; add "
            "--status in_progress, or leave --status out"
        )
    async with open_archive(journal_of(args), namespace=namespace_of(args)) as archive:
        teller = _Teller(args)
        async with _chunks(args, teller) as chunks:
            running: list[EffectSummary] = []
            if chunks is not None:
                runs = replace(chosen, statuses=("in_progress",))
                running = await archive.find(runs, limit=_RUNNING)
                teller.changes(running)
                chunks.follow(running)
            if chosen.since_ms is None:
                chosen = replace(chosen, since_ms=await archive.now_ms())
            news = News(chosen)
            news.told(running)
            note(f"following {archive.where}; end with Ctrl-C", quiet=args.quiet or args.json)
            await _follow(archive, news, teller, chunks)
    return 0


async def _follow(archive: Archive, news: News, teller: _Teller, chunks: Chunks | None) -> None:
    lost = False
    while True:
        fresh: Sequence[EffectSummary] = ()
        try:
            fresh = await archive.since(news)
        except DatabaseUnavailableError as problem:
            # A restart of the server is no reason to stop.
            if not lost:
                note(f"{problem}. Waiting for it")
            lost = True
        else:
            lost = False
        teller.changes(fresh)
        if chunks is not None:
            chunks.follow(fresh)
        if not lost:
            await _tell_progress(archive, news.running, teller, chunks)
        if not news.more or lost:
            await asyncio.sleep(_POLL_S)


async def _tell_progress(
    archive: Archive, running: Sequence[EffectSummary], teller: _Teller, chunks: Chunks | None
) -> None:
    """Tell what the records of running effects say; one that is followed says it itself."""
    asked = [each for each in running if chunks is None or not chunks.follows(each.identity)]
    try:
        found = await archive.progress(asked)
    except DatabaseUnavailableError:
        # The next look says so.
        return
    for effect, told in zip(asked, found, strict=True):
        if told is not None and not is_former(effect, told):
            teller.progress(effect, told)


class _Teller:
    """Prints changes and streams, as lines or as JSON."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._json: bool = args.json
        self._room = room_of(args)
        self._lines = Lines(self._room, write_text)
        self._recorded: dict[Identity, RecordedProgress] = {}

    def changes(self, effects: Sequence[EffectSummary]) -> None:
        """What changed."""
        for effect in effects:
            if self._json:
                write_json(effect_facts(effect))
            else:
                write_text(news_line(effect, self._room))
            if effect.status in FINISHED:
                self._lines.forget(effect.identity)
                self._recorded.pop(effect.identity, None)
        flush()

    def progress(self, effect: EffectSummary, told: RecordedProgress) -> None:
        """How far one is by its record, when that is new."""
        if self._recorded.get(effect.identity) == told:
            return
        self._recorded[effect.identity] = told
        if not self._json:
            self._lines.progress(effect, told.progress)
        else:
            write_json(_progress_facts(effect, told))
        flush()

    def chunks(self, effect: EffectSummary, watched: Watched | None) -> None:
        """What one streams; ``None`` when it pauses or ends."""
        if not self._json:
            self._lines.tell(effect, watched)
        elif watched is not None:
            write_json(chunk_facts(effect, watched))
        flush()


def _progress_facts(effect: EffectSummary, told: RecordedProgress) -> dict[str, object]:
    """How far an effect is, for scripts; the keys are stable."""
    return {
        "scope_id": effect.identity.scope_id,
        "replay_key": effect.identity.replay_key,
        "effect_id": effect.effect_id,
        "progress": progress_facts(effect, told),
    }


@asynccontextmanager
async def _chunks(args: argparse.Namespace, teller: _Teller) -> AsyncGenerator[Chunks | None]:
    """Who follows what effects stream; ``None`` when nobody asked for it."""
    if not args.chunks:
        yield None
        return
    place = place_of(args)
    connection = place.connection_of("effectmq effects")
    async with (
        open_transport(place.broker, connection) as transport,
        opened_fleet(args, transport) as fleet,
    ):
        if fleet is None:
            raise ConfigurationError(no_worker(place))
        async with Chunks(fleet, teller.chunks, note) as chunks:
            yield chunks
