"""A person answers on a page, end to end: from the form to the outcome."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.front_door.dashboard.conftest import Reader
from tests.front_door.dashboard.stage import HOSTILE, Stage, asked

pytestmark = [pytest.mark.rabbitmq, pytest.mark.one_broker]


def test_what_waits_is_answered_and_refused(reader: Reader, stage: Stage) -> None:
    """A value of another type is refused beside the form; a question stays text."""
    hostile = f"How many? {HOSTILE}"
    stage.do(asked(stage.place, "asking", hostile, "And how many more?"))
    page = reader.open("/answers")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    first = rows.filter(has_text="How many? <script>")
    first.get_by_role("button", name="answer…").click()
    dialog = page.locator("dialog")
    expect(dialog.get_by_label("the value, as JSON")).to_have_value("0")
    assert reader.barriers() == []
    reader.expected = ("422",)
    dialog.get_by_label("the value, as JSON").fill('"seven"')
    dialog.get_by_role("button", name="answer", exact=True).click()
    expect(dialog).to_contain_text("expected integer")
    dialog.get_by_label("the value, as JSON").fill("7")
    dialog.get_by_role("button", name="answer", exact=True).click()
    expect(dialog).to_have_count(0)
    expect(rows).to_have_count(1)
    rows.get_by_role("button", name="answer…").click()
    dialog.get_by_role("button", name="refuse").click()
    expect(dialog).to_contain_text("Give the reason")
    dialog.get_by_label("or the reason why it is refused").fill("none are left")
    dialog.get_by_role("button", name="refuse").click()
    expect(dialog).to_have_count(0)
    expect(page.locator("#page")).to_contain_text("Nothing waits for a person")
    assert page.title() != "owned"
    found = reader.open("/effects?session=asking")
    expect(found.locator("tbody tr", has_text="completed")).to_have_count(1)
    expect(found.locator("tbody tr", has_text="failed")).to_have_count(1)
