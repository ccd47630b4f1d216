"""Schedules on their page: shown, paused, resumed and removed."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from effectmq.broker.place import Place
from effectmq.broker.schedules.effects import made_schedule
from effectmq.broker.store.database import open_database
from effectmq.broker.store.schedules.table import ScheduleTable
from effectmq.broker.timetable.timing import Cron
from tests.front_door.dashboard.conftest import Reader
from tests.front_door.dashboard.stage import HOSTILE, Stage

pytestmark = [pytest.mark.rabbitmq, pytest.mark.one_broker]


async def _made(place: Place) -> None:
    schedule = made_schedule(
        "nightly", Cron("30 2 * * *", "Europe/Berlin"), tool="report", args={"text": HOSTILE}
    )
    assert place.journal is not None
    async with open_database(place.journal, namespace=place.topology.namespace) as database:
        table = ScheduleTable(database)
        await table.ensure()
        row = await table.put(schedule, "code")
        await table.note_problem(row, HOSTILE, 60_000)


def test_a_schedule_is_paused_resumed_and_removed(reader: Reader, stage: Stage) -> None:
    stage.do(_made(stage.place))
    page = reader.open("/schedules")
    row = page.locator("tr[data-schedule=nightly]")
    expect(row).to_contain_text("30 2 * * *")
    expect(row).to_contain_text("Europe/Berlin")
    expect(row).to_contain_text("onerror=alert(1)")
    assert reader.barriers() == []
    row.get_by_role("button", name="pause nightly").click()
    expect(row).to_contain_text("paused")
    row.get_by_role("button", name="resume nightly").click()
    expect(row.get_by_role("button", name="pause nightly")).to_be_visible()
    row.get_by_role("button", name="remove nightly").click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("A program has it")
    assert reader.barriers() == []
    dialog.get_by_role("button", name="remove", exact=True).click()
    expect(page.locator("#notes")).to_contain_text("is removed")
    expect(page.locator("#page")).to_contain_text("There are no schedules")
