"""Every choice of effects is a stretch of an index: it reads about as much as it gives."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from itertools import combinations
from typing import Any

import pytest

from benchmarks.store import size
from benchmarks.store.size import rows
from effectmq.broker.store.database.sqlite.adapter import SqliteTransaction
from effectmq.broker.store.journal.archive import selecting
from effectmq.broker.store.journal.archive.selecting import (
    EffectFilter,
    Place,
    branches,
    page,
    statement,
)
from effectmq.broker.store.journal.archive.statistics import journal_stats
from effectmq.broker.store.journal.archive.summaries import find, find_named
from effectmq.broker.store.journal.tables import JOURNAL_SCHEMA

COUNT = 20_000
#: Far below what reading every row takes.
STEPS = 6 * COUNT

#: Each filter of the command line, with a value that many effects have, and one that none has.
CHOICES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "kind": ({"kinds": ("tool_call",)}, {"kinds": ("nonsense",)}),
    "status": ({"statuses": ("completed",)}, {"statuses": ("cancelled",)}),
    "parked": ({"park_reasons": ("rejected", "exhausted")}, {"park_reasons": ("tampered",)}),
    "scope": ({"scope_id": "chat-3:turn-3"}, {"scope_id": "none"}),
    "session": ({"session_id": "chat-3"}, {"session_id": "none"}),
    "turn": ({"turn_id": "chat-3:turn-3"}, {"turn_id": "none"}),
    "effect_id": ({"effect_id": "3:call-7"}, {"effect_id": "none"}),
    "key": ({"key_prefix": "chat-"}, {"key_prefix": "none"}),
    "worker": ({"worker": "host-0:0"}, {"worker": "none"}),
    "cause": ({"caused_by": '{"n":7}'}, {"caused_by": "none"}),
    "since": ({"since_ms": 1_750_000_100_000}, {"since_ms": 2_000_000_000_000}),
    "until": ({"until_ms": 1_750_000_100_000}, {"until_ms": 1}),
}


class Counting:
    """A transaction that counts the steps of SQLite's machine, in hundreds."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.inner = SqliteTransaction(connection)
        self.steps = 0
        connection.set_progress_handler(self._step, 100)

    def _step(self) -> int:
        self.steps += 100
        return 0


@pytest.fixture(scope="module")
def filled() -> Generator[sqlite3.Connection]:
    """A journal with many effects."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    tx = SqliteTransaction(connection)
    JOURNAL_SCHEMA.make(tx)
    marks = ", ".join("?" * len(_columns()))
    connection.executemany(
        f"INSERT INTO effectmq_effects ({', '.join(_columns())}) VALUES ({marks})", rows(COUNT)
    )
    yield connection
    connection.close()


def _columns() -> list[str]:
    return size._COLUMNS.split(", ")


@pytest.fixture(scope="module")
def everything() -> list[dict[str, Any]]:
    """The same effects, to be searched without a database."""
    return [dict(zip(_columns(), row, strict=True)) for row in rows(COUNT)]


def plan(connection: sqlite3.Connection, chosen: EffectFilter) -> list[str]:
    """What SQLite says how it goes about it."""
    tx = SqliteTransaction(connection)
    sql, parameters = statement(
        tx, "scope_id, updated_at_ms, replay_key", branches(tx, chosen), limit=9
    )
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


def _filters() -> list[tuple[str, EffectFilter]]:
    found: list[tuple[str, EffectFilter]] = [("nothing", EffectFilter())]
    for name, (many, none) in CHOICES.items():
        found += [(name, EffectFilter(**many)), (f"{name}, none", EffectFilter(**none))]
    for (one, (first, _)), (two, (second, _)) in combinations(CHOICES.items(), 2):
        found.append((f"{one} and {two}", EffectFilter(**first, **second)))
    return found


@pytest.mark.parametrize(("name", "chosen"), _filters())
def test_no_filter_reads_the_table(
    filled: sqlite3.Connection, name: str, chosen: EffectFilter
) -> None:
    """By its plan, and by the steps that the machine really takes."""
    lines = plan(filled, chosen)
    searches = [line for line in lines if "effectmq_effects" in line]
    assert searches
    for line in searches:
        assert line.startswith("SEARCH effectmq_effects USING ")
        # Nothing but the namespace is a stretch of its own in the order of time only, and among
        # what is in progress, which is little.
        in_time = "effectmq_effects_time" in line or "effectmq_effects_open" in line
        assert "(namespace=?)" not in line or in_time
    counting = Counting(filled)
    find(counting.inner, chosen, limit=20)
    filled.set_progress_handler(None, 0)
    assert counting.steps < STEPS, f"{name}: {lines}"


@pytest.mark.parametrize(("name", "chosen"), _filters())
def test_what_is_found_is_what_is_meant(
    filled: sqlite3.Connection,
    everything: list[dict[str, Any]],
    name: str,
    chosen: EffectFilter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Page by page, in both directions, each effect once; as a search of everything finds it."""
    meant = [
        (row["updated_at_ms"], row["scope_id"], row["replay_key"])
        for row in everything
        if _fits(row, chosen)
    ]
    tx = SqliteTransaction(filled)
    for few, tried in ((100, (1_000,)), (100, (5,)), (100_000, (1_000,))):
        # All ways to look for a key.
        monkeypatch.setattr(selecting, "_FEW", few)
        monkeypatch.setattr(selecting, "_TRIED", tried)
        for oldest_first in (True, False):
            expected = sorted(meant, reverse=not oldest_first)[:70]
            found: list[tuple[Any, ...]] = []
            after: Place | None = None
            for _ in range(7):
                given = page(
                    tx,
                    "updated_at_ms, scope_id, replay_key",
                    chosen,
                    limit=10,
                    after=after,
                    oldest_first=oldest_first,
                )
                found += given
                if len(given) < 10:
                    break
                after = Place(*given[-1])  # type: ignore[arg-type]
            assert found == expected, name


def _fits(row: dict[str, Any], chosen: EffectFilter) -> bool:
    return (
        (not chosen.kinds or row["kind"] in chosen.kinds)
        and (not chosen.statuses or row["status"] in chosen.statuses)
        and (not chosen.park_reasons or row["park_reason"] in chosen.park_reasons)
        and (not chosen.scope_id or row["scope_id"] == chosen.scope_id)
        and (not chosen.session_id or row["session_id"] == chosen.session_id)
        and (not chosen.turn_id or row["turn_id"] == chosen.turn_id)
        and (not chosen.effect_id or row["effect_id"] == chosen.effect_id)
        and row["replay_key"].startswith(chosen.key_prefix)
        and (not chosen.worker or row["lease_owner_id"] == chosen.worker)
        and (not chosen.caused_by or row["caused_by"] == chosen.caused_by)
        and (chosen.since_ms is None or row["updated_at_ms"] >= chosen.since_ms)
        and (chosen.until_ms is None or row["updated_at_ms"] < chosen.until_ms)
    )


@pytest.mark.parametrize("length", [7, 8, 9, 64])
def test_a_name_is_looked_up(filled: sqlite3.Connection, length: int) -> None:
    """By key, and by the beginning of its hash."""
    row = next(iter(rows(1)))
    for name in (str(row[2]), str(row[3])[:length]):
        counting = Counting(filled)
        assert find_named(counting.inner, name).hash == row[3]
        filled.set_progress_handler(None, 0)
        assert counting.steps < 2_000


def test_statistics_are_counted_as_they_come(filled: sqlite3.Connection) -> None:
    """Whatever is inserted, changed and deleted; and nothing of it is read."""
    tx = SqliteTransaction(filled)
    filled.execute("BEGIN")
    filled.execute("UPDATE effectmq_effects SET status = 'forgotten' WHERE effect_id = '3:call-7'")
    filled.execute("DELETE FROM effectmq_effects WHERE session_id = 'chat-4'")
    filled.execute("UPDATE effectmq_effects SET attempts = 7 WHERE session_id = 'chat-5'")
    counting = Counting(filled)
    stats = journal_stats(counting.inner)
    filled.set_progress_handler(None, 0)
    truth = tx.execute("SELECT kind, status, count(*) FROM effectmq_effects GROUP BY kind, status")
    filled.execute("ROLLBACK")
    assert stats.counts == {(kind, status): count for kind, status, count in truth}
    assert counting.steps < STEPS


@pytest.mark.parametrize(
    ("prefix", "inside", "outside"),
    [
        ("a", "a\U0010ffff", "b"),
        ("a\U0010ffff", "a\U0010ffff!", "b"),
        ("\U0010ffff", "\U0010ffffx", "z"),
        ("\ud7ff", "\ud7ffz", "\ue000"),
        ("A", "Ab", "ab"),
        ("%_", "%_x", "ab"),
    ],
)
def test_a_beginning_ends_where_it_should(prefix: str, inside: str, outside: str) -> None:
    """At the ends of what characters there are, too."""
    end = selecting._successor(prefix)
    encoded = inside.encode()
    assert prefix.encode() <= encoded
    assert not end or encoded < end.encode()
    assert outside.encode() < prefix.encode() or (end and outside.encode() >= end.encode())
