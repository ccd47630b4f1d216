"""dramatiq on RabbitMQ, results in Redis."""

from __future__ import annotations

import os
from typing import Any, Self

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend

from benchmarks.sides.spec import Spec

spec = Spec.of(os.environ["BENCHMARK_SPEC"])
broker = RabbitmqBroker(url=spec.broker, confirm_delivery=spec.careful)
backend = RedisBackend(url=spec.redis)
broker.add_middleware(Results(backend=backend))
dramatiq.set_broker(broker)
QUEUE = f"{spec.namespace}.dramatiq"


@dramatiq.actor(queue_name=QUEUE, store_results=True)
def measure(text: str) -> int:
    return len(text)


class DramatiqClient:
    """Sends first and waits later."""

    def __init__(self, spec: Spec) -> None:
        self._text = "x" * spec.body_bytes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for name in (QUEUE, f"{QUEUE}.DQ", f"{QUEUE}.XQ"):
            broker.channel.queue_delete(name)

    def send(self) -> Any:
        return measure.send(self._text)

    def wait(self, sent: Any) -> None:
        sent.get_result(backend=backend, block=True, timeout=60_000)
