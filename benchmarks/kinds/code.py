"""
A block of code through effectmq beside the same block run directly: ``benchmarks.kinds.code``.

The direct side is Monty's own pool in this process, warm, with the same work done around each
block: a fresh session, its variables loaded, the block, its variables dumped. effectmq adds the
broker, the envelope, the outcome, and the database that keeps the variables; no journal. Both take
turns, and what is printed are the medians over the turns, as JSON rows, one for each way to keep
variables.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version

from pydantic_monty import AsyncMonty

from benchmarks.one_at_a_time import Once, added, options, places, print_row
from effectmq import Client, Worker
from effectmq.broker.store.database import open_database
from effectmq.consumers.code.handler import CodeHandler
from effectmq.consumers.code.settings import CodeSettings
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.brokers.sweep import sweep

CODE = "total = sum(n * n for n in range(1000))\nprint(total)\ntotal"
SETTINGS = CodeSettings()


@asynccontextmanager
async def direct() -> AsyncGenerator[Once]:
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
async def through_effectmq(broker: str, database: str) -> AsyncGenerator[Once]:
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


async def main(arguments: argparse.Namespace) -> None:
    """All rows."""
    print(
        f"Python {platform.python_version()}, pydantic-monty {version('pydantic-monty')}, "
        f"{os.cpu_count()} cores, one block at a time, {arguments.turns} turns of "
        f"{arguments.blocks} blocks each",
        file=sys.stderr,
    )
    for broker, database in places(arguments.broker, without=""):
        ours = partial(through_effectmq, broker, database)
        print_row(
            {
                "what": "code block, Monty warm",
                "broker": broker.partition(":")[0],
                "variables": database.partition(":")[0] or "memory",
                **await added(direct, ours, arguments.blocks, arguments.turns),
            }
        )


if __name__ == "__main__":
    asyncio.run(main(options("benchmarks.kinds.code", __doc__, "blocks", 200).parse_args()))
