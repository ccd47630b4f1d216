"""One AMQP channel: to publish on, to consume on, or to declare on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import aiormq
import aiormq.abc
import pamqp.commands

from effectmq.broker.transports.port import QueueStats
from effectmq.broker.transports.rabbitmq.driver.channels.fates import (
    Closed,
    Fate,
    Publish,
)
from effectmq.broker.transports.rabbitmq.driver.errors import one_line
from effectmq.broker.transports.rabbitmq.driver.frames import (
    ack_frame,
    close_frame,
    content_frames,
    publish_frame,
    reject_frame,
)
from effectmq.broker.transports.rabbitmq.driver.outbox import Outbox
from effectmq.broker.transports.rabbitmq.driver.refused import Operation
from effectmq.broker.transports.rabbitmq.driver.tap import Tap
from effectmq.broker.transports.rabbitmq.driver.waiting import closing
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Binding, Exchange, Queue

__all__ = ["Channel", "RawDelivery"]

T = TypeVar("T")

#: Called for every delivery: consumer-local delivery tag, routing key, redelivered, message.
RawDelivery = Callable[[int, str, bool, Message], None]


_CLOSE_TIMEOUT_S = 3.0
_NOT_FOUND = 404
_MOST_ROUTES = 1_000
_UNUSED_MS = 60_000


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
    An AMQP channel, on which one publishes, consumes or declares.

    Args:
        tap: Gives it the frames that arrive for it.
        outbox: Takes the frames that it sends.
        call: Awaits the client library, bounded in time; ``Link.call``.
        channel: The channel object of the client library.
    """

    def __init__(self, tap: Tap, outbox: Outbox, call: _Caller, channel: aiormq.Channel) -> None:
        self._tap = tap
        self._outbox = outbox
        self._bounded_call = call
        self._channel = channel
        self._number = channel.number
        self._loop = asyncio.get_running_loop()
        #: The publishes without an answer, by their numbers, which ascend.
        self._unanswered: dict[int, Publish] = {}
        #: No publish with a lower number is unanswered.
        self._lowest = 1
        #: The number of the latest publish under a message id that is not ours; those that we make
        #: end with the number. A returned message has its id alone.
        self._tags: dict[str, int] = {}
        #: Done when the publish under such an id has been answered; of those that are waited for.
        self._twins: dict[str, asyncio.Future[None]] = {}
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
        Learn that the broker closes the channel before aiormq answers it.

        A frame on this channel after that answer makes the broker close the whole connection, and
        aiormq tells us of the close some turns of the event loop too late.
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
        """Take the channel as lost: the fate of each unanswered publish is unknown from now on."""
        if self.lost.done():
            return
        self.reason = one_line(reason)
        self.lost.set_result(None)
        waiting = list(self._unanswered.values())
        self._unanswered.clear()
        for message_id in list(self._tags):
            self._forget(message_id)
        fate = Closed(self._close_code, sum(each.fate is None for each in waiting) == 1)
        for publish in waiting:
            publish.decided(fate)

    @property
    def close_code(self) -> int:
        """The reply code with which the broker closed it; 0 while it has not."""
        return self._close_code

    @property
    def missed_exchange(self) -> bool:
        """Whether the broker closed it because an exchange does not exist."""
        return self._close_code == _NOT_FOUND

    @property
    def closed_by_broker(self) -> bool:
        """Whether the broker closed it, with a reason."""
        return bool(self._close_code)

    @property
    def idle(self) -> bool:
        """Whether the broker has answered every publish on it."""
        return not self._unanswered

    # Publishing ------------------------------------------------------------------------------

    def send(self, exchange: str, routing_key: str, message: Message, publish: Publish) -> None:
        """
        Publish a persistent, mandatory message.

        Nothing else publishes on this channel, so the broker numbers the publishes as we count
        them.

        Args:
            exchange: Where.
            routing_key: For whom.
            message: Within the limits of ``broker.limits``.
            publish: Is told of its fate; at once, when the channel is lost.

        Raises:
            ConfigurationError: When this cannot be the name of an exchange.
        """
        if self.lost.done():
            publish.decided(Closed(0, alone=False))
            return
        tag = self._sent + 1
        message_id = message.message_id or f"{self._id_prefix}{tag}"
        frames = content_frames(message, message_id, self._number, self._channel.max_content_size)
        method = self._publish_frame(exchange, routing_key)
        # A publish that is alone shares its write with no other, so waiting would only delay it.
        write = self._outbox.write if self._unanswered else self._outbox.write_now
        self._sent = tag
        self._unanswered[tag] = publish
        if message.message_id:
            publish.message_id = message_id
            self._tags[message_id] = tag
        write(method, *frames)

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
        if not multiple:
            self._lowest += tag == self._lowest
            self._decide(tag, fate)
            return
        span = range(self._lowest, min(tag, self._sent) + 1)
        # Numbers that were answered one by one are not gone through again.
        few = len(span) <= len(self._unanswered)
        for each in span if few else [one for one in self._unanswered if one <= tag]:
            self._decide(each, fate)
        self._lowest = max(self._lowest, span.stop)

    def returned(self, message: Message) -> None:
        """See ``Listener``."""
        self._decide(self._tag_of(message.message_id), "returned")

    def _tag_of(self, message_id: str) -> int:
        number = message_id.removeprefix(self._id_prefix)
        if number != message_id and number.isdecimal():
            return int(number)
        return self._tags.get(message_id, 0)

    def _decide(self, tag: int, fate: Fate) -> None:
        publish = self._unanswered.pop(tag, None)
        if publish is None:
            return
        if self._tags and self._tags.get(publish.message_id) == tag:
            self._forget(publish.message_id)
        publish.decided(fate)

    def _forget(self, message_id: str) -> None:
        del self._tags[message_id]
        twin = self._twins.pop(message_id, None)
        if twin is not None and not twin.done():
            twin.set_result(None)

    def is_sending(self, message_id: str) -> bool:
        """
        Whether a publish with this message id is unanswered.

        A returned message is recognised by its id alone. With two publishes of one id at a time,
        the wrong one could be told that no queue takes it.
        """
        return message_id in self._tags

    async def answered(self, message_id: str) -> None:
        """Wait until the publish with this message id has been answered."""
        if message_id in self._tags:
            twin = self._twins.get(message_id)
            if twin is None:
                twin = self._twins[message_id] = self._loop.create_future()
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
        Subscribe to a queue; returns the consumer tag.

        Args:
            queue: The queue; it must exist.
            prefetch: How many deliveries may be unsettled.
            exclusive: Ask the broker to refuse other consumers; quorum queues ignore this.
            on_delivery: Called for each message.
            on_cancel: Called when the broker cancels the consumer.
            priority: The broker serves consumers of a higher priority first; 0 by default.
            patience_s: Seconds to wait for the answer; the usual time when not given.
        """
        await self._call(self._channel.basic_qos(prefetch_count=prefetch), "setting the prefetch")

        async def nothing(_: aiormq.abc.DeliveredMessage) -> None:
            """The library requires a callback; the tap takes deliveries before it."""

        def cancelled(_: object) -> None:
            on_cancel()

        self._on_delivery = on_delivery
        # Without this callback aiormq drops the consumer silently.
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
        """Ask the broker to send no more deliveries; waits for the answer for 3 seconds."""
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await self._call(self._channel.basic_cancel(consumer_tag), "cancelling a consumer")

    def ack(self, settled: Iterable[tuple[int, bool]]) -> None:
        """
        Acknowledge deliveries, at once and in one write; does nothing on a lost channel.

        Args:
            settled: Delivery tags, each with whether it stands for all tags up to it.
        """
        if not self.lost.done():
            self._outbox.write_now(
                *[ack_frame(self._number, tag, multiple=multiple) for tag, multiple in settled]
            )

    def reject(self, delivery_tag: int, *, requeue: bool = False) -> None:
        """Write a rejection: the message is dead-lettered, or goes back to its queue."""
        if not self.lost.done():
            self._outbox.write(reject_frame(self._number, delivery_tag, requeue=requeue))

    # Declaring -------------------------------------------------------------------------------

    async def declare_exchange(self, exchange: Exchange) -> None:
        """Declare a durable exchange."""
        await self._call(
            self._channel.exchange_declare(
                exchange.name, exchange_type=exchange.type, durable=True
            ),
            f"declaring exchange {exchange.name!r}",
            "declare",
        )

    async def declare_queue(self, queue: Queue) -> None:
        """Declare a durable queue with exactly its arguments."""
        await self._call(
            self._channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments)),
            f"declaring queue {queue.name!r}",
            "declare",
        )

    async def declare_lock(self, name: str, doing: str) -> None:
        """
        Declare a queue that belongs to this connection and ends with it.

        Raises:
            ReplyQueueInUseError: When the queue belongs to another connection.
        """
        # The default type of a virtual host may be quorum, which cannot be exclusive.
        await self._call(
            self._channel.queue_declare(
                name, exclusive=True, arguments={"x-queue-type": "classic"}
            ),
            doing,
        )

    async def declare_own(self, name: str) -> None:
        """Declare a queue that ends with its consumer, or with this connection."""
        # It expires as well: a queue that nothing ever consumed does not end with its consumer.
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
        """Delete a queue; with ``if_empty`` the broker closes the channel when it is not empty."""
        await self._call(
            self._channel.queue_delete(queue, if_empty=if_empty), f"deleting queue {queue!r}"
        )

    async def delete_exchange(self, exchange: str, *, if_unused: bool) -> None:
        """Delete an exchange; with ``if_unused`` a binding makes the broker close the channel."""
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
        """Count a queue's messages and consumers; closes the channel when it does not exist."""
        reply = await self._call(
            self._channel.queue_declare(queue, passive=True), f"looking at queue {queue!r}"
        )
        return QueueStats(queue, reply.message_count or 0, reply.consumer_count or 0)

    async def find_exchange(self, exchange: str) -> None:
        """Look for an exchange; closes the channel when it does not exist."""
        await self._call(
            self._channel.exchange_declare(exchange, passive=True),
            f"looking at exchange {exchange!r}",
        )

    async def ask(
        self,
        request: Callable[[aiormq.Channel], Awaitable[T]],
        doing: str,
        operation: Operation = "",
    ) -> T:
        """
        Send one request through the library's channel.

        Args:
            request: Makes the request; the broker may close the channel for it.
            doing: What it does, as a gerund phrase, for errors.
            operation: The kind of it, which says what permission it needs.
        """
        return await self._call(request(self._channel), doing, operation)

    async def _call(
        self,
        waiting: Awaitable[T],
        doing: str,
        operation: Operation = "",
        patience_s: float | None = None,
    ) -> T:
        """Send one request, and remember it for ``abandon``; never two at a time."""
        self._request = request = asyncio.ensure_future(waiting)
        return await self._bounded_call(request, doing, operation, patience_s)

    # Closing ---------------------------------------------------------------------------------

    def abandon(self, reason: str) -> None:
        """Close the channel without waiting; the fate of unanswered publishes becomes unknown."""
        if self.lost.done():
            return
        self.fail(reason)
        request = self._request
        if request is None or request.done():
            self._say_goodbye()
        else:
            # Nothing waits for the request any more, but its frame may not be written yet.
            request.add_done_callback(lambda _: self._say_goodbye())

    def _say_goodbye(self) -> None:
        # The library's own close may end the connection; ``Link.call`` says why.
        if not self._ended:
            self._ended = True
            self._outbox.write(close_frame(self._number, self.reason))

    async def close(self) -> None:
        """Close the channel, and wait up to 3 seconds for the broker to confirm it."""
        self.abandon("closed")
        await asyncio.wait((closing(self._channel),), timeout=_CLOSE_TIMEOUT_S)
