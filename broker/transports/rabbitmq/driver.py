"""
The one file that knows aio-pika, aiormq and pamqp.

Plain connections, never ``connect_robust``: that one retries a permanent error for ever without
telling anybody. Every call that waits for the broker is bounded, and everything the library can
raise, a foreign ``CancelledError`` included, leaves here as one of our errors.

Some things are done below aio-pika's convenience layer, on aiormq's channel. Two because they are
the hot path: publishes and acknowledgements are marshalled into shared writes (``outbox``), where
the library would lock, write and drain for each of them; and deliveries go straight to a callback
that only enqueues. The others because the library keeps to itself what we have to know, see
``_Wire`` and ``Channel._listen``.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar, cast

import aio_pika
import aio_pika.connection
import aiormq
import aiormq.abc
import aiormq.channel
import aiormq.connection
import pamqp.body
import pamqp.commands
import pamqp.frame
import pamqp.header
from aiormq import exceptions as amqp
from pamqp.common import FieldTable

from effectmq.broker.limits import is_own_header
from effectmq.broker.settings import TransportSettings
from effectmq.broker.transport import QueueStats
from effectmq.broker.transports.rabbitmq.address import Address, read_address
from effectmq.broker.transports.rabbitmq.errors import (
    channel_error,
    credentials_error,
    lost_error,
    mechanism_error,
    name_error,
    one_line,
    refused_error,
    silent_error,
    unreachable_error,
)
from effectmq.broker.transports.rabbitmq.outbox import Outbox
from effectmq.protocol.errors import (
    ConfigurationError,
    EffectmqError,
    PublishError,
    PublishUnknownError,
    QueueFullError,
    UnroutableError,
)
from effectmq.protocol.message import HeaderValue, Message
from effectmq.protocol.topology import Binding, Exchange, Queue

__all__ = ["Channel", "Link", "Publish", "RawDelivery"]

T = TypeVar("T")

#: Called for every delivery: consumer-local delivery tag, routing key, redelivered, message.
RawDelivery = Callable[[int, str, bool, Message], None]

_CLOSE_TIMEOUT_S = 3.0
_CUT_TIMEOUT_S = 1.0
_FRAME_BUFFER = 1_000
_PERSISTENT = 2
_NOT_FOUND = 404

logging.getLogger("aiormq").setLevel(logging.CRITICAL)
logging.getLogger("aio_pika").setLevel(logging.CRITICAL)


class Publish(NamedTuple):
    """One publish on its way: its confirmation, and under which names aiormq knows it."""

    confirmation: asyncio.Future[object]
    message_id: str
    tag: int


class _LostError(Exception):
    """Set on a confirmation that will never come."""


class _Wire(aiormq.connection.TransportFactory):
    """
    Opens the socket for aiormq, and keeps a hand on it.

    aiormq drops what the broker said when it hung up in the greeting, and cannot let go of a
    socket whose other end has stopped reading.
    """

    def __init__(self, address: Address) -> None:
        self._opener = (
            aiormq.connection.TLSTransportFactory()
            if address.tls
            else aiormq.connection.TCPTransportFactory()
        )
        self._reader: Any = None
        self._transport: asyncio.WriteTransport | None = None
        self._frame = b""

    async def create(
        self, url: Any, **kwargs: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open it, and listen in until ``greeted``."""
        reader, writer = await self._opener.create(url, **kwargs)
        self._transport = writer.transport
        read = reader.readexactly

        async def overheard(count: int) -> bytes:
            data = await read(count)
            # aiormq reads a frame in three pieces, of which the first is one byte.
            self._frame = data if count == 1 else self._frame + data
            return data

        self._reader = reader
        self._reader.readexactly = overheard
        return reader, writer

    def greeted(self) -> None:
        """Stop listening in: from here on it would only cost time."""
        del self._reader.readexactly
        self._reader, self._frame = None, b""

    @property
    def last_words(self) -> tuple[int, str] | None:
        """Code and text of the ``connection.close`` that ended the greeting, if one did."""
        try:
            frame = pamqp.frame.unmarshal(self._frame)[2]
        except Exception:  # half a frame, or no frame at all
            return None
        if not isinstance(frame, pamqp.commands.Connection.Close):
            return None
        return frame.reply_code or 0, frame.reply_text or ""

    def cut(self) -> None:
        """Let go of the socket now, whatever is still to be written; more than once is fine."""
        if self._transport is not None:
            self._transport.abort()


class Link:
    """One connection to the broker."""

    def __init__(
        self, connection: aio_pika.Connection, wire: _Wire, address: Address, timeout_s: float
    ) -> None:
        underlay = connection.transport
        if underlay is None:
            raise lost_error(address, "connecting", "")
        self._connection = connection
        self._wire = wire
        self._address = address
        self._timeout_s = timeout_s
        self._underlay = cast("aiormq.Connection", underlay.connection)
        self._channels: set[Channel] = set()
        self.reason = ""
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        library = cast("Any", self._underlay)
        self.outbox = Outbox(library.write_queue)
        _closing(library).add_done_callback(self._note_loss)
        # When nobody reads any more nothing will be confirmed, however long the goodbye takes.
        library._reader_task.add_done_callback(self._note_loss)

    @classmethod
    async def open(
        cls, url: str, settings: TransportSettings, purpose: str, timeout_s: float
    ) -> Link:
        """
        Connect within ``timeout_s`` seconds.

        Raises:
            BrokerError: With one sentence for each usual cause.
            ConfigurationError: When the address cannot be used at all.
        """
        address = read_address(url)
        wire = _Wire(address)
        connection = _connection(url, settings, purpose)
        connection.kwargs["transport_factory"] = wire
        asked = _cancellations()
        try:
            async with asyncio.timeout(timeout_s):
                await connection.connect()
            wire.greeted()
            return cls(connection, wire, address, settings.connect_timeout_s)
        except (Exception, asyncio.CancelledError) as failure:
            wire.cut()
            # Not closed, it would start a task from its destructor.
            await _bounded(connection.close(), _CUT_TIMEOUT_S)
            if isinstance(failure, asyncio.CancelledError) and _cancellations() > asked:
                raise
            raise _open_error(address, wire, failure) from None

    @property
    def server(self) -> str:
        """Name and version as the broker said them in its greeting, for instance RabbitMQ 4.0.5."""
        said = cast("Mapping[str, object]", self._underlay.server_properties)
        return " ".join(_text(said.get(name, "")) for name in ("product", "version")).strip()

    def _note_loss(self, ended: asyncio.Future[Any]) -> None:
        failure = None if ended.cancelled() else ended.exception()
        if self.lost.done():
            return
        self.reason = one_line(str(failure or ""))
        self.lost.set_result(None)
        self.outbox.close()
        for channel in list(self._channels):
            channel.fail(self.reason)

    async def channel(self, *, confirms: bool) -> Channel:
        """Open a channel; with ``confirms`` one to publish on."""
        opening = asyncio.ensure_future(
            self._underlay.channel(
                publisher_confirms=confirms,
                on_return_raises=True,
                # The default of ten makes reader and channel take turns every three messages.
                frame_buffer_size=_FRAME_BUFFER,
            )
        )
        try:
            channel = self._take(await self.call(opening, "opening a channel"))
        except BaseException:
            opening.add_done_callback(self._leave)
            raise
        if self.lost.done():
            channel.fail(self.reason)
        return channel

    def _take(self, opened: aiormq.abc.AbstractChannel) -> Channel:
        channel = Channel(self, cast("aiormq.Channel", opened))
        self._channels.add(channel)
        channel.lost.add_done_callback(lambda _: self._channels.discard(channel))
        return channel

    def _leave(self, opening: asyncio.Future[aiormq.abc.AbstractChannel]) -> None:
        """Close a channel that was opened after all, when nobody waited for it any more."""
        if not opening.cancelled() and opening.exception() is None:
            self._take(opening.result()).abandon("not needed")

    async def call(self, waiting: Awaitable[T], doing: str) -> T:
        """
        Await the library, bounded, and translate whatever it raises.

        Who stops waiting does not stop the library: cancelled in the middle of a request, it
        closes the channel of its own accord, at times one that is closed already, which the
        broker answers by closing the connection.

        Raises:
            BrokerError: What went wrong while ``doing``.
        """
        asked = _cancellations()
        request = asyncio.ensure_future(waiting)
        request.add_done_callback(_seen)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.shield(request)
        except TimeoutError:
            raise silent_error(self._address, doing, self._timeout_s) from None
        except asyncio.CancelledError:
            if _cancellations() > asked:
                raise
            raise lost_error(self._address, doing, self.reason) from None
        except amqp.ChannelClosed as failure:
            raise channel_error(*_reply(failure), doing) from None
        except (ValueError, TypeError) as failure:
            raise name_error(doing, str(failure)) from None
        except Exception as failure:
            raise lost_error(self._address, doing, self.reason or str(failure)) from None

    async def blocked(self) -> bool:
        """Whether the broker has told us that it accepts no publishes (memory or disk alarm)."""
        try:
            async with asyncio.timeout(0.01):
                await self._underlay.ready()
        except TimeoutError:
            return True
        return False

    async def close(self) -> None:
        """Say goodbye, bounded; then let go, whatever the broker does. Never raises."""
        closing = _closing(self._underlay)
        try:
            await _bounded(self._connection.close(), _CLOSE_TIMEOUT_S)
        finally:
            self._wire.cut()
            if not self.lost.done():
                self._note_loss(_closed())
        # aiormq's tasks end a few turns later; leaving the loop before them prints noise.
        await asyncio.wait({closing}, timeout=_CUT_TIMEOUT_S)
        await asyncio.sleep(0)


class Channel:
    """One AMQP channel: to publish on, to consume on, or to declare on."""

    def __init__(self, link: Link, channel: aiormq.Channel) -> None:
        self._link = link
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        # Where aiormq looks for who waits for a confirmation, by sequence number.
        self._unanswered: dict[int, asyncio.Future[object]] = cast("Any", channel).confirmations
        self._publish_frames: dict[tuple[str, str], bytes] = {}
        # Fresh for every publish without asking the system for randomness each time.
        self._id_prefix = f"{uuid.uuid4().hex}-"
        self._sent = 0
        self._request: asyncio.Future[Any] | None = None
        self._ended = False
        self._close_code = 0
        self.reason = ""
        self.lost: asyncio.Future[None] = self._loop.create_future()
        _closing(channel).add_done_callback(self._note_loss)
        self._listen()

    def _listen(self) -> None:
        """
        Hear two things before aiormq acts on them.

        A close: what is sent on a channel after the library has answered the broker's close is an
        error of the whole connection, and the library tells us some turns too late. A return: the
        library fails, and takes the channel along, when its publisher stopped waiting in this very
        turn.
        """
        library = cast("Any", self._channel)
        answer, hand_back = library._on_close_frame, library._on_return_frame

        async def closed(frame: pamqp.commands.Channel.Close) -> None:
            self._ended = True
            self._close_code = frame.reply_code or 0
            self.fail(f"{frame.reply_code} {frame.reply_text}")
            await answer(frame)

        async def returned(frame: pamqp.commands.Basic.Return) -> None:
            with suppress(asyncio.InvalidStateError):
                await hand_back(frame)

        library._on_close_frame, library._on_return_frame = closed, returned

    def _note_loss(self, closing: asyncio.Future[object]) -> None:
        self._ended = True
        failure = None if closing.cancelled() else closing.exception()
        self.fail(str(failure or ""))

    def fail(self, reason: str) -> None:
        """Take it as lost: what was published on it and not answered is unknown from now on."""
        if self.lost.done():
            return
        self.reason = one_line(reason)
        self.lost.set_result(None)
        waiting = [
            each
            for each in self._unanswered.values()
            if not each.done() and not isinstance(each, aiormq.channel.Returning)
        ]
        # Exactly one: then it is the one that the broker's reason is about.
        code = self._close_code if len(waiting) == 1 else 0
        for confirmation in waiting:
            confirmation.set_exception(_LostError(code))

    @property
    def missed_exchange(self) -> bool:
        """Whether it was closed because an exchange does not exist."""
        return self._close_code == _NOT_FOUND

    # Publishing ------------------------------------------------------------------------------

    def send(self, exchange: str, routing_key: str, message: Message) -> Publish:
        """
        Queue a persistent, mandatory publish for the next write.

        Returns:
            The publish, for ``confirmed``; each must be awaited there once.

        aiormq's ``basic_publish`` takes a lock and waits for the socket, message by message. We
        are the only publisher on this channel, so taking the next sequence number and queueing the
        frames needs neither; the confirmation is registered where aiormq looks for it.
        """
        channel = self._channel
        self._sent += 1
        message_id = message.message_id or f"{self._id_prefix}{self._sent}"
        confirmation: asyncio.Future[object] = self._loop.create_future()
        if self.lost.done():
            confirmation.set_exception(_LostError(0))
            return Publish(confirmation, message_id, 0)
        payload = self._marshal(exchange, routing_key, message, message_id)
        channel.delivery_tag += 1
        tag = channel.delivery_tag
        self._unanswered[tag] = confirmation
        channel.message_id_delivery_tag[message_id] = tag
        self._link.outbox.write(payload)
        return Publish(confirmation, message_id, tag)

    def _marshal(self, exchange: str, routing_key: str, message: Message, message_id: str) -> bytes:
        number = self._channel.number
        route = (exchange, routing_key)
        publish = self._publish_frames.get(route)
        if publish is None:
            publish = _publish_frame(exchange, routing_key, number)
            if len(self._publish_frames) < 1_000:
                self._publish_frames[route] = publish
        header = pamqp.header.ContentHeader(
            properties=_properties(message, message_id), body_size=len(message.body)
        )
        frames = [publish, pamqp.frame.marshal(header, number)]
        step = self._channel.max_content_size
        for start in range(0, len(message.body), step):
            part = pamqp.body.ContentBody(message.body[start : start + step])
            frames.append(pamqp.frame.marshal(part, number))
        return b"".join(frames)

    async def confirmed(self, publish: Publish, exchange: str, routing_key: str) -> None:
        """
        Wait until the broker has answered one publish.

        Raises:
            PublishError: Unroutable, refused, or unknown because the channel was lost.
            TimeoutError: What the confirmation was given from outside; then, and when cancelled,
                the publish must be handed to ``give_up``.
        """
        try:
            answer = await publish.confirmation
        except (TimeoutError, asyncio.CancelledError):
            raise
        except Exception as failure:
            self._forget(publish)
            raise self._publish_error(failure, exchange, routing_key) from None
        self._forget(publish)
        if not isinstance(answer, pamqp.commands.Basic.Ack):
            raise _unknown(exchange, routing_key, self.reason)

    def _publish_error(self, failure: Exception, exchange: str, routing_key: str) -> PublishError:
        if isinstance(failure, amqp.PublishError):
            return UnroutableError(
                f"no queue takes messages for {routing_key!r}"
                + (f" on exchange {exchange!r}" if exchange else "")
            )
        if isinstance(failure, amqp.DeliveryError):
            return QueueFullError(
                f"the queue for {routing_key!r} refused the message: it is full, or has lost its "
                "majority. Start more workers of this kind, raise the length limit of its policy, "
                "or look at the queue's members (rabbitmq-queues quorum_status)"
            )
        if isinstance(failure, _LostError) and failure.args[0] == _NOT_FOUND:
            return UnroutableError(
                f"there is no exchange {exchange!r}, so no queue takes messages for "
                f"{routing_key!r}. Start a worker that declares it, or run: effectmq topology apply"
            )
        return _unknown(exchange, routing_key, self.reason)

    def give_up(self, publish: Publish, answered: Callable[[], None]) -> None:
        """
        Stop waiting for a publish, and hear when it is over all the same.

        Args:
            publish: One whose confirmation has been given an exception, or was cancelled.
            answered: Called once, when the broker has answered or the channel is lost.
        """
        if not publish.confirmation.cancelled():
            publish.confirmation.exception()  # seen: asyncio need not complain about it
        if self.lost.done() or self._unanswered.get(publish.tag) is not publish.confirmation:
            self._forget(publish)
            answered()
            return
        late: asyncio.Future[object] = self._loop.create_future()

        def over(_: object) -> None:
            late.exception()
            self._forget(publish)
            answered()

        late.add_done_callback(over)
        self._unanswered[publish.tag] = late

    def _forget(self, publish: Publish) -> None:
        known = self._channel.message_id_delivery_tag
        if known.get(publish.message_id) == publish.tag:
            del known[publish.message_id]

    def is_sending(self, message_id: str) -> bool:
        """
        Whether a publish with this message id is unanswered.

        aiormq finds the publish that a returned message belongs to by its id. Two at a time under
        one id, and the wrong one is told that nobody takes it.
        """
        return not self.lost.done() and message_id in self._channel.message_id_delivery_tag

    async def answered(self, message_id: str) -> None:
        """Wait until the publish with this message id has been answered."""
        twin = self._unanswered.get(self._channel.message_id_delivery_tag.get(message_id, 0))
        if twin is None or twin.done():
            await asyncio.sleep(0)  # its publisher has been woken, and forgets it next
        else:
            await asyncio.wait((twin,))

    # Consuming -------------------------------------------------------------------------------

    async def consume(
        self,
        queue: str,
        *,
        prefetch: int,
        exclusive: bool,
        on_delivery: RawDelivery,
        on_cancel: Callable[[], None],
    ) -> str:
        """Subscribe, and give the consumer tag; ``on_cancel`` hears of a server-sent cancel."""
        await self._call(self._channel.basic_qos(prefetch_count=prefetch), "setting the prefetch")

        library = cast("Any", self._channel)

        async def delivered(frame: pamqp.commands.Basic.Deliver) -> None:
            # In the reader itself: the library would make a task for each message.
            raw = await library._read_content(frame, await library._get_frame())
            on_delivery(
                frame.delivery_tag or 0,
                frame.routing_key or "",
                bool(frame.redelivered),
                _message(raw),
            )

        async def nothing(_: aiormq.abc.DeliveredMessage) -> None:
            """What the library is told to call."""

        def cancelled(_: object) -> None:
            on_cancel()

        library._on_deliver_frame = delivered
        # Without this callback aiormq drops the consumer and tells nobody.
        self._channel.on_consumer_cancel_callbacks.add(cancelled)
        reply = await self._call(
            self._channel.basic_consume(queue, nothing, exclusive=exclusive),
            f"consuming from {queue!r}",
        )
        return reply.consumer_tag or ""

    async def cancel(self, consumer_tag: str) -> None:
        """Ask for no more deliveries, bounded."""
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await self._call(self._channel.basic_cancel(consumer_tag), "cancelling a consumer")

    def ack(self, delivery_tag: int, *, multiple: bool) -> None:
        """Queue an acknowledgement for the next write; on a lost channel it goes nowhere."""
        if not self.lost.done():
            frame = pamqp.commands.Basic.Ack(delivery_tag=delivery_tag, multiple=multiple)
            self._link.outbox.write(pamqp.frame.marshal(frame, self._channel.number))

    def reject(self, delivery_tag: int) -> None:
        """Queue a rejection without requeue, which dead-letters the message."""
        if not self.lost.done():
            frame = pamqp.commands.Basic.Reject(delivery_tag=delivery_tag, requeue=False)
            self._link.outbox.write(pamqp.frame.marshal(frame, self._channel.number))

    # Declaring -------------------------------------------------------------------------------

    async def declare_exchange(self, exchange: Exchange) -> None:
        """Declare it, durable."""
        await self._call(
            self._channel.exchange_declare(
                exchange.name, exchange_type=exchange.type, durable=True
            ),
            f"declaring exchange {exchange.name!r}",
        )

    async def declare_queue(self, queue: Queue) -> None:
        """Declare it, durable, with exactly its arguments."""
        await self._call(
            self._channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments)),
            f"declaring queue {queue.name!r}",
        )

    async def bind(self, binding: Binding) -> None:
        """Bind a queue to an exchange."""
        await self._call(
            self._channel.queue_bind(
                binding.queue, binding.exchange, routing_key=binding.routing_key
            ),
            f"binding queue {binding.queue!r} to exchange {binding.exchange!r}",
        )

    async def stats(self, queue: str) -> QueueStats:
        """A passive declaration; a queue that does not exist closes the channel."""
        reply = await self._call(
            self._channel.queue_declare(queue, passive=True), f"looking at queue {queue!r}"
        )
        return QueueStats(queue, reply.message_count or 0, reply.consumer_count or 0)

    async def _call(self, waiting: Awaitable[T], doing: str) -> T:
        """One request at a time, remembered for ``abandon``."""
        self._request = request = asyncio.ensure_future(waiting)
        return await self._link.call(request, doing)

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
            goodbye = pamqp.commands.Channel.Close(200, self.reason, 0, 0)
            self._link.outbox.write(pamqp.frame.marshal(goodbye, self._channel.number))

    async def close(self) -> None:
        """Close it, and wait, bounded, until the broker has seen everything before that."""
        self.abandon("closed")
        await asyncio.wait((_closing(self._channel),), timeout=_CLOSE_TIMEOUT_S)


def _connection(url: str, settings: TransportSettings, purpose: str) -> aio_pika.Connection:
    try:
        return aio_pika.Connection(
            aio_pika.connection.make_url(url, heartbeat=int(settings.heartbeat_s)),
            client_properties={"connection_name": f"{settings.name}:{purpose}"},
        )
    except ValueError:
        # Its own text can quote the password.
        raise ConfigurationError(
            "the broker's address cannot be used; expected amqp://user:password@host:port/vhost, "
            "with special characters percent-encoded"
        ) from None


def _open_error(address: Address, wire: _Wire, failure: BaseException) -> EffectmqError:
    if isinstance(failure, EffectmqError):
        return failure
    if isinstance(failure, amqp.ProbableAuthenticationError):
        return credentials_error(address, str(failure))
    if isinstance(failure, amqp.AuthenticationError):
        return mechanism_error(address, _text(failure.args[0] if failure.args else ""))
    said = wire.last_words
    if said is not None:
        return refused_error(address, *said)
    return unreachable_error(address, _root_cause(failure))


def _publish_frame(exchange: str, routing_key: str, channel_number: int) -> bytes:
    try:
        frame = pamqp.commands.Basic.Publish(
            exchange=exchange, routing_key=routing_key, mandatory=True
        )
    except ValueError:
        raise ConfigurationError(
            f"the exchange name is {exchange!r}; expected at most 127 letters, digits and "
            "-_.:@#,/+ or blanks"
        ) from None
    return pamqp.frame.marshal(frame, channel_number)


def _properties(message: Message, message_id: str) -> pamqp.commands.Basic.Properties:
    return pamqp.commands.Basic.Properties(
        content_type=message.content_type or None,
        headers=cast("FieldTable", message.headers) or None,
        delivery_mode=_PERSISTENT,
        correlation_id=message.correlation_id or None,
        reply_to=message.reply_to or None,
        message_id=message_id,
        timestamp=datetime.fromtimestamp(message.timestamp, UTC) if message.timestamp else None,
        message_type=message.type or None,
    )


def _message(raw: aiormq.abc.DeliveredMessage) -> Message:
    properties = raw.header.properties
    timestamp = properties.timestamp
    return Message(
        body=raw.body,
        content_type=properties.content_type or "",
        type=properties.message_type or "",
        correlation_id=properties.correlation_id or "",
        reply_to=properties.reply_to or "",
        message_id=properties.message_id or "",
        timestamp=int(timestamp.timestamp()) if timestamp else 0,
        headers=_own_headers(properties.headers),
    )


def _own_headers(headers: Mapping[str, object] | None) -> dict[str, HeaderValue]:
    # x-death and friends stay out: 3.10 believes a client's x-death, and a republish that copied
    # it would be dropped as a cycle.
    if not headers:
        return {}
    return {
        name: value
        for name, value in headers.items()
        if is_own_header(name) and isinstance(value, str | int | bool)
    }


def _unknown(exchange: str, routing_key: str, reason: str) -> PublishError:
    return PublishUnknownError(
        f"the connection was lost before the broker confirmed a message for {routing_key!r}"
        + (f" on exchange {exchange!r}" if exchange else "")
        + (f" ({reason})" if reason else "")
        + "; it may have arrived. Publishing the same effect again is safe"
    )


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)


#: aiormq keeps the broker's text of these and drops the code, which the class stands for.
_CODES: dict[type[amqp.AMQPError], int] = {
    amqp.ChannelAccessRefused: 403,
    amqp.ChannelNotFoundEntity: 404,
    amqp.ChannelLockedResource: 405,
    amqp.ChannelPreconditionFailed: 406,
}


def _reply(failure: amqp.ChannelClosed) -> tuple[int, str]:
    code = next((part for part in failure.args if isinstance(part, int)), 0)
    text = next((part for part in failure.args if isinstance(part, str)), "")
    return code or _CODES.get(type(failure), 0), text


def _root_cause(failure: BaseException) -> BaseException:
    """The operating system's own error, where the library wrapped one."""
    while failure.__cause__ is not None:
        failure = failure.__cause__
    return failure


def _cancellations() -> int:
    """
    How often this task has been asked to stop.

    When it has not changed, a ``CancelledError`` is the library's: it cancels whoever waits on a
    connection that died.
    """
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def _closing(library: Any) -> asyncio.Future[object]:
    """When a connection or channel of the library's ends."""
    return cast("asyncio.Future[object]", library.closing)


def _closed() -> asyncio.Future[None]:
    """A future that is done."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


async def _bounded(work: Awaitable[object], timeout_s: float) -> None:
    """
    Give some clean-up this many seconds, whatever it does with a cancellation; never raises.

    ``asyncio.timeout`` would wait for the library to react to being cancelled.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=timeout_s)
    finally:
        if not task.done():
            task.cancel()
        task.add_done_callback(_seen)


def _seen(task: asyncio.Future[Any]) -> None:
    """Asyncio need not complain about a failure that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
