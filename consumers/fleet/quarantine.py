"""
An effect that has taken workers with it gets its last chance alone.

When a worker dies, nobody knows which of the effects that it held has killed it, so all of them are
counted, the innocent ones too. Before the count decides it has to be certain: whoever is one death
short of being parked runs while no other body begins in this process. If the process dies then, it
died of this one. That costs the others a moment, and only where workers have died again and again:
bodies that run already are waited for a few seconds, and a suspect that has lived for some seconds
is beside others again, because what ends a process does it early.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Quarantine"]

#: How long the bodies that run already are waited for, and how long others wait to begin.
_DRAIN_S = 5.0
_ALONE_S = 10.0


@dataclass(slots=True)
class _Suspect:
    who: object
    begin: Callable[[], None]
    begun: bool = False


class Quarantine:
    """Shared by all routes of a worker."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._bodies = 0
        self._inside: _Suspect | None = None
        self._waiting: deque[_Suspect] = deque()
        self._held: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        #: Whether nobody else may begin now.
        self.closed = False

    @property
    def taken(self) -> bool:
        """Whether there is a suspect already, running or about to."""
        return self._inside is not None or bool(self._waiting)

    # Everybody ---------------------------------------------------------------------------------

    def hold(self, then: Callable[[], None]) -> None:
        """Call this when others may begin again."""
        self._held.append(then)

    def body_began(self) -> None:
        """One more body runs in this process."""
        self._bodies += 1

    def body_ended(self) -> None:
        """One has ended, or has been given up."""
        self._bodies -= 1
        if self._inside is not None:
            self._begin_if_alone()

    # Suspects ----------------------------------------------------------------------------------

    def enter(self, who: object, begin: Callable[[], None]) -> None:
        """
        Wait for a turn; ``begin`` is called when nobody else runs, or has run for long.

        Args:
            who: Names the suspect when it leaves.
            begin: Called once, in a later turn of the loop.
        """
        self._waiting.append(_Suspect(who, begin))
        self._loop.call_soon(self._admit)

    def waits(self, who: object) -> bool:
        """Whether it is not its turn yet."""
        return any(suspect.who is who for suspect in self._waiting)

    def leave(self, who: object) -> None:
        """Its body has ended, or it goes elsewhere; nothing happens when it was not here."""
        inside = self._inside
        if inside is not None and inside.who is who:
            self._inside = None
            self._open()
            # Who was held begins first: suspects one after the other must not keep everybody out.
            self._loop.call_soon(self._admit)
        elif self._waiting:
            self._waiting = deque(one for one in self._waiting if one.who is not who)

    def _admit(self) -> None:
        if self._inside is not None or not self._waiting:
            return
        self._inside = self._waiting.popleft()
        self.closed = True
        self._set_timer(_DRAIN_S, self._begin)
        self._begin_if_alone()

    def _begin_if_alone(self) -> None:
        if not self._bodies and self._inside is not None and not self._inside.begun:
            self._begin()

    def _begin(self) -> None:
        suspect = self._inside
        if suspect is not None and not suspect.begun:
            suspect.begun = True
            self._set_timer(_ALONE_S, self._open)
            suspect.begin()

    def _open(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.closed = False
        held, self._held = self._held, []
        for then in held:
            then()

    def _set_timer(self, after_s: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(after_s, then)
