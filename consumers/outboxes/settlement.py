"""
The messages that end a delivery: an answer, a delayed copy, a dead letter.

The order keeps every effect: first the broker confirms the new message (the answer, the delayed
copy, the dead letter), only then is the old one settled. A crash in between leaves two copies,
never none.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from effectmq.broker.crashpoints import reached
from effectmq.broker.store.letters.notes import LetterNotes
from effectmq.broker.transports.port import Transport
from effectmq.broker.transports.publishing import UNTAKEN, RefusalWatch, publish_until_known
from effectmq.consumers.outboxes.replies import ReplyOutbox
from effectmq.protocol.errors import (
    BrokerError,
    ConfigurationError,
    TransportClosedError,
    UnroutableError,
)
from effectmq.protocol.kinds import version_in
from effectmq.protocol.messages.message import Message
from effectmq.protocol.text import printable
from effectmq.protocol.topology import Names, Topology, TopologySettings, work_topology

__all__ = ["Settlement"]

logger = logging.getLogger("effectmq.worker")

_REDECLARE_WAIT_S = 1.0
#: How many queues a worker declares for versions that messages name; each is a quorum queue.
_MOST_VERSIONS = 100


@dataclass(frozen=True, slots=True)
class _Road:
    """Where a message is published, with words for the log."""

    exchange: str
    routing_key: str
    what: str


class Settlement:
    """
    Publishes what must be confirmed before a delivery is acknowledged.

    Args:
        transport: Where to publish.
        names: The namespace.
        topology: What to declare again when a delay queue or the dead queue is missing.
        replies: Where answers are collected.
        counters: ``delayed``, ``parked``, ``roads_missing``.
        watch: Hears of publishes that wait for a permission.
        letters: Where dead letters are noted, beside their queue.
        settings: How the queue of a version is declared, when it is missing.
    """

    def __init__(
        self,
        transport: Transport,
        names: Names,
        topology: Topology,
        replies: ReplyOutbox,
        counters: Counter[str],
        watch: RefusalWatch | None = None,
        letters: LetterNotes | None = None,
        settings: TopologySettings | None = None,
    ) -> None:
        self.replies = replies
        self._watch = watch
        self._letters = letters
        self._settings = settings or TopologySettings(names.namespace)
        self._transport = transport
        self._names = names
        self._topology = topology
        self._counters = counters
        self._handing: list[asyncio.Task[None]] = []
        #: The routes of versions whose queues this worker found missing.
        self._named: set[str] = set()

    async def delay(self, level_ms: int, route: str, message: Message) -> None:
        """
        Publish to a delay level, from which the route brings it home.

        Raises:
            TransportClosedError: When the worker has left.
        """
        await self._publish_surely(self._level(level_ms, route), message)
        self._counters["delayed"] += 1
        reached("after_delay_publish")

    def hand_on(
        self, level_ms: int, route: str, message: Message, settle: Callable[[], None]
    ) -> None:
        """``delay`` in the background, while the worker leaves; ``handed_on`` waits for it."""
        road = self._level(level_ms, route)

        async def run() -> None:
            try:
                await self._publish_surely(road, message)
            except TransportClosedError:
                return
            self._counters["handed_on"] += 1
            settle()

        self._handing.append(asyncio.get_running_loop().create_task(run()))

    async def handed_on(self, timeout_s: float) -> None:
        """Wait for what is handed on, for a limited time; then give the rest up."""
        if self._handing:
            await asyncio.wait(self._handing, timeout=timeout_s)
        for task in self._handing:
            task.cancel()
        await asyncio.gather(*self._handing, return_exceptions=True)
        self._handing.clear()

    async def send(self, route: str, message: Message) -> None:
        """
        Publish to the queue of a route, which is declared when there is none.

        Its workers may not have been started yet, and the message is to wait for them.

        Raises:
            TransportClosedError: When the worker has left.
            ConfigurationError: When no queue can have its name, or it is a version's that is
                missing, and the worker has declared too many of these already.
        """
        road = _Road(self._names.work_exchange, route, f"route {route}")
        await self._publish_surely(road, message, work_topology(self._settings, [route]))

    async def park(self, reason: str, kind: str, message: Message, *, tree: object = None) -> None:
        """
        Publish a dead letter, and note it in the index.

        In this order: a worker that dies in between has not settled the original, and comes by here
        again. The other way round the index would have what is nowhere else.

        Args:
            reason: Why.
            kind: The effect kind.
            message: The dead letter.
            tree: The envelope as plain data, when it is not in the message.

        Raises:
            TransportClosedError: When the worker has left.
        """
        road = _Road(self._names.dead, f"{kind}.{reason}", "the dead letters")
        await self._publish_surely(road, message)
        self._counters["parked"] += 1
        reached("after_dead_publish")
        if self._letters is not None:
            await self._letters.note(message, road.routing_key, tree)
            reached("after_dead_note")

    async def give_up(self, route: str, message: Message) -> None:
        """
        Publish to limbo what did not come from the broker, which would move it there.

        Raises:
            TransportClosedError: When the worker has left.
        """
        await self._publish_surely(_Road(self._names.limbo, route, "limbo"), message)

    async def deliver(self, message: Message) -> bool:
        """
        Send an outcome that was kept to its reply queue.

        Returns:
            ``False`` while that queue does not exist, or takes nothing.

        Raises:
            TransportClosedError: When the worker has left.
        """
        sent = replace(message, message_id="", reply_to="")
        try:
            await publish_until_known(
                self._transport,
                "",
                message.reply_to,
                sent,
                self._watch,
                self.replies.patience_s,
            )
        except (UnroutableError, *UNTAKEN):
            return False
        self._counters["outcomes_delivered_late"] += 1
        return True

    def _level(self, level_ms: int, route: str) -> _Road:
        return _Road(self._names.delay(level_ms), route, f"delay level {level_ms} ms")

    async def _publish_surely(
        self, road: _Road, message: Message, topology: Topology | None = None
    ) -> None:
        """
        Publish to a queue that must exist; when it does not, declare it and try again.

        Args:
            road: Where to.
            message: The message.
            topology: What to declare; what this worker needs by default.
        """
        while True:
            try:
                await publish_until_known(
                    self._transport, road.exchange, road.routing_key, message, self._watch
                )
                return
            except UnroutableError:
                if topology is not None:
                    self._check_named(road.routing_key)
                # Once: messages of strangers name it, and others may delete it when it is empty.
                if topology is not None and await self._declared(topology, lasting=False):
                    continue
                self._counters["roads_missing"] += 1
                logger.error(
                    "there is no queue for %s; declaring it again",
                    road.what,
                    extra={"action": "road_missing", "exchange": road.exchange},
                )
                await self._declare_again()

    def _check_named(self, route: str) -> None:
        """
        Make sure that messages of strangers do not make queues without end.

        Raises:
            ConfigurationError: When this one would be one too many.
        """
        if not version_in(route) or route in self._named:
            return
        if len(self._named) >= _MOST_VERSIONS:
            raise ConfigurationError(
                f"the queue of {printable(route, 100)} does not exist, and this worker has "
                f"declared {_MOST_VERSIONS} queues of versions already that messages have named; "
                "expected versions that are few. If the version is right, start a worker of it, or "
                "run: effectmq topology apply --kind ROUTE@VERSION, then replay this letter"
            )
        self._named.add(route)

    async def _declared(self, topology: Topology, *, lasting: bool = True) -> bool:
        try:
            await self._transport.declare(topology, lasting=lasting)
        except TransportClosedError:
            # The worker has left. Do not settle: another worker gets the original.
            raise
        except BrokerError as problem:
            logger.error("%s", problem, extra={"action": "declare_failed"})
            return False
        return True

    async def _declare_again(self) -> None:
        await self._declared(self._topology)
        await asyncio.sleep(_REDECLARE_WAIT_S)

    async def drain(self) -> None:
        """Wait until every answer is sent."""
        await self.replies.drain()

    def abort(self) -> None:
        """Stop sending; unsettled deliveries come back."""
        self.replies.abort()
