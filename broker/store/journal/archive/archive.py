"""
The journal as an archive: look effects up, follow them, prune and verify.

Nothing here is part of the way of an effect. Reading takes no locks; changes are made in short
transactions, with pauses in between for the workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar, overload

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Database, Transaction
from effectmq.broker.store.database.rows import ColumnError, number, text
from effectmq.broker.store.journal.archive import summaries
from effectmq.broker.store.journal.archive.browsing.activity import (
    Activity,
    activity,
    newest_change,
)
from effectmq.broker.store.journal.archive.browsing.inside import Inside, insides
from effectmq.broker.store.journal.archive.browsing.searching import Found, search
from effectmq.broker.store.journal.archive.browsing.sessions import (
    SessionsFound,
    newest_of,
    sessions,
)
from effectmq.broker.store.journal.archive.lineage import Lineage, children_of, lineage_of
from effectmq.broker.store.journal.archive.pruning import (
    Candidate,
    Pruning,
    candidate_of,
    candidates,
    forget,
    why_not,
)
from effectmq.broker.store.journal.archive.statistics import JournalStats, journal_stats
from effectmq.broker.store.journal.archive.summaries import (
    EffectDetail,
    EffectFilter,
    EffectIdError,
    EffectSummary,
    Place,
)
from effectmq.broker.store.journal.archive.tail import News
from effectmq.broker.store.journal.archive.verifying import Damage, problems_of
from effectmq.broker.store.journal.handed_out.table import Waiting, waiting
from effectmq.broker.store.journal.progress import (
    PROGRESS_SCHEMA,
    RecordedProgress,
    progress_of,
)
from effectmq.broker.store.journal.progress import forget as forget_progress
from effectmq.broker.store.journal.tables import JOURNAL_SCHEMA
from effectmq.broker.store.spend.book import SpendBook
from effectmq.broker.store.spend.steps import SPEND_SCHEMA
from effectmq.broker.store.spend.writing import forget_effects
from effectmq.protocol.errors import ConfigurationError, SchemaVersionError
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.numbers import one_time
from effectmq.protocol.topology import DEFAULT_NAMESPACE
from effectmq.protocol.urls import memory_name

__all__ = ["Archive", "PruneReport", "open_archive"]

T = TypeVar("T")

_PRUNE_BATCH = 200
#: Effects may be large, so few are checked in one transaction.
_VERIFY_BATCH = 100
_MOST_OF_A_TREE = 500
_BEGINNING = Place(-1, "", "")

_TABLES = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'effectmq_schema'",
    "postgres": "SELECT 1 WHERE to_regclass('effectmq_schema') IS NOT NULL",
}


@dataclass(frozen=True, slots=True)
class PruneReport:
    """
    The result of a pruning.

    Attributes:
        pruned: How many effects were pruned, or would be.
        payload_bytes: The size of their envelopes, outcomes and errors.
        parked: How many old effects were kept because they were parked.
        dry_run: Whether nothing was changed.
    """

    pruned: int = 0
    payload_bytes: int = 0
    parked: int = 0
    dry_run: bool = False


@asynccontextmanager
async def open_archive(
    url: str, *, namespace: str = DEFAULT_NAMESPACE, any_version: bool = False
) -> AsyncGenerator[Archive]:
    """
    Open a journal that exists.

    Args:
        url: ``sqlite:///path`` or ``postgresql://…``; ``memory://`` within its program.
        namespace: The namespace of the effects.
        any_version: Whether tables of any version, or none, are accepted, to migrate them.

    Raises:
        ConfigurationError: When there is no journal.
        SchemaVersionError: When its tables are of another version.
        DatabaseUnavailableError: When it cannot be reached.
    """
    _refuse_missing_file(url)
    async with open_database(url, namespace=namespace, patient=any_version) as database:
        found = await database.read(_version)
        if found is None and not any_version:
            raise ConfigurationError(_no_journal(database.where))
        if found not in (None, JOURNAL_SCHEMA.version) and not any_version:
            raise SchemaVersionError(
                "journal", found, JOURNAL_SCHEMA.version, database.where, namespace
            )
        yield Archive(database)


class Archive:
    """
    The journal for people: looking up, pruning, verifying.

    Args:
        database: An open database with the journal's tables.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def where(self) -> str:
        """Its address, in a form that may be shown to people."""
        return self._database.where

    @property
    def database(self) -> Database:
        """The database of the journal."""
        return self._database

    # Looking ---------------------------------------------------------------------------------

    async def find(
        self, chosen: EffectFilter | None = None, *, limit: int = 100, after: Place | None = None
    ) -> list[EffectSummary]:
        """
        The chosen effects, the last changed first.

        Args:
            chosen: Which effects; all by default.
            limit: The most effects.
            after: ``place`` of the last effect of the previous page.
        """
        wanted = chosen or EffectFilter()
        return await self._read(lambda tx: summaries.find(tx, wanted, limit=limit, after=after))

    async def get(self, name: str, *, scope_id: str = "") -> EffectDetail:
        """
        One effect by its replay key, its effect id, or the beginning of its hash.

        Args:
            name: The whole replay key, the whole effect id, or at least four digits of the hash.
            scope_id: The scope to search; all by default.

        Raises:
            EffectIdError: When no effect fits, or more than one; lists them.
        """
        found = await self._read(lambda tx: _named(tx, name, scope_id))
        return _present(found, name)

    async def get_exactly(self, identity: Identity) -> EffectDetail:
        """
        One effect by its primary key.

        Raises:
            EffectIdError: When there is none.
        """
        found = await self._read(lambda tx: summaries.load_detail(tx, identity))
        return _present(found, identity.replay_key)

    async def waiting(
        self, *, session_id: str = "", kinds: Sequence[str] = (), limit: int = 100
    ) -> tuple[list[Waiting], int]:
        """
        The effects that were handed out and wait for an answer, the nearest deadline first.

        Args:
            session_id: Only of this session; empty for all.
            kinds: Only of these kinds; empty for all.
            limit: The most effects.

        Returns:
            The first of them, and how many there are.
        """
        return await self._read(
            lambda tx: waiting(tx, session_id=session_id, kinds=kinds, limit=limit)
        )

    async def children(self, effect: EffectSummary, *, limit: int = 100) -> list[EffectSummary]:
        """The effects that an effect caused, the oldest first."""
        return await self._read(lambda tx: children_of(tx, effect, limit=limit))

    async def lineage(self, effect: EffectSummary, *, most: int = _MOST_OF_A_TREE) -> Lineage:
        """The tree of causes of an effect, from its root; at most so many effects of it."""
        return await self._read(lambda tx: lineage_of(tx, effect, most=most))

    async def since(self, news: News) -> list[EffectSummary]:
        """
        The changes since the last call.

        Args:
            news: Remembers what was returned. While it has ``more``, ask again at once.
        """
        page, dialect = await self._read(lambda tx: (news.page(tx), tx.dialect))
        return news.take(page, dialect)

    async def search(
        self,
        chosen: EffectFilter,
        *,
        limit: int,
        after: Place | None = None,
        tools: Collection[str] = (),
        models: Collection[str] = (),
    ) -> Found:
        """A page of effects with what is inside of them; see ``browsing.searching``."""
        return await self._read(
            lambda tx: search(tx, chosen, limit=limit, after=after, tools=tools, models=models)
        )

    async def progress(self, effects: Sequence[EffectSummary]) -> list[RecordedProgress | None]:
        """How far each was when it was told last; ``None`` for one that never told it."""
        if not effects or not await PROGRESS_SCHEMA.found(self._database):
            return [None] * len(effects)
        return await self._read(lambda tx: progress_of(tx, [each.identity for each in effects]))

    async def insides(self, effects: Sequence[EffectSummary]) -> list[Inside]:
        """Tool, model and tokens of each, as far as they are known."""
        return await self._read(lambda tx: insides(tx, effects))

    async def sessions(self, *, limit: int, after: Place | None = None) -> SessionsFound:
        """The sessions in which something changed last; see ``browsing.sessions``."""
        return await self._read(lambda tx: sessions(tx, limit=limit, after=after))

    async def session(self, session_id: str, *, limit: int) -> list[EffectSummary]:
        """The newest effects of a session, in the order in which they began."""
        return await self._read(lambda tx: newest_of(tx, session_id, limit=limit))

    async def activity(self, *, since_ms: int, bucket_ms: int) -> Activity:
        """What was settled since a moment, and what runs; see ``browsing.activity``."""
        return await self._read(lambda tx: activity(tx, since_ms=since_ms, bucket_ms=bucket_ms))

    async def newest_change(self) -> tuple[object, ...]:
        """Something that differs when an effect has changed since."""
        return await self._read(newest_change)

    async def stats(self) -> JournalStats:
        """The journal in numbers."""
        return await self._read(journal_stats)

    async def now_ms(self) -> int:
        """The database's wall clock, Unix milliseconds."""
        return await self._read(lambda tx: tx.now_ms())

    # Upkeep ----------------------------------------------------------------------------------

    @overload
    async def prune(
        self,
        *,
        older_than_s: float,
        keep_keys: bool = ...,
        parked: bool = ...,
        dry_run: bool = ...,
        batch: int = ...,
        on_progress: Callable[[int], None] | None = ...,
    ) -> PruneReport: ...
    @overload
    async def prune(
        self,
        older_than_ms: int,
        *,
        keep_keys: bool = ...,
        parked: bool = ...,
        dry_run: bool = ...,
        batch: int = ...,
        on_progress: Callable[[int], None] | None = ...,
    ) -> PruneReport: ...
    async def prune(
        self,
        older_than_ms: int | None = None,
        *,
        older_than_s: float | None = None,
        keep_keys: bool = True,
        parked: bool = False,
        dry_run: bool = False,
        batch: int = _PRUNE_BATCH,
        on_progress: Callable[[int], None] | None = None,
    ) -> PruneReport:
        """
        Prune finished effects that are old.

        With ``keep_keys`` an effect loses its envelope and outcome, and asking for it again is an
        error. Without, it is removed, and asking for it again runs it again. This takes several
        transactions: what was pruned before an error stays pruned.

        Args:
            older_than_s: The time since its last change, in seconds; 0 for every finished effect.
            older_than_ms: The same in milliseconds, as is a number without a name; deprecated.
            keep_keys: Whether to keep scope, replay key and hash.
            parked: Whether to prune parked effects whose dead letter is out as well.
            dry_run: Whether to change nothing and only report.
            batch: The number of effects in one transaction.
            on_progress: Called with the number of effects of each transaction.

        Raises:
            ConfigurationError: When that is no time, or a longer one than 100 years.
            TypeError: When no time is given, or two are.
        """
        age_ms = one_time("archive.prune", "older_than_s", older_than_s, older_than_ms)
        # What changed in this millisecond is 0 s old.
        before_ms = await self.now_ms() - age_ms + 1
        wanted = Pruning(before_ms, keep_keys=keep_keys, parked=parked)
        report = PruneReport(dry_run=dry_run)
        after: Place | None = _BEGINNING
        while after is not None:
            page = await self._old(before_ms, after, batch)
            after = page[-1].place if len(page) == batch else None
            chosen = [seen for seen in page if wanted.chooses(seen)]
            done = chosen if dry_run else await self._forget(chosen, keep_keys)
            report = _added(report, done, [seen for seen in page if seen.parked])
            if on_progress is not None and done:
                on_progress(len(done))
        if not dry_run:
            await SpendBook(self._database).forget_before(before_ms)
        return report

    def why_not_prune(self, effect: EffectDetail, *, keep_key: bool, parked: bool) -> str:
        """Why ``prune_one`` would refuse it, as a sentence; empty when it would not."""
        return why_not(effect, Pruning(effect.updated_ms + 1, keep_keys=keep_key, parked=parked))

    async def prune_one(
        self, effect: EffectDetail, *, keep_key: bool = True, parked: bool = False
    ) -> bool:
        """
        Prune one finished effect, whatever its age; see ``prune``.

        Args:
            effect: As it was read.
            keep_key: Whether to keep scope, replay key and hash.
            parked: Whether to prune it even if it is parked.

        Returns:
            Whether it was pruned; ``False`` when it has changed since it was read.

        Raises:
            ConfigurationError: When it is not one to prune; says why.
        """
        problem = self.why_not_prune(effect, keep_key=keep_key, parked=parked)
        if problem:
            raise ConfigurationError(f"this effect is not pruned: {problem}")
        return bool(await self._forget([candidate_of(effect)], keep_key))

    async def verify(
        self, *, on_progress: Callable[[int], None] | None = None
    ) -> AsyncIterator[Damage]:
        """
        Read everything, and return each inconsistency.

        Args:
            on_progress: Called with the number of effects that were checked.
        """
        after = Identity("", "")
        while True:
            count, last, found = await self._read(partial(_checked, after=after))
            for damage in found:
                yield damage
            if on_progress is not None:
                on_progress(count)
            if last is None:
                return
            after = last

    async def _old(self, before_ms: int, after: Place, limit: int) -> list[Candidate]:
        return await self._read(lambda tx: candidates(tx, before_ms, after, limit))

    async def _forget(self, chosen: list[Candidate], keep_keys: bool) -> list[Candidate]:
        if not chosen:
            return []
        clock = asyncio.get_running_loop().time
        began = clock()
        spent = not keep_keys and await SPEND_SCHEMA.found(self._database)
        told = await PROGRESS_SCHEMA.found(self._database)

        def work(tx: Transaction) -> list[Candidate]:
            done = forget(tx, chosen, keep_keys=keep_keys)
            if told:
                forget_progress(tx, [(each.place.scope_id, each.place.replay_key) for each in done])
            if spent:
                places = [seen.place for seen in done]
                forget_effects(tx, [Identity(each.scope_id, each.replay_key) for each in places])
            return done

        pruned = await self._database.write(work)
        # The next transaction after a pause of equal length, because the workers wait for their
        # turn.
        await asyncio.sleep(clock() - began)
        return pruned

    def _read(self, work: Callable[[Transaction], T]) -> asyncio.Future[T]:
        return self._database.read(work)


def _named(tx: Transaction, name: str, scope_id: str) -> EffectDetail | None:
    return summaries.load_detail(tx, summaries.find_named(tx, name, scope_id).identity)


def _present(found: EffectDetail | None, name: str) -> EffectDetail:
    if found is None:
        raise EffectIdError(
            f"no effect has the replay key {name!r} in that scope; see what there is with: "
            "effectmq effects list"
        )
    return found


def _added(report: PruneReport, done: list[Candidate], parked: list[Candidate]) -> PruneReport:
    left = len(parked) - sum(seen.parked for seen in done)
    return replace(
        report,
        pruned=report.pruned + len(done),
        payload_bytes=report.payload_bytes + sum(seen.payload_bytes for seen in done),
        parked=report.parked + left,
    )


def _checked(tx: Transaction, after: Identity) -> tuple[int, Identity | None, list[Damage]]:
    """Check one batch; returns its size, where the next one begins, and the damages."""
    keys = tx.execute(
        "SELECT scope_id, replay_key FROM effectmq_effects WHERE namespace = ? "
        "AND (scope_id, replay_key) > (?, ?) ORDER BY scope_id, replay_key LIMIT ?",
        (tx.namespace, after.scope_id, after.replay_key, _VERIFY_BATCH),
    )
    identities = [Identity(text(scope_id), text(replay_key)) for scope_id, replay_key in keys]
    found: list[Damage] = []
    for identity in identities:
        # One at a time: each may have an envelope and an outcome of megabytes.
        try:
            effect = summaries.load_detail(tx, identity)
        except ColumnError as damaged:
            found.append(Damage(identity, damaged.problem))
            continue
        if effect is not None:
            found += problems_of(effect)
    return len(keys), identities[-1] if len(keys) == _VERIFY_BATCH else None, found


def _version(tx: Transaction) -> int | None:
    """The version of the journal's tables; ``None`` when there are none."""
    if not tx.execute(_TABLES[tx.dialect]):
        return None
    rows = tx.execute(
        "SELECT version FROM effectmq_schema WHERE component = ?", (JOURNAL_SCHEMA.component,)
    )
    return number(rows[0][0]) if rows else None


def _refuse_missing_file(url: str) -> None:
    # Opening a missing file makes it, and an empty journal would answer every question with
    # nothing.
    if url.partition(":")[0].lower() == "sqlite":
        from effectmq.broker.store.database.sqlite.adapter import is_missing, sqlite_path

        if is_missing(sqlite_path(url)):
            raise ConfigurationError(_no_journal(url))


def _no_journal(where: str) -> str:
    if memory_name(where) is not None:
        return (
            f"the journal {where} is in the memory of a worker's process and ends with it, so "
            "there is nothing to look at; give workers and this command a file or a database with "
            "--journal or EFFECTMQ_JOURNAL"
        )
    return (
        f"there is no journal at {where}; name the one that your workers use with --journal or "
        "EFFECTMQ_JOURNAL. A worker makes it when it first starts"
    )
