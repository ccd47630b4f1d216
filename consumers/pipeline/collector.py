"""
The collector: what the broker gave up on gets another chance, a limited number of times.

The broker moves a message to limbo when it came back too often without being settled. That can be
an effect that kills its worker, or an innocent one that was in flight while the network failed
twenty times. So it is counted and sent home over the shortest delay; past ``max_crashes`` it is
parked as *crash_looping*, and whoever waits for it is told.
"""

from __future__ import annotations

from effectmq.broker.store.journal.journal import Look
from effectmq.broker.store.journal.records import Granted, Recorded
from effectmq.consumers.decisions.delivery import Delay, after_crash, unkept
from effectmq.consumers.handler import FunctionHandler
from effectmq.consumers.pipeline.job import Job
from effectmq.protocol.errors import RejectEffectError

__all__ = ["LIMBO_HANDLER", "LIMBO_PREFETCH", "LimboJob"]

#: Collecting is publishing and settling; a few at a time are plenty.
LIMBO_PREFETCH = 16


def _refuse(command: object) -> object:
    raise RejectEffectError("effectmq_limbo", "effects are sent home from limbo, not run there")


#: Nothing runs in limbo; a lane has a handler all the same.
LIMBO_HANDLER = FunctionHandler("limbo", _refuse, wants_context=False)


class LimboJob(Job):
    """One message from limbo, on its way home or to the dead letters."""

    __slots__ = ("_given_up",)

    #: It was told when the message was on its queue.
    tells_oversize = False

    @property
    def route(self) -> str:
        """Home is where the message came from, or else where its content says it belongs."""
        if super().route == self.lane.route and self._request is not None:
            return self._request.kind
        return super().route

    def _arrive(self) -> None:
        self.lane.counters["collected"] += 1
        self.lane.records.look(
            self._known(), self._safely(self._looked), self._safely(self._unkept)
        )

    def _looked(self, found: Look) -> None:
        """Answer what is finished; the rest goes home, or is given up."""
        if self.lane.leaving:
            return
        if isinstance(found, Recorded):
            self._replay(found)
            return
        action = after_crash(
            self._known(),
            max_crashes=self.lane.settings.max_crashes,
            levels_ms=self.lane.levels_ms,
        )
        if isinstance(action, Delay):
            # Without a claim: whoever takes it next must still see that its lease ran out.
            self._wait(action)
        else:
            self._given_up = action
            self._claim()

    def _unrecordable(self, problem: Exception) -> None:
        """It comes from where it would be given back to: its dead letter is the record."""
        hold, self._hold = self._hold, None
        if hold is not None:
            self.lane.records.unwatch(hold)
            self.lane.records.abandon(hold)
        self._park(unkept(problem))

    def _hand_on(self) -> None:
        """It stays in limbo, where it is counted."""

    def _granted(self, answer: Granted) -> None:
        """Ours, to write down that it is given up."""
        self._take(answer)
        self._park(self._given_up)
