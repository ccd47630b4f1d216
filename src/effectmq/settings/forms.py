"""How settings are typed in options and variables: texts, numbers, times, and lists of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from effectmq.protocol.text import printable
from effectmq.settings.durations import read_duration

__all__ = [
    "ADDRESS",
    "BYTES",
    "COUNT",
    "LEVELS",
    "LOG_LEVEL",
    "ROUTES",
    "TEXT",
    "TIME",
    "WHOLE_TIME",
    "Form",
    "one_of",
]

_MOST_DIGITS = 18
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class Form:
    """
    How a setting is written as text.

    Attributes:
        unit: Its unit, for the table.
        metavar: Its placeholder in help texts.
        read: Returns the value of a text; raises ``ValueError`` with what was found and expected.
        write: Returns a text for a value.
    """

    unit: str
    metavar: str
    read: Callable[[str], object]
    write: Callable[[Any], str] = str


def _text(text: str) -> str:
    return text


def _number(text: str) -> int:
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit() and len(stripped) <= _MOST_DIGITS:
        return int(stripped)
    raise ValueError(
        f"found {printable(text, 40)!r}, expected a whole number of at most {_MOST_DIGITS} digits"
    )


def _time(text: str) -> float:
    found = read_duration(text)
    if found is None:
        raise ValueError(
            f"found {printable(text, 40)!r}, expected a time of at most 100 years, for instance "
            "30, 250ms, 1h30m or 30d"
        )
    return found


def _whole_seconds(text: str) -> int:
    found = _time(text)
    if found != int(found):
        raise ValueError(f"found {printable(text, 40)!r}, expected whole seconds, for instance 10s")
    return int(found)


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length and not seconds % length:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:.15g}s"


def _levels(text: str) -> tuple[float, ...]:
    levels = [_level_s(part.strip()) for part in text.split(",") if part.strip()]
    if levels and None not in levels:
        return tuple(level for level in levels if level is not None)
    raise ValueError(
        f"found {printable(text, 100)!r}, expected times separated by commas, for instance "
        "1s,5s,1m; numbers without a unit are milliseconds"
    )


def _level_s(text: str) -> float | None:
    if text.isascii() and text.isdigit():
        return int(text) / 1_000 if len(text) <= _MOST_DIGITS else None
    return read_duration(text)


def _spans(levels_s: Iterable[float]) -> str:
    return ",".join(map(_span, levels_s))


def _routes(text: str) -> dict[str, int]:
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    if not pairs or not all(route and separator for route, separator, _ in pairs):
        raise ValueError(
            f"found {printable(text, 100)!r}, expected numbers by route, for instance "
            "llm_call=64,tool_call.gpu=1"
        )
    return {route.strip(): _number(most) for route, _, most in pairs}


def _shown_routes(most: Mapping[str, int] | None) -> str:
    return ",".join(f"{route}={number}" for route, number in (most or {}).items()) or "none"


def one_of(*words: str) -> Form:
    """One of a few words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"found {printable(text, 40)!r}, expected {' or '.join(words)}")
        return text

    return Form(" or ".join(words), "|".join(words), read)


def _log_level(text: str) -> str:
    level = text.strip().upper()
    if level not in _LOG_LEVELS:
        raise ValueError(
            f"found {printable(text, 40)!r}, expected {', '.join(_LOG_LEVELS[:-1])} or "
            f"{_LOG_LEVELS[-1]}"
        )
    return level


TEXT = Form("text", "TEXT", _text)
ADDRESS = Form("address", "URL", _text)
COUNT = Form("number", "N", _number)
BYTES = Form("bytes", "BYTES", _number)
TIME = Form("time", "TIME", _time, _span)
ROUTES = Form("number for each route", "ROUTE=N,…", _routes, _shown_routes)
WHOLE_TIME = Form("time", "TIME", _whole_seconds, _span)
LEVELS = Form("times", "TIMES", _levels, _spans)
LOG_LEVEL = Form("level", "LEVEL", _log_level)
