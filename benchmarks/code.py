"""
``python -m benchmarks.code``: a block of code through effectmq beside the same block run directly.

The direct side is Monty's own pool in this process, warm, with the same work done around each
block: a fresh session, its variables loaded, the block, its variables dumped. effectmq adds the
broker, the envelope, the outcome, and the database that keeps the variables; no journal. Both take
turns, and what is printed are the medians over the turns, as JSON rows, one for each way to keep
variables.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from pydantic_monty import AsyncMonty

from effectmq import Client, Worker
from effectmq.broker.store.database import open_database
from effectmq.consumers.code.handler import CodeHandler
from effectmq.consumers.code.settings import CodeSettings
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.brokers.sweep import sweep

CODE = "total = sum(n * n for n in range(1000))\nprint(total)\ntotal"
SETTINGS = CodeSettings()

Block = Callable[[int], Awaitable[None]]


@asynccontextmanager
async def direct() -> AsyncIterator[Block]:
    """Monty, and nothing else."""
    async with AsyncMonty(min_processes=1, max_processes=1) as pool:
        state: list[bytes] = []

        async def block(number: int) -> None:
            async with pool.checkout(
                limits={
                    "max_feed_duration_secs": SETTINGS.time_limit_s,
                    "max_memory": SETTINGS.memory_bytes,
                }
            ) as session:
                if state:
                    await session.load_session(state[0])
                await session.feed_run(CODE, print_callback=lambda stream, text: None)
                state[:] = [await session.dump()]

        yield block


@asynccontextmanager
async def through_effectmq(broker: str, database: str) -> AsyncIterator[Block]:
    """A client and a worker in this process, on a broker."""
    namespace = f"bench-{secrets.token_hex(3)}"
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(open_database(database)) if database else None
        worker = Worker(broker, namespace=namespace, journal="none")
        worker.add(CodeHandler(SETTINGS, database=opened))
        await stack.enter_async_context(worker)
        client = await stack.enter_async_context(Client(broker, namespace=namespace))

        async def block(number: int) -> None:
            turn = client.turn(namespace, f"turn-{number}")
            outcome = await turn.exec_code(CODE)
            assert isinstance(outcome, RuntimeEffectOutcomeExecCode)

        yield block
    if broker.startswith("amqp"):
        await asyncio.to_thread(sweep, broker, namespace)


async def latencies_ms(block: Block, count: int) -> list[float]:
    """How long each of so many blocks takes, the first few left out."""
    taken: list[float] = []
    for number in range(count + 20):
        started = time.perf_counter()
        await block(number)
        taken.append((time.perf_counter() - started) * 1_000)
    return taken[20:]


async def compare(broker: str, database: str, count: int, turns: int) -> dict[str, object]:
    """One row."""
    medians: dict[str, list[float]] = {"direct": [], "effectmq": []}
    for _ in range(turns):
        async with direct() as block:
            medians["direct"].append(statistics.median(await latencies_ms(block, count)))
        async with through_effectmq(broker, database) as block:
            medians["effectmq"].append(statistics.median(await latencies_ms(block, count)))
    plain, ours = (statistics.median(medians[side]) for side in ("direct", "effectmq"))
    return {
        "what": "code block, Monty warm",
        "broker": broker.partition(":")[0],
        "variables": database.partition(":")[0] or "memory",
        "direct_p50_ms": round(plain, 2),
        "effectmq_p50_ms": round(ours, 2),
        "added_ms": round(ours - plain, 2),
    }


async def main(arguments: argparse.Namespace) -> None:
    """All rows."""
    print(
        f"Python {platform.python_version()}, pydantic-monty {version('pydantic-monty')}, "
        f"{os.cpu_count()} cores, one block at a time, {arguments.turns} turns of "
        f"{arguments.blocks} blocks each",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory() as folder:
        for broker in ("memory://", arguments.broker):
            for database in ("", f"sqlite:///{folder}/{secrets.token_hex(3)}.db"):
                row = await compare(broker, database, arguments.blocks, arguments.turns)
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.code", description=__doc__)
    parser.add_argument(
        "--broker", default=os.environ.get("EFFECTMQ_BROKER", "amqp://guest:guest@127.0.0.1:5672/")
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=200)
    asyncio.run(main(parser.parse_args()))
