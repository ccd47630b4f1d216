"""
What it costs to be watched: ``python -m benchmarks.watched [--pairs N] [--effects N]``.

Two workers in processes of their own take turns, on one broker, at 100 effects in flight. One is
without anything: histograms and tallies do nothing, and nobody asks it. The other counts, and is
asked as in a cluster, but more often: ``/metrics`` every 5 s, ``/ready`` and ``/live`` every 10 s,
and its report every 2 s. What is compared is the CPU time of the worker's process for one effect,
as the kernel counts it; Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from urllib.request import urlopen

from benchmarks.one_at_a_time import print_row
from effectmq import Client, ToolCall, Worker
from effectmq.broker.client.fleet.fleet import Fleet
from effectmq.broker.metrics.instruments import Histogram, Tally
from effectmq.broker.transports import open_transport
from effectmq.protocol.topology import Names
from tests.brokers.finding import SUITES
from tests.brokers.node import free_ports
from tests.brokers.sweep import sweep

_IN_FLIGHT = 100
#: Who asks what, how often, in seconds.
_PATHS = {"metrics": 5.0, "ready": 10.0, "live": 10.0}
_REPORT_S = 2.0
_TEXT = "x" * 700


async def work(url: str, namespace: str, journal: str, port: int) -> None:
    """The worker's process; without a port nothing is counted."""
    if not port:
        Histogram.observe = lambda self, value: None  # type: ignore[method-assign]
        Tally.add = lambda self, *labels, by=1: None  # type: ignore[method-assign]
    app = Worker(
        url,
        namespace=namespace,
        journal=journal,
        concurrency=_IN_FLIGHT,
        http=f"127.0.0.1:{port}" if port else "",
    )

    @app.tool
    async def measure(text: str) -> int:
        return len(text)

    async with app:
        print("ready", flush=True)
        await asyncio.Event().wait()


@dataclass
class Side:
    """One of the two workers, with a client for it."""

    client: Client
    namespace: str
    pid: int
    port: int
    numbers: count[int]

    def cpu_s(self) -> float:
        """Of the worker's process so far, as clock_getcpuclockid(3) names its clock."""
        return time.clock_gettime((~self.pid << 3) | 2)

    async def turn(self, effects: int) -> float:
        """Carry out so many; the microseconds of CPU that one took in the worker."""

        async def caller() -> None:
            for _ in range(effects // _IN_FLIGHT):
                turn = self.client.turn(self.namespace, f"turn-{next(self.numbers)}")
                call = ToolCall("measure", {"text": _TEXT}, "call-1")
                (envelope,) = turn.tool_envelopes([call])
                await self.client.execute(envelope, timeout=120)

        began = self.cpu_s()
        await asyncio.gather(*(caller() for _ in range(_IN_FLIGHT)))
        return (self.cpu_s() - began) / (effects // _IN_FLIGHT * _IN_FLIGHT) * 1_000_000

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncGenerator[None]:
        """Ask as long as this is open, also between its turns."""
        transport = open_transport(self.client.broker)
        async with transport, Fleet(transport, Names(self.namespace)) as fleet:
            asks: list[tuple[Callable[[], Awaitable[object]], float]] = [
                (partial(_page, f"http://127.0.0.1:{self.port}/{path}"), every_s)
                for path, every_s in _PATHS.items()
            ]
            async with asyncio.TaskGroup() as asking:
                tasks = [
                    asking.create_task(_again(ask, every_s))
                    for ask, every_s in (*asks, (fleet.workers, _REPORT_S))
                ]
                yield
                for task in tasks:
                    task.cancel()


async def _again(ask: Callable[[], Awaitable[object]], every_s: float) -> None:
    while True:
        await ask()
        await asyncio.sleep(every_s)


async def _page(address: str) -> bytes:
    return await asyncio.to_thread(_read, address)


def _read(address: str) -> bytes:
    with urlopen(address, timeout=10) as answer:
        return bytes(answer.read())


@contextlib.asynccontextmanager
async def opened(url: str, journal: str, *, watched: bool) -> AsyncGenerator[Side]:
    """A worker's process and a client for it."""
    namespace = f"bench-{secrets.token_hex(3)}"
    port = free_ports(1)[0] if watched else 0
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "benchmarks.watched", "--work", json.dumps([url, namespace, journal, port])),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        async with Client(url, namespace=namespace) as client, AsyncExitStack() as stack:
            side = Side(client, namespace, process.pid, port, count())
            if watched:
                await stack.enter_async_context(side.watched())
            yield side
    finally:
        process.kill()
        await process.wait()
        await asyncio.to_thread(sweep, url, namespace)


async def compare(url: str, journal: str, pairs: int, effects: int) -> dict[str, object]:
    """Medians over the pairs; the first one warms up, and who begins takes turns, too."""
    off, on = list[float](), list[float]()
    async with (
        opened(url, f"{journal}-off.db" if journal else "none", watched=False) as plain,
        opened(url, f"{journal}-on.db" if journal else "none", watched=True) as seen,
    ):
        sides = [(plain, off), (seen, on)]
        for _ in range(pairs + 1):
            for side, found in sides:
                found.append(await side.turn(effects))
            sides.reverse()
    ratios = [after / before for before, after in zip(off[1:], on[1:], strict=True)]
    return {
        "off_cpu_us": round(statistics.median(off[1:]), 1),
        "on_cpu_us": round(statistics.median(on[1:]), 1),
        "ratio": round(statistics.median(ratios), 4),
        "quartiles": [round(each, 3) for each in statistics.quantiles(ratios, n=4)],
    }


async def main(url: str, pairs: int, effects: int) -> None:
    with tempfile.TemporaryDirectory(prefix="effectmq-bench-") as folder:
        for name, journal in (("none", ""), ("sqlite", f"sqlite:///{folder}/j")):
            found = await compare(url, journal, pairs, effects)
            print_row({"journal": name, "pairs": pairs, "effects": effects, **found})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watched", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--broker", default=os.environ.get("EFFECTMQ_BROKER", "amqp://guest:guest@127.0.0.1:5672/")
    )
    where.add_argument("--release", choices=SUITES, help="a node of this release, started for it")
    parser.add_argument("--pairs", type=int, default=40, help="two at least")
    parser.add_argument("--effects", type=int, default=2_000, help="in one turn")
    parser.add_argument("--work", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        asyncio.run(work(*given.work))
    else:
        # Not at the top: the other way round it would be loaded by each worker.
        from benchmarks.brokers import broker_address

        with broker_address(given.broker, given.release) as (address, _):
            asyncio.run(main(address, given.pairs, given.effects))
