"""The page of conformance has every statement of the wire format, and its tests are there."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/conformance.md"

#: Section 10 of the wire format has so many.
STATEMENTS = 41

_ROW = re.compile(r"^\| (\d+) \| (.+?) \| (yes|in part|no) \| (.*?) \| (.*?) ?\|$", re.MULTILINE)
_TEST = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Row:
    """One statement of the page."""

    number: int
    holds: str
    tests: tuple[str, ...]
    remark: str


def rows(page: str) -> list[Row]:
    """Read the table."""
    return [
        Row(int(number), holds, tuple(_TEST.findall(tests)), remark)
        for number, _, holds, tests, remark in _ROW.findall(page)
    ]


@cache
def named_in(path: Path) -> frozenset[str]:
    """The tests of a module, as pytest names them inside it."""
    found = set[str]()
    for node in ast.parse(path.read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        start = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found.update(
            start + one.name
            for one in inside
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
            and one.name.startswith("test_")
        )
    return frozenset(found)


def missing(name: str) -> bool:
    """Whether a test ``path::name`` or ``path::Class::name`` does not exist."""
    path, _, inside = name.partition("::")
    return not (ROOT / path).is_file() or inside not in named_in(ROOT / path)


def test_every_statement_stands_once_in_its_order() -> None:
    """None is left out, and no row is written so that it is not read."""
    page = PAGE.read_text()
    assert [row.number for row in rows(page)] == list(range(1, STATEMENTS + 1))
    assert len(re.findall(r"^\| \d", page, re.MULTILINE)) == STATEMENTS


def test_what_holds_names_its_tests_and_what_does_not_its_reason() -> None:
    """What holds in part does both."""
    for row in rows(PAGE.read_text()):
        assert bool(row.tests) == (row.holds != "no"), row
        assert row.remark or row.holds == "yes", row


def test_every_test_that_is_named_exists() -> None:
    """A test that was renamed is renamed on the page, too."""
    named = [name for row in rows(PAGE.read_text()) for name in row.tests]
    assert [name for name in named if missing(name)] == []


def test_a_test_that_does_not_exist_is_found() -> None:
    here = "tests/conformance/test_statements.py"
    assert not missing(f"{here}::test_a_test_that_does_not_exist_is_found")
    assert not missing(
        "tests/conformance/test_journal.py::TestClaiming::test_the_first_claim_is_granted"
    )
    assert missing(f"{here}::test_nothing")
    assert missing(f"{here}::missing")
    assert missing("tests/conformance/test_nowhere.py::test_nothing")
