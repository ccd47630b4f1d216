"""
The transport port: publishing and consuming, and the promises of every adapter.

* **Publish** returns when the broker has the message, or raises exactly one of the
  ``PublishError`` family: unroutable, queue full, too large, blocked, unknown. Never silently.
  "Unknown" means it may have arrived; publishing the same effect again is always safe.
* **Consume** delivers at most ``prefetch`` unsettled messages at a time. Deliveries that are not
  settled when a consumer stops, or when the connection is lost, come back to the front and count
  towards the queue's delivery limit; past it the broker moves them to the dead-letter exchange. A
  consumer that lost its connection, its channel or its queue resumes by itself; its old deliveries
  are then *stale*, and settling one is counted and otherwise ignored.
* **Nothing hangs.** Every call ends within its timeout plus a second.

Adapters: ``memory://`` (one process, the reference) and ``amqp://`` (RabbitMQ). Both pass
``tests/conformance/test_transport.py``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from effectmq.protocol.errors import BrokerError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import NOTHING, Topology

__all__ = ["Consumer", "Delivery", "Posted", "QueueStats", "Transport"]


@dataclass(frozen=True, slots=True)
class QueueStats:
    """
    The statistics of a queue, from a passive declaration.

    Attributes:
        name: The queue.
        ready: Messages waiting; those held unsettled by consumers are not counted.
        consumers: Consumers attached to it, by any process.
        locked: Whether it belongs to another live connection: the numbers are then unknown, and 0.
    """

    name: str
    ready: int
    consumers: int
    locked: bool = False


class Delivery(Protocol):
    """One message, held until it is settled."""

    @property
    def message(self) -> Message:
        """The message as it was published, with headers of effectmq only."""
        ...

    @property
    def queue(self) -> str:
        """The queue it came from."""
        ...

    @property
    def routing_key(self) -> str:
        """The key it was last published with; on a work queue, the route."""
        ...

    @property
    def redelivered(self) -> bool:
        """Whether the broker has delivered it before; ``message.returns`` has the number."""
        ...

    def ack(self) -> None:
        """
        Settle: the broker may forget the message.

        Never blocks and never raises. Acknowledgements of one turn of the event loop are sent
        together. A second call, and a call on a stale delivery, do nothing and are counted.
        """
        ...

    def reject(self) -> None:
        """
        Pass the message to the queue's dead-letter exchange, unchanged.

        For messages that cannot be published again, such as one over every limit. Otherwise like
        ``ack``.
        """
        ...


class Consumer(Protocol):
    """A subscription to one queue: an asynchronous iterator of deliveries."""

    @property
    def queue(self) -> str:
        """The queue; that of ``listen`` changes after each loss."""
        ...

    @property
    def consuming(self) -> bool:
        """Whether the broker is known to serve this consumer at the moment."""
        ...

    @property
    def held(self) -> int:
        """Deliveries that are not settled and not stale, those in the buffer included."""
        ...

    def __aiter__(self) -> AsyncIterator[Delivery]:
        """Deliveries as they arrive, until ``stop`` or ``close``."""
        ...

    async def stop(self) -> None:
        """
        Ask for no more deliveries; earlier ones can still be settled.

        Messages that were buffered but never delivered go back to the queue. The iteration ends.
        """
        ...

    async def close(self) -> None:
        """Stop, send the acknowledgements, and give everything unsettled back to the queue."""
        ...


class Posted(Protocol):
    """A message that was published without waiting for its confirmation."""

    @property
    def taken(self) -> bool:
        """Whether the broker has the message."""
        ...

    async def confirmed(self, given_s: float) -> None:
        """
        Wait for the confirmation after all, as ``Transport.publish`` does, and raise what it does.

        To be called when ``awaited`` has a result and the message is not taken.

        Args:
            given_s: The time that errors name.
        """
        ...

    def leave(self, *, arrived: bool) -> None:
        """
        Stop waiting for the confirmation.

        Args:
            arrived: Whether something proves that the message has arrived.
        """
        ...


class Transport(Protocol):
    """A connection to a broker. Use it as an asynchronous context manager."""

    @property
    def counters(self) -> Counter[str]:
        """
        Counters of events that operators need to know.

        Names: ``published``, ``unroutable``, ``refused``, ``unknown_publishes``,
        ``stuck_publishes`` (sent again on another channel), ``reconnects``,
        ``consumer_cancels``, ``stale_acks``, ``deliveries``.
        """
        ...

    @property
    def server(self) -> str:
        """Name and version of the broker; empty while there is no connection."""
        ...

    @property
    def problem(self) -> str:
        """Why there is no connection at the moment; empty while there is one."""
        ...

    async def __aenter__(self) -> Transport:
        """
        Connect.

        Raises:
            BrokerError: When the broker cannot be used, within the connect timeout.
        """
        ...

    async def __aexit__(self, *exc_info: object) -> None:
        """Close every consumer and disconnect. Limited in time, and never raises."""
        ...

    async def declare(self, topology: Topology, *, lasting: bool = True) -> None:
        """
        Make these objects exist, now and after every reconnect.

        Args:
            topology: The objects.
            lasting: Whether to declare them again after a reconnect. Not for what another
                connection may take away meanwhile.

        Raises:
            TopologyError: When one exists with other arguments; names the object, its arguments and
                the expected ones.
            AccessRefusedError: When the user may not declare it.
        """
        ...

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        message: Message,
        *,
        timeout: float | None = None,
        given: float | None = None,
    ) -> None:
        """
        Publish, persistent and mandatory, and wait for the confirmation.

        Args:
            exchange: Its name; empty for the default exchange, where the routing key is a queue
                name.
            routing_key: At most 255 bytes.
            message: The message.
            timeout: Seconds to wait, a wait for a connection included; ``None`` takes the
                transport's default.
            given: The time that errors name, when ``timeout`` is the rest of it.

        Raises:
            PublishError: One of the family; see the port's docstring.
            AccessRefusedError: When the user may not publish there.
        """
        ...

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
        """
        Publish as ``publish`` does, for a caller that waits for something else at the same time.

        So one wait serves for both: an answer that comes proves that the message has arrived.

        Args:
            exchange: As in ``publish``.
            routing_key: As in ``publish``.
            message: As in ``publish``.
            awaited: Of the caller. It gets the result ``None`` when the caller is to look: the
                publish failed, or was not confirmed in time.
            timeout: Seconds to wait for the confirmation.
            on_taken: Called when the broker has the message, in place of that.

        Returns:
            The publish, to be left by a caller that no longer waits. ``None`` when it needs a wait
            of its own: nothing was done, and ``publish`` is to be used.

        Raises:
            PayloadTooLargeError: When it is over the size limit.
            ConfigurationError: When a property or a header has a type that cannot be sent.
            TransportClosedError: When the transport is not open.
        """
        ...

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
    ) -> Consumer:
        """
        Subscribe.

        Args:
            queue: It must exist.
            prefetch: How many deliveries may be unsettled at a time; at least 1.
            exclusive: Whether to refuse to share the queue with another consumer.
            lock: A name to hold while consuming. A quorum queue accepts any number of consumers,
                also exclusive ones; consumers that need it exclusively use the same lock.
            priority: While a consumer of a higher one may take a delivery, it gets none. Ignored
                with a lock.
            on_resumed: Called each time the consumer has its queue again after losing it; with
                ``True`` when the queue was declared anew, so that its content, and what was sent
                meanwhile, may be lost.
            on_mute: Awaited when the broker did not answer the request to consume, also at the
                start, as with a queue that has lost its leader; the request is repeated afterwards.
                Gets the longest time, in seconds, for which the queue was consumed without a break
                since it was declared anew, if it was; returns whether it has declared the queue
                anew.

            on_delivery: Gets each delivery as soon as it has arrived, instead of the iteration;
                must not raise.

        Raises:
            TopologyError: When the queue does not exist.
            ReplyQueueInUseError: When ``exclusive`` and another consumer has the queue.
        """
        ...

    async def listen(
        self,
        exchange: str,
        *,
        name: Callable[[], str],
        prefetch: int,
        on_renewed: Callable[[str], None] | None = None,
    ) -> Consumer:
        """
        Consume what is published to a fanout exchange, over a queue of its own.

        The queue is for hints that may be lost. It belongs to the connection, so that no other
        connection can use it, and it is gone when its consumer stops or loses the connection, with
        everything in it. The consumer then makes another queue under another name, so that nothing
        that remains of the last one, on any node, can disturb it.

        Args:
            exchange: It must exist.
            name: Makes a name that no queue had before; called for each queue.
            prefetch: How many deliveries may be unsettled at a time; at least 1.
            on_renewed: Called with the name of each queue after the first. Messages in between were
                not heard.

        Raises:
            TopologyError: When the exchange does not exist.
            AccessRefusedError: When the user may not declare, bind or consume the queue.
        """
        ...

    async def delete(self, queue: str, *, if_empty: bool = False) -> bool:
        """
        Delete a queue; a missing queue is no error.

        Args:
            queue: Its name.
            if_empty: Only when it is empty; a quorum queue does not support this.

        Returns:
            Whether it is gone; ``False`` when it is not empty.
        """
        ...

    async def delete_exchange(self, exchange: str, *, if_unused: bool = False) -> bool:
        """
        Delete an exchange with its bindings; a missing exchange is no error.

        Args:
            exchange: Its name.
            if_unused: Only when no queue is bound to it.

        Returns:
            Whether it is gone; ``False`` when a queue is bound to it.
        """
        ...

    async def stats(self, queue: str) -> QueueStats | None:
        """
        The broker's statistics of a queue; ``None`` when it does not exist.

        For a queue of another connection only its existence is known.

        Cheap for many at once: calls that have not begun share a look.
        """
        ...

    async def has_exchange(self, exchange: str) -> bool:
        """Whether there is such an exchange."""
        ...

    async def refusals(
        self,
        *,
        declares: Topology = NOTHING,
        publishes: Iterable[tuple[str, str]] = (),
        consumes: Iterable[str] = (),
    ) -> list[BrokerError]:
        """
        Find out what would be refused, without declaring, publishing or consuming.

        Args:
            declares: Exchanges, queues and bindings, whether they exist or not; by their names.
            publishes: Exchanges (empty for the default one), each with a routing key.
            consumes: Queues.

        Returns:
            An ``AccessRefusedError`` for each missing permission, a ``TopologyError`` for each
            missing object to publish to or to consume, in the order of the arguments.
        """
        ...
