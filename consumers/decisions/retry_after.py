"""
How long a server asks to wait before the next request, in every form that servers use. Pure.

The standard has one header in two forms, but servers use many: milliseconds, durations such as
``6m0s``, moments as Unix seconds, Unix milliseconds or RFC 3339, headers that tell when a limit is
reset, and fields in the body. A moment is compared with the server's own clock when the answer has
a ``Date``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from effectmq.protocol.encoding.narrowing import is_array, is_dict, is_object

__all__ = ["LONGEST_S", "wait_asked_for"]

#: The longest wait, whatever the server asks for, in seconds.
LONGEST_S = 86_400.0

_NUMBER = re.compile(r"\+?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_DURATION = re.compile(
    r"(\d+(?:\.\d*)?|\.\d+)\s*"
    r"(ms|us|µs|ns|milliseconds?|days?|hours?|hrs?|minutes?|mins?|seconds?|secs?|d|h|m|s)"
    r"(?:\s+|\b|(?=[\d.]))",
    re.ASCII | re.IGNORECASE,
)
_UNITS = {
    "d": 86_400.0,
    "h": 3_600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}
#: Numbers from here on are moments since 1970: in seconds, milliseconds or microseconds.
_UNIX_S = 1e9
_UNIX_MS = 1e11
_UNIX_US = 1e14
#: A number that would be a moment longer ago than this is taken as a very long wait.
_LONG_AGO_S = 10 * 366 * 86_400.0
#: The value of a header that was sent twice and joined into one.
_LIST = re.compile(r"[\d.]+(?:\s*,\s*[\d.]*)+", re.ASCII)
#: ``x-ratelimit-reset-tokens``, ``anthropic-ratelimit-requests-reset``, ``x-rate-limit-reset`` …
_RESET = re.compile(r"(?:[a-z0-9]+-)*rate-?limit-(?:.*-)?reset(?:-.*)?")
_MAX_TEXT = 200


def wait_asked_for(
    headers: Mapping[str, str], body: object = None, *, now_s: float, limited: bool = True
) -> float | None:
    """
    How long the server asks to wait.

    Args:
        headers: Those of the answer.
        body: That of the answer, as plain data.
        now_s: The time of day, Unix seconds.
        limited: Whether the request was refused because of a limit. Only then do the headers count
            that tell when limits are reset, because many servers send them with every answer.

    Returns:
        Seconds from 0 to ``LONGEST_S``; ``None`` when nothing readable was found.
    """
    named = {name.lower(): value for name, value in headers.items()}
    now_s = _date(named.get("date", "")) or now_s
    for found in (
        _scaled(named.get("retry-after-ms"), 1e-3),
        _scaled(named.get("x-ms-retry-after-ms"), 1e-3),
        _seconds(named.get("retry-after"), now_s),
        _from_body(body, now_s),
        _from_limits(named, now_s) if limited else None,
    ):
        if found is not None:
            return min(found, LONGEST_S)
    return None


# Values ----------------------------------------------------------------------------------------


def _seconds(value: object, now_s: float) -> float | None:
    """A number of seconds, a duration or a moment; 0 for a moment that has passed."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip(' \t"')[:_MAX_TEXT]
    if _LIST.fullmatch(text):
        waits = [_seconds(one, now_s) for one in text.split(",")]
        return max((wait_s for wait_s in waits if wait_s is not None), default=None)
    if _NUMBER.fullmatch(text):
        return _from_number(float(text), now_s)
    if _DURATION.match(text) and not _DURATION.sub("", text):
        return sum(float(count) * _unit_s(unit) for count, unit in _DURATION.findall(text))
    moment = _date(text)
    return None if moment is None else max(0.0, moment - now_s)


def _unit_s(unit: str) -> float:
    """The seconds of a unit, in its short form or in words; some short forms end with an s."""
    small = unit.lower()
    return _UNITS["ms" if small.startswith("milli") else small if small in _UNITS else small[0]]


def _from_number(number: float, now_s: float) -> float | None:
    if not math.isfinite(number):
        return LONGEST_S
    if number < _UNIX_S:
        return number
    scale = 1e6 if number >= _UNIX_US else 1e3 if number >= _UNIX_MS else 1.0
    wait_s = number / scale - now_s
    return LONGEST_S if wait_s < -_LONG_AGO_S else max(0.0, wait_s)


def _scaled(value: object, factor: float) -> float | None:
    """A plain number in another unit."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()[:_MAX_TEXT]
    return float(text) * factor if _NUMBER.fullmatch(text) else None


def _date(text: str) -> float | None:
    """A date in one of the three forms of HTTP, or RFC 3339; GMT without a zone."""
    for read in (parsedate_to_datetime, _rfc3339):
        try:
            found = read(text)
            zoned = found if found.tzinfo else found.replace(tzinfo=UTC)
            return zoned.timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _rfc3339(text: str) -> datetime:
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        raise ValueError(text)
    return datetime.fromisoformat(text)


# Where they are found --------------------------------------------------------------------------


def _from_limits(headers: Mapping[str, str], now_s: float) -> float | None:
    """
    When the limits are reset.

    A limit that is used up counts; of several, the longest wait. When the headers name no such
    limit, the shortest counts: one attempt too early costs less than waiting for the wrong limit.
    """
    used_up: list[float] = []
    others: list[float] = []
    for name, value in headers.items():
        if not _RESET.fullmatch(name):
            continue
        wait_s = _seconds(value, now_s)
        if wait_s is None:
            continue
        left = headers.get(name.replace("reset", "remaining"), "").strip()
        (used_up if left and re.fullmatch(r"0+(?:\.0*)?|-\d.*", left) else others).append(wait_s)
    if used_up:
        return max(used_up)
    return min(others, default=_structured(headers.get("ratelimit", ""), now_s))


def _structured(field: str, now_s: float) -> float | None:
    """Values of ``RateLimit: limit=10, remaining=0, reset=7``, or of ``"default";r=0;t=7``."""
    found = re.search(r"(?:^|[\s,;])(?:reset|t)=\"?([^\s,;\"]+)", field)
    return _seconds(found[1], now_s) if found else None


def _from_body(body: object, now_s: float) -> float | None:
    """The first wait in a body, in the places where providers put one."""
    for members in _objects(body):
        delay = members.get("retryDelay")
        if is_object(delay):
            seconds = _scaled(delay.get("seconds", 0), 1.0)
            nanos = _scaled(delay.get("nanos", 0), 1e-9)
            found = None if seconds is None or nanos is None else seconds + nanos
        else:
            found = _seconds(delay, now_s)
        if found is None:
            found = _scaled(members.get("retry_after_ms"), 1e-3)
        for name in ("retry_after", "retry_after_seconds"):
            found = _seconds(members.get(name), now_s) if found is None else found
        if found is not None:
            return found
        headers = members.get("headers")
        if is_dict(headers):
            # A gateway puts the headers of the provider behind it into its body.
            named = {str(name): str(value) for name, value in headers.items()}
            found = wait_asked_for(named, now_s=now_s)
            if found is not None:
                return found
    return None


def _objects(body: object, depth: int = 4) -> Iterable[dict[str, object]]:
    """The objects of an error body, the outer ones first."""
    if is_array(body) and depth:
        for item in body[:20]:
            yield from _objects(item, depth - 1)
    elif is_object(body):
        yield body
        if depth:
            for name in ("error", "details", "metadata", "parameters"):
                yield from _objects(body.get(name), depth - 1)
