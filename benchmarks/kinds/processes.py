"""
``python -m benchmarks.kinds.processes``: from the start of a process to its output, in one run.

One side is the registry and its runner alone, called in this program. The other is effectmq: start
and await are effects over RabbitMQ, answered by a worker in this program from an equal registry. In
both the process is a tool call that returns at once, so what is measured is everything around it.
The two take turns; a row has the medians and their ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import secrets
import sys
import tempfile
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.in_turns import Maker, compare
from effectmq import Client, Worker, WorkerSettings
from effectmq.broker.store.database import open_database
from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.consumers.processes import ProcessHandler, ProcessRunner, RunningProcess
from effectmq.consumers.tools.results.outputs import output_from
from effectmq.protocol.wire.process_registration import (
    ProcessInputToolCall,
    ProcessProvenance,
    ProcessRegistration,
    ProcessScope,
)
from effectmq.protocol.wire.tools import PreparedToolCall, ToolCallOutput
from tests.brokers.sweep import sweep

SESSION = "bench"


async def measure(call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
    """The tool: its arguments arrive, and a number goes back."""
    return output_from(len(call.args["text"]))


class RegistryAlone:
    """Registry and runner in this program, without a broker."""

    def __init__(self, database: str, url: str, namespace: str, in_flight: int) -> None:
        folder = tempfile.mkdtemp(prefix="effectmq-bench-")
        self._database = open_database(database or f"sqlite:///{Path(folder)}/bench.db")
        self.registry = ProcessRegistry(self._database)
        self.runner = ProcessRunner(self.registry, run_tool=measure)
        self._prefix, self._numbers = secrets.token_hex(6), count()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> RegistryAlone:
        for resource in (self._database, self.registry, self.runner):
            await self._stack.enter_async_context(resource)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def prepare(self, body: bytes) -> ProcessRegistration:
        """What the caller has in hand before: a registration."""
        call = PreparedToolCall(call_id="c", tool_name="measure", args={"text": body.decode()})
        return ProcessRegistration(
            id=f"{self._prefix}-{next(self._numbers)}",
            input=ProcessInputToolCall(call=call),
            provenance=ProcessProvenance(
                owner_scope=ProcessScope(session_id=SESSION), host_profile_id="default"
            ),
        )

    async def call(self, registration: ProcessRegistration) -> None:
        """Register, run, wait."""
        await self.registry.start(registration)
        self.runner.poke()
        await self.registry.await_process(registration.id)


class ThroughEffectmq(RegistryAlone):
    """The same behind a worker: two effects, one after the other."""

    def __init__(self, database: str, url: str, namespace: str, in_flight: int) -> None:
        super().__init__(database, url, namespace, in_flight)
        self._url, self._namespace = url, namespace
        self._client = Client(url, namespace=namespace, journal="none")
        self._worker = Worker(
            url,
            namespace=namespace,
            settings=WorkerSettings(concurrency=max(2 * in_flight, 2)),
            journal="none",
        )
        self._worker.add(ProcessHandler(self.registry, poke=self.runner.poke))

    async def __aenter__(self) -> ThroughEffectmq:
        await super().__aenter__()
        await self._stack.enter_async_context(self._worker)
        await self._stack.enter_async_context(self._client)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await super().__aexit__()
        await asyncio.to_thread(sweep, self._url, self._namespace)

    async def call(self, registration: ProcessRegistration) -> None:
        """Start, then await, each with an envelope of its own."""
        processes = self._client.process_scope(SESSION)
        await processes.start(registration, timeout=120)
        await processes.wait(registration.id, timeout=120)


async def main(arguments: argparse.Namespace) -> None:
    """Measure, and print a row for each number in flight."""
    kind = (arguments.database or "sqlite").partition(":")[0]
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {kind}, 1 KiB, "
        f"{arguments.turns} turns each",
        file=sys.stderr,
    )
    sides: dict[str, Maker] = {
        "registry": partial(RegistryAlone, arguments.database),
        "effectmq": partial(ThroughEffectmq, arguments.database),
    }
    for in_flight, total in ((1, arguments.sequential), (20, arguments.parallel)):
        result = await compare(arguments.broker, sides, in_flight, total, arguments.turns)
        alone, ours = result["registry"], result["effectmq"]
        row = {
            "what": "process start to await",
            "database": kind,
            "in_flight": in_flight,
            "registry_per_s": round(alone.per_second),
            "effectmq_per_s": round(ours.per_second),
            "registry_p50_ms": round(alone.p50_ms, 2),
            "effectmq_p50_ms": round(ours.p50_ms, 2),
            "p50_ratio": round(ours.p50_ms / alone.p50_ms, 2),
            "registry_p99_ms": round(alone.p99_ms, 2),
            "effectmq_p99_ms": round(ours.p99_ms, 2),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kinds.processes", description=__doc__
    )
    parser.add_argument(
        "--broker", default=os.environ.get("EFFECTMQ_BROKER", "amqp://guest:guest@127.0.0.1:5672/")
    )
    parser.add_argument("--database", default="", help="sqlite in a new file by default")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--sequential", type=int, default=200, help="processes at 1 in flight")
    parser.add_argument("--parallel", type=int, default=1_000, help="processes at 20 in flight")
    asyncio.run(main(parser.parse_args()))
