"""
FastStream on RabbitMQ: request and answer over the broker's direct reply-to.

With care: quorum queues for both, and persistent answers, which a subscriber takes out.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from typing import Any, Self

from faststream import FastStream
from faststream.rabbit import (
    Channel,
    QueueType,
    RabbitBroker,
    RabbitMessage,
    RabbitQueue,
    RabbitResponse,
)

from benchmarks.sides.spec import Spec

spec = Spec.of(os.environ["BENCHMARK_SPEC"])
broker = RabbitBroker(
    spec.broker, default_channel=Channel(prefetch_count=spec.prefetch), log_level=30
)
app = FastStream(broker)


def _queue(name: str) -> RabbitQueue:
    if not spec.careful:
        return RabbitQueue(name, durable=True)
    return RabbitQueue(name, queue_type=QueueType.QUORUM, durable=True)


QUEUE = _queue(f"{spec.namespace}.faststream")
ANSWERS = _queue(f"{spec.namespace}.faststream.answers")


@broker.subscriber(QUEUE)
async def measure(text: str) -> Any:
    return RabbitResponse(len(text), persist=True) if spec.careful else len(text)


class FaststreamClient:
    """Requests, each with its answer."""

    def __init__(self, spec: Spec) -> None:
        self._text = "x" * spec.body_bytes
        # What it says of its start would stand among the answers of this process.
        self._broker = RabbitBroker(spec.broker, logger=None)
        self._waiting: dict[str, asyncio.Future[None]] = {}
        if spec.careful:
            self._broker.subscriber(ANSWERS)(self._answered)

    async def __aenter__(self) -> Self:
        await self._broker.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._broker.stop()

    def prepare(self) -> str:
        return self._text

    async def call(self, prepared: Any) -> None:
        if spec.careful:
            await self._asked(prepared)
        else:
            await self._broker.request(prepared, queue=QUEUE, timeout=60, persist=True)

    async def _asked(self, text: str) -> None:
        name = uuid.uuid4().hex
        self._waiting[name] = asyncio.get_running_loop().create_future()
        await self._broker.publish(
            text, QUEUE, persist=True, reply_to=ANSWERS.name, correlation_id=name
        )
        await self._waiting[name]

    async def _answered(self, length: int, message: RabbitMessage) -> None:
        waiting = self._waiting.pop(message.correlation_id or "", None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
