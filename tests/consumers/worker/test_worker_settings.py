"""What can be chosen for a worker."""

from __future__ import annotations

import math

import pytest

from effectmq.consumers.settings import WorkerSettings
from effectmq.protocol.errors import ConfigurationError


def test_the_defaults_are_usable() -> None:
    """Nothing has to be chosen."""
    settings = WorkerSettings()
    assert settings.concurrency == 16
    assert settings.max_body_bytes == 1024 * 1024


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", 0),
        ("concurrency", 65_536),
        ("time_limit_s", 0),
        ("kill_grace_s", -1),
        ("shutdown_grace_s", 0.0),
        ("blocked_loop_s", math.nan),
        ("max_body_bytes", 0),
        ("max_body_bytes", 8 * 1024 * 1024 + 1),
        ("max_reply_bytes", 0),
        ("max_crashes", -1),
        ("max_abandoned", 0),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(name: str, value: float) -> None:
    """With what was found and what was expected."""
    with pytest.raises(ConfigurationError, match=name):
        WorkerSettings(**{name: value})  # type: ignore[arg-type]


def test_extremes_that_make_sense_are_taken() -> None:
    """One at a time, without patience for crashes, with the largest bodies."""
    WorkerSettings(concurrency=1, max_crashes=0, max_body_bytes=8 * 1024 * 1024)
    WorkerSettings(concurrency=65_535, time_limit_s=math.inf, max_abandoned=1)
