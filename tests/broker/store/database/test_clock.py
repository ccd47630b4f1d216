"""The clock of leases on one host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from effectmq.broker.store.database.sqlite import clock
from effectmq.broker.store.database.sqlite.clock import host_lease_time


def test_time_goes_on_and_keeps_its_name() -> None:
    """Readings of one boot are comparable."""
    first, second = host_lease_time(), host_lease_time()
    assert first.clock == second.clock
    assert first.now_ms <= second.now_ms


def test_all_processes_of_a_host_read_one_clock() -> None:
    """What one writes down, the other one understands."""
    before = host_lease_time()
    code = "from effectmq.broker.store.database.sqlite.clock import host_lease_time as t; r = t(); "
    shown = subprocess.run(
        [sys.executable, "-c", code + "print(r.clock, r.now_ms)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert shown[0] == before.clock
    assert before.now_ms <= int(shown[1]) <= host_lease_time().now_ms


@pytest.fixture
def _named_anew() -> object:
    clock._clock_name.cache_clear()
    yield
    clock._clock_name.cache_clear()


@pytest.mark.usefixtures("_named_anew")
def test_another_boot_is_another_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its time starts at zero, so readings of both must not be compared."""
    monkeypatch.setattr(clock, "_BOOT_ID", tmp_path / "boot_id")
    (tmp_path / "boot_id").write_text("later\n")
    assert host_lease_time().clock == "boot:later"


@pytest.mark.usefixtures("_named_anew")
def test_without_the_name_of_the_boot_the_wall_clock_has_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Time since boot, without knowing which, would be read wrongly after the next one."""
    monkeypatch.setattr(clock, "_BOOT_ID", tmp_path / "missing")
    found = host_lease_time()
    assert found.clock == "wall"
    assert found.now_ms > 1_600_000_000_000
