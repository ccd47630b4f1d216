"""Schedules in a database: kept, claimed by one, advanced once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from effectmq.broker.schedules.effects import made_schedule
from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Database
from effectmq.broker.store.schedules import table as tables
from effectmq.broker.store.schedules.table import ScheduleTable
from effectmq.broker.timetable.missed import Firing, firing_at
from effectmq.broker.timetable.schedule import Schedule
from effectmq.broker.timetable.timing import Cron, Every
from effectmq.protocol.errors import ConfigurationError

HOUR = 3_600_000


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty one, of each kind."""
    async with open_database(database_url, namespace="t") as opened:
        yield opened


@pytest.fixture
async def table(database: Database) -> ScheduleTable:
    """With its table made."""
    table = ScheduleTable(database)
    await table.ensure()
    return table


def schedule(name: str = "s", every_ms: int = HOUR, amount: int = 1) -> Schedule:
    """A schedule of a tool."""
    return made_schedule(name, Every(every_ms), tool="work", args={"n": amount})


async def due(table: ScheduleTable, name: str = "s", by_ms: int = 1) -> None:
    """Move its next time into the past."""
    row = await table.row(name)
    assert row is not None
    _, now_ms = await table.soonest()
    assert await table.advance(row, Firing((), 0, now_ms - by_ms), now_ms)


async def test_what_a_clock_that_was_ahead_has_put_off_comes_back(table: ScheduleTable) -> None:
    """An interval, and a cron expression that has fired in what is the future again."""
    await table.put(schedule("every"), "code")
    await table.put(made_schedule("cron", Cron("30 * * * *", "UTC"), tool="work"), "code")
    assert await table.bring_back() == []
    _, now_ms = await table.soonest()
    before = {row.name: row.next_ms for row in await table.rows()}
    for row in await table.rows():
        ahead = Firing((now_ms + 99 * HOUR,), 0, row.next_ms + 100 * HOUR)
        assert await table.advance(row, ahead, now_ms)
    assert await table.bring_back() == ["cron", "every"]
    # Another hour may have begun meanwhile.
    for row in await table.rows():
        assert row.next_ms in (before[row.name], before[row.name] + HOUR)
    assert await table.bring_back() == []


async def test_a_schedule_is_kept_as_it_was_made(table: ScheduleTable) -> None:
    made = made_schedule("s", Cron("30 2 * * *", "Europe/Berlin"), tool="work", lane="gpu")
    row = await table.put(made, "code")
    assert row.schedule == made
    assert (row.origin, row.paused, row.fired, row.missed) == ("code", 0, 0, 0)
    assert [each.name for each in await table.rows()] == ["s"]
    soonest_ms, now_ms = await table.soonest()
    assert soonest_ms == row.next_ms > now_ms


async def test_the_same_put_again_changes_nothing(table: ScheduleTable) -> None:
    """Every worker does it at its start; another content changes it, and keeps the next time."""
    first = await table.put(schedule(), "code")
    assert await table.put(schedule(), "code") == first
    changed = await table.put(schedule(amount=2), "code")
    assert changed.next_ms == first.next_ms
    assert changed.schedule == schedule(amount=2)


async def test_many_at_once_make_one(table: ScheduleTable) -> None:
    rows = await asyncio.gather(*(table.put(schedule(), "code") for _ in range(8)))
    assert len({(row.next_ms, row.created_ms) for row in rows}) == 1
    assert len(await table.rows()) == 1


async def test_one_of_many_claims_what_is_due(table: ScheduleTable) -> None:
    await table.put(schedule(), "code")
    assert (await table.claim(10))[0] == []
    await due(table)
    claims = await asyncio.gather(*(table.claim(10) for _ in range(8)))
    assert sorted(len(rows) for rows, _ in claims) == [0] * 7 + [1]
    soonest_ms, now_ms = await table.soonest()
    assert soonest_ms is not None
    assert soonest_ms > now_ms


async def test_a_claim_that_ends_is_taken_over(
    table: ScheduleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scheduler died; of two that publish the same, one notes it."""
    monkeypatch.setattr(tables, "CLAIM_MS", 0)
    await table.put(schedule(), "code")
    await due(table)
    (first,), now_ms = await table.claim(10)
    (second,), _ = await table.claim(10)
    assert first.next_ms == second.next_ms
    firing = firing_at(Every(HOUR), "one", next_ms=first.next_ms, now_ms=now_ms)
    assert firing is not None
    assert await table.advance(second, firing, now_ms)
    assert not await table.advance(first, firing, now_ms)
    row = await table.row("s")
    assert row is not None
    assert (row.fired, row.last_ms, row.next_ms) == (1, firing.times_ms[-1], firing.next_ms)


async def test_a_pause_is_not_carried_out_later(table: ScheduleTable) -> None:
    await table.put(schedule(), "code")
    await due(table, by_ms=5 * HOUR)
    paused = await table.pause("s")
    assert paused is not None
    assert paused.paused
    assert (await table.claim(10))[0] == []
    assert (await table.soonest())[0] is None
    resumed = await table.resume("s")
    assert resumed is not None
    assert resumed.next_ms > resumed.updated_ms
    assert (await table.claim(10))[0] == []
    # A program that starts again does not end somebody's pause.
    await table.pause("s")
    assert (await table.put(schedule(amount=2), "code")).paused


async def test_what_could_not_be_published_says_why(table: ScheduleTable) -> None:
    await table.put(schedule(), "code")
    await due(table)
    (row,), _ = await table.claim(10)
    await table.note_problem(row, "no queue\x1b takes it", HOUR)
    (again,) = await table.rows()
    assert again.problem == "no queue\\x1b takes it"
    assert (await table.claim(10))[0] == []


@pytest.mark.parametrize(
    ("command", "shown"), [('{"call":{}}', {"call": {}}), ("[1]", [1]), ("{damaged", "{damaged")]
)
async def test_a_row_of_any_content_can_be_looked_at(
    table: ScheduleTable, database: Database, command: str, shown: object
) -> None:
    """One that is damaged must not hide all others."""
    await table.put(schedule(), "code")
    change = "UPDATE effectmq_schedules SET command_json = ?"
    await database.write(lambda tx: tx.execute(change, (command,)))
    (row,) = await table.rows()
    facts = row.facts()
    assert (facts["what"], facts["command"]) == ("tool_call", shown)


async def test_members_that_nobody_knows_are_no_tool(table: ScheduleTable) -> None:
    members = {"duration_ms": 1, "call": {}}
    await table.put(made_schedule("s", Every(HOUR), kind="sleep", args=members), "operator")
    (row,) = await table.rows()
    assert row.what == "sleep"


async def test_some_can_be_left_to_others(table: ScheduleTable) -> None:
    for name in ("a", "b"):
        await table.put(schedule(name), "code")
        await due(table, name)
    assert [row.name for row in (await table.claim(10, ["a"]))[0]] == ["b"]
    soonest_ms, now_ms = await table.soonest(["b"])
    assert soonest_ms is not None
    assert soonest_ms <= now_ms
    assert (await table.soonest(["a", "b"]))[0] is None


async def test_it_is_removed_once(table: ScheduleTable) -> None:
    await table.put(schedule(), "code")
    assert [await table.remove("s"), await table.remove("s")] == [True, False]
    assert await table.row("s") is None
    assert await table.pause("s") is None
    assert (await table.soonest())[0] is None


async def test_their_number_is_bounded(
    table: ScheduleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MOST_SCHEDULES", 2)
    await table.put(schedule("a"), "code")
    await table.put(schedule("b"), "code")
    with pytest.raises(ConfigurationError, match="has 2 schedules already"):
        await table.put(schedule("c"), "code")
    await table.put(schedule("b", amount=3), "code")


async def test_namespaces_do_not_see_each_other(database_url: str) -> None:
    async with (
        open_database(database_url, namespace="one") as one,
        open_database(database_url, namespace="two") as two,
    ):
        mine, theirs = ScheduleTable(one), ScheduleTable(two)
        await mine.ensure()
        await theirs.ensure()
        await mine.put(schedule(), "code")
        assert await theirs.rows() == []
        assert not await theirs.remove("s")
