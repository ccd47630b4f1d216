"""
The ``amqp://`` adapter: two supervised connections, a publisher, consumers, declarations.

Publishing and consuming use separate connections: during a memory or disk alarm the broker does not
read from a connection that publishes, and acknowledgements must not wait for that.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from effectmq.broker.transports.addresses import split_addresses
from effectmq.broker.transports.limits import check_message, check_routing_key
from effectmq.broker.transports.port import Delivery, Posted, QueueStats
from effectmq.broker.transports.rabbitmq.connection.rotation import Rotation
from effectmq.broker.transports.rabbitmq.connection.supervisor import Supervisor
from effectmq.broker.transports.rabbitmq.consumer import RabbitConsumer
from effectmq.broker.transports.rabbitmq.declaring import declare, missing_queues, restore
from effectmq.broker.transports.rabbitmq.driver import Link
from effectmq.broker.transports.rabbitmq.driver.address import read_address, read_addresses
from effectmq.broker.transports.rabbitmq.driver.errors import in_use_error
from effectmq.broker.transports.rabbitmq.driver.waiting import seen
from effectmq.broker.transports.rabbitmq.looking import Looker
from effectmq.broker.transports.rabbitmq.own import OwnQueue
from effectmq.broker.transports.rabbitmq.publisher import Publisher
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import (
    BrokerError,
    BrokerUnreachableError,
    ConfigurationError,
    TopologyError,
    TransportClosedError,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import NOTHING, Topology

__all__ = ["RabbitTransport"]

logger = logging.getLogger("effectmq.rabbitmq")

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
#: The time for the second connection, in seconds, when the first one took nearly all the time.
_SECOND_CONNECT_S = 3.0
#: How long the bindings may take before a new connection is used without them, in seconds.
_BIND_S = 2.0
#: The number of parts of a publish's usual time: after each part it is sent again on another
#: channel when a cluster does not answer.
_TRIES = 4
#: AMQP writes it in two bytes.
_MAX_PREFETCH = 65_535
#: The number of parts of a start's time, where a mute queue can be replaced. RabbitMQ deletes it
#: after five seconds, and it must be declared anew in the rest of the time.
_STARTS = 3


class RabbitTransport:
    """
    RabbitMQ 3.10 to 4.3, over AMQP 0-9-1.

    Args:
        urls: ``amqp://user:password@host:port/vhost``, or ``amqps://`` with ``?cafile=``; one
            address, or those of all nodes of a cluster.
        settings: Timeouts, limits and the connection's name.
    """

    def __init__(
        self, urls: str | Sequence[str], settings: TransportSettings | None = None
    ) -> None:
        self._urls = split_addresses(urls) if isinstance(urls, str) else tuple(urls)
        self._settings = settings or TransportSettings()
        self._counters: Counter[str] = Counter()
        self._topology = Topology()
        self._consumers: set[RabbitConsumer] = set()
        self._declaring = asyncio.Lock()
        self._restores_begun = 0
        self._restored = 0
        # Both connections to one node, as long as it lives.
        start = random.randrange(len(self._urls))
        self._publishing = Supervisor(
            Rotation(self._urls, start), self._settings, "publish", self._counters
        )
        self._consuming = Supervisor(
            Rotation(self._urls, start),
            self._settings,
            "consume",
            self._counters,
            restore=self._restore,
        )
        self._publisher: Publisher | None = None
        self._looker = Looker(self._link)

    @property
    def counters(self) -> Counter[str]:
        """See the port."""
        return self._counters

    @property
    def server(self) -> str:
        """See the port."""
        return self._consuming.server

    @property
    def problem(self) -> str:
        """See the port."""
        for one in (self._publishing, self._consuming):
            if not one.ready:
                return str(one.failure or "the connection to the broker is being made")
        return ""

    async def __aenter__(self) -> RabbitTransport:
        """Connect; see the port."""
        # All of them, so that a mistake in one is found now and not when it is needed.
        for address in read_addresses(self._urls):
            if not address.tls and address.host not in _LOOPBACK:
                logger.warning(
                    "the connection to %s is not encrypted; use amqps:// outside this machine",
                    address.host,
                    extra={"action": "plain_connection"},
                )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.connect_timeout_s
        try:
            await self._publishing.start(self._settings.connect_timeout_s)
            await self._consuming.start(max(_SECOND_CONNECT_S, deadline - loop.time()))
        except BaseException:
            await self._disconnect()
            raise
        # With one address there may be one node, so that no other one can lead its queues.
        stuck_s = self._settings.publish_timeout_s / _TRIES if len(self._urls) > 1 else math.inf
        self._publisher = Publisher(
            self._publishing, self._settings, self._redeclare, self._counters, stuck_s
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close every consumer and disconnect."""
        publisher, self._publisher = self._publisher, None
        endings = [consumer.close() for consumer in list(self._consumers)]
        if publisher is not None:
            endings += [publisher.close(), self._looker.close()]
        # In parallel: with a silent broker each of them waits for its own timeout.
        await asyncio.gather(*endings, return_exceptions=True)
        await self._disconnect()

    async def _disconnect(self) -> None:
        await asyncio.gather(
            self._publishing.close(), self._consuming.close(), return_exceptions=True
        )

    async def declare(self, topology: Topology, *, lasting: bool = True) -> None:
        """See the port."""
        self._check_open()
        async with self._declaring:
            await declare(await self._link(), topology)
            if lasting:
                self._topology = self._topology | topology

    async def _restore(self, link: Link) -> None:
        """Declare everything again on a new connection, before it is used."""
        await self._note_missing(link)
        declared = self._topology
        await restore(link, Topology(declared.exchanges, declared.queues))
        # A cluster with a frozen node answers these only after it has given the node up. They
        # usually exist already, and nothing should wait for that.
        binding = asyncio.get_running_loop().create_task(
            restore(link, Topology(bindings=declared.bindings)), name="effectmq bindings"
        )
        binding.add_done_callback(seen)
        await asyncio.wait({binding}, timeout=_BIND_S)
        if binding.done():
            binding.result()

    async def _note_missing(self, link: Link) -> None:
        """Tell consumers that their queue does not exist any more, while that can still be seen."""
        watching = [consumer for consumer in self._consumers if consumer.watched]
        missing = await missing_queues(link, {consumer.queue for consumer in watching})
        for consumer in watching:
            if consumer.queue in missing:
                consumer.note_missing()

    async def _redeclare(self) -> None:
        """
        Declare everything again, because something is missing.

        Callers that ask at the same time share one turn: a hundred consumers of a broker that lost
        its queues must not declare them a hundred times.
        """
        begun = self._restores_begun
        async with self._declaring:
            if self._restored > begun:
                return
            self._restores_begun += 1
            turn = self._restores_begun
            link = await self._link()
            await self._note_missing(link)
            await restore(link, self._topology)
            self._restored = turn

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        message: Message,
        *,
        timeout: float | None = None,
        given: float | None = None,
    ) -> None:
        """See the port."""
        publisher = self._check_open()
        check_routing_key(routing_key)
        check_message(message, self._settings.max_body_bytes)
        limit_s = self._settings.publish_timeout_s if timeout is None else timeout
        named_s = limit_s if given is None else given
        await publisher.publish(exchange, routing_key, message, limit_s, named_s)

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
        """See the port."""
        publisher = self._check_open()
        check_routing_key(routing_key)
        check_message(message, self._settings.max_body_bytes)
        return publisher.post(exchange, routing_key, message, awaited, timeout, on_taken)

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
    ) -> RabbitConsumer:
        """See the port."""
        self._check_open()
        if lock and any(lock == consumer.lock for consumer in self._consumers):
            # The broker would accept a second consumer of the same connection.
            raise in_use_error(f"consuming from {queue!r}", "in this process")
        consumer = RabbitConsumer(
            self._consuming,
            queue,
            prefetch=_checked_prefetch(prefetch),
            # What enforces it by itself is asked for it; a ghost of ours must not keep us out.
            exclusive=exclusive and not lock,
            lock=lock,
            priority=priority,
            on_resumed=on_resumed,
            on_mute=on_mute,
            first_patience_s=self._settings.connect_timeout_s / _STARTS if on_mute else None,
            redeclare=self._redeclare,
            counters=self._counters,
            on_closed=self._consumers.discard,
            on_delivery=on_delivery,
        )
        return await self._started(consumer, f"consuming from {queue!r}")

    async def listen(
        self,
        exchange: str,
        *,
        name: Callable[[], str],
        prefetch: int,
        on_renewed: Callable[[str], None] | None = None,
    ) -> RabbitConsumer:
        """See the port."""
        self._check_open()

        def resumed(made_anew: bool) -> None:
            if on_renewed is not None:
                on_renewed(consumer.queue)

        consumer = RabbitConsumer(
            self._consuming,
            exchange,
            prefetch=_checked_prefetch(prefetch),
            # Nobody else can have it.
            exclusive=False,
            lock="",
            on_resumed=resumed,
            redeclare=self._redeclare,
            counters=self._counters,
            on_closed=self._consumers.discard,
            own=OwnQueue(exchange, name),
        )
        return await self._started(consumer, f"listening to {exchange!r}")

    async def _started(self, consumer: RabbitConsumer, doing: str) -> RabbitConsumer:
        self._consumers.add(consumer)
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await consumer.start()
        except TimeoutError:
            ready = self._consuming.ready
            await consumer.close()
            raise self._no_connection(doing, consumer.waits_for if ready else "") from None
        except BaseException:
            await consumer.close()
            raise
        return consumer

    async def delete(self, queue: str, *, if_empty: bool = False) -> bool:
        """See the port."""
        self._check_open()
        channel = await (await self._link()).channel(confirms=False)
        try:
            await channel.delete_queue(queue, if_empty=if_empty)
        except TopologyError:
            return await self.stats(queue) is None
        finally:
            await channel.close()
        self._topology = self._topology.without(queue)
        return True

    async def delete_exchange(self, exchange: str, *, if_unused: bool = False) -> bool:
        """See the port."""
        self._check_open()
        channel = await (await self._link()).channel(confirms=False)
        try:
            await channel.delete_exchange(exchange, if_unused=if_unused)
        except TopologyError:
            return not await self.has_exchange(exchange)
        finally:
            await channel.close()
        self._topology = self._topology.without_exchange(exchange)
        return True

    async def stats(self, queue: str) -> QueueStats | None:
        """See the port."""
        self._check_open()
        return await self._looker.queue(queue)

    async def has_exchange(self, exchange: str) -> bool:
        """See the port."""
        self._check_open()
        return await self._looker.exchange(exchange)

    async def refusals(
        self,
        *,
        declares: Topology = NOTHING,
        publishes: Iterable[tuple[str, str]] = (),
        consumes: Iterable[str] = (),
    ) -> list[BrokerError]:
        """See the port."""
        self._check_open()
        found: list[BrokerError | None] = [*await self._looker.may_declare(declares)]
        found += [await self._looker.may_publish(*road) for road in publishes]
        found += [await self._looker.may_consume(queue) for queue in consumes]
        return [problem for problem in found if problem is not None]

    async def _link(self) -> Link:
        """The consuming connection, bounded."""
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                return await self._consuming.link()
        except TimeoutError:
            raise self._no_connection("using the broker") from None

    def _no_connection(self, doing: str, mute: str = "") -> BrokerUnreachableError:
        """
        Args:
            doing: What was tried.
            mute: The queue that did not answer, if it is that and not the connection.
        """
        why = self._consuming.failure or "the connection to the broker did not come back"
        if mute:
            vhost = read_address(self._urls[0]).vhost
            command = f"rabbitmqctl delete_queue --vhost {vhost} {mute}"
            why = (
                "the queue does not answer. Look whether a majority of the nodes that it is on is "
                "running. If all of them are, it has no leader, because its broker was killed in "
                f"its first second: delete it ({command}), which loses what is in it"
            )
        return BrokerUnreachableError(
            f"{doing}: no success within {self._settings.connect_timeout_s:g} s: {why}"
        )

    def _check_open(self) -> Publisher:
        if self._publisher is None:
            raise TransportClosedError(
                "the transport is not open; use it inside 'async with', and not after it"
            )
        return self._publisher


def _checked_prefetch(prefetch: int) -> int:
    if not 1 <= prefetch <= _MAX_PREFETCH:
        raise ConfigurationError(f"prefetch is {prefetch}; expected 1 to {_MAX_PREFETCH}")
    return prefetch
