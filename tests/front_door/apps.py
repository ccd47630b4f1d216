"""Modules with workers, written for one test and forgotten after it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

__all__ = ["write_module"]

_numbers = itertools.count(1)


@pytest.fixture
def write_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[Callable[[str], str]]:
    """Write a module into the current folder, which is the test's own; gives its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != ""])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written: list[str] = []

    def write(source: str) -> str:
        name = f"app_of_test_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(source)
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)
