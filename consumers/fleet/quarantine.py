"""
Run an effect alone when one more death would park it.

When a worker dies, it is unknown which of its effects ended it, so a death is counted for all of
them, the harmless ones too. Before the count decides, it must be certain: an effect that is one
death short of being parked (a suspect) runs while no other body begins in this process. If the
process dies then, this effect ended it. That delays the others a little, and only where workers
died again and again: running bodies are waited for a few seconds, and a suspect that has run for
some seconds is beside others again, because what ends a process does so early.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Quarantine"]

#: How long to wait for running bodies, and how long others wait to begin, in seconds.
_DRAIN_S = 5.0
_ALONE_S = 10.0


@dataclass(slots=True)
class _Suspect:
    who: object
    begin: Callable[[], None]
    begun: bool = False


class Quarantine:
    """
    The state that all routes of a worker share: who runs, who is held, and who must run alone.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._bodies = 0
        self._inside: _Suspect | None = None
        self._waiting: deque[_Suspect] = deque()
        self._held: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        #: Whether no other body may begin now.
        self.closed = False

    @property
    def taken(self) -> bool:
        """Whether there is a suspect already, running or about to run."""
        return self._inside is not None or bool(self._waiting)

    # Everybody ---------------------------------------------------------------------------------

    def hold(self, then: Callable[[], None]) -> None:
        """Call ``then`` when others may begin again."""
        self._held.append(then)

    def body_began(self) -> None:
        """One more body runs in this process."""
        self._bodies += 1

    def body_ended(self) -> None:
        """One body has ended, or has been given up."""
        self._bodies -= 1
        if self._inside is not None:
            self._begin_if_alone()

    # Suspects ----------------------------------------------------------------------------------

    def enter(self, who: object, begin: Callable[[], None]) -> None:
        """
        Wait for a turn; ``begin`` is called when no other body runs, or when all have run for long.

        Args:
            who: Names the suspect when it leaves.
            begin: Called once, in a later turn of the loop.
        """
        self._waiting.append(_Suspect(who, begin))
        self._loop.call_soon(self._admit)

    def waits(self, who: object) -> bool:
        """Whether this suspect still waits for its turn."""
        return any(suspect.who is who for suspect in self._waiting)

    def leave(self, who: object) -> None:
        """Its body has ended, or it goes elsewhere; does nothing when it was not here."""
        inside = self._inside
        if inside is not None and inside.who is who:
            self._inside = None
            self._open()
            # Those that were held begin first: a row of suspects must not keep the others out.
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
