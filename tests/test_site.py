"""The site: it builds without a warning, loads nothing from elsewhere, and can be read by all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: What a browser fetches by itself; other relations only tell of another page.
_FETCHED = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch"}
_ELSEWHERE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
#: A bar in the code of a table, which GitHub wants escaped and Python-Markdown does not.
_ESCAPES = re.compile(r"<td>(?:(?!</td>).)*?(<code>[^<]*\\\|[^<]*</code>)")
_IN_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)


class Page(HTMLParser):
    """What is wrong with one page, as sentences."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self._level = 0
        self.feed(text)
        if not self._level:
            self.wrong.append("has no heading")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._loads(tag, given)
        if tag == "img" and not given.get("alt"):
            self.wrong.append(f"shows {given.get('src')} without words for it")
        if "mermaid" in (given.get("class") or ""):
            self.wrong.append("has a mermaid block; its program is on another host, draw an SVG")
        if re.fullmatch("h[1-6]", tag):
            self._heading(int(tag[1]))

    def _loads(self, tag: str, given: dict[str, str | None]) -> None:
        fetched = tag != "link" or _FETCHED & set((given.get("rel") or "").split())
        names = ("href", "src") if tag == "link" else ("src", "srcset", "data", "poster")
        for name in names:
            value = given.get(name) or ""
            if fetched and _ELSEWHERE.match(value):
                self.wrong.append(f"loads {value}")

    def _heading(self, level: int) -> None:
        if level == 1 and self._level:
            self.wrong.append("has a second heading of the first level")
        if level > self._level + 1:
            self.wrong.append(f"goes from heading level {self._level} to {level}")
        self._level = level


def wrong_of(site: Path) -> Iterator[str]:
    """What is wrong with the pages and the styles of a built site."""
    for path in sorted(site.rglob("*.html")):
        text = path.read_text()
        for sentence in Page(text).wrong:
            yield f"{path.relative_to(site)} {sentence}"
        for code in _ESCAPES.findall(text):
            yield f"{path.relative_to(site)} shows the escape of a table in {code}"
    for path in sorted(site.rglob("*.css")):
        for address in _IN_STYLES.findall(path.read_text()):
            yield f"{path.relative_to(site)} loads {address}"


@pytest.mark.timeout(300)
def test_the_site_builds_and_each_page_keeps_the_rules(tmp_path: Path) -> None:
    """Strictly: a link, an anchor or a name of the reference that is not there is an error."""
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert list(wrong_of(tmp_path)) == []
    found = (tmp_path / "search" / "search_index.js").read_text()
    assert "reference/client.html#effectmq.Client.submit" in found


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ('<h1>A</h1><script src="https://cdn/x.js"></script>', "loads https://cdn/x.js"),
        ('<h1>A</h1><link rel="stylesheet" href="//cdn/x.css">', "loads //cdn/x.css"),
        ('<h1>A</h1><img src="a.svg">', "shows a.svg without words for it"),
        ("<h1>A</h1><h3>B</h3>", "goes from heading level 1 to 3"),
        ("<h1>A</h1><h1>B</h1>", "has a second heading of the first level"),
        ("<p>A</p>", "has no heading"),
    ],
)
def test_a_page_that_breaks_a_rule_is_found(page: str, sentence: str) -> None:
    assert Page(page).wrong == [sentence]


def test_a_link_for_people_to_another_host_is_none_of_them() -> None:
    page = '<link rel="canonical" href="https://x/"><h1>A</h1><a href="https://y/">y</a>'
    assert Page(page).wrong == []


def test_a_style_that_loads_from_another_host_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@import 'https://cdn/a.css'; p { src: url(//cdn/f.woff) }")
    assert list(wrong_of(tmp_path)) == ["a.css loads https://cdn/a.css", "a.css loads //cdn/f.woff"]
