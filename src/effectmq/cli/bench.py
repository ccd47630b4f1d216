"""
``effectmq bench``: round trips through the whole pipeline, on the broker that you use.

A client and, unless ``--no-worker``, a worker run in this process. A round trip is measured from
``execute`` to its outcome: sealing, hashing, publishing with confirm, decoding, validating, running
a tool that returns its argument, answering with confirm, matching. ``python -m benchmarks`` in the
repository compares the same with plain aio-pika.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from effectmq.broker.client.turns.turn import ToolCall, Turn
from effectmq.broker.progress_line import ProgressLine
from effectmq.cli.arguments.options import (
    Commands,
    add_broker_options,
    add_json_option,
    add_quiet_option,
    positive,
)
from effectmq.cli.arguments.setting_options import place_of
from effectmq.cli.terminal.output import write_json, write_text
from effectmq.cli.terminal.times import seconds
from effectmq.consumers.settings import WorkerSettings
from effectmq.protocol.urls import mask_url
from effectmq.protocol.wire.tools import ToolCallOutcomeSuccess
from effectmq.wiring.client import Client
from effectmq.wiring.worker import Worker

__all__ = ["Measured", "configure", "measure", "run"]

_TOOL = "effectmq_bench_echo"


@dataclass(frozen=True, slots=True)
class Measured:
    """
    The result of a measurement.

    Attributes:
        effects: The number of round trips that succeeded.
        failed: The number of other round trips.
        per_second: Successful round trips a second.
        p50_ms: The median time of a round trip, in milliseconds.
        p95_ms: The 95th percentile, in milliseconds.
        p99_ms: The 99th percentile, in milliseconds.
    """

    effects: int
    failed: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("bench", help="measure throughput and latency")
    add_broker_options(parser)
    parser.add_argument(
        "--journal", metavar="URL", help="record outcomes there; default: none, whatever is set"
    )
    add_json_option(parser)
    add_quiet_option(parser)
    parser.add_argument("--effects", type=positive, default=2_000, metavar="N", help="round trips")
    parser.add_argument(
        "--in-flight", type=positive, default=100, metavar="N", help="round trips at a time"
    )
    parser.add_argument(
        "--size", type=positive, default=1_024, metavar="BYTES", help="of the tool's argument"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="TIME", help="for one round trip"
    )
    parser.add_argument(
        "--no-worker",
        action="store_true",
        help=f"use workers that run elsewhere and have a tool {_TOOL}(text: str) -> str",
    )
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """Measure, and print one table or one JSON object."""
    place = place_of(args)
    broker, namespace = place.broker, place.topology.namespace
    async with AsyncExitStack() as stack:
        if not args.no_worker:
            worker = Worker(
                broker,
                namespace=namespace,
                settings=WorkerSettings(concurrency=args.in_flight),
                journal=args.journal or "none",
            )
            worker.tool(name=_TOOL)(_echo)
            await stack.enter_async_context(worker)
        client = await stack.enter_async_context(Client(broker, namespace=namespace))
        with ProgressLine("round trips", args.effects, quiet=args.quiet or args.json) as progress:
            measured = await measure(
                client, args.effects, args.in_flight, args.size, args.timeout, progress
            )
    if args.json:
        write_json({"broker": mask_url(broker), "in_flight": args.in_flight, **_row(measured)})
    else:
        write_text(f"broker      {mask_url(broker)}, {args.in_flight} in flight, {args.size} bytes")
        for name, value in _row(measured).items():
            write_text(f"{name:<11} {value}")
    return 1 if measured.failed else 0


async def _echo(text: str) -> str:
    return text


def _row(measured: Measured) -> dict[str, float]:
    return {
        "effects": measured.effects,
        "failed": measured.failed,
        "per_second": round(measured.per_second),
        "p50_ms": round(measured.p50_ms, 2),
        "p95_ms": round(measured.p95_ms, 2),
        "p99_ms": round(measured.p99_ms, 2),
    }


async def measure(
    client: Client, effects: int, in_flight: int, size: int, timeout: float, progress: ProgressLine
) -> Measured:
    """
    Run round trips.

    Args:
        client: An open client; a worker with the bench tool must be running.
        effects: How many round trips.
        in_flight: How many at a time.
        size: Bytes of the tool's argument.
        timeout: Seconds for one round trip.
        progress: Advanced by each round trip.
    """
    # A new session for each run, so that its effects differ from those of earlier runs.
    turn = client.turn(f"bench-{secrets.token_hex(6)}", "bench")
    text = "x" * size
    left = effects
    failed = 0
    latencies: list[float] = []

    async def caller() -> None:
        nonlocal left, failed
        while left > 0:
            left -= 1
            started = time.perf_counter()
            if await _round_trip(client, turn, text, timeout):
                latencies.append(time.perf_counter() - started)
            else:
                failed += 1
            progress.advance()

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(min(in_flight, effects))))
    elapsed = time.perf_counter() - started
    latencies.sort()
    return Measured(
        effects=len(latencies),
        failed=failed,
        per_second=len(latencies) / elapsed,
        p50_ms=_percentile_ms(latencies, 0.50),
        p95_ms=_percentile_ms(latencies, 0.95),
        p99_ms=_percentile_ms(latencies, 0.99),
    )


async def _round_trip(client: Client, turn: Turn, text: str, timeout: float) -> bool:
    (envelope,) = turn.tool_envelopes([ToolCall(_TOOL, {"text": text}, "call")])
    outcome = await client.execute(envelope, timeout=timeout)
    if outcome.type != "tool_call":
        return False
    given = outcome.result.output.outcome
    return isinstance(given, ToolCallOutcomeSuccess) and given.payload == text


def _percentile_ms(ordered: list[float], share: float) -> float:
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1_000
