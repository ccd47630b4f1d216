"""
The worker's clock in place of the system's, so that a block that is run again reads the same time.

It stands still and moves only when the block sleeps; the worker sleeps, too. Clocks that only
measure (``time.monotonic``, ``time.perf_counter``) stay, because they tell no time of day.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import Any

from effectmq.consumers.code.cpython.inside.wire import Wire

__all__ = ["Clock", "install"]

_system_gmtime, _system_strftime = time.gmtime, time.strftime


def install(wire: Wire) -> Clock:
    """
    Put the worker's clock into ``time`` and ``datetime``.

    Args:
        wire: Asks the worker.
    """
    clock = Clock(wire)
    patches: dict[str, Callable[..., object]] = {
        "time": clock.now_s,
        "time_ns": clock.now_ns,
        "sleep": clock.sleep,
        "gmtime": clock.gmtime,
        "localtime": clock.gmtime,
        "ctime": clock.ctime,
        "strftime": clock.strftime,
    }
    for name, function in patches.items():
        setattr(time, name, function)
    _replace_dates(clock)
    return clock


class Clock:
    """
    The clock of one block.

    Args:
        wire: Asks the worker.

    Attributes:
        slept_s: How long the block has slept.
    """

    def __init__(self, wire: Wire) -> None:
        self.slept_s = 0.0
        self._wire = wire
        self._now_ms: int | None = None

    def now_ms(self) -> int:
        """The time of day, Unix milliseconds; asked for once between two sleeps."""
        if self._now_ms is None:
            now_ms: int = self._wire.ask({"type": "now"})
            self._now_ms = now_ms
        return self._now_ms

    def now_s(self) -> float:
        """As ``time.time``."""
        return self.now_ms() / 1_000

    def now_ns(self) -> int:
        """As ``time.time_ns``."""
        return self.now_ms() * 1_000_000

    def sleep(self, seconds: object) -> None:
        """As ``time.sleep``; the worker sleeps."""
        if not isinstance(seconds, int | float):
            raise TypeError(f"cannot sleep for a {type(seconds).__name__}; expected a number")
        self._now_ms = None
        self._wire.ask({"type": "sleep", "seconds": float(seconds)})
        self.slept_s += float(seconds)

    # The zone of the sandbox is UTC, so local time is the same.
    def gmtime(self, seconds: float | None = None) -> time.struct_time:
        """As ``time.gmtime``."""
        return _system_gmtime(self.now_s() if seconds is None else seconds)

    def ctime(self, seconds: float | None = None) -> str:
        """As ``time.ctime``."""
        return time.asctime(self.gmtime(seconds))

    def strftime(self, form: str, when: Any = None) -> str:
        """As ``time.strftime``."""
        return _system_strftime(form, self.gmtime() if when is None else when)


class _InPlace(type):
    """Lets a subclass stand for the class that it replaces; classes in C cannot be changed."""

    replaced: type | None = None

    def __instancecheck__(cls, value: object) -> bool:
        kind = cls.__dict__.get("replaced")
        return isinstance(value, kind) if kind else super().__instancecheck__(value)

    def __subclasscheck__(cls, other: type) -> bool:
        kind = cls.__dict__.get("replaced")
        return issubclass(other, kind) if kind else super().__subclasscheck__(other)


def _replace_dates(clock: Clock) -> None:
    class date(datetime.date, metaclass=_InPlace):
        replaced = datetime.date

        @classmethod
        def today(cls) -> date:
            return cls.fromtimestamp(clock.now_s())

        def __repr__(self) -> str:
            return f"datetime.{super().__repr__()}"

    class datetime_(datetime.datetime, metaclass=_InPlace):
        replaced = datetime.datetime

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime_:
            return cls.fromtimestamp(clock.now_s(), tz)

        @classmethod
        def utcnow(cls) -> datetime_:
            return cls.fromtimestamp(clock.now_s(), datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> datetime_:
            return cls.now()

        def __repr__(self) -> str:
            return f"datetime.{super().__repr__()}"

    datetime_.__name__ = datetime_.__qualname__ = "datetime"
    for kind in (date, datetime_):
        kind.__module__ = "datetime"
        setattr(datetime, kind.__name__, kind)
