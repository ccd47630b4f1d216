"""Which failed tests are run once more, alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.again import MOST, failed_tests, main, worth_another_look

_FEW = [f"tests/test_{n}.py::test" for n in range(MOST)]


def test_the_names_are_those_that_pytest_kept(tmp_path: Path) -> None:
    kept = tmp_path / "lastfailed"
    assert failed_tests(kept) == []
    kept.write_text(json.dumps({"tests/b.py::t[2-a b]": True, "tests/a.py::t": True}))
    assert failed_tests(kept) == ["tests/a.py::t", "tests/b.py::t[2-a b]"]


@pytest.mark.parametrize(
    ("status", "names", "again"),
    [
        (1, _FEW, True),
        (1, [*_FEW, "tests/test_more.py::test"], False),
        (1, [], False),
        (2, _FEW, False),
        (3, _FEW, False),
    ],
    ids=["few", "many", "none", "interrupted", "broken"],
)
def test_only_a_few_failed_tests_are_run_again(status: int, names: list[str], again: bool) -> None:
    assert worth_another_look(status, names) is again


@pytest.mark.parametrize(("body", "status"), [("assert False", 1), ("pass", 0)])
def test_what_they_say_alone_is_what_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, status: int
) -> None:
    test = tmp_path / "test_it.py"
    test.write_text(f"def test_it() -> None:\n    {body}\n")
    kept = tmp_path / ".pytest_cache/v/cache/lastfailed"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps({"test_it.py::test_it": True}))
    monkeypatch.chdir(tmp_path)
    assert main(1) == status
