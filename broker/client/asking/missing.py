"""
What is missing when no queue takes an effect, and its repair as far as a producer can.

A returned effect does not say why it was returned. Here the broker is looked at, once for all that
ask at the same time, and the answer is used for a second. A queue that exists but gets nothing has
lost its binding, or its exchange: these are declared again, once, then less and less often. A queue
that does not exist must be declared by workers, because only they know its arguments. One that
existed before is waited for, because its consumers declare it again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from effectmq.broker.sparingly import Sparingly
from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import (
    AccessRefusedError,
    BrokerError,
    TopologyError,
    TransportClosedError,
)
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.text import describe
from effectmq.protocol.topology import Names, Topology, TopologySettings, work_topology

__all__ = ["Missing", "MissingRoads", "not_looked_up"]

#: How long an answer is used, in seconds.
_FRESH_S = 1.0
#: How long to wait for a queue that existed before, and the pause between two looks, in seconds.
_RETURN_S = 3.0
_LOOK_AGAIN_S = 0.2
_MOST_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True)
class Missing:
    """
    What one look at the broker found missing.

    Attributes:
        passing: Whether publishing again in a moment may succeed: the queue exists, and the rest
            has been declared, here or by somebody else.
        sentence: What is missing, and what to do.
    """

    passing: bool
    sentence: str


class MissingRoads:
    """
    Finds out what is missing when no queue takes an effect, and declares what a producer can.

    Args:
        transport: An open one.
        settings: The namespace.
    """

    def __init__(self, transport: Transport, settings: TopologySettings) -> None:
        self._transport = transport
        self._settings = settings
        self._names = Names(settings.namespace)
        self._loop = asyncio.get_running_loop()
        self._looks: dict[str, asyncio.Task[Missing]] = {}
        self._answers: dict[str, tuple[float, Missing]] = {}
        self._mending: dict[str, Sparingly] = {}
        self._worked: dict[str, None] = {}

    def worked(self, route: str) -> None:
        """Note that an effect of this route was taken: its queue exists."""
        if route not in self._worked and len(self._worked) < _MOST_REMEMBERED:
            self._worked[route] = None

    async def explain(self, route: str) -> Missing:
        """
        What is missing for a route. The call has no limit of its own.

        Raises:
            BrokerError: When the broker cannot be asked.
        """
        found = self._answers.get(route)
        if found is not None and self._loop.time() - found[0] < _FRESH_S:
            return found[1]
        look = self._looks.get(route)
        if look is None:
            look = self._loop.create_task(self._look(route), name=f"effectmq missing {route}")
            self._looks[route] = look
            look.add_done_callback(lambda ended: self._looked(route, ended))
        # A caller that stops waiting leaves the look to the others.
        await asyncio.wait((look,))
        if look.cancelled():
            raise TransportClosedError("the client was closed while looking for what is missing")
        return look.result()

    def _looked(self, route: str, look: asyncio.Task[Missing]) -> None:
        del self._looks[route]
        if look.cancelled() or look.exception() is not None:
            return
        now = self._loop.time()
        for old in [each for each, (at, _) in self._answers.items() if now - at >= _FRESH_S]:
            del self._answers[old]
        self._answers[route] = (now, look.result())

    async def _look(self, route: str) -> Missing:
        try:
            return await self._look_around(route)
        except AccessRefusedError as problem:
            # From RabbitMQ 4.3 on, looking needs a permission as well.
            return not_looked_up(route, problem)

    async def _look_around(self, route: str) -> Missing:
        queue = self._names.work_queue(route)
        there = await self._transport.stats(queue) is not None
        until = self._loop.time() + (_RETURN_S if route in self._worked else 0.0)
        while not there and self._loop.time() < until:
            await asyncio.sleep(_LOOK_AGAIN_S)
            there = await self._transport.stats(queue) is not None
        if not there:
            self._worked.pop(route, None)
            return await self._no_queue(route)
        return await self._mend(route)

    async def _mend(self, route: str) -> Missing:
        exchange = self._names.work_exchange
        queue = self._names.work_queue(route)
        if await self._transport.has_exchange(exchange):
            what = (
                f"no effect for {route!r} arrives: the exchange {exchange!r} and the queue "
                f"{queue!r} are there, the binding between them is not"
            )
        else:
            what = (
                f"no effect for {route!r} arrives: the queue {queue!r} is there, the exchange "
                f"{exchange!r} is not"
            )
        advice = f"Run: effectmq topology apply --kind {route}, or restart a worker of it"
        if not self._mending.setdefault(route, Sparingly()).due(self._loop.time()):
            return Missing(
                passing=True,
                sentence=f"{what}, although it was declared again a moment ago. {advice}, and find "
                "out what removes it",
            )
        whole = work_topology(self._settings, [route])
        try:
            await self._transport.declare(Topology(whole.exchanges, (), whole.bindings))
        except (AccessRefusedError, TopologyError) as problem:
            return Missing(
                # The queue may be gone meanwhile; its consumers declare it again.
                passing=isinstance(problem, TopologyError),
                sentence=f"{what}. {advice}. This client could not declare it: {problem}",
            )
        return Missing(passing=True, sentence=f"{what}; declaring it again did not help. {advice}")

    async def _no_queue(self, route: str) -> Missing:
        known = [
            kind
            for kind in EFFECT_KINDS
            if await self._transport.stats(self._names.work_queue(kind)) is not None
        ]
        if route in known:
            # It appeared while the others were looked for, and its binding will follow.
            return await self._mend(route)
        sentence = (
            f"no queue for {route!r} in namespace {self._names.namespace!r}; there "
            + (f"are queues for {', '.join(known)}" if known else "are no queues at all")
            + f". Start a worker for it (effectmq worker module:app --kind {route}) or declare it "
            f"(effectmq topology apply --kind {route})"
        )
        return Missing(passing=False, sentence=sentence)

    async def close(self) -> None:
        """End every look."""
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)


def not_looked_up(route: str, problem: BrokerError | TimeoutError) -> Missing:
    """The result when the broker could not be asked in time."""
    why = "there was no time left" if isinstance(problem, TimeoutError) else describe(problem)
    return Missing(
        passing=False,
        sentence=f"no queue takes effects for {route!r}, and what is missing is unknown: {why}. "
        f"Start a worker for it (effectmq worker module:app --kind {route}) or look with: "
        "effectmq doctor",
    )
