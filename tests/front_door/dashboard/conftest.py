"""
One browser for all, and one dashboard over a real RabbitMQ.

Playwright's loop counts as running in this thread as long as it is open, so that no test of this
package may be a coroutine, and nothing outlives the package.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.brokers.provide import Broker
from tests.brokers.sweep import sweep
from tests.browsers.finding import chromium
from tests.databases.fixtures import have
from tests.front_door.dashboard.stage import HOSTILE, LONG, WRONG, Stage, a_turn, place_at, staged

#: In milliseconds; what is not there by then does not come.
PATIENCE_MS = 30_000


@pytest.fixture(scope="package")
def browser(pytestconfig: pytest.Config) -> Generator[Browser]:
    program = have(pytestconfig, chromium)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            # As root it has no sandbox of its own.
            executable_path=program,
            args=["--no-sandbox"],
        )
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def stage(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    """A dashboard over a namespace in which something has happened."""
    namespace = f"t-{secrets.token_hex(3)}"
    place = place_at(broker.url, namespace, tmp_path_factory.mktemp("dashboard"))
    with staged(place) as opened:
        opened.do(a_turn(place, "session-1"))
        opened.do(a_turn(place, HOSTILE, HOSTILE))
        opened.park("hostile", f"{WRONG} {HOSTILE}", f"{WRONG} {LONG}")
        yield opened
    sweep(broker.url, namespace)


class Reader:
    """
    Somebody who looks at pages; whatever a page logs as an error fails the test.

    Attributes:
        page: The page.
        problems: What the browser complained of.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        #: Requests that failed on purpose, by a piece of the complaint.
        self.expected: tuple[str, ...] = ()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(message.text)

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.url}{path}")
        self.seen()
        return self.page

    def seen(self) -> None:
        """Wait until the page has shown what there is."""
        # Not by wait_for_function: it evaluates text, which the policy of the pages forbids.
        expect(self.page.locator("body[data-live=yes]")).to_have_count(1)

    def complaints(self) -> list[str]:
        return [
            problem
            for problem in self.problems
            if not any(expected in problem for expected in self.expected)
        ]

    def barriers(self, *rules: str) -> list[str]:
        """What axe finds that keeps people out; by all of its rules, or by these."""
        options = {"runOnly": list(rules)} if rules else None
        found = Axe().run(self.page, options=options).response["violations"]
        return [
            f"{each['id']}: {each['nodes'][0]['html'][:200]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]


@pytest.fixture
def reader(browser: Browser, stage: Stage) -> Generator[Reader]:
    """Somebody at the shared dashboard."""
    # A colour that is on its way to another one has another contrast.
    context = browser.new_context(viewport={"width": 1360, "height": 800}, reduced_motion="reduce")
    person = Reader(context.new_page(), stage.url)
    yield person
    complaints = person.complaints()
    context.close()
    assert not complaints


@pytest.fixture
def own_stage(broker: Broker, tmp_path: Path) -> Generator[Stage]:
    """A dashboard of this test alone."""
    namespace = f"t-{secrets.token_hex(3)}"
    with staged(place_at(broker.url, namespace, tmp_path)) as opened:
        yield opened
    sweep(broker.url, namespace)
