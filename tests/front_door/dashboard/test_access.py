"""Who gets to see pages, what other sites can do with them, and what is said when all is away."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from effectmq.api.access.tokens import Tokens
from effectmq.broker.place import Place
from effectmq.dashboard.assets import folder, modules_of
from effectmq.dashboard.headers import POLICY
from tests.brokers.provide import Broker
from tests.brokers.proxy import ChaosProxy
from tests.front_door.dashboard.conftest import Reader
from tests.front_door.dashboard.stage import Stage, place_at, proxied, staged

ASSETS = Path(__file__).parents[3] / "src/effectmq/dashboard/assets"
READ, OPERATE = "read-token-0123456789", "operate-token-0123456789"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    """A dashboard that asks for tokens, over a broker in memory."""
    place = place_at("memory://guarded", "guarded", tmp_path_factory.mktemp("guarded"))
    tokens = Tokens.read(f"ann:read:{READ},olga:operate:{OPERATE}")
    with staged(place, tokens) as opened:
        opened.park("s", "wrong 1")
        yield opened


@pytest.fixture
def visitor(browser: Browser, guarded: Stage) -> Generator[Reader]:
    context = browser.new_context()
    yield Reader(context.new_page(), guarded.url)
    context.close()


def sign_in(visitor: Reader, token: str, path: str = "/") -> Page:
    page = visitor.page
    page.goto(f"{visitor.url}{path}")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="sign in").click()
    return page


def test_a_page_asks_for_a_token_and_comes_back_to_where_one_was(visitor: Reader) -> None:
    page = sign_in(visitor, "not-a-token-0123456789", "/dead-letters?reason=rejected")
    expect(page.get_by_role("alert")).to_contain_text("none of the tokens")
    assert visitor.barriers() == []
    page.get_by_label("Token").fill(OPERATE)
    page.get_by_role("button", name="sign in").click()
    page.wait_for_url("**/dead-letters?reason=rejected")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("button", name="purge…")).to_be_enabled()
    (cookie,) = page.context.cookies()
    assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")
    assert OPERATE not in cookie.get("value", "")
    page.get_by_role("button", name="sign out").click()
    page.wait_for_url("**/login")
    page.goto(f"{visitor.url}/effects")
    page.wait_for_url("**/login?next=%2Feffects")


def test_a_token_that_reads_is_offered_no_deed(visitor: Reader) -> None:
    page = sign_in(visitor, READ, "/dead-letters")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("#page")).to_contain_text("your token may look only")
    expect(page.get_by_role("button", name="purge…")).to_have_count(0)
    # And would be refused, were it tried.
    status = page.evaluate(
        "fetch('/api/v1/dead-letters/purge', {method: 'POST', body: '{}'}).then(a => a.status)"
    )
    assert status == 403


@pytest.mark.parametrize(
    "following",
    ["//evil.example/", "/.//evil.example/", "https://evil.example/", "javascript:1", "http://["],
)
def test_a_login_leads_nowhere_else(visitor: Reader, following: str) -> None:
    page = sign_in(visitor, READ, f"/login?next={following}")
    page.wait_for_url(lambda url: "/login" not in url)
    assert page.url.startswith(visitor.url)


def test_every_answer_says_what_may_run(guarded: Stage) -> None:
    with httpx.Client(base_url=guarded.url) as http:
        for path in ("/login", f"{folder()}/shell.js", "/nowhere", "/", "/api/v1/me"):
            headers = http.get(path).headers
            policy = headers["content-security-policy"]
            assert policy == POLICY or policy == "default-src 'none'", path
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ],
    ids=["origin", "null", "cross-site", "same-site", "silent"],
)
def test_another_site_cannot_use_a_session(guarded: Stage, headers: dict[str, str]) -> None:
    with httpx.Client(base_url=guarded.url) as http:
        assert http.post("/api/v1/session", json={"token": OPERATE}).status_code == 204
        body = {"choice": {"all": True}}
        answer = http.post("/api/v1/dead-letters/purge", json=body, headers=headers)
        assert answer.status_code == 403, answer.text
        seen = http.get("/api/v1/dead-letters", headers={"Sec-Fetch-Site": "same-origin"})
        assert seen.json()["total"] == 1


def test_another_name_for_this_machine_is_refused(guarded: Stage) -> None:
    """DNS rebinding: a page of another site asks under its own name."""
    answer = httpx.get(guarded.url, headers={"Host": "evil.example"})
    assert answer.status_code == 421


def test_nothing_of_a_page_comes_from_elsewhere_or_is_inline(guarded: Stage) -> None:
    with httpx.Client(base_url=guarded.url) as http:
        text = http.get("/login").text
    assert not re.search(r"<script(?![^>]*src=\"/assets/)|<style|\sstyle=|\son\w+=", text)
    for file in ASSETS.rglob("*"):
        if file.suffix in (".js", ".css"):
            source = file.read_text()
            assert not re.search(r"https?://(?!www\.w3\.org/)|@import|innerHTML|outerHTML", source)
            assert not re.search(
                r"insertAdjacentHTML|document\.write|\beval\(|new Function", source
            )


@pytest.mark.rabbitmq
@pytest.mark.one_broker
def test_files_are_kept_for_ever_and_a_page_names_all_that_it_needs(reader: Reader) -> None:
    """Nothing is asked for one after another, and nothing twice."""
    asked: list[str] = []
    reader.page.on("request", lambda request: asked.append(request.url))
    reader.open("/dead-letters")
    modules = {f"{reader.url}{folder()}/{name}" for name in modules_of("dead-letters")}
    assert {url for url in asked if url.endswith(".js") and "theme" not in url} == modules
    answer = httpx.get(f"{reader.url}{folder()}/shell.js")
    assert "immutable" in answer.headers["cache-control"]
    assert httpx.get(f"{reader.url}/assets/0000/shell.js").status_code == 404


#: One process for all of them, because starting one takes longer than reading a file.
_READ_ALL = """
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SourceTextModule } from "node:vm";
const folder = process.argv.at(-1);
const files = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".js"));
if (files.length < 20) throw new Error(`there are only ${files.length} modules in ${folder}`);
for (const name of files) {
  new SourceTextModule(readFileSync(join(folder, name), "utf8"), { identifier: name });
}
"""


def test_the_modules_are_javascript() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here to read them")
    done = subprocess.run(
        [node, "--experimental-vm-modules", "--input-type=module", "--eval", _READ_ALL, ASSETS],
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_the_server_that_is_away_is_told_and_comes_back(visitor: Reader) -> None:
    page = sign_in(visitor, READ, "/queues")
    visitor.seen()
    page.context.set_offline(True)
    expect(page.locator("#trouble")).to_contain_text("cannot be reached")
    expect(page.locator("#trouble")).to_contain_text("as of")
    assert visitor.barriers() == []
    page.context.set_offline(False)
    expect(page.locator("#trouble")).to_be_empty(timeout=20_000)
    visitor.seen()


@pytest.mark.rabbitmq
@pytest.mark.one_broker
def test_a_broker_that_is_away_is_told_and_comes_back(
    browser: Browser, broker: Broker, namespace: str, tmp_path: Path
) -> None:
    with (
        proxied(broker.url) as (url, tell),
        staged(place_at(url, namespace, tmp_path)) as stage,
    ):
        reader = Reader(browser.new_page(), stage.url)
        page = reader.open("/")
        tell(ChaosProxy.rst)
        expect(page.locator(".needs")).to_contain_text("the broker", timeout=20_000)
        assert reader.barriers() == []
        tell(ChaosProxy.pass_through)
        expect(page.locator(".needs")).to_contain_text("Nothing needs a person", timeout=40_000)
        page.close()


def test_without_a_journal_the_pages_say_what_is_missing(browser: Browser) -> None:
    place = Place.of({"broker": "memory://bare", "journal": "none"})
    with staged(place, works=False) as stage:
        page = browser.new_page()
        page.goto(f"{stage.url}/effects")
        expect(page.locator("#trouble")).to_contain_text("there is no journal")
        page.close()


def test_what_a_page_writes_keeps_every_digit(visitor: Reader) -> None:
    """The hash of an effect depends on how its numbers are written."""
    page = sign_in(visitor, READ, "/queues")
    visitor.seen()
    document = '{"a":12345678901234567890,"b":1.0,"c":[1e400,-0.0],"d":"1.0 \\" 2.0","e":0.1}'
    written = page.evaluate(
        "([text, folder]) => import(folder + '/lib/exact.js').then(m => m.write(m.parse(text)))",
        [document, folder()],
    )
    assert re.sub(r"\n\s*", "", written).replace('": ', '":') == document
    assert json.loads(written)["a"] == 12345678901234567890
