"""One connection to a memory broker."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

from effectmq.broker.transports.limits import check_message, check_routing_key
from effectmq.broker.transports.memory.broker import MemoryBroker
from effectmq.broker.transports.memory.consumers import MemoryConsumer
from effectmq.broker.transports.memory.posted import MemoryPosted, unknown
from effectmq.broker.transports.port import Delivery, Posted, QueueStats
from effectmq.broker.transports.settings import DEFAULT_SETTINGS, TransportSettings
from effectmq.protocol.errors import (
    BrokerBlockedError,
    BrokerError,
    ConfigurationError,
    PublishUnknownError,
    QueueFullError,
    TopologyError,
    TransportClosedError,
    UnroutableError,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import NOTHING, Topology
from effectmq.protocol.urls import mask_url, memory_name

__all__ = ["MemoryTransport"]

_log = logging.getLogger(__name__)


class MemoryTransport:
    """
    The transport port over a ``MemoryBroker``.

    Args:
        url: ``memory://name``, or ``memory://`` for the default name. Transports of one name on
            one event loop share a broker.
        settings: The limits and the publish timeout; nothing else applies here.

    Raises:
        ConfigurationError: The URL has more than a name.
    """

    def __init__(
        self, url: str = "memory://", settings: TransportSettings = DEFAULT_SETTINGS
    ) -> None:
        self._name = _name_in(url)
        self._settings = settings
        self._counters: Counter[str] = Counter()
        self._broker: MemoryBroker | None = None
        self._open = False
        self._declared = Topology()
        self._consumers: dict[MemoryConsumer, None] = {}
        self._blocked_publishes: set[asyncio.Future[None]] = set()
        # A publish in flight belongs to the connection on which it was made.
        self._connection = 0

    @property
    def counters(self) -> Counter[str]:
        """
        Counters of events; the names of the port, and ``blocked``.
        """
        return self._counters

    @property
    def broker(self) -> MemoryBroker:
        """
        The broker to which this transport is, or was last, connected; for tests.

        Raises:
            TransportClosedError: It was never opened.
        """
        if self._broker is None:
            raise TransportClosedError(f"memory://{self._name} was not opened; use: async with")
        return self._broker

    @property
    def server(self) -> str:
        """A name only: this broker has the version of this package."""
        return "memory" if self._open else ""

    @property
    def problem(self) -> str:
        """See the port."""
        return "" if self._open else "the transport is not open"

    async def __aenter__(self) -> MemoryTransport:
        self._broker = MemoryBroker.named(self._name)
        self._open = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._open = False
        self._drop_publishes("the transport was closed")
        for consumer in list(self._consumers):
            await consumer.close()

    async def declare(self, topology: Topology, *, lasting: bool = True) -> None:
        """Make sure that these objects exist; see the port."""
        broker = await self._turn()
        for queue in topology.queues:
            broker.check_access(queue.name, self)
        broker.declare(topology)
        if lasting:
            self._declared |= topology

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        message: Message,
        *,
        timeout: float | None = None,
        given: float | None = None,
    ) -> None:
        """Publish and wait for the confirmation; see the port."""
        broker = self._opened()
        check_routing_key(routing_key)
        check_message(message, self._settings.max_body_bytes)
        if broker.blocked:
            limit_s = self._settings.publish_timeout_s if timeout is None else timeout
            await self._wait_for_alarm(broker, limit_s, limit_s if given is None else given)
        connection = self._connection
        try:
            broker.publish(exchange, routing_key, _frozen(message))
        except UnroutableError:
            self._counters["unroutable"] += 1
            raise
        except QueueFullError:
            self._counters["refused"] += 1
            raise
        # The confirmation comes in the next turn of the loop. When the connection is lost in
        # between, the publish is unknown although the message is stored, as in a network.
        await asyncio.sleep(0)
        if connection != self._connection:
            self._counters["unknown_publishes"] += 1
            raise PublishUnknownError(unknown("the connection was lost"))
        self._counters["published"] += 1

    def post(
        self,
        exchange: str,
        routing_key: str,
        message: Message,
        awaited: asyncio.Future[Any],
        *,
        timeout: float,
        on_taken: Callable[[], None],
    ) -> Posted | None:
        """Publish; the confirmation comes in the next turn of the loop, see the port."""
        broker = self._opened()
        check_routing_key(routing_key)
        check_message(message, self._settings.max_body_bytes)
        if broker.blocked:
            return None
        failure: UnroutableError | QueueFullError | None = None
        try:
            broker.publish(exchange, routing_key, _frozen(message))
        except (UnroutableError, QueueFullError) as problem:
            failure = problem
            self._counters["unroutable" if isinstance(problem, UnroutableError) else "refused"] += 1
        posted = MemoryPosted(awaited, on_taken, failure, self._counters)
        connection = self._connection
        asyncio.get_running_loop().call_soon(
            lambda: posted.answer(lost=connection != self._connection)
        )
        return posted

    async def consume(
        self,
        queue: str,
        *,
        prefetch: int,
        exclusive: bool = False,
        lock: str = "",
        priority: int = 0,
        on_resumed: Callable[[bool], None] | None = None,
        on_mute: Callable[[float], Awaitable[bool]] | None = None,
        on_delivery: Callable[[Delivery], None] | None = None,
    ) -> MemoryConsumer:
        """
        Subscribe; see the port.

        Exclusive consumers need no lock here, and every queue answers.
        """
        broker = await self._turn()
        broker.check_access(queue, self)
        consumer = MemoryConsumer(
            broker,
            queue,
            prefetch=_checked_prefetch(prefetch),
            exclusive=exclusive,
            priority=priority,
            counters=self._counters,
            on_resumed=on_resumed,
            on_cancel=self._restore_soon,
            on_close=self._forget,
            on_delivery=on_delivery,
        )
        self._consumers[consumer] = None
        return consumer

    async def listen(
        self,
        exchange: str,
        *,
        name: Callable[[], str],
        prefetch: int,
        on_renewed: Callable[[str], None] | None = None,
    ) -> MemoryConsumer:
        """Consume from an exchange; see the port."""
        broker = await self._turn()

        def own() -> str:
            queue = name()
            broker.declare_own(exchange, queue, self)
            return queue

        def resumed(made_anew: bool) -> None:
            if on_renewed is not None:
                on_renewed(consumer.queue)

        consumer = MemoryConsumer(
            broker,
            "",
            prefetch=_checked_prefetch(prefetch),
            exclusive=True,
            counters=self._counters,
            on_resumed=resumed,
            on_cancel=self._restore_soon,
            on_close=self._forget,
            own=own,
        )
        self._consumers[consumer] = None
        return consumer

    async def delete(self, queue: str, *, if_empty: bool = False) -> bool:
        """Delete a queue; see the port."""
        broker = await self._turn()
        broker.check_access(queue, self)
        stats = broker.stats(queue, self)
        if if_empty and stats is not None and stats.ready:
            return False
        self._declared = self._declared.without(queue)
        broker.delete_queue(queue)
        return True

    async def delete_exchange(self, exchange: str, *, if_unused: bool = False) -> bool:
        """Delete an exchange; see the port."""
        broker = await self._turn()
        if if_unused and broker.is_bound(exchange):
            return False
        self._declared = self._declared.without_exchange(exchange)
        broker.delete_exchange(exchange)
        return True

    async def stats(self, queue: str) -> QueueStats | None:
        """What the broker says about a queue; ``None`` when it does not exist."""
        broker = await self._turn()
        return broker.stats(queue, self)

    async def has_exchange(self, exchange: str) -> bool:
        """Whether there is such an exchange."""
        broker = await self._turn()
        return broker.has_exchange(exchange)

    async def refusals(
        self,
        *,
        declares: Topology = NOTHING,
        publishes: Iterable[tuple[str, str]] = (),
        consumes: Iterable[str] = (),
    ) -> list[BrokerError]:
        """See the port; there are no permissions, so only missing objects are refused."""
        broker = await self._turn()
        found = [
            TopologyError(f"there is no exchange {exchange!r} to publish to; declare it first")
            for exchange, _ in publishes
            if exchange and not broker.has_exchange(exchange)
        ]
        found += [
            TopologyError(f"there is no queue {queue!r} to consume; declare it first")
            for queue in consumes
            if broker.stats(queue) is None
        ]
        return [*found]

    def lose_connection(self) -> None:
        """
        Break the connection, for tests; it comes back in the next turn of the loop.

        Unsettled messages go back to their queues and the deliveries are stale; publishes in flight
        become unknown; consumers resume by themselves.
        """
        self._opened()
        self._drop_publishes("the connection was lost")
        for consumer in self._consumers:
            consumer.lose_connection()
        asyncio.get_running_loop().call_soon(self._reconnect)

    def _opened(self) -> MemoryBroker:
        if not self._open or self._broker is None:
            raise TransportClosedError(
                f"memory://{self._name} is not open; use the transport inside: async with"
            )
        return self._broker

    async def _turn(self) -> MemoryBroker:
        """The broker, one turn of the loop later, because every call to a broker waits."""
        self._opened()
        await asyncio.sleep(0)
        return self._opened()

    async def _wait_for_alarm(self, broker: MemoryBroker, timeout: float, given_s: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                while broker.blocked:
                    waiting = broker.unblocked()
                    self._blocked_publishes.add(waiting)
                    waiting.add_done_callback(self._blocked_publishes.discard)
                    await waiting
        except TimeoutError:
            self._counters["blocked"] += 1
            raise BrokerBlockedError(
                f"the broker has an alarm (memory or disk) and took no publish for {given_s:g} s; "
                "nothing was stored. Free memory or disk there, and publish again"
            ) from None

    def _drop_publishes(self, reason: str) -> None:
        self._connection += 1
        for waiting in list(self._blocked_publishes):
            if not waiting.done():
                self._counters["unknown_publishes"] += 1
                waiting.set_exception(PublishUnknownError(unknown(reason)))

    def _reconnect(self) -> None:
        if not self._open:
            return
        self._counters["reconnects"] += 1
        self._restore()
        for consumer in list(self._consumers):
            consumer.resume()

    def _restore_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._restore)

    def _restore(self) -> None:
        """Declare again what this transport has declared."""
        if not self._open or self._broker is None:
            return
        for consumer in self._consumers:
            if self._broker.stats(consumer.queue) is None:
                consumer.note_missing()
        try:
            self._broker.declare(self._declared)
        except BrokerError as error:
            _log.error("the earlier declarations cannot be repeated: %s", error)

    def _forget(self, consumer: MemoryConsumer) -> None:
        self._consumers.pop(consumer, None)


def _checked_prefetch(prefetch: int) -> int:
    if prefetch < 1:
        raise ConfigurationError(f"prefetch is {prefetch}; expected 1 or more")
    return prefetch


def _name_in(url: str) -> str:
    name = memory_name(url)
    if name is None:
        raise ConfigurationError(
            f"the broker URL is {mask_url(url)!r}; expected memory:// or memory://name, where a "
            "name has letters, digits and -_."
        )
    return name


def _frozen(message: Message) -> Message:
    """A copy that its publisher can no longer change, with an id."""
    return replace(
        message,
        message_id=message.message_id or os.urandom(16).hex(),
        headers=dict(message.headers),
    )
