"""Workers and routes are steered from the pages, end to end."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.front_door.dashboard.conftest import Reader
from tests.front_door.dashboard.stage import Stage, a_turn

pytestmark = [pytest.mark.rabbitmq, pytest.mark.one_broker]


def test_a_route_is_paused_and_resumed(reader: Reader, stage: Stage) -> None:
    page = reader.open("/")
    row = page.locator("tr[data-route=exec_code]")
    row.get_by_role("button", name="pause exec_code").click()
    dialog = page.locator("dialog")
    dialog.get_by_label("why, for the others").fill("<b>the sandbox</b> is full")
    assert reader.barriers() == []
    dialog.get_by_role("button", name="pause", exact=True).click()
    expect(page.locator("#notes")).to_contain_text("1 worker paused")
    expect(row).to_contain_text("paused")
    expect(page.locator(".needs")).to_contain_text("<b>the sandbox</b> is full")
    assert reader.barriers() == []
    row.get_by_role("button", name="resume exec_code").click()
    expect(row.get_by_role("button", name="pause exec_code")).to_be_visible()
    stage.do(a_turn(stage.place, "after-the-pause"))


def test_a_worker_is_paused_and_gets_another_concurrency(reader: Reader) -> None:
    page = reader.open("/workers")
    row = page.locator("tr[data-worker=test-worker]")
    expect(row).to_contain_text("ready")
    row.get_by_role("button", name="concurrency test-worker").click()
    dialog = page.locator("dialog")
    dialog.get_by_label("effects of a route that run at a time").fill("3")
    dialog.get_by_role("button", name="change").click()
    expect(row).to_contain_text("tool_call 0/3")
    row.get_by_role("button", name="pause test-worker").click()
    dialog.get_by_role("button", name="pause", exact=True).click()
    row.get_by_role("button", name="resume test-worker").click()
    expect(row.get_by_role("button", name="pause test-worker")).to_be_visible()
    expect(row).to_contain_text("ready")
    assert reader.barriers() == []


def test_a_worker_is_drained(reader: Reader, own_stage: Stage) -> None:
    reader.url = own_stage.url
    page = reader.open("/workers")
    row = page.locator("tr[data-worker=test-worker]")
    row.get_by_role("button", name="drain test-worker").click()
    page.locator("dialog").get_by_role("button", name="drain", exact=True).click()
    expect(page.locator("#notes")).to_contain_text("1 worker draining")
    expect(page.locator("#page")).not_to_contain_text("ready")
