"""One AMQP channel: to publish on, to consume on, or to declare on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import aiormq
import aiormq.abc
import pamqp.commands

from effectmq.broker.transports.port import QueueStats
from effectmq.broker.transports.rabbitmq.driver.errors import channel_error, one_line
from effectmq.broker.transports.rabbitmq.driver.frames import (
    ack_frame,
    close_frame,
    content_frames,
    publish_frame,
    reject_frame,
)
from effectmq.broker.transports.rabbitmq.driver.outbox import Outbox
from effectmq.broker.transports.rabbitmq.driver.refused import (
    Operation,
    names_exchange,
    names_topic,
)
from effectmq.broker.transports.rabbitmq.driver.tap import Tap
from effectmq.broker.transports.rabbitmq.driver.waiting import closing
from effectmq.protocol.errors import (
    BrokerError,
    PublishError,
    PublishUnknownError,
    QueueFullError,
    UnroutableError,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Binding, Exchange, Queue

__all__ = ["Channel", "Fate", "Publish", "RawDelivery"]

T = TypeVar("T")

#: Called for every delivery: consumer-local delivery tag, routing key, redelivered, message.
RawDelivery = Callable[[int, str, bool, Message], None]


class Closed(NamedTuple):
    """
    No word will come: the channel is closed.

    Attributes:
        code: The broker's reason; 0 when it gave none.
        alone: Whether nothing else was unanswered, so that the reason must be about this publish.
    """

    code: int
    alone: bool


#: What the broker says of a publish, or that no word will come.
Fate = Literal["taken", "refused", "returned"] | Closed

_CLOSE_TIMEOUT_S = 3.0
_ACCESS_REFUSED = 403
_NOT_FOUND = 404
_PRECONDITION_FAILED = 406
#: What no broker accepts as a message's time to live, nor as a consumer's priority.
_NO_NUMBER = "none"
_MOST_ROUTES = 1_000
_UNUSED_MS = 60_000


class Publish(NamedTuple):
    """One publish on its way: its confirmation, its message id, its number on the channel."""

    confirmation: asyncio.Future[Fate]
    message_id: str
    tag: int


class _Caller(Protocol):
    """``Link.call``."""

    async def __call__(
        self,
        waiting: Awaitable[T],
        doing: str,
        operation: Operation = "",
        patience_s: float | None = None,
    ) -> T: ...


class Channel:
    """
    One AMQP channel.

    Args:
        tap: What arrives on the connection.
        outbox: What leaves on it.
        call: Awaits the library.
        channel: The library's.
    """

    def __init__(self, tap: Tap, outbox: Outbox, call: _Caller, channel: aiormq.Channel) -> None:
        self._tap = tap
        self._outbox = outbox
        self._bounded_call = call
        self._channel = channel
        self._number = channel.number
        self._loop = asyncio.get_running_loop()
        #: Who waits for a confirmation, by the number of the publish.
        self._unanswered: dict[int, asyncio.Future[Fate]] = {}
        #: The number of the latest publish under a message id: what is returned has no number.
        self._tags: dict[str, int] = {}
        self._publish_frames: dict[tuple[str, str], bytes] = {}
        # Fresh for every publish without asking the system for randomness each time.
        self._id_prefix = f"{uuid.uuid4().hex}-"
        self._sent = 0
        self._on_delivery: RawDelivery | None = None
        self._request: asyncio.Future[Any] | None = None
        self._ended = False
        self._close_code = 0
        self.reason = ""
        self.lost: asyncio.Future[None] = self._loop.create_future()
        closing(channel).add_done_callback(self._note_loss)
        self._listen()

    def _listen(self) -> None:
        """
        Hear of a close before aiormq acts on it.

        What is sent on a channel after the library has answered the broker's close is an error of
        the whole connection, and the library tells us some turns too late.
        """
        self._tap.listen(self._number, self)
        library: Any = self._channel
        answer = library._on_close_frame

        async def closed(frame: pamqp.commands.Channel.Close) -> None:
            self._ended = True
            self._close_code = frame.reply_code or 0
            self.fail(f"{frame.reply_code} {frame.reply_text}")
            self._outbox.flush()
            await answer(frame)

        library._on_close_frame = closed

    def _note_loss(self, closing: asyncio.Future[object]) -> None:
        self._ended = True
        self._tap.leave(self._number, self)
        failure = None if closing.cancelled() else closing.exception()
        self.fail(str(failure or ""))

    def fail(self, reason: str) -> None:
        """Take it as lost: what was published on it and not answered is unknown from now on."""
        if self.lost.done():
            return
        self.reason = one_line(reason)
        self.lost.set_result(None)
        waiting = [each for each in self._unanswered.values() if not each.done()]
        self._unanswered.clear()
        fate = Closed(self._close_code, len(waiting) == 1)
        for confirmation in waiting:
            confirmation.set_result(fate)

    @property
    def missed_exchange(self) -> bool:
        """Whether it was closed because an exchange does not exist."""
        return self._close_code == _NOT_FOUND

    @property
    def closed_by_broker(self) -> bool:
        """Whether the broker closed it, with a reason."""
        return bool(self._close_code)

    @property
    def idle(self) -> bool:
        """Whether nothing that was published on it is still to be answered."""
        return not self._unanswered

    # Publishing ------------------------------------------------------------------------------

    def send(self, exchange: str, routing_key: str, message: Message) -> Publish:
        """
        Publish, persistent and mandatory.

        Returns:
            The publish; what its confirmation says must be handed to ``judge``.

        We are the only publisher on this channel, so its numbers are ours to count.
        """
        message_id = message.message_id or f"{self._id_prefix}{self._sent}"
        confirmation: asyncio.Future[Fate] = self._loop.create_future()
        if self.lost.done():
            confirmation.set_result(Closed(0, alone=False))
            return Publish(confirmation, message_id, 0)
        frames = content_frames(message, message_id, self._number, self._channel.max_content_size)
        method = self._publish_frame(exchange, routing_key)
        # A lone publish has nobody to share a write with, and so no reason to wait for its turn.
        write = self._outbox.write if self._unanswered else self._outbox.write_now
        self._sent = tag = self._sent + 1
        self._unanswered[tag] = confirmation
        self._tags[message_id] = tag
        write(method, *frames)
        return Publish(confirmation, message_id, tag)

    def _publish_frame(self, exchange: str, routing_key: str) -> bytes:
        route = (exchange, routing_key)
        frame = self._publish_frames.get(route)
        if frame is None:
            frame = publish_frame(exchange, routing_key, self._number)
            if len(self._publish_frames) < _MOST_ROUTES:
                self._publish_frames[route] = frame
        return frame

    def confirmed(self, tag: int, *, multiple: bool, taken: bool) -> None:
        """See ``Listener``."""
        fate: Fate = "taken" if taken else "refused"
        tags = [each for each in self._unanswered if each <= tag] if multiple else (tag,)
        for each in tags:
            self._decide(each, fate)

    def returned(self, message: Message) -> None:
        """See ``Listener``."""
        self._decide(self._tags.get(message.message_id, 0), "returned")

    def _decide(self, tag: int, fate: Fate) -> None:
        confirmation = self._unanswered.pop(tag, None)
        if confirmation is not None and not confirmation.done():
            confirmation.set_result(fate)

    def judge(self, publish: Publish, fate: Fate, exchange: str, routing_key: str) -> None:
        """
        Take note of what the confirmation of a publish said.

        A confirmation that was given an exception from outside, or was cancelled, says nothing; the
        publish must then be handed to ``give_up``.

        Raises:
            PublishError: Unroutable, refused, or unknown because the channel was lost.
            AccessRefusedError: When the user may not publish there; nothing arrived.
        """
        self._forget(publish)
        if fate != "taken":
            raise self._publish_error(fate, exchange, routing_key)

    def _publish_error(
        self, fate: Fate, exchange: str, routing_key: str
    ) -> PublishError | BrokerError:
        if fate == "returned":
            return UnroutableError(
                f"no queue takes messages for {routing_key!r}"
                + (f" on exchange {exchange!r}" if exchange else "")
            )
        if fate == "refused":
            return QueueFullError(
                f"the queue for {routing_key!r} refused the message: it is full, or has lost its "
                "majority. Start more workers of this kind, raise the length limit of its policy, "
                "or look at the queue's members (rabbitmq-queues quorum_status)"
            )
        if isinstance(fate, Closed) and self._is_about(fate, exchange, routing_key):
            if fate.code == _NOT_FOUND:
                return UnroutableError(
                    f"there is no exchange {exchange!r}, so no queue takes messages for "
                    f"{routing_key!r}. Start a worker that declares it, or run: effectmq topology "
                    "apply"
                )
            doing = f"publishing for {routing_key!r}"
            doing += f" on exchange {exchange!r}" if exchange else " on the default exchange"
            return channel_error(fate.code, self.reason, doing, "publish")
        return _unknown(exchange, routing_key, self.reason)

    def _is_about(self, fate: Closed, exchange: str, routing_key: str) -> bool:
        """
        Whether the reason for the close is the fault of a publish like this.

        The broker names the exchange, at times the topic too. Whatever else was unanswered on the
        channel may have arrived.
        """
        if fate.code not in (_NOT_FOUND, _ACCESS_REFUSED):
            return fate.alone and fate.code == _PRECONDITION_FAILED
        topic = names_topic(self.reason)
        if topic is not None and topic != routing_key:
            return False
        named = names_exchange(self.reason)
        return named == exchange if named is not None else fate.alone

    def wait_on(self, publish: Publish) -> Publish:
        """The same publish, to be waited for again after its confirmation has expired."""
        confirmation: asyncio.Future[Fate] = self._loop.create_future()
        if self._unanswered.get(publish.tag) is publish.confirmation:
            self._unanswered[publish.tag] = confirmation
        else:
            # Answered in the very turn in which it expired.
            confirmation.set_result(Closed(0, alone=False))
        return publish._replace(confirmation=confirmation)

    def give_up(self, publish: Publish, answered: Callable[[], None]) -> None:
        """
        Stop waiting for a publish, and hear when it is over all the same.

        Args:
            publish: One whose confirmation has been given an exception, or was cancelled.
            answered: Called once, when the broker has answered or the channel is lost.
        """
        if publish.confirmation.done() and not publish.confirmation.cancelled():
            publish.confirmation.exception()  # seen: asyncio need not complain about it
        if self._unanswered.get(publish.tag) is not publish.confirmation:
            self._forget(publish)
            answered()
            return
        late: asyncio.Future[Fate] = self._loop.create_future()

        def over(_: object) -> None:
            self._forget(publish)
            answered()

        late.add_done_callback(over)
        self._unanswered[publish.tag] = late

    def _forget(self, publish: Publish) -> None:
        if self._tags.get(publish.message_id) == publish.tag:
            del self._tags[publish.message_id]

    def is_sending(self, message_id: str) -> bool:
        """
        Whether a publish with this message id is unanswered.

        A returned message is known by its id alone. Two at a time under one id, and the wrong one
        is told that nobody takes it.
        """
        return not self.lost.done() and message_id in self._tags

    async def answered(self, message_id: str) -> None:
        """Wait until the publish with this message id has been answered."""
        twin = self._unanswered.get(self._tags.get(message_id, 0))
        if twin is None or twin.done():
            await asyncio.sleep(0)  # its publisher has been woken, and forgets it next
        else:
            await asyncio.wait((twin,))

    # Consuming -------------------------------------------------------------------------------

    def delivered(self, tag: int, routing_key: str, redelivered: bool, message: Message) -> None:
        """See ``Listener``."""
        if message.returns and not redelivered:
            message = replace(message, returns=0)
        if self._on_delivery is not None:
            self._on_delivery(tag, routing_key, redelivered, message)

    async def consume(
        self,
        queue: str,
        *,
        prefetch: int,
        exclusive: bool,
        on_delivery: RawDelivery,
        on_cancel: Callable[[], None],
        priority: int = 0,
        patience_s: float | None = None,
    ) -> str:
        """
        Subscribe, and give the consumer tag.

        Args:
            queue: It must exist.
            prefetch: How many deliveries may be unsettled.
            exclusive: Ask the broker to refuse other consumers; quorum queues do not.
            on_delivery: Hears of each message.
            on_cancel: Hears of a server-sent cancel.
            priority: Consumers with a lower one get what this one has no room for; 0 is the usual.
            patience_s: For how long an answer is waited for, when not as long as usual.
        """
        await self._call(self._channel.basic_qos(prefetch_count=prefetch), "setting the prefetch")

        async def nothing(_: aiormq.abc.DeliveredMessage) -> None:
            """What the library is told to call."""

        def cancelled(_: object) -> None:
            on_cancel()

        self._on_delivery = on_delivery
        # Without this callback aiormq drops the consumer and tells nobody.
        self._channel.on_consumer_cancel_callbacks.add(cancelled)
        reply = await self._call(
            self._channel.basic_consume(
                queue,
                nothing,
                exclusive=exclusive,
                arguments={"x-priority": priority} if priority else None,
            ),
            f"consuming from {queue!r}",
            "consume",
            patience_s,
        )
        return reply.consumer_tag or ""

    async def cancel(self, consumer_tag: str) -> None:
        """Ask for no more deliveries, bounded."""
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await self._call(self._channel.basic_cancel(consumer_tag), "cancelling a consumer")

    def ack(self, settled: Iterable[tuple[int, bool]]) -> None:
        """
        Acknowledge, at once and in one write; on a lost channel it goes nowhere.

        Args:
            settled: Delivery tags, each with whether it stands for all up to this one.
        """
        if not self.lost.done():
            self._outbox.write_now(
                *(ack_frame(self._number, tag, multiple=multiple) for tag, multiple in settled)
            )

    def reject(self, delivery_tag: int, *, requeue: bool = False) -> None:
        """Queue a rejection, which dead-letters the message, or gives it back to its queue."""
        if not self.lost.done():
            self._outbox.write(reject_frame(self._number, delivery_tag, requeue=requeue))

    # Declaring -------------------------------------------------------------------------------

    async def declare_exchange(self, exchange: Exchange) -> None:
        """Declare it, durable."""
        await self._call(
            self._channel.exchange_declare(
                exchange.name, exchange_type=exchange.type, durable=True
            ),
            f"declaring exchange {exchange.name!r}",
            "declare",
        )

    async def declare_queue(self, queue: Queue) -> None:
        """Declare it, durable, with exactly its arguments."""
        await self._call(
            self._channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments)),
            f"declaring queue {queue.name!r}",
            "declare",
        )

    async def declare_lock(self, name: str, doing: str) -> None:
        """
        Declare a queue that belongs to this connection, and ends with it.

        Raises:
            ReplyQueueInUseError: When it belongs to another one.
        """
        # Its type is said, because a virtual host may have another default that has no such queues.
        await self._call(
            self._channel.queue_declare(
                name, exclusive=True, arguments={"x-queue-type": "classic"}
            ),
            doing,
        )

    async def declare_own(self, name: str) -> None:
        """Declare a queue that ends with its consumer, or with this connection, its owner."""
        # One that could not be bound or consumed from never had a consumer to end with.
        await self._call(
            self._channel.queue_declare(
                name,
                exclusive=True,
                auto_delete=True,
                arguments={"x-queue-type": "classic", "x-expires": _UNUSED_MS},
            ),
            f"declaring queue {name!r}",
            "declare",
        )

    async def delete_queue(self, queue: str, *, if_empty: bool) -> None:
        """Delete it; ``if_empty`` closes the channel when it is not."""
        await self._call(
            self._channel.queue_delete(queue, if_empty=if_empty), f"deleting queue {queue!r}"
        )

    async def delete_exchange(self, exchange: str, *, if_unused: bool) -> None:
        """Delete it; ``if_unused`` closes the channel when something is bound to it."""
        await self._call(
            self._channel.exchange_delete(exchange, if_unused=if_unused),
            f"deleting exchange {exchange!r}",
        )

    async def bind(self, binding: Binding) -> None:
        """Bind a queue to an exchange."""
        await self._call(
            self._channel.queue_bind(
                binding.queue, binding.exchange, routing_key=binding.routing_key
            ),
            f"binding queue {binding.queue!r} to exchange {binding.exchange!r}",
            "bind",
        )

    # Looking ---------------------------------------------------------------------------------

    async def stats(self, queue: str) -> QueueStats:
        """A passive declaration; a queue that does not exist closes the channel."""
        reply = await self._call(
            self._channel.queue_declare(queue, passive=True), f"looking at queue {queue!r}"
        )
        return QueueStats(queue, reply.message_count or 0, reply.consumer_count or 0)

    async def find_exchange(self, exchange: str) -> None:
        """A passive declaration; an exchange that does not exist closes the channel."""
        await self._call(
            self._channel.exchange_declare(exchange, passive=True),
            f"looking at exchange {exchange!r}",
        )

    async def try_publish(self, exchange: str, routing_key: str) -> None:
        """
        Ask whether a publish would be permitted, with one that cannot be taken.

        RabbitMQ looks at permissions first and at the message's time to live later, so that a wrong
        one closes the channel with the answer and nothing is published. Up to 3.13 it looks at
        topic permissions before that, too.

        Raises:
            BrokerError: When it would be refused, or there is no such exchange.
        """
        doing = f"publishing for {routing_key!r}" if exchange else "publishing to reply queues"
        doing += f" on exchange {exchange!r}" if exchange else " on the default exchange"
        properties = aiormq.spec.Basic.Properties(expiration=_NO_NUMBER)
        await self._call(
            self._channel.basic_publish(
                b"", exchange=exchange, routing_key=routing_key, properties=properties
            ),
            doing,
            "publish",
        )
        await asyncio.wait((self.lost,), timeout=_CLOSE_TIMEOUT_S)
        if self._close_code and self._close_code != _PRECONDITION_FAILED:
            raise channel_error(self._close_code, self.reason, doing, "publish")

    async def try_consume(self, queue: str) -> None:
        """
        Ask whether consuming would be permitted, in a way that cannot succeed.

        Raises:
            BrokerError: When it would be refused, or there is no such queue.
        """

        async def nothing(_: aiormq.abc.DeliveredMessage) -> None:
            """What the library is told to call."""

        await self._tried(
            self._channel.basic_consume(queue, nothing, arguments={"x-priority": _NO_NUMBER}),
            f"consuming from {queue!r}",
            "consume",
        )

    async def try_exchange(self, exchange: str) -> None:
        """
        Ask whether declaring an exchange would be permitted; nothing is declared.

        The name of its alternate exchange is none, which RabbitMQ finds out after it has looked at
        the permission, and before it makes anything.

        Raises:
            BrokerError: When it would be refused.
        """
        await self._tried(
            self._channel.exchange_declare(
                exchange, durable=True, arguments={"alternate-exchange": 0}
            ),
            f"declaring exchange {exchange!r}",
            "declare",
        )

    async def try_queue(self, queue: str) -> None:
        """
        Ask whether declaring a queue would be permitted, in the way of ``try_exchange``.

        Raises:
            BrokerError: When it would be refused.
        """
        await self._tried(
            self._channel.queue_declare(
                queue, durable=True, arguments={"x-dead-letter-exchange": 0}
            ),
            f"declaring queue {queue!r}",
            "declare",
        )

    async def try_bind(self, binding: Binding) -> None:
        """
        Ask whether binding would be permitted, by taking away a binding that nobody has.

        Raises:
            BrokerError: When it would be refused, or one of the two does not exist.
        """
        await self._call(
            self._channel.queue_unbind(
                binding.queue, binding.exchange, routing_key=f"{binding.routing_key}.{uuid.uuid4()}"
            ),
            f"binding queue {binding.queue!r} to exchange {binding.exchange!r}",
            "bind",
        )

    async def _tried(self, waiting: Awaitable[T], doing: str, operation: Operation) -> None:
        """A request that cannot succeed: it is permitted when that is all that is wrong with it."""
        try:
            await self._call(waiting, doing, operation)
        except BrokerError:
            if self._close_code != _PRECONDITION_FAILED:
                raise

    async def _call(
        self,
        waiting: Awaitable[T],
        doing: str,
        operation: Operation = "",
        patience_s: float | None = None,
    ) -> T:
        """One request at a time, remembered for ``abandon``."""
        self._request = request = asyncio.ensure_future(waiting)
        return await self._bounded_call(request, doing, operation, patience_s)

    # Closing ---------------------------------------------------------------------------------

    def abandon(self, reason: str) -> None:
        """Close it without waiting; what is unanswered on it becomes unknown."""
        if self.lost.done():
            return
        self.fail(reason)
        request = self._request
        if request is None or request.done():
            self._say_goodbye()
        else:
            # Nobody waits for it any more, but its frame may not even be written yet.
            request.add_done_callback(lambda _: self._say_goodbye())

    def _say_goodbye(self) -> None:
        # Not the library's own close, for the reason given at ``Link.call``.
        if not self._ended:
            self._ended = True
            self._outbox.write(close_frame(self._number, self.reason))

    async def close(self) -> None:
        """Close it, and wait, bounded, until the broker has seen everything before that."""
        self.abandon("closed")
        await asyncio.wait((closing(self._channel),), timeout=_CLOSE_TIMEOUT_S)


def _unknown(exchange: str, routing_key: str, reason: str) -> PublishError:
    return PublishUnknownError(
        f"the connection was lost before the broker confirmed a message for {routing_key!r}"
        + (f" on exchange {exchange!r}" if exchange else "")
        + (f" ({reason})" if reason else "")
        + "; it may have arrived. Publishing the same effect again is safe"
    )
