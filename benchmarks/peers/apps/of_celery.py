"""Celery on RabbitMQ, results in Redis."""

from __future__ import annotations

import os
from typing import Any, Self

from celery import Celery

from benchmarks.sides.spec import Spec

spec = Spec.of(os.environ["BENCHMARK_SPEC"])
app = Celery("bench", broker=spec.broker, backend=spec.redis)
app.conf.task_default_queue = f"{spec.namespace}.celery"
app.conf.worker_prefetch_multiplier = spec.prefetch
if spec.careful:
    app.conf.broker_transport_options = {"confirm_publish": True}
    app.conf.task_default_queue_type = "quorum"
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True


@app.task(name="measure")
def measure(text: str) -> int:
    return len(text)


class CeleryClient:
    """Sends first and waits later."""

    def __init__(self, spec: Spec) -> None:
        self._text = "x" * spec.body_bytes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with app.connection_for_write() as connection:
            connection.default_channel.queue_delete(app.conf.task_default_queue)

    def send(self) -> Any:
        return measure.delay(self._text)

    def wait(self, sent: Any) -> None:
        sent.get(timeout=60)
