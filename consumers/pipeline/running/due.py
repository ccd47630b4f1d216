"""
When an effect is due, by a clock that does not jump.

On the wire and in the journal a due time is a moment of the wall clock, which an administrator may
set while an effect waits. Within one worker the wait is measured by the clock of the loop, and the
due time is moved along with the wall clock: a sleep neither ends early when that is set forward
nor lasts longer when it is set back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from effectmq.consumers.pipeline.route import Route
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectCommandSleep

__all__ = ["Due"]


class Due:
    """A due time and its measure by the loop's clock; empty until one is noted."""

    __slots__ = ("_due_ms", "_ends_s")

    def __init__(self) -> None:
        self._due_ms = 0
        self._ends_s = 0.0

    def note(self, due_ms: int, route: Route[Any]) -> None:
        """Begin to measure, unless this due time is measured already."""
        if due_ms and due_ms != self._due_ms:
            self._due_ms = due_ms
            self._ends_s = route.loop.time() + max(0, due_ms - route.now_ms()) / 1_000

    def moved(self, request: Request, route: Route[Any]) -> Request:
        """The request, with its due time moved along with the wall clock."""
        if not request.due_ms:
            return request
        if request.due_ms != self._due_ms:
            return _bounded(request, route.now_ms())
        left_s = max(0.0, self._ends_s - route.loop.time())
        self._due_ms = route.now_ms() + round(left_s * 1_000)
        return replace(request, due_ms=self._due_ms)


def _bounded(request: Request, now_ms: int) -> Request:
    """Limit what is left of a sleep to its length; a clock set back makes it look longer."""
    command = request.envelope.command
    if not isinstance(command, RuntimeEffectCommandSleep):
        return request
    return replace(request, due_ms=min(request.due_ms, now_ms + command.duration_ms))
