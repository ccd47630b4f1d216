"""Debouncing on every database: who holds a window, and what is recorded of those who do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

import pytest

from effectmq.broker.store.database.port import Row, Transaction, Value
from effectmq.broker.store.debounce import table as tables
from effectmq.broker.store.debounce.rules import Arrival, Debounced
from effectmq.broker.store.debounce.table import DebounceTable
from effectmq.broker.store.journal.archive.archive import Archive
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import InProgress, Recorded
from effectmq.protocol.errors import InvalidEnvelopeError
from tests.conformance.asking import effect, granted

_LONG_MS = 600_000


@pytest.fixture
async def journal(database_url: str) -> AsyncGenerator[Journal]:
    """An open, empty journal."""
    async with Journal(database_url, namespace="debounce") as opened:
        yield opened


@pytest.fixture
async def table(journal: Journal) -> DebounceTable:
    """The windows in it."""
    made = DebounceTable(journal)
    await made.ensure()
    return made


def arrival(name: str, asked_ms: int, *, wait_ms: int = _LONG_MS, **more: str) -> Arrival:
    """An effect of a name."""
    said = {"route": "tool_call", "tenant": "", "key": "k", **more}
    return Arrival(effect(name), said["route"], said["tenant"], said["key"], asked_ms, wait_ms, 0)


async def error_of(journal: Journal, name: str) -> str:
    """What is recorded of an effect that does not run."""
    found = await journal.look(effect(name).identity, effect(name).hash)
    assert isinstance(found, Recorded), found
    assert found.status == "cancelled"
    return found.error_json


async def test_a_later_one_takes_the_place_of_the_first(
    journal: Journal, table: DebounceTable
) -> None:
    first = await table.ask(arrival("a", 1_000))
    assert first.left_ms == _LONG_MS
    assert await table.ask(arrival("b", 2_000)) == Debounced(_LONG_MS, superseded=True)
    assert "effectmq_superseded" in await error_of(journal, "a")
    # It goes on to its record, and so does every copy of it.
    assert await table.ask(arrival("a", 1_000)) == Debounced()
    left_ms = (await table.ask(arrival("b", 2_000))).left_ms
    assert 0 < left_ms <= _LONG_MS


async def test_an_older_one_that_comes_late_is_recorded_with_all_that_is_known_of_it(
    journal: Journal, table: DebounceTable
) -> None:
    await table.ask(arrival("b", 2_000))
    assert await table.ask(arrival("a", 1_000)) == Debounced(superseded=True)
    assert "replay key 'b'" in await error_of(journal, "a")
    found = await Archive(journal.database).get_exactly(effect("a").identity)
    assert (found.kind, found.session_id, found.turn_id) == (
        "tool_call",
        "session",
        "turn",
    )


async def test_of_many_at_once_one_holds_the_window(journal: Journal, table: DebounceTable) -> None:
    """Of two workers, which share nothing but the database."""
    other = DebounceTable(journal)
    names = [f"{nth:02}" for nth in range(20)]
    answers = await asyncio.gather(
        *((table, other)[nth % 2].ask(arrival(name, 1_000 + nth)) for nth, name in enumerate(names))
    )
    assert sum(each.superseded for each in answers) == 19
    assert await journal.look(effect("19").identity) is None
    for name in names[:-1]:
        await error_of(journal, name)


async def test_windows_of_other_keys_routes_and_tenants_are_apart(table: DebounceTable) -> None:
    asked = [
        arrival("a", 1_000),
        arrival("b", 1_001, key="other"),
        arrival("c", 1_002, route="tool_call.lane"),
        arrival("d", 1_003, tenant="acme"),
    ]
    answers = await asyncio.gather(*map(table.ask, asked))
    assert answers == [Debounced(_LONG_MS)] * 4


async def test_what_has_begun_keeps_its_place(journal: Journal, table: DebounceTable) -> None:
    """Its window was over, and its worker has it."""
    assert await table.ask(arrival("a", 1_000, wait_ms=0)) == Debounced()
    await granted(journal, effect("a"))
    assert await table.ask(arrival("b", 2_000)) == Debounced(_LONG_MS)
    assert await table.ask(arrival("a", 1_000)) == Debounced()
    assert isinstance(await journal.look(effect("a").identity), InProgress)


async def test_what_was_over_and_never_begun_loses_its_place(
    journal: Journal, table: DebounceTable
) -> None:
    """Its worker died just then, and came back with it after another window was opened."""
    await table.ask(arrival("a", 1_000, wait_ms=0))
    await table.ask(arrival("b", 2_000))
    assert (await table.ask(arrival("a", 1_000))).superseded
    assert "replay key 'b'" in await error_of(journal, "a")


async def test_a_name_that_cannot_be_kept_fails_alone(table: DebounceTable) -> None:
    with pytest.raises(InvalidEnvelopeError, match="zero character"):
        await table.ask(arrival("a\x00", 1_000))
    assert await table.ask(arrival("b", 1_000)) == Debounced(_LONG_MS)


class _Forgets:
    """A transaction in whose middle somebody else forgets a window, once."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.left = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def execute_each(self, sql: str, rows: Sequence[Sequence[Value]]) -> Sequence[Sequence[Row]]:
        if self.left:
            self.left -= 1
            self._tx.execute("DELETE FROM effectmq_debounces")
        return self._tx.execute_each(sql, rows)


async def test_a_window_that_is_forgotten_at_that_moment_is_made_anew(
    journal: Journal, table: DebounceTable
) -> None:
    """An effect that comes then is decided as if it were the first, and is not refused."""
    await table.ask(arrival("a", 1))

    def later(tx: Transaction) -> list[Debounced]:
        return tables.carried_out(cast("Transaction", _Forgets(tx)), [arrival("b", 2)])

    (answer,) = await journal.database.write(later)
    assert answer.left_ms > 0
    assert not answer.superseded


async def test_windows_that_ended_long_ago_are_forgotten(
    table: DebounceTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    await table.ask(arrival("a", 1_000, wait_ms=0))
    await table.ask(arrival("b", 1_000, key="other"))
    assert await table.forget() == 0
    monkeypatch.setattr(tables, "KEPT_MS", -1)
    assert await table.forget() == 1
    # Nobody knows of it any more, so an older one opens another window.
    assert (await table.ask(arrival("older", 500, wait_ms=0))) == Debounced()
