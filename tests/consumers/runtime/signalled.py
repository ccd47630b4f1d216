"""A worker for signals, as a process: ``python -m tests.consumers.runtime.signalled``."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading

from effectmq.broker.client.client import EffectClient
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import ONCE, TOPOLOGY, code
from tests.waiting import eventually


class Worker(EffectWorker):
    """Says when it has stopped, and what it had done by then."""

    async def stop(self, grace_s: float | None = None) -> None:
        """Stop, then say so."""
        was_running = self._running is not None
        await super().stop(grace_s)
        if was_running:
            print("stopped", self.counters["replies"], flush=True)


async def main() -> None:
    """Run one effect that ends when a line comes in; carry on until a signal comes."""
    go = asyncio.Event()
    loop = asyncio.get_running_loop()
    app = Worker("memory://", topology=TOPOLOGY, settings=WorkerSettings(shutdown_grace_s=60))

    def listen() -> None:
        if sys.stdin.readline():
            loop.call_soon_threadsafe(go.set)

    @app.handler("exec_code", retry=ONCE)
    async def run(command: object) -> object:
        print("started", flush=True)
        await go.wait()
        return RuntimeEffectOutcomeExecCode(result=Err("done"))

    async def submit() -> None:
        await eventually(lambda: app._running is not None)
        await client.submit(code())

    threading.Thread(target=listen, daemon=True).start()
    client = EffectClient("memory://", topology=TOPOLOGY)
    async with client:
        submitting = asyncio.create_task(submit())
        await app.run()
        await submitting


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    asyncio.run(main())
