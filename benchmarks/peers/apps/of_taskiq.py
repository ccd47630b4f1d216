"""taskiq on RabbitMQ by aio-pika, results in Redis."""

from __future__ import annotations

import os
from typing import Any, Self

from taskiq_aio_pika import AioPikaBroker, Exchange, Queue
from taskiq_redis import RedisAsyncResultBackend

from benchmarks.sides.spec import Spec

spec = Spec.of(os.environ["BENCHMARK_SPEC"])
NAME = f"{spec.namespace}.taskiq"
broker = AioPikaBroker(
    spec.broker,
    exchange=Exchange(name=NAME),
    task_queues=[Queue(name=NAME)],
    dead_letter_queue=Queue(name=f"{NAME}.dead"),
    qos=spec.prefetch,
).with_result_backend(RedisAsyncResultBackend(spec.redis, result_ex_time=600))
#: It asks Redis again and again; the 0.2 s of its default would be all that is measured.
_LOOK_S = 0.005


@broker.task(task_name="measure")
async def measure(text: str) -> int:
    return len(text)


class TaskiqClient:
    """Publishes, then asks Redis for the result."""

    def __init__(self, spec: Spec) -> None:
        self._text = "x" * spec.body_bytes

    async def __aenter__(self) -> Self:
        await broker.startup()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        channel = broker.write_channel
        if channel is not None:
            for queue in (NAME, f"{NAME}.dead"):
                await channel.queue_delete(queue)
            await channel.exchange_delete(NAME)
        await broker.shutdown()

    def prepare(self) -> str:
        return self._text

    async def call(self, prepared: Any) -> None:
        task = await measure.kiq(prepared)
        await task.wait_result(check_interval=_LOOK_S, timeout=60)
