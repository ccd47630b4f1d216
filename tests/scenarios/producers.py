"""
Producers that are killed and started again, each under an identity of its own.

A new process of an identity knows only what the one before wrote down. It waits a moment for the
answers of what was acknowledged, asks again for what does not come, and submits the rest.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.scenarios.effects import Call
from tests.scenarios.fleet import Fleet, FleetProcess
from tests.waiting import eventually

__all__ = ["Producers"]


class Producers:
    """
    They end when they have done their share and the fleet's gate is open.

    Args:
        fleet: Of everything.
        plan: What they submit, each a share of its own.
        identities: One for each producer.
        in_flight: Effects that all of them together wait for at a time.
        reply_timeout_s: How long one waits for an outcome.
    """

    def __init__(
        self,
        fleet: Fleet,
        plan: Sequence[Call],
        identities: Sequence[str],
        *,
        in_flight: int,
        reply_timeout_s: float,
    ) -> None:
        self._fleet = fleet
        self._in_flight = max(1, in_flight // len(identities))
        self._reply_timeout_s = reply_timeout_s
        self._shares = {
            identity: plan[number :: len(identities)] for number, identity in enumerate(identities)
        }
        self._live = {identity: self._start(identity) for identity in identities}

    async def ended(self, timeout_s: float) -> None:
        """Wait until each has done its share; one that fails is an error."""
        await eventually(self._done, timeout_s)

    def kill_one(self, rng: random.Random) -> bool:
        """Kill one wherever it is, and start it again at once; false when all have ended."""
        working = [identity for identity, process in self._live.items() if process.alive]
        if not working:
            return False
        victim = rng.choice(working)
        self._live[victim].kill9()
        self._live[victim] = self._start(victim)
        return True

    def _start(self, identity: str) -> FleetProcess:
        return self._fleet.producer(
            identity,
            self._shares[identity],
            in_flight=self._in_flight,
            reply_timeout_s=self._reply_timeout_s,
            go_on=True,
            # Or there would be nobody left to kill when the last kill is due.
            stay=self._fleet.gate,
        )

    def _done(self) -> bool:
        for identity, process in self._live.items():
            assert process.code in (None, 0), (
                f"producer {identity} ended with {process.code}:\n{process.log_tail()}"
            )
        return all(process.code == 0 for process in self._live.values())
