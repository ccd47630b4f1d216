"""
``python -m benchmarks.peers``: effectmq beside celery, dramatiq, taskiq and FastStream.

The same shape for all: 1 KiB, a handler that returns a number, the answer awaited; 1 and 100 in
flight; one broker, a client's process and a worker each, in turns, medians. The others are in an
environment of their own below ``~/.cache/effectmq``, made when it is not there. Each is set up as
its own pages show it first, and as carefully as they know how; what it then promises is written
beside its figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.brokers import broker_address
from benchmarks.kept.machine import described_machine, package_versions
from benchmarks.kept.peers import PeerFigure, PeerRun
from benchmarks.peers.environment import installed, redis_address, versions
from benchmarks.peers.promises import CAREFUL, PACKAGES, PROMISES, sides_of
from benchmarks.rows.bench import Bench, Turns, median
from tests.brokers.finding import SUITES
from tests.brokers.greeting import greet

__all__ = ["main"]

_LIBRARIES = ("celery", "dramatiq", "taskiq", "taskiq-aio-pika", "taskiq-redis", "faststream")


def _figures(turns: Turns, in_flight: int) -> list[PeerFigure]:
    return [
        PeerFigure(
            side,
            in_flight,
            round(median(runs, lambda turn: turn.per_second), 1),
            round(median(runs, lambda turn: turn.p50_ms), 3),
            round(median(runs, lambda turn: turn.cpu_us), 1),
        )
        for side, runs in turns.items()
    ]


def _measured(bench: Bench, peers: Sequence[str], python: Path, redis: str) -> list[PeerFigure]:
    found: list[PeerFigure] = []
    for in_flight in (1, 100):
        common: dict[str, Any] = {"in_flight": in_flight, "prefetch": max(16, in_flight)}
        sides = {name: bench.spec(side=name, **common) for name in ("ours", "plain")}
        for name in peers:
            sides[name] = bench.spec(
                side=name.removesuffix(CAREFUL),
                careful=name.endswith(CAREFUL),
                python=str(python),
                redis=redis,
                **common,
            )
        figures = _figures(bench.compare(sides), in_flight)
        for figure in figures:
            print(json.dumps(vars(figure) | {"promises": PROMISES[figure.side]}), flush=True)
        found += figures
    return found


def main(given: argparse.Namespace) -> int:
    """Install, measure, tell, keep."""
    python, missing = installed()
    for name, why in missing.items():
        print(f"{name} cannot be installed: {why}", file=sys.stderr)
    load = os.getloadavg()[0]
    wanted = [name for name in given.peers or PACKAGES if name not in missing]
    peers = [side for name in wanted for side in sides_of(name)]
    with ExitStack() as stack:
        url, pid = stack.enter_context(broker_address(given.broker, given.release))
        redis = stack.enter_context(redis_address())
        folder = stack.enter_context(TemporaryDirectory(prefix="effectmq-bench-"))
        bench = Bench(url, Path(folder), lambda: "", pid, turns=given.turns, seconds=given.seconds)
        known = versions(python)
        run = PeerRun(
            datetime.now(UTC).isoformat(timespec="seconds"),
            described_machine(),
            package_versions()
            | {"rabbitmq": greet(url, timeout=5.0).version}
            | {name: known[name] for name in _LIBRARIES if name in known},
            {
                "turns": given.turns,
                "seconds": given.seconds,
                "missing": missing,
                "load_before": round(load, 1),
            },
            _measured(bench, peers, python, redis),
            {name: PROMISES[name] for name in ("ours", "plain", *peers)},
        )
    if given.keep:
        print(f"kept in {run.keep()}; now run python -m benchmarks.table", file=sys.stderr)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--peers", nargs="+", choices=PACKAGES, metavar="NAME")
    parser.add_argument(
        "--broker",
        default=os.environ.get("EFFECTMQ_BROKER"),
        help="of a running broker; default: EFFECTMQ_BROKER, else a node is started for it",
    )
    parser.add_argument("--release", choices=SUITES, help="a node of this release")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one turn")
    parser.add_argument("--keep", action="store_true", help="keep it for docs/benchmarks.md")
    sys.exit(main(parser.parse_args()))
