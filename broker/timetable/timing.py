"""
The times at which a schedule fires.

``Cron`` is a cron expression of five fields in a time zone, ``Every`` an interval that is counted
from the beginning of 1970, so that every host computes the same times. All times are Unix
milliseconds.

=========================================  ======================================================
a time of a fixed hour of the local day    fires
=========================================  ======================================================
that does not exist (clocks go forward)    once, at the first moment after the gap
that comes twice (clocks go back)          once, at the first of the two
=========================================  ======================================================

An expression whose minute or hour begins with ``*`` is an interval: it fires at each real hour or
minute that fits, so at both of an hour that comes twice, and at none of an hour that does not
exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from zoneinfo import ZoneInfo

from effectmq.protocol.errors import ConfigurationError, MissingExtraError
from effectmq.protocol.numbers import check_number
from effectmq.protocol.text import printable

__all__ = ["LONGEST_EVERY_MS", "SHORTEST_EVERY_MS", "Cron", "Every", "Timing", "times_after"]

SHORTEST_EVERY_MS = 1_000
#: 366 days.
LONGEST_EVERY_MS = 366 * 86_400_000
_MAX_EXPRESSION = 200
_MAX_ZONE = 100
_FIELDS = 5
#: 9999-01-01; what is later has no date.
_LAST_MS = 253_370_764_800_000


@dataclass(frozen=True, slots=True)
class Cron:
    """
    A cron expression in a time zone.

    Attributes:
        expression: Minute, hour, day of the month, month and day of the week; with names, lists,
            ranges, steps, ``L`` and ``#`` as cronsim reads them.
        zone: The name of a time zone, such as ``Europe/Berlin``.

    Raises:
        ConfigurationError: When it cannot be read, or never fires.
        MissingExtraError: When the extra ``schedules`` is not installed.
    """

    expression: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        fields = self.expression.split()
        if len(fields) != _FIELDS or len(self.expression) > _MAX_EXPRESSION:
            raise ConfigurationError(
                f"the cron expression is {printable(repr(self.expression), 80)}; expected five "
                "fields: minute, hour, day of the month, month, day of the week, for instance "
                "'30 2 * * MON-FRI'"
            )
        object.__setattr__(self, "expression", " ".join(fields))
        _zone_of(self.zone)
        if next(_cron_times(self, 0), None) is None:
            raise ConfigurationError(
                f"the cron expression {self.expression!r} never fires; expected one with a day "
                "that exists"
            )

    def __str__(self) -> str:
        return f"{self.expression} ({self.zone})"


@dataclass(frozen=True, slots=True)
class Every:
    """
    An interval; it fires at its multiples since the beginning of 1970, UTC.

    Attributes:
        every_ms: Milliseconds, from a second to 366 days.

    Raises:
        ConfigurationError: When it is another number.
    """

    every_ms: int

    def __post_init__(self) -> None:
        check_number("every_ms", self.every_ms, whole=True)
        if not SHORTEST_EVERY_MS <= self.every_ms <= LONGEST_EVERY_MS:
            raise ConfigurationError(
                f"the interval is {self.every_ms / 1_000:g} s; expected "
                f"{SHORTEST_EVERY_MS // 1_000} to {LONGEST_EVERY_MS // 1_000} s (366 days)"
            )

    def __str__(self) -> str:
        return f"every {self.every_ms / 1_000:g} s"


Timing = Cron | Every


def times_after(timing: Timing, after_ms: int) -> Iterator[int]:
    """The times at which it fires, ascending, each later than a moment."""
    if isinstance(timing, Cron):
        return _cron_times(timing, after_ms)
    return _every_times(timing.every_ms, after_ms)


def _every_times(every_ms: int, after_ms: int) -> Iterator[int]:
    time_ms = after_ms - after_ms % every_ms + every_ms
    while time_ms < _LAST_MS:
        yield time_ms
        time_ms += every_ms


def _cron_times(cron: Cron, after_ms: int) -> Iterator[int]:
    # By its name: who has no cron expression does without the package, type checkers included.
    try:
        cronsim = import_module("cronsim")
    except ImportError:
        raise MissingExtraError(f"the cron expression {cron.expression!r}", "schedules") from None
    begin = datetime.fromtimestamp(after_ms // 1_000, UTC).astimezone(_zone_of(cron.zone))
    try:
        times: Iterator[datetime] = cronsim.CronSim(cron.expression, begin)
    except cronsim.CronSimError as problem:
        raise ConfigurationError(
            f"the cron expression is {cron.expression!r}, which cannot be read ("
            f"{printable(str(problem), 80)}); expected minute, hour, day of the month, month, day "
            "of the week"
        ) from None
    last_ms = after_ms
    for moment in times:
        time_ms = round(moment.timestamp() * 1_000)
        # In the second of two equal hours, the library may begin with a time of the first.
        if time_ms > last_ms:
            last_ms = time_ms
            yield time_ms


def _zone_of(name: str) -> ZoneInfo:
    try:
        if len(name) <= _MAX_ZONE:
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise ConfigurationError(
        f"the time zone is {printable(repr(name), 60)}, which is not known here; expected a name "
        "such as 'Europe/Berlin' or 'UTC' (the package tzdata has all names, for systems without)"
    )
