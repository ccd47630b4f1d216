"""What the pages say of other pages and of files is there, and classes say what they are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import effectmq

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page for where in ("*.md", "docs/**/*.md", "examples/*.md") for page in ROOT.glob(where)
)
#: The changelog may name what was.
TIMELESS = [page for page in PAGES if page.name != "CHANGELOG.md"]

#: Read as they are: importing all of them would need every extra.
SOURCES = sorted(
    path
    for room in ("protocol", "broker", "consumers", "src/effectmq")
    for path in (ROOT / room).rglob("*.py")
)

SITE = ROOT / "mkdocs.yml"

_SHOWN = re.compile(r"^::: effectmq\.(\w+)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_PATH = re.compile(r"`((?:protocol|broker|consumers|tests|src|examples|benchmarks|docs)/[\w./-]+)`")


def links(page: Path) -> Iterator[str]:
    """Where the page points to, without code blocks and other hosts."""
    for target in _LINK.findall(_FENCE.sub("", page.read_text())):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_has_its_page_and_its_heading(page: Path) -> None:
    """A link that leads nowhere is worse than none."""
    for target in links(page):
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{target} leads nowhere"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{target}: no such heading"


@pytest.mark.parametrize("page", TIMELESS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_exists(page: Path) -> None:
    """A row of the guarantees names the test that shows it."""
    missing = [name for name in _PATH.findall(page.read_text()) if not (ROOT / name).exists()]
    assert missing == []


def test_every_page_stands_once_in_the_navigation_of_the_site() -> None:
    """A page that no menu has is not found."""
    listed = re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", SITE.read_text(), re.MULTILINE)
    pages = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")]
    here = [page for page in listed if (ROOT / "docs" / page).exists()]
    assert sorted(here) == sorted(pages), "give each page a line under nav: in mkdocs.yml"


def test_every_public_name_stands_once_in_the_reference() -> None:
    """The reference of the site is complete, and has one place for each name."""
    pages = sorted((ROOT / "docs/reference").glob("*.md"))
    shown = [name for page in pages for name in _SHOWN.findall(page.read_text())]
    assert sorted(shown) == sorted(effectmq.__all__), "give each name a line ::: in docs/reference"


def test_no_promise_stands_twice() -> None:
    """Two rows for one promise drift apart."""
    rows = [
        line.split(" | ")[0]
        for line in (ROOT / "docs/guarantees.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    assert sorted(rows) == sorted(set(rows))


def riddles(source: str) -> Iterator[str]:
    """The classes whose docstring does not begin with a sentence."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            first = (ast.get_docstring(node) or "A class without one.").partition("\n\n")[0]
            if not first.endswith(".") or first.startswith(("Args:", "Attributes:", "Raises:")):
                yield f"{node.name} begins with: {first}"


def test_every_class_begins_with_a_sentence_that_says_what_it_is() -> None:
    """Whoever meets a class wants to know that before its arguments."""
    found = {
        str(path.relative_to(ROOT)): named
        for path in SOURCES
        if (named := list(riddles(path.read_text())))
    }
    assert found == {}


def test_a_class_that_begins_with_its_arguments_is_found() -> None:
    assert list(riddles('class Bell:\n    """\n    Args:\n        rope: To pull.\n    """'))
    assert not list(riddles('class Bell:\n    """\n    A bell.\n\n    Args:\n    """'))
