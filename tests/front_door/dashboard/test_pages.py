"""Each page in a real browser: it shows what is there, keeps nobody out, and runs nothing."""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.store import LimitDesk
from effectmq.broker.store.journal.archive.archive import Archive, open_archive
from tests.front_door.dashboard.conftest import Reader
from tests.front_door.dashboard.stage import HOSTILE, SPEAKING, UNSTEADY, Stage, a_turn, begun

pytestmark = [pytest.mark.rabbitmq, pytest.mark.one_broker]

PAGES = {
    "/": "tool_call",
    "/dead-letters": "rejected",
    "/effects": "gpt-4o-mini",
    "/answers": "Nothing waits",
    "/sessions": "session-1",
    "/session?id=session-1": "turn-1",
    "/schedules": "no schedules",
    "/workers": "test-worker",
    "/queues": "tool_call",
    "/limits": "No limit is set",
    "/spend": "gpt-4o-mini",
    "/topology": "exchange",
    "/audit": "",
}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_shows_what_is_there_and_keeps_nobody_out(reader: Reader, path: str) -> None:
    page = reader.open(path)
    expect(page.locator("#page")).to_contain_text(PAGES[path])
    assert reader.barriers() == []
    page.emulate_media(color_scheme="dark")
    assert reader.barriers("color-contrast") == []
    page.set_viewport_size({"width": 390, "height": 800})
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390, f"{path} is wider than a telephone: {width} px"


def limits_of(stage: Stage) -> AbstractAsyncContextManager[Archive]:
    """The journal of the stage."""
    namespace = stage.place.topology.namespace
    return open_archive(stage.place.journal or "", namespace=namespace)


def test_a_limit_is_shown_with_what_it_admits(reader: Reader, stage: Stage) -> None:
    async def begin() -> None:
        async with limits_of(stage) as archive:
            desk = LimitDesk(archive.database)
            await desk.ensure()
            await desk.set(Limit.of("llm_call", key="model", rate="60/m", breaker=3), "anna")

    async def end() -> None:
        async with limits_of(stage) as archive:
            await LimitDesk(archive.database).clear("llm_call:model")

    stage.do(begin())
    page = reader.open("/limits")
    expect(page.locator("tbody tr")).to_contain_text("60/m, shut for 30 s after 3 failures")
    expect(page.locator("#page")).to_contain_text("nothing waits for admission")
    assert reader.barriers() == []
    stage.do(end())
    expect(page.locator("#page")).to_contain_text("No limit is set")


def test_a_ceiling_is_set_changed_and_cleared(reader: Reader) -> None:
    page = reader.open("/spend?by=session")
    expect(page.get_by_role("link", name="session-1")).to_be_visible()
    page.get_by_role("button", name="set a ceiling…").click()
    dialog = page.locator("dialog")
    dialog.get_by_label("which one").fill("<b>acme</b>")
    dialog.get_by_label("US dollars").fill("0.10")
    assert reader.barriers() == []
    dialog.get_by_role("button", name="set it").click()
    expect(page.locator("#notes")).to_contain_text("The ceiling for tenant <b>acme</b> is set.")
    page.get_by_role("button", name="change the ceiling for tenant").click()
    dialog.get_by_label("US dollars").fill("2.50")
    dialog.get_by_label("when it is reached").select_option("wait")
    dialog.get_by_role("button", name="set it").click()
    expect(page.locator("tr", has_text="acme")).to_contain_text("$2.50")
    page.get_by_role("button", name="clear the ceiling for tenant").click()
    expect(page.locator("#page")).to_contain_text("There are no ceilings.")


def test_an_effect_is_found_and_opened(reader: Reader) -> None:
    page = reader.open("/effects?session=session-1")
    expect(page.locator("tbody tr")).to_have_count(4)
    page.get_by_role("textbox", name="tool").fill("add")
    page.get_by_role("textbox", name="tool").press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "tool=add" in page.url
    page.get_by_role("link", name="add tool_call").click()
    expect(page.get_by_role("heading", name="Time line")).to_be_visible()
    expect(page.locator("#page")).to_contain_text("ended at attempt 1")
    expect(page.locator(".tree").first).to_contain_text('tool_name: "add"')
    assert reader.barriers() == []


def test_an_effect_that_runs_is_cancelled(reader: Reader, stage: Stage) -> None:
    stage.do(begun(stage.place, "endless"))
    page = reader.open("/effects?session=endless")
    page.locator("tbody a").first.click()
    expect(page.locator("#page")).to_contain_text("attempt 1 runs on test-worker")
    page.get_by_role("button", name="cancel…").click()
    dialog = page.locator("dialog")
    dialog.get_by_label("the reason").fill("<i>wrong</i> account")
    assert reader.barriers() == []
    dialog.get_by_role("button", name="cancel the effect").click()
    expect(page.locator("#notes")).to_contain_text("it is cancelled")
    expect(page.locator("#page")).to_contain_text("was cancelled")
    expect(page.locator("#page")).to_contain_text("<i>wrong</i> account")
    expect(page.get_by_role("button", name="cancel…")).to_have_count(0)


def test_each_attempt_is_on_the_time_line(reader: Reader, stage: Stage) -> None:
    stage.park("unsteady", UNSTEADY)
    page = reader.open("/effects?session=unsteady")
    page.locator("tbody a").first.click()
    points = page.locator(".timeline li")
    expect(points).to_have_count(3)
    expect(points.nth(1)).to_contain_text("attempts 1 to 3, took")
    expect(points.nth(2)).to_contain_text("ended at attempt 3")
    page = reader.open("/effects?session=hostile")
    page.locator("tbody a").first.click()
    expect(page.locator(".timeline li").nth(1)).to_contain_text(": parked")
    assert reader.barriers() == []


def test_two_effects_are_compared(reader: Reader, stage: Stage) -> None:
    page = reader.open("/effects?session=session-1&tool=echo")
    page.get_by_role("link", name="echo tool_call").click()
    page.get_by_role("button", name="compare…").click()
    page.get_by_label("its replay key").fill("session-1:turn-1:0:0:tool_call:2:call-1")
    page.get_by_role("button", name="compare", exact=True).click()
    expect(page.locator("dialog .diff")).to_contain_text("command.call.tool_name")
    assert reader.barriers() == []


def test_a_session_is_a_waterfall(reader: Reader) -> None:
    page = reader.open("/session?id=session-1")
    bars = page.locator(".waterfall .effect")
    expect(bars).to_have_count(4)
    expect(page.locator("#page")).to_contain_text("1,234 tokens in")
    expect(page.locator("#page .head")).to_contain_text("$0.00022")
    model = page.get_by_role("link", name="gpt-4o-mini, llm_call, completed")
    expect(model).to_have_attribute("aria-label", re.compile(r"1,234 → 56 tok · \$0\.00022$"))
    expect(model.locator(".after")).to_contain_text("· $0.00022")
    expect(page.locator(".waterfall .turn .after")).to_have_text("1,234 → 56 tok · $0.00022")
    scale = page.locator(".waterfall .scale").all_text_contents()
    assert scale[0].startswith("0 ")
    assert len({each.split()[-1] for each in scale}) == 1, "one unit"
    steps = [float(each.split()[0].replace(",", "")) for each in scale]
    assert {round(after - before, 6) for before, after in pairwise(steps)} == {steps[1]}
    edge = page.locator(".waterfall").bounding_box()
    assert edge is not None
    for text in page.locator(".waterfall .after").all():
        box = text.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= edge["x"] + edge["width"], "nothing is cut"
    bars.first.click()
    expect(page.get_by_role("heading", name="Outcome")).to_be_visible()


def test_what_a_stranger_wrote_stays_text(reader: Reader) -> None:
    """Markup, marks that turn the line around, and a mebibyte."""
    page = reader.open("/dead-letters?session=hostile")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.locator("tbody tr", has_text="script").get_by_role("link").first.click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("<script>document.title='owned'</script>")
    expect(dialog).to_contain_text("\\u{202e}gnp.exe")
    assert reader.barriers() == []
    page.keyboard.press("Escape")
    page.locator("tbody tr").filter(has_not_text="script").get_by_role("link").first.click()
    more = page.get_by_role("button", name="show all")
    expect(more.first).to_contain_text("1,048,")
    assert len(dialog.text_content() or "") < 20_000
    count = more.count()
    more.first.click()
    expect(more).to_have_count(count - 1)
    assert len(dialog.text_content() or "") > 1024 * 1024
    page.goto(f"{reader.url}/session?id={quote(HOSTILE)}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("<script>")
    assert "owned" not in page.title()
    assert page.locator("#page script, #page img").count() == 0


def test_the_keyboard_serves(reader: Reader) -> None:
    page = reader.open("/")
    page.keyboard.press("g")
    page.keyboard.press("e")
    page.wait_for_url("**/effects")
    reader.seen()
    page.keyboard.press("j")
    page.keyboard.press("j")
    focused = page.evaluate("document.activeElement.closest('tr')?.rowIndex")
    assert focused in (1, 2)
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") == "search"


def test_a_theme_is_kept(reader: Reader) -> None:
    page = reader.open("/queues")
    page.get_by_role("button", name="theme: auto").click()
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    page.reload()
    expect(page.get_by_role("button", name="theme: dark")).to_be_visible()


def test_a_ping_goes_through_the_queues(reader: Reader) -> None:
    page = reader.open("/queues")
    page.get_by_role("button", name="ping all routes").click()
    row = page.locator("tr", has_text="answered").first
    expect(row).to_contain_text("test-worker")
    assert reader.barriers() == []


def test_a_page_that_is_not_there_says_so(reader: Reader) -> None:
    reader.expected = ("404",)
    page = reader.page
    page.goto(f"{reader.url}/nowhere")
    expect(page.get_by_role("heading")).to_have_text("There is no such page")
    assert reader.barriers() == []


def test_a_refresh_takes_nothing_out_of_ones_hands(reader: Reader, stage: Stage) -> None:
    """What has not changed is the same element afterwards, focus and all; what has is renewed."""
    page = reader.open("/")
    button = page.get_by_role("button", name="pause tool_call")
    button.focus()
    page.evaluate("window.held = document.activeElement")
    row = page.locator("tr[data-route=tool_call]")
    before = row.inner_text()
    stage.do(a_turn(stage.place, "while-one-looks"))
    expect(row).not_to_have_text(before, use_inner_text=True)
    assert page.evaluate("window.held === document.activeElement && window.held.isConnected")


def test_what_an_effect_streams_grows_on_its_page_and_on_that_of_its_session(
    reader: Reader, stage: Stage
) -> None:
    """As text, with one line to the server for each page, and none once it is cancelled."""
    stage.do(begun(stage.place, "speaking", SPEAKING))
    page = reader.open("/session?id=speaking")
    stream = page.get_by_role("region", name="stream")
    expect(stream).to_contain_text("onerror=alert(1)>\\u{202e}gnp.exe")
    assert len(stream.inner_text()) < 300
    assert reader.barriers() == []
    page.get_by_role("link", name="exec_code").last.click()
    expect(stream).to_contain_text("[…]")
    # Told before the page was opened, so out of the record.
    expect(page.get_by_role("progressbar", name="progress")).to_have_attribute("value", "0.25")
    expect(page.locator(".far")).to_contain_text("3 of 12 (25 %): ")
    expect(page.locator(".far")).to_contain_text("<img")
    before = len(stream.inner_text())
    expect(stream).to_have_text(re.compile(rf"[\s\S]{{{before + 100},}}"))
    assert reader.barriers() == []
    page.get_by_role("button", name="cancel…").click()
    page.get_by_role("textbox", name="reason").fill("it has said enough")
    page.get_by_role("button", name="cancel the effect").click()
    expect(page.locator("#page")).to_contain_text("was cancelled")
    expect(stream).to_be_hidden()
