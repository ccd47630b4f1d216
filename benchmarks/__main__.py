"""
``python -m benchmarks``: round trips of effectmq beside plain aio-pika, in one run on one broker.

Both run client and worker in this one process, over TCP to a real RabbitMQ, with 1 KiB persistent
messages and confirms on. A latency is that of the call, for a message or an envelope that is ready;
throughput counts everything, preparing included. The two take many short turns, so that a noisy
machine is noisy for both, and what is printed are the medians over the turns and their ratios.

Beside the clock on the wall stands the CPU time that this process spends on a round trip: client
and worker are both in it, so it is what limits throughput, and what other processes on the machine
do hardly changes it. Ratios are ours over plain: throughput above 1 is better, the others below 1.

Three sides of ours: without a journal, as plain remembers nothing either; with a journal, every
outcome on the disk before it is answered; and effects that are recorded already, asked for by a
client that reaches the journal. The last is compared with the round trip that it saves.
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
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any

from benchmarks.ours import EffectmqRequestReply, RecordedAnswers
from benchmarks.plain import PlainRequestReply
from tests.brokers.finding import SUITES
from tests.brokers.greeting import greet
from tests.brokers.provide import Brokers
from tests.brokers.settings import read_settings

Maker = Callable[[str, str, int], Any]
PLAIN, OURS, JOURNAL, RECORDED = "plain aio-pika", "effectmq", "with journal", "recorded"
BODY = b"x" * 1024


@dataclass(frozen=True)
class Turn:
    """What one side did in one turn."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


async def one_turn(side: Any, in_flight: int, calls_each: int) -> Turn:
    latencies: list[float] = []

    async def caller() -> None:
        for _ in range(calls_each):
            request = side.prepare(BODY)
            started = time.perf_counter()
            await side.call(request)
            latencies.append(time.perf_counter() - started)

    started, cpu_started = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    ordered = sorted(latencies)
    return Turn(
        len(ordered) / elapsed,
        ordered[len(ordered) // 2] * 1_000,
        ordered[int(len(ordered) * 0.99)] * 1_000,
        cpu / len(ordered) * 1_000_000,
    )


async def compare(
    url: str, makers: dict[str, Maker], in_flight: int, total: int, turns: int
) -> dict[str, Turn]:
    """Medians over the turns; both sides stay open, and the first turn of each is for warming."""
    done: dict[str, list[Turn]] = {name: [] for name in makers}
    namespace = f"bench-{secrets.token_hex(3)}"
    async with AsyncExitStack() as stack:
        sides = {
            name: await stack.enter_async_context(maker(url, f"{namespace}-{number}", in_flight))
            for number, (name, maker) in enumerate(makers.items())
        }
        for number in range(turns + 1):
            for name, side in sides.items():
                turn = await one_turn(side, in_flight, max(1, total // in_flight // turns))
                if number:
                    done[name].append(turn)
    return {
        name: Turn(
            statistics.median(turn.per_second for turn in runs),
            statistics.median(turn.p50_ms for turn in runs),
            statistics.median(turn.p99_ms for turn in runs),
            statistics.median(turn.cpu_us for turn in runs),
        )
        for name, runs in done.items()
    }


@contextmanager
def broker_address(url: str, release: str | None) -> Generator[str]:
    """The address of the broker to measure on, of a node of our own when a release is named."""
    if release is None:
        yield url
        return
    brokers = Brokers(replace(read_settings(os.environ), wanted=(release,), address=None))
    try:
        yield brokers.private(release).url
    finally:
        brokers.close()


async def main(url: str, arguments: argparse.Namespace) -> None:
    print(
        f"Python {platform.python_version()}, aio-pika {version('aio-pika')}, "
        f"{os.cpu_count()} cores, RabbitMQ {greet(url, timeout=5.0).version}, 1 KiB persistent, "
        f"confirms on, {arguments.turns} turns each",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory(prefix="effectmq-bench-") as folder:
        journal = arguments.journal or f"sqlite:///{folder}/journal.db"
        makers: dict[str, Maker] = {
            PLAIN: PlainRequestReply,
            OURS: EffectmqRequestReply,
            JOURNAL: partial(EffectmqRequestReply, journal=journal),
            RECORDED: partial(RecordedAnswers, journal=journal),
        }
        for in_flight, total in ((1, arguments.sequential), (100, arguments.parallel)):
            result = await compare(url, makers, in_flight, total, arguments.turns)
            for side, other in ((OURS, PLAIN), (JOURNAL, PLAIN), (RECORDED, JOURNAL)):
                row = {"in_flight": in_flight, "side": side, "beside": other}
                print(json.dumps(row | ratios(result[side], result[other])), flush=True)


def ratios(side: Turn, other: Turn) -> dict[str, float]:
    """The figures of a side, those of what it is compared with, and what is one over the other."""
    return {
        "per_s": round(side.per_second),
        "beside_per_s": round(other.per_second),
        "throughput_ratio": round(side.per_second / other.per_second, 2),
        "p50_ms": round(side.p50_ms, 2),
        "beside_p50_ms": round(other.p50_ms, 2),
        "p50_ratio": round(side.p50_ms / other.p50_ms, 2),
        "p99_ms": round(side.p99_ms, 2),
        "beside_p99_ms": round(other.p99_ms, 2),
        "cpu_us": round(side.cpu_us),
        "beside_cpu_us": round(other.cpu_us),
        "cpu_ratio": round(side.cpu_us / other.cpu_us, 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--broker", default=os.environ.get("EFFECTMQ_BROKER", "amqp://guest:guest@127.0.0.1:5672/")
    )
    where.add_argument("--release", choices=SUITES, help="a node of this release, started for it")
    parser.add_argument(
        "--journal", help="the address of one; a SQLite file in a temporary folder by default"
    )
    parser.add_argument("--turns", type=int, default=20, help="how often the two take turns")
    parser.add_argument("--sequential", type=int, default=1_000, help="calls at 1 in flight")
    parser.add_argument("--parallel", type=int, default=12_000, help="calls at 100 in flight")
    given = parser.parse_args()
    with broker_address(given.broker, given.release) as address:
        asyncio.run(main(address, given))
