"""Schedules on workers: any number of them, one outcome for each time."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from pathlib import Path

import pytest

from effectmq.broker.metrics.instruments import Histogram
from effectmq.broker.schedules.effects import made_schedule, schedule_envelope
from effectmq.broker.store.database import open_database
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.schedules import table as tables
from effectmq.broker.store.schedules.rows import ScheduleRow
from effectmq.broker.store.schedules.table import ScheduleTable
from effectmq.broker.timetable.missed import Firing
from effectmq.broker.timetable.schedule import Schedule, timing_of
from effectmq.broker.timetable.timing import Every
from effectmq.consumers.schedules import scheduler as schedulers
from effectmq.consumers.schedules.scheduler import Scheduler
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError, MissingExtraError
from tests.consumers.stage import NAMES, PATIENCE_S, Stage, logged
from tests.waiting import eventually

HOUR = 3_600_000


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal of this test's own."""
    return f"sqlite:///{tmp_path}/journal.db"


class Bench:
    """Schedules in a database, and as many schedulers as a test likes."""

    def __init__(self, stage: Stage, url: str) -> None:
        self.stage = stage
        self.database = open_database(url, namespace="t")
        self.table = ScheduleTable(self.database)
        self.counters: Counter[str] = Counter()
        self.late = Histogram()

    async def scheduler(self, *declared: Schedule) -> Scheduler:
        """One more, on a connection of its own; it does not run by itself."""
        transport = await self.stage.transport()
        made = Scheduler(
            self.database, transport, NAMES.work_exchange, declared, self.counters, self.late
        )
        await made._begin()
        return made

    async def due(self, name: str, by_ms: int) -> ScheduleRow:
        """Move the next time of a schedule so far into the past."""
        row = await self.table.row(name)
        assert row is not None
        _, now_ms = await self.table.soonest()
        firing = Firing((), 0, now_ms - now_ms % HOUR - by_ms)
        assert await self.table.advance(row, firing, now_ms)
        found = await self.table.row(name)
        assert found is not None
        return found


@pytest.fixture
async def bench(stage: Stage, url: str) -> Bench:
    """With a work queue, and nobody who takes from it."""
    app = stage.worker()
    app.tool(work)
    await app.start()
    await app.stop()
    bench = Bench(stage, url)
    stage._stack.push_async_exit(bench.database)
    await bench.database.__aenter__()
    return bench


def work(n: int = 0) -> int:
    """A tool."""
    return n


def hourly(name: str = "hourly", missed: str = "all") -> Schedule:
    """A schedule of that tool."""
    return made_schedule(name, Every(HOUR), tool="work", missed=missed)  # type: ignore[arg-type]


async def test_times_are_published_and_noted(bench: Bench) -> None:
    scheduler = await bench.scheduler(hourly())
    assert 0 < await scheduler.look() <= schedulers.LOOK_S
    row = await bench.due("hourly", 2 * HOUR)
    assert await scheduler.look() == 0
    assert bench.stage.ready(NAMES.work_queue("tool_call")) == 3
    after = await bench.table.row("hourly")
    assert after is not None
    assert (after.fired, after.next_ms) == (3, row.next_ms + 3 * HOUR)
    assert bench.counters["schedules_fired"] == bench.late.count == 3
    assert await scheduler.look() > 0


async def test_many_schedulers_publish_once(bench: Bench) -> None:
    """What one has claimed the others leave."""
    made = [await bench.scheduler(hourly()) for _ in range(5)]
    await bench.due("hourly", 0)
    await asyncio.gather(*(each.look() for each in made))
    assert bench.stage.ready(NAMES.work_queue("tool_call")) == 1


async def test_a_scheduler_that_dies_between_publish_and_note_leaves_one_effect(
    bench: Bench, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one publishes the same again, and a worker carries out one of the two."""
    monkeypatch.setattr(tables, "CLAIM_MS", 0)
    first, second = await bench.scheduler(hourly()), await bench.scheduler(hourly())
    row = await bench.due("hourly", 0)

    async def dies(*_: object) -> bool:
        raise asyncio.CancelledError

    monkeypatch.setattr(first._table, "advance", dies)
    with pytest.raises(asyncio.CancelledError):
        await first.look()
    await second.look()
    assert bench.stage.ready(NAMES.work_queue("tool_call")) == 2
    app = bench.stage.worker(journal=url)
    app.tool(work)
    await bench.stage.start(app)
    await bench.stage.idle(app, "tool_call")
    assert app.counters["completed"] == 1
    client = await bench.stage.client(journal=url)
    outcome = await client.execute(schedule_envelope(hourly(), row.next_ms), timeout=PATIENCE_S)
    assert outcome.type == "tool_call"
    assert app.counters["completed"] == 1


async def test_one_bad_schedule_does_not_stop_the_others(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A lane that nobody serves, or a row that this version cannot read."""
    lost = made_schedule("a-lost", Every(HOUR), tool="work", lane="nowhere")
    scheduler = await bench.scheduler(lost, hourly("b-damaged"), hourly("c-good"))
    for name in ("a-lost", "b-damaged", "c-good"):
        await bench.due(name, 0)
    await bench.database.write(
        lambda tx: tx.execute(
            "UPDATE effectmq_schedules SET missed_policy = 'perhaps' WHERE name = ?",
            ("b-damaged",),
        )
    )
    await scheduler.look()
    assert bench.stage.ready(NAMES.work_queue("tool_call")) == 1
    rows = {row.name: row for row in await bench.table.rows()}
    assert "no queue" in rows["a-lost"].problem or "nowhere" in rows["a-lost"].problem
    assert "'skip', 'one' or 'all'" in rows["b-damaged"].problem
    assert rows["c-good"].problem == ""
    assert len(logged(caplog, "schedule_failed")) == bench.counters["schedules_failed"] == 2
    assert await scheduler.look() > 0


async def test_what_one_worker_cannot_read_another_one_carries_out_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without the package for cron expressions says nothing of the schedule."""
    lacks, able = await bench.scheduler(hourly()), await bench.scheduler(hourly())
    await bench.due("hourly", 0)

    def unread(*_: object, **__: object) -> None:
        raise MissingExtraError("the cron expression", "schedules")

    with monkeypatch.context() as missing:
        missing.setattr(schedulers, "firing_at", unread)
        assert await lacks.look() == 0
        assert bench.stage.ready(NAMES.work_queue("tool_call")) == 0
        assert await lacks.look() == schedulers.LOOK_S
    (row,) = await bench.table.rows()
    assert "schedules" in row.problem
    await able.look()
    assert bench.stage.ready(NAMES.work_queue("tool_call")) == 1
    (row,) = await bench.table.rows()
    assert (row.fired, row.problem) == (1, "")


async def test_what_is_left_to_others_is_bounded_and_no_loop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker cannot remember it keeps claimed, so that it rests as well."""
    monkeypatch.setattr(schedulers, "_MOST_UNREAD", 2)
    scheduler = await bench.scheduler(*(hourly(f"s{number}") for number in range(5)))
    for number in range(5):
        await bench.due(f"s{number}", 0)
    await bench.database.write(
        lambda tx: tx.execute("UPDATE effectmq_schedules SET missed_policy = 'perhaps'")
    )
    assert await scheduler.look() == 0
    assert len(scheduler._left_to_others()) == 2
    assert await scheduler.look() > 0
    assert bench.counters["schedules_failed"] == 5


async def test_what_is_left_to_others_is_looked_at_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedulers, "_AGAIN_MS", -1)
    scheduler = await bench.scheduler()
    assert scheduler._leave_to_others("s")
    assert scheduler._left_to_others() == ()


async def test_an_operator_who_removes_it_meanwhile_is_not_overruled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = await bench.scheduler(hourly())
    await bench.due("hourly", 0)
    publish = scheduler._publish

    async def removed(*told: object) -> None:
        await publish(*told)  # type: ignore[arg-type]
        await bench.table.remove("hourly")

    monkeypatch.setattr(scheduler, "_publish", removed)
    await scheduler.look()
    assert await bench.table.rows() == []
    assert bench.counters["schedules_fired"] == 0


async def test_a_program_has_schedules(stage: Stage, url: str) -> None:
    """A tool is named or given; a second worker of the program makes no more schedules."""

    def made() -> EffectWorker:
        app = stage.worker(journal=url)
        app.tool(work)
        app.schedule("a", work, every_s=1, args={"n": 7})
        app.schedule("b", "work", cron="30 2 * * *", zone="Europe/Berlin", missed="skip")
        app.schedule("c", kind="sleep", args={"duration_ms": 1}, every_s=3_600)
        return app

    first, second = await stage.start(made()), await stage.start(made())
    workers = (first, second)
    await eventually(lambda: sum(app.counters["schedules_fired"] for app in workers) >= 2)
    await eventually(lambda: sum(app.counters["recorded"] for app in workers) >= 2)
    async with open_database(url, namespace="t") as database:
        rows = await ScheduleTable(database).rows()
    assert [row.name for row in rows] == ["a", "b", "c"]
    async with open_archive(url, namespace="t") as archive:
        stats = await archive.stats()
    assert stats.counts[("tool_call", "completed")] >= 2
    assert stats.parked == {}


async def test_without_a_journal_they_are_not_carried_out_which_is_said(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    app = stage.worker()
    app.tool(work)
    app.schedule("a", work, every_s=1)
    with caplog.at_level(logging.WARNING):
        await stage.start(app)
    (said,) = logged(caplog, "schedules_not_kept")
    assert "no journal" in said.getMessage()


async def test_what_cannot_be_a_schedule_is_refused_where_it_is_written(stage: Stage) -> None:
    app = stage.worker()
    app.tool(work)
    app.schedule("a", work, every_s=1)
    with pytest.raises(ConfigurationError, match="there is a schedule 'a' already"):
        app.schedule("a", work, every_s=1)
    with pytest.raises(ConfigurationError, match="expected one of the two"):
        app.schedule("b", work)
    with pytest.raises(ConfigurationError, match="expected one of the two"):
        app.schedule("b", work, every_s=1, cron="* * * * *")
    with pytest.raises(ConfigurationError, match="expected one of the two"):
        timing_of(None, "Europe/Berlin", 1_000)
    await stage.start(app)
    with pytest.raises(ConfigurationError, match="runs already"):
        app.schedule("b", work, every_s=1)
