"""What is done with dead letters from the pages, end to end: from a click to the queue and back."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.front_door.dashboard.conftest import Reader
from tests.front_door.dashboard.stage import WRONG, Stage

pytestmark = [pytest.mark.rabbitmq, pytest.mark.one_broker]


def letters_of(reader: Reader, stage: Stage, session: str, *codes: str) -> Page:
    """The page with these dead letters and no others."""
    stage.park(session, *codes)
    page = reader.open(f"/dead-letters?session={session}")
    expect(page.locator("tbody tr")).to_have_count(len(codes))
    return page


def leave(page: Page) -> None:
    page.locator("dialog").get_by_role("button", name="close", exact=True).last.click()
    expect(page.locator("dialog")).to_have_count(0)


def test_facets_choose_and_the_address_says_so(reader: Reader, stage: Stage) -> None:
    page = letters_of(reader, stage, "facets", f"{WRONG} one", f"{WRONG} other thing")
    page.locator("[data-facet=error]", has_text="other thing").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("#meant")).to_have_text("the filter means 1")
    assert "error=" in page.url
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="clear the filter").click()
    page.get_by_label("piece of the error").fill("other thi")
    page.get_by_label("piece of the error").press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_letters_that_were_chosen_are_replayed(reader: Reader, stage: Stage) -> None:
    """They are parked again, since nothing was mended; the audit has who did it."""
    page = letters_of(reader, stage, "replays", *(f"{WRONG} {n}" for n in range(4)))
    page.get_by_role("checkbox", name="choose all letters of this page").check()
    expect(page.locator("#meant")).to_have_text("4 letters chosen")
    page.locator("tbody input").first.uncheck()
    expect(page.locator("#meant")).to_have_text("3 letters chosen")
    page.get_by_role("button", name="replay…").click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("3 letters that you chose")
    assert reader.barriers() == []
    dialog.get_by_role("button", name="look first").click()
    expect(dialog).to_contain_text("3 letters would be replayed")
    dialog.get_by_label("at most so many a second").fill("1000")
    dialog.get_by_role("button", name="replay", exact=True).click()
    expect(dialog).to_contain_text("3 letters replayed")
    leave(page)
    expect(page.locator("tbody tr")).to_have_count(4)
    reader.open("/audit")
    line = page.locator("tbody tr", has_text="replay").first
    expect(line).to_contain_text("3 done")
    assert reader.barriers() == []


def test_a_replay_that_goes_on_is_seen_and_stopped_by_somebody_else(
    reader: Reader, stage: Stage
) -> None:
    """It does not end with the page that began it."""
    page = letters_of(reader, stage, "slow", *(f"{WRONG} {n}" for n in range(5)))
    page.get_by_role("button", name="replay…").click()
    page.locator("dialog").get_by_label("at most so many a second").fill("0.1")
    page.locator("dialog").get_by_role("button", name="replay", exact=True).click()
    expect(page.locator("dialog progress")).to_be_visible()
    reader.open("/dead-letters?session=slow")
    row = page.locator(".banner", has_text="replay by")
    expect(row).to_contain_text("of 5")
    assert reader.barriers() == []
    row.get_by_role("button", name="stop").click()
    expect(row).to_have_count(0)
    expect(page.locator("tbody tr")).to_have_count(5)


def test_one_letter_is_edited_and_carried_out(reader: Reader, stage: Stage) -> None:
    page = letters_of(reader, stage, "edits", f"{WRONG} 40 + 2")
    page.locator("tbody a").first.click()
    page.locator("dialog").get_by_role("button", name="edit…").click()
    text = page.get_by_label("envelope", exact=True)
    document = text.input_value()
    text.fill(document.replace('"scope"', '"scope'))
    page.get_by_role("button", name="check and compare").click()
    expect(page.get_by_role("alert")).to_contain_text("This is no JSON document")
    text.fill(document.replace('"exec_code",', '"no_such_kind",'))
    page.get_by_role("button", name="check and compare").click()
    expect(page.get_by_role("alert")).to_contain_text("no_such_kind")
    text.fill(document.replace(f"{WRONG} 40 + 2", "40 + 2"))
    page.get_by_role("button", name="check and compare").click()
    expect(page.locator("dialog .diff .gone")).to_contain_text(f"{WRONG} 40 + 2")
    expect(page.locator("dialog .diff .new")).to_contain_text('"code": "40 + 2"')
    assert reader.barriers() == []
    page.get_by_role("button", name="send").click()
    expect(page.locator("#notes")).to_contain_text("was edited and replayed")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator("#page")).to_contain_text("No dead letter is like that.")
    reader.open("/effects?session=edits")
    expect(page.locator("tbody tr")).to_contain_text("completed")


def test_many_are_edited_by_a_patch(reader: Reader, stage: Stage) -> None:
    page = letters_of(reader, stage, "patches", f"{WRONG} 1", f"{WRONG} 2", f"{WRONG} 3")
    page.get_by_role("button", name="edit…").click()
    dialog = page.locator("dialog")
    text = dialog.get_by_label("JSON Patch")
    text.fill("[{]")
    dialog.get_by_role("button", name="look first").click()
    expect(page.get_by_role("alert")).to_contain_text("This is no JSON document")
    text.fill('[{"op": "replace", "path": "/command/nothing", "value": 1}]')
    dialog.get_by_role("button", name="look first").click()
    expect(dialog).to_contain_text("/command/nothing")
    text.fill('[{"op": "replace", "path": "/command/code", "value": "7 * 6"}]')
    dialog.get_by_role("button", name="look first").click()
    expect(dialog).to_contain_text("3 letters would be edited and replayed")
    expect(dialog.locator(".diff .new").first).to_contain_text("7 * 6")
    dialog.get_by_role("button", name="edit and replay").click()
    expect(dialog).to_contain_text("3 letters edited and replayed")
    leave(page)
    expect(page.locator("#page")).to_contain_text("No dead letter is like that.")


def test_a_purge_stands_behind_typing_the_count(reader: Reader, stage: Stage) -> None:
    reader.expected = ("409",)
    page = letters_of(reader, stage, "purges", f"{WRONG} 1", f"{WRONG} 2")
    page.get_by_role("button", name="purge…").click()
    dialog = page.locator("dialog")
    go = dialog.get_by_role("button", name="purge for ever")
    expect(go).to_be_disabled()
    dialog.get_by_label("Type 2 to go on").fill("3")
    expect(go).to_be_disabled()
    # Somebody else's letter came in meanwhile: another number, so nothing is purged.
    stage.park("purges", f"{WRONG} 1", f"{WRONG} 2", f"{WRONG} 3")
    dialog.get_by_label("Type 2 to go on").fill("2")
    go.click()
    expect(page.get_by_role("alert")).to_contain_text("3 dead letters are meant, and not 2")
    leave(page)
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_role("button", name="purge…").click()
    dialog.get_by_label("Type 3 to go on").fill("3")
    go.click()
    expect(dialog).to_contain_text("3 letters purged")
    leave(page)
    expect(page.locator("#page")).to_contain_text("No dead letter is like that.")
