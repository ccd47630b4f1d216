"""A process that has run Monty ends when Monty's threads have nothing to do any more."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip("pydantic_monty")

from effectmq.consumers.code.monty import leaving


def thread(folder: Path, number: int, name: str, state: str) -> None:
    """As the system tells of a thread."""
    (folder / str(number)).mkdir(exist_ok=True)
    (folder / str(number) / "stat").write_text(f"{number} ({name}) {state} 1 2 3")


def test_a_thread_that_works_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are not; what is at rest is looked at more than once."""
    thread(tmp_path, 1, "tokio-rt-worker", "R")
    thread(tmp_path, 2, "tokio) R (", "S")
    thread(tmp_path, 3, "somebody", "R")
    (tmp_path / "4").mkdir()
    slept = list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 5:
            thread(tmp_path, 1, "tokio-rt-worker", "S")

    monkeypatch.setattr(leaving, "_THREADS", tmp_path)
    monkeypatch.setattr(time, "sleep", sleep)
    leaving.settle()
    assert len(slept) == 4 + leaving._LOOKS


def test_one_that_never_rests_is_not_waited_for_any_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread(tmp_path, 1, "tokio-rt-worker", "R")
    monkeypatch.setattr(leaving, "_THREADS", tmp_path)
    monkeypatch.setattr(leaving, "_PATIENCE_S", 0.01)
    leaving.settle()
    assert leaving._works(tmp_path / "1")
