"""
Request/reply on aio-pika as one writes it by hand, and carefully.

Same guarantees on the wire as ours: durable quorum work queue, durable reply queue, persistent
messages, publisher confirms awaited, mandatory publishes, acknowledgement after the confirmed
reply, prefetch equal to the requests in flight. No validation, no hash, no retry.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AsyncExitStack

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

__all__ = ["PlainRequestReply"]


class PlainRequestReply:
    """A client and a worker, each with a connection for publishing and one for consuming."""

    def __init__(self, url: str, namespace: str, in_flight: int) -> None:
        self._url = url
        self._namespace = namespace
        self._in_flight = in_flight
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> PlainRequestReply:
        await self._stack.__aenter__()
        client_out, client_in = await self._channel(), await self._channel()
        self._worker_out, worker_in = await self._channel(), await self._channel()
        self._client_out = client_out
        work = await worker_in.declare_queue(
            f"{self._namespace}.plain.work", durable=True, arguments={"x-queue-type": "quorum"}
        )
        replies = await client_in.declare_queue(
            f"{self._namespace}.plain.reply",
            durable=True,
            arguments={"x-queue-type": "classic", "x-expires": 600_000},
        )
        self._work, self._replies = work.name, replies.name
        await worker_in.set_qos(prefetch_count=self._in_flight)
        await client_in.set_qos(prefetch_count=500)
        await work.consume(self._serve)
        await replies.consume(self._answered)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        channel = await self._channel()
        await channel.queue_delete(self._work)
        await channel.queue_delete(self._replies)
        await self._stack.aclose()

    async def _channel(self) -> AbstractChannel:
        connection = await aio_pika.connect(self._url)
        await self._stack.enter_async_context(connection)
        return await connection.channel(publisher_confirms=True, on_return_raises=True)

    def prepare(self, body: bytes) -> aio_pika.Message:
        """What the caller has in hand before the round trip: a message."""
        correlation_id = uuid.uuid4().hex
        return aio_pika.Message(
            body,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            correlation_id=correlation_id,
            reply_to=self._replies,
            message_id=correlation_id,
        )

    async def call(self, message: aio_pika.Message) -> None:
        """One round trip."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[message.correlation_id or ""] = answer
        await self._client_out.default_exchange.publish(message, self._work, mandatory=True)
        await answer

    async def _serve(self, request: AbstractIncomingMessage) -> None:
        reply = aio_pika.Message(
            request.body,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            correlation_id=request.correlation_id,
            message_id=uuid.uuid4().hex,
        )
        await self._worker_out.default_exchange.publish(
            reply, request.reply_to or "", mandatory=True
        )
        await request.ack()

    async def _answered(self, reply: AbstractIncomingMessage) -> None:
        answer = self._waiting.pop(reply.correlation_id or "", None)
        if answer is not None and not answer.done():
            answer.set_result(reply.body)
        await reply.ack()
