"""
Spans of time as people type them: in options, in variables, and in tables of settings.

``30s``, ``250ms``, ``1h30m``, ``90d``, ``2w``; a number without a unit means seconds.
"""

from __future__ import annotations

import re

__all__ = ["LONGEST_S", "UNIT_S", "has_unit", "read_duration"]

#: The units of a span, in seconds.
UNIT_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

#: A longer span is a mistake, and more milliseconds than databases can count.
LONGEST_S = 100 * 365.25 * 86_400

_NUMBER = r"\d+(?:\.\d+)?"
_PLAIN = re.compile(_NUMBER, re.ASCII)
_PART = re.compile(rf"({_NUMBER})\s*(ms|s|m|h|d|w)", re.ASCII)
_PARTS = re.compile(rf"(?:{_NUMBER}\s*(?:ms|s|m|h|d|w)\s*)+", re.ASCII)


def read_duration(text: str) -> float | None:
    """
    A span of time in seconds.

    Args:
        text: A number of seconds, or numbers with units, which are added.

    Returns:
        Seconds, 0 or more; ``None`` when the text is not a span, or over 100 years.
    """
    stripped = text.strip()
    if _PLAIN.fullmatch(stripped):
        found_s = float(stripped)
    elif has_unit(stripped):
        found_s = sum(float(value) * UNIT_S[unit] for value, unit in _PART.findall(stripped))
    else:
        return None
    return found_s if found_s <= LONGEST_S else None


def has_unit(text: str) -> bool:
    """Whether a text is a span of time with its units, so that it can be nothing else."""
    return _PARTS.fullmatch(text.strip()) is not None
