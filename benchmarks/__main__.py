"""
``python -m benchmarks``: effectmq beside plain aio-pika with equal guarantees, on one RabbitMQ.

Each side is a client's process and a worker's process, ``effectmq worker`` on ours, over TCP to a
real RabbitMQ. The sides of a row take many short turns, so that a noisy machine is noisy for both;
figures are medians over the turns, ratios medians over the pairs. Linux only, because the CPU time
of each process is read from the kernel. docs/benchmarks.md says what is measured, and how.

``--keep`` puts the figures, with machine, versions and date, where ``python -m benchmarks.table``
makes the README's table and the plots from them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.brokers import broker_address, postgres_address, postgres_version
from benchmarks.kept.machine import described_machine, package_versions
from benchmarks.kept.results import KEPT, Figure, Run
from benchmarks.kept.texts import figure_line
from benchmarks.rows import ROWS
from benchmarks.rows.bench import Bench
from tests.brokers.finding import SUITES
from tests.brokers.greeting import greet

__all__ = ["main", "measured", "opened_bench", "parser"]

_QUICK = {"turns": 1, "seconds": 0.4, "deep": 3_000, "quick": True}
_MILLION = 1_000_000


@contextmanager
def opened_bench(given: argparse.Namespace) -> Generator[Bench]:
    """A broker, a folder and how to measure, as the command line has it."""
    with ExitStack() as stack:
        url, pid = stack.enter_context(broker_address(given.broker, given.release))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="effectmq-bench-"))
        postgres = stack.enter_context(postgres_address(given.postgres))
        bench = Bench(url, Path(folder), postgres, pid, uvloop=given.uvloop, traces=given.traces)
        changes = dict(_QUICK) if given.quick else {}
        if given.deep:
            changes["deep"] = _MILLION
        if given.turns:
            changes["turns"] = given.turns
        yield replace(bench, **changes)


def measured(bench: Bench, names: list[str], to: Path, load: float) -> Run:
    """
    Measure rows one after another, and say each figure.

    The file is written after each row, so that what was measured is there when a later one fails.

    Args:
        bench: How to measure.
        names: The rows.
        to: The file.
        load: How busy the machine was before all of it, as uptime(1) says it.
    """
    versions = package_versions() | {"rabbitmq": greet(bench.broker, timeout=5.0).version}
    with suppress(LookupError):
        versions["postgresql"] = postgres_version(bench.postgres())
    how = {"turns": bench.turns, "seconds": bench.seconds, "uvloop": bench.uvloop}
    how["load_before"] = round(load, 1)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    run = Run(now, described_machine(), versions, how, [])
    for name in names:
        bench.say(name)
        began = time.perf_counter()
        for figure in ROWS[name](bench):
            run.figures.append(figure)
            bench.say(f"  {figure_line(figure)}")
        bench.say(f"  ({time.perf_counter() - began:.0f} s)")
        run.how["notes"] = list(bench.notes)
        run.write(to)
    return run


def _fails(figure: Figure) -> bool:
    return figure.fits is False


def main(given: argparse.Namespace) -> int:
    """Measure, say, and keep."""
    names = given.rows or list(ROWS)
    if given.keep and (given.rows or given.quick):
        print(
            "a run that is kept has all rows, and is not quick; leave out --rows and --quick",
            file=sys.stderr,
        )
        return 2
    # Before the servers are started, which are work as well.
    load = os.getloadavg()[0]
    with opened_bench(given) as bench:
        run = measured(bench, names, given.to, load)
    if given.json:
        print(json.dumps([vars(figure) for figure in run.figures], ensure_ascii=False))
    missed = [figure.name for figure in run.figures if _fails(figure)]
    print(f"{len(run.figures)} figures in {given.to}", file=sys.stderr)
    if missed:
        print(f"not as required: {'; '.join(missed)}", file=sys.stderr)
    if given.keep:
        kept = KEPT / run.file_name
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(given.to, kept)
        print(f"kept in {kept}; now run python -m benchmarks.table", file=sys.stderr)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--rows", nargs="+", choices=ROWS, metavar="NAME", help=f"only these: {', '.join(ROWS)}"
    )
    made.add_argument("--quick", action="store_true", help="one short turn each")
    made.add_argument("--turns", type=int, help="how often the sides take turns; default: 7")
    made.add_argument(
        "--broker",
        default=os.environ.get("EFFECTMQ_BROKER"),
        help="of a running broker; default: EFFECTMQ_BROKER, else a node is started for it",
    )
    made.add_argument("--release", choices=SUITES, help="a node of this release, started for it")
    made.add_argument("--postgres", help="of a running one; default: one is started for it")
    made.add_argument(
        "--deep", action="store_true", help="a deep queue of a million; default: 100,000"
    )
    made.add_argument("--uvloop", action="store_true", help="both sides on uvloop")
    made.add_argument("--traces", action="store_true", help="one more side, with traces on")
    made.add_argument("--json", action="store_true", help="all figures on standard output")
    made.add_argument("--keep", action="store_true", help="keep them for the README's table")
    made.add_argument(
        "--to", type=Path, default=Path("build/benchmarks.json"), help="default: %(default)s"
    )
    return made


if __name__ == "__main__":
    sys.exit(main(parser().parse_args()))
