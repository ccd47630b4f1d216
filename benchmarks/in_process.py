"""
``python -m benchmarks.in_process [plain]``: client and worker of one side in this one process.

Not for comparing: ``python -m benchmarks`` gives each its own process, as in life. It is for
looking at where the time goes: ``--profile FILE`` writes what ``python -m pstats`` reads, and the
CPU time that is printed has client and worker together.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext

from benchmarks.brokers import broker_address
from benchmarks.one_at_a_time import print_row
from benchmarks.sides.client import Driver, opened
from benchmarks.sides.plain import PlainWorker
from benchmarks.sides.spec import Spec
from tests.brokers.finding import SUITES
from tests.brokers.sweep import sweep

_WARMING_S = 1.0


@asynccontextmanager
async def worker(spec: Spec) -> AsyncGenerator[None]:
    """The worker of a side, in this process."""
    if spec.side == "plain":
        async with PlainWorker(spec):
            yield
        return
    variables = {"BROKER": spec.broker, "NAMESPACE": spec.namespace, "JOURNAL": spec.journal}
    variables |= {"CONCURRENCY": str(spec.prefetch), "ATTACHMENTS": spec.attachments}
    os.environ.update({f"EFFECTMQ_{name}": value for name, value in variables.items()})
    # Its settings are those of the environment.
    from benchmarks.sides.app import app

    async with app:
        yield


async def main(spec: Spec, seconds: float, profile: str) -> None:
    """Warm up, measure, tell."""
    async with worker(spec), opened(spec) as client:
        driver = Driver(client)
        await driver.turn(spec.in_flight, _WARMING_S)
        began = time.process_time()
        profiler = cProfile.Profile() if profile else nullcontext()
        with profiler:
            found = await driver.turn(spec.in_flight, seconds)
        found["cpu_us"] = round((time.process_time() - began) / found["calls"] * 1e6, 1)
        print_row(found)
        if isinstance(profiler, cProfile.Profile):
            profiler.dump_stats(profile)
    if spec.side != "plain":
        await asyncio.to_thread(sweep, spec.broker, spec.namespace)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.in_process", description=__doc__)
    parser.add_argument("side", nargs="?", choices=("ours", "plain"), default="ours")
    parser.add_argument("--broker", default=os.environ.get("EFFECTMQ_BROKER"))
    parser.add_argument("--release", choices=SUITES, help="a node of this release")
    parser.add_argument("--kind", choices=("tool", "echo", "model"), default="tool")
    parser.add_argument("--bytes", type=int, default=1024)
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--journal", default="none")
    parser.add_argument("--attachments", default="none")
    parser.add_argument("--profile", default="", metavar="FILE")
    given = parser.parse_args()
    with broker_address(given.broker, given.release) as (address, _):
        told = Spec(
            side=given.side,
            broker=address,
            namespace=f"bench-{secrets.token_hex(3)}",
            kind=given.kind,
            body_bytes=given.bytes,
            in_flight=given.in_flight,
            prefetch=given.in_flight,
            journal=given.journal,
            attachments=given.attachments,
        )
        asyncio.run(main(told, given.seconds, given.profile))
