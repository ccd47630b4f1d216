"""Moments and spans of time: read as people type them, and shown."""

from __future__ import annotations

import argparse
import time
from datetime import datetime

from effectmq.protocol.text import printable
from effectmq.settings.durations import has_unit, read_duration

__all__ = ["age", "at", "moment", "seconds", "time_at", "when"]

_SHOWN = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def seconds(text: str) -> float:
    """A span of time above 0, in seconds: ``30s``, ``250ms``, ``1h30m``, ``90d``, or ``30``."""
    value = read_duration(text)
    if not value:
        raise argparse.ArgumentTypeError(
            f"found {printable(text, 40)!r}, expected a time above 0 and of at most 100 years, "
            "for instance 30, 250ms, 1h30m or 30d"
        )
    return value


def moment(text: str) -> int:
    """A time as Unix milliseconds: ``90s``, ``1h30m``, ``2d`` ago, or an ISO time."""
    stripped = text.strip()
    # With a unit only: a number alone may as well be meant as a year or as a Unix time.
    if has_unit(stripped):
        ago_s, now_s = read_duration(stripped), time.time()
        if ago_s is not None and ago_s <= now_s:
            return round((now_s - ago_s) * 1_000)
        raise argparse.ArgumentTypeError(
            f"found {printable(text, 40)!r}, which is before 1970; leave the option out "
            "for no limit"
        )
    try:
        return round(datetime.fromisoformat(stripped).timestamp() * 1_000)
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"found {printable(text)!r}, expected how long ago (30m, 1h30m, 2d), or an ISO time, "
            "for instance 2026-01-31T12:00"
        ) from None


def time_at(text: str) -> datetime:
    """An ISO time; without an offset it is one of the local clock."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"found {printable(text, 40)!r}, expected an ISO time, for instance 2026-12-31T08:00 "
            "or 2026-12-31T08:00:00+01:00"
        ) from None


def age(then_ms: int, now_ms: int) -> str:
    """How long ago, in one unit; empty when it is not known."""
    if then_ms <= 0:
        return ""
    seconds = max(0, (now_ms - then_ms) // 1_000)
    for unit, length in _SHOWN:
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return "0s"


def when(then_ms: int, now_ms: int) -> str | None:
    """A moment of the local clock, and how far it is from now; ``None`` when it is not known."""
    if then_ms <= 0:
        return None
    told = f"in {age(now_ms, then_ms)}" if then_ms > now_ms else f"{age(then_ms, now_ms)} ago"
    return f"{at(then_ms)} ({told})"


def at(then_ms: int) -> str:
    """A moment of the local clock, as an ISO time with its offset."""
    try:
        return datetime.fromtimestamp(then_ms / 1_000).astimezone().isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"{then_ms} ms since 1970"
