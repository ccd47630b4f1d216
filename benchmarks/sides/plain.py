"""
Request/reply on aio-pika as one writes it by hand, and carefully.

Same guarantees on the wire as ours: durable quorum queues for work and for replies, persistent
messages, publisher confirms awaited, mandatory publishes, acknowledgement after the confirmed
reply, a prefetch equal to ours. No validation, no hash, no retry, no deduplication.

``python -m benchmarks.sides.plain SPEC`` is its worker.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from contextlib import AsyncExitStack
from typing import Self

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from benchmarks.sides.loops import run
from benchmarks.sides.spec import Spec

__all__ = ["PlainClient", "PlainWorker"]

_REPLY_PREFETCH = 500
_FILL_AT_ONCE = 200


class _Connected:
    """A connection for publishing and one for consuming, as ours has."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._stack = AsyncExitStack()

    async def channel(self) -> AbstractChannel:
        connection = await aio_pika.connect(self.spec.broker)
        await self._stack.enter_async_context(connection)
        return await connection.channel(publisher_confirms=True, on_return_raises=True)

    async def queue(self, channel: AbstractChannel, name: str) -> AbstractQueue:
        return await channel.declare_queue(
            f"{self.spec.namespace}.plain.{name}",
            durable=True,
            arguments={"x-queue-type": "quorum"},
        )


class PlainWorker(_Connected):
    """Answers each request, and acknowledges it when the answer is confirmed."""

    async def __aenter__(self) -> Self:
        self._out, channel = await self.channel(), await self.channel()
        await channel.set_qos(prefetch_count=self.spec.prefetch)
        await (await self.queue(channel, "work")).consume(self._serve)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def _serve(self, request: AbstractIncomingMessage) -> None:
        small = self.spec.answer == "small"
        reply = aio_pika.Message(
            b"%d" % len(request.body) if small else request.body,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            correlation_id=request.correlation_id,
            message_id=uuid.uuid4().hex,
        )
        await self._out.default_exchange.publish(reply, request.reply_to or "", mandatory=True)
        await request.ack()


class PlainClient(_Connected):
    """Publishes requests, and matches the answers by their correlation id."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self._body = b"x" * spec.body_bytes
        self._waiting: dict[str, asyncio.Future[bytes]] = {}

    async def __aenter__(self) -> Self:
        self._out, channel = await self.channel(), await self.channel()
        self._work = await self.queue(channel, "work")
        self._replies = await self.queue(channel, "reply")
        await channel.set_qos(prefetch_count=_REPLY_PREFETCH)
        self._tag = await self._replies.consume(self._answered)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._replies.cancel(self._tag)
        for queue in (self._work, self._replies):
            await queue.delete(if_unused=False, if_empty=False)
        await self._stack.aclose()

    def prepare(self) -> aio_pika.Message:
        correlation_id = uuid.uuid4().hex
        return aio_pika.Message(
            self._body,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            correlation_id=correlation_id,
            reply_to=self._replies.name,
            message_id=correlation_id,
        )

    async def call(self, prepared: aio_pika.Message) -> None:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[prepared.correlation_id or ""] = answer
        await self._out.default_exchange.publish(prepared, self._work.name, mandatory=True)
        await answer

    async def fill(self, count: int) -> None:
        for start in range(0, count, _FILL_AT_ONCE):
            many = range(start, min(count, start + _FILL_AT_ONCE))
            await asyncio.gather(
                *(self._out.default_exchange.publish(self.prepare(), self._work.name) for _ in many)
            )

    async def _answered(self, reply: AbstractIncomingMessage) -> None:
        answer = self._waiting.pop(reply.correlation_id or "", None)
        if answer is not None and not answer.done():
            answer.set_result(reply.body)
        await reply.ack()


async def _work(spec: Spec) -> None:
    async with PlainWorker(spec):
        print("ready", file=sys.stderr, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    told = Spec.of(sys.argv[1])
    run(_work(told), uvloop=told.uvloop)
