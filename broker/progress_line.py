"""
A progress line on a terminal: how many are done, how fast, and for how long still.

It is written to stderr when that is a terminal, and removed when the work is done. Other code calls
``clear_line`` before it writes to stderr.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TextIO

from effectmq.protocol.text import printable

__all__ = ["ProgressLine", "clear_line", "waiting"]

_EVERY_S = 0.1
_TICK_S = 1.0
_WIPE = "\r\x1b[K"

_shown: ProgressLine | None = None


class ProgressLine:
    """
    A progress line that counts what is done. Use as a context manager.

    Args:
        what: What is counted, a plural noun.
        total: How many there will be; ``None`` when that is not known.
        quiet: Show nothing.
        stream: Where to; stderr by default, if the process has one.
        clock: Seconds, from any start.
    """

    def __init__(
        self,
        what: str,
        total: int | None = None,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._total = total
        found: TextIO | None = sys.stderr if stream is None else stream
        self._clock = clock
        self._started = self._drawn = clock()
        self.enabled = not quiet and found is not None and _is_terminal(found)
        self._stream = found
        self.done = 0

    def __enter__(self) -> ProgressLine:
        """Begin to count."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Remove the line."""
        self.clear()

    def advance(self, count: int = 1) -> None:
        """Count so many more as done."""
        self.done += count
        now = self._clock()
        if self.enabled and now - self._drawn >= _EVERY_S:
            self._drawn = now
            self._draw(now)

    def clear(self) -> None:
        """Wipe the line, if it is shown; the next ``advance`` draws it again."""
        global _shown
        if _shown is self:
            _shown = None
            self._write(_WIPE)

    def line(self, now: float) -> str:
        """What is shown at a moment of the clock."""
        elapsed_s = max(now - self._started, 1e-9)
        rate = self.done / elapsed_s
        text = f"{self.done} {self._what}"
        if self._total is not None:
            text = f"{self.done} of {self._total} {self._what}"
        text += f", {rate:.0f}/s" if rate >= 10 else f", {rate:.1f}/s"
        if self._total is not None and rate > 0:
            text += f", {_clock_time((self._total - self.done) / rate)} left"
        return printable(text)

    def _draw(self, now: float) -> None:
        global _shown
        if _shown is not self:
            clear_line()
        _shown = self
        self._write(f"{_WIPE}{self.line(now)}")

    def _write(self, text: str) -> None:
        """Write; a terminal that has gone is no reason to stop the work."""
        global _shown
        try:
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
        except (OSError, ValueError):
            self.enabled, _shown = False, None


class _Elapsed(ProgressLine):
    """Shows how long something takes that has no parts to count."""

    def line(self, now: float) -> str:
        """What is shown at a moment of the clock."""
        return printable(f"{self._what}, {_clock_time(now - self._started)}")


@asynccontextmanager
async def waiting(
    what: str, *, quiet: bool = False, stream: TextIO | None = None
) -> AsyncGenerator[None]:
    """
    Show for how long the body has run, as in ``waiting for the outcome, 0:12``.

    Args:
        what: What is done, the beginning of a line.
        quiet: Show nothing.
        stream: Where to; stderr by default.
    """
    # Other commands, and the help of all, use this module outside of an event loop.
    import asyncio

    with _Elapsed(what, quiet=quiet, stream=stream) as progress:
        ticking = asyncio.create_task(_tick(progress)) if progress.enabled else None
        try:
            yield
        finally:
            if ticking is not None:
                ticking.cancel()


async def _tick(progress: ProgressLine) -> None:
    import asyncio

    while True:
        await asyncio.sleep(_TICK_S)
        progress.advance(0)


def clear_line() -> None:
    """Wipe the progress line, if there is one, so that other text starts on a clean line."""
    if _shown is not None:
        _shown.clear()


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        # What a program has put in place of stderr, or closed.
        return False


def _clock_time(seconds: float) -> str:
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3_600)
    minutes, seconds_left = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02}:{seconds_left:02}"
    return f"{minutes}:{seconds_left:02}"
