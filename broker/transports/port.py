"""
The transport port: how messages travel, and what every adapter promises.

* **Publish** returns when the broker has the message, or raises exactly one of the
  ``PublishError`` family: unroutable, queue full, too large, blocked, unknown. Never silently.
  "Unknown" means it may have arrived; publishing the same effect again is always safe.
* **Consume** hands out at most ``prefetch`` deliveries that are not settled. Deliveries that are
  not settled when a consumer stops, or when the connection is lost, come back, to the front, and
  count towards the queue's delivery limit; past it the broker moves them to the dead-letter
  exchange. A consumer that lost its connection, its channel or its queue resumes by itself; its
  old deliveries are then *stale*, and settling one is counted and otherwise ignored.
* **Nothing hangs.** Every call ends within its timeout plus a second.

Adapters: ``memory://`` (one process, the reference) and ``amqp://`` (RabbitMQ). Both pass
``tests/conformance/test_transport.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from effectmq.protocol.errors import BrokerError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import NOTHING, Topology

__all__ = ["Consumer", "Delivery", "QueueStats", "Transport"]


@dataclass(frozen=True, slots=True)
class QueueStats:
    """
    What a passive declaration shows of a queue.

    Attributes:
        name: The queue.
        ready: Messages waiting; those held unsettled by consumers are not counted.
        consumers: Consumers attached to it, by any process.
        locked: It belongs to another connection, which lives: the numbers are not told, and 0.
    """

    name: str
    ready: int
    consumers: int
    locked: bool = False


class Delivery(Protocol):
    """One message, held until it is settled."""

    @property
    def message(self) -> Message:
        """The message as it was published, with our headers only."""
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
        """Whether the broker has handed it out before; how often says ``message.returns``."""
        ...

    def ack(self) -> None:
        """
        Settle: the broker may forget the message.

        Never blocks and never raises. Acknowledgements of one turn of the event loop leave
        together; a second call, and a call on a stale delivery, do nothing and are counted.
        """
        ...

    def reject(self) -> None:
        """
        Hand the message to the queue's dead-letter exchange, as it is.

        For what cannot be published again, such as a body over every limit. Otherwise like ``ack``.
        """
        ...


class Consumer(Protocol):
    """A subscription to one queue: an asynchronous iterator of deliveries."""

    @property
    def queue(self) -> str:
        """The queue; that of ``listen`` is another one after each loss."""
        ...

    @property
    def consuming(self) -> bool:
        """Whether the broker is known to be serving this consumer at the moment."""
        ...

    def __aiter__(self) -> AsyncIterator[Delivery]:
        """Deliveries as they come, until ``stop`` or ``close``."""
        ...

    async def stop(self) -> None:
        """
        Ask for no more deliveries; those handed out can still be settled.

        Deliveries that were buffered and never handed out go back to the queue. The iteration ends.
        """
        ...

    async def close(self) -> None:
        """Stop, flush acknowledgements, and give everything unsettled back to the queue."""
        ...


class Transport(Protocol):
    """A way to reach queues. Use as an asynchronous context manager."""

    @property
    def counters(self) -> Counter[str]:
        """
        How often something happened that nobody should have to guess.

        Names: ``published``, ``unroutable``, ``refused``, ``unknown_publishes``,
        ``stuck_publishes`` (sent again on another channel), ``reconnects``,
        ``consumer_cancels``, ``stale_acks``, ``deliveries``.
        """
        ...

    @property
    def server(self) -> str:
        """What the broker calls itself, with its version; empty while there is no connection."""
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
        """Close every consumer and disconnect. Bounded, and never raises."""
        ...

    async def declare(self, topology: Topology) -> None:
        """
        Make sure that these objects exist, now and after every reconnect.

        Raises:
            TopologyError: When one exists with other arguments; names the object, what it has and
                what was expected.
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
            exchange: Its name; empty for the default exchange, where the key is a queue name.
            routing_key: At most 255 bytes.
            message: What to publish.
            timeout: Seconds to wait, waiting for a connection included; ``None`` takes the
                transport's own default.
            given: The time that errors name, when ``timeout`` is what is left of it.

        Raises:
            PublishError: One of the family; see the port's docstring.
            AccessRefusedError: When the user may not publish there.
        """
        ...

    async def consume(
        self,
        queue: str,
        *,
        prefetch: int,
        exclusive: bool = False,
        lock: str = "",
        on_resumed: Callable[[bool], None] | None = None,
        on_mute: Callable[[float], Awaitable[bool]] | None = None,
    ) -> Consumer:
        """
        Subscribe.

        Args:
            queue: It must exist.
            prefetch: How many deliveries may be unsettled at a time; at least 1.
            exclusive: Refuse to share the queue with another consumer.
            lock: A name to hold while consuming. A quorum queue takes any number of consumers
                whatever they ask for; whoever wants it exclusively names the same lock.
            on_resumed: Called each time that the consumer has its queue again after having lost
                it; with ``True`` when the queue had to be made anew, so that what was in it, or
                was sent meanwhile, may be gone.
            on_mute: Awaited when the broker did not answer the wish to consume, at the start too,
                as with a queue that has lost its leader; it is wished again afterwards. Gets the
                longest time, in seconds, for which the queue was consumed without a break since it
                was made anew, if it was; gives whether it has made the queue anew.

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
        Hear what is published to a fanout exchange, over a queue of one's own.

        The queue is for hints, not for what must arrive. It belongs to the connection, so that
        nobody else can use it, and it is gone when its consumer stops or loses the connection, with
        everything in it. The consumer then makes another one under another name: nothing that is
        left of the last one, on whatever node, can be in its way.

        Args:
            exchange: It must exist.
            name: Gives a name that no queue ever had; called for each queue.
            prefetch: How many deliveries may be unsettled at a time; at least 1.
            on_renewed: Called with the name of each queue after the first. What was published in
                between was not heard.

        Raises:
            TopologyError: When the exchange does not exist.
            AccessRefusedError: When the user may not declare, bind or consume the queue.
        """
        ...

    async def delete(self, queue: str, *, if_empty: bool = False) -> bool:
        """
        Delete a queue; deleting what does not exist is no error.

        Args:
            queue: Its name.
            if_empty: Only when there is nothing in it; a quorum queue does not know this.

        Returns:
            Whether it is gone; ``False`` when it is not empty.
        """
        ...

    async def delete_exchange(self, exchange: str, *, if_unused: bool = False) -> bool:
        """
        Delete an exchange with its bindings; deleting what does not exist is no error.

        Args:
            exchange: Its name.
            if_unused: Only when no queue is bound to it.

        Returns:
            Whether it is gone; ``False`` when a queue is bound to it.
        """
        ...

    async def stats(self, queue: str) -> QueueStats | None:
        """
        What the broker says about a queue; ``None`` when it does not exist.

        Of a queue that belongs to another connection only that it is there.

        Cheap for many at once: those that have not begun share a look.
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
        What would be refused, without declaring, publishing or consuming anything.

        Args:
            declares: Exchanges, queues and bindings, whether they exist or not; by their names.
            publishes: Exchanges (empty for the default one), each with a routing key.
            consumes: Queues.

        Returns:
            An ``AccessRefusedError`` for each missing permission, a ``TopologyError`` for each
            missing object to publish to or to consume, in the order of the arguments.
        """
        ...
