"""Moments and spans of time, as people type them and as they are shown."""

from __future__ import annotations

import argparse
import re
import time
from datetime import datetime

from effectmq.protocol.text import printable

__all__ = ["UNIT_S", "age", "moment", "when"]

#: The units of a span, in seconds.
UNIT_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SHOWN = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def moment(text: str) -> int:
    """A time as Unix milliseconds: ``90s``, ``1h30m``, ``2d`` ago, or an ISO time."""
    stripped = text.strip()
    if _DURATION.fullmatch(stripped):
        ago_s = sum(float(value) * UNIT_S[unit] for value, unit in _PART.findall(stripped))
        now_s = time.time()
        if ago_s <= now_s:
            return round((now_s - ago_s) * 1_000)
        raise argparse.ArgumentTypeError(
            f"found {printable(text, 40)!r}, which is before 1970; for all times leave the option "
            "away"
        )
    try:
        return round(datetime.fromisoformat(stripped).timestamp() * 1_000)
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"found {printable(text)!r}, expected how long ago (30m, 1h, 2d), or an ISO time, for "
            "instance 2026-01-31T12:00"
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
    """A moment of the local clock, and how long ago it was; ``None`` when it is not known."""
    if then_ms <= 0:
        return None
    try:
        time = datetime.fromtimestamp(then_ms / 1_000).astimezone().isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"{then_ms} ms since 1970"
    return f"{time} ({age(then_ms, now_ms)} ago)"
