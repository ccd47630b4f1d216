"""
Thousands of effects while workers and producers are killed all the time, and broker and database
now and then.

``python -m tests.scenarios.chaos --broker 3.10 --journal postgres --effects 30000 --seed 1
--database-kills-every 5-40`` starts a private broker and a private PostgreSQL, prints one line a
second and the report at the end, and exits with 1 when anything was lost, in conflict, hanging or
left over; only then its files are kept. The seed decides who dies, and when the database does; the
rest is up to the machine.

Two producers share the effects. Whoever of them is killed is started again under its identity, and
goes on with what it wrote down. Among the effects are killers, which end whoever runs them, and
between them comes poison: both must be parked, each for its own reason, and nobody else.

With a journal every body draws a number, so that no execution can stand in for another. At the end
the journal itself is held against what was told and done, and another producer asks for every
effect once more: it must get the same bytes, from the record, while nothing runs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import psycopg

from tests.brokers.finding import SUITES
from tests.brokers.node import BrokerNode
from tests.brokers.provide import Brokers
from tests.brokers.settings import DEFAULT, read_settings
from tests.databases.cluster import Cluster
from tests.databases.provide import Databases
from tests.databases.provide import read_settings as read_database_settings
from tests.scenarios.checker import Report, conclude, settle_queues
from tests.scenarios.effects import Call, calls
from tests.scenarios.faults import Chaos, Faults
from tests.scenarios.fleet import Fleet
from tests.scenarios.hostile import deaths_of, examine, expected_letters, killers, spread
from tests.scenarios.producers import Producers
from tests.scenarios.records import Records

__all__ = ["Chaos", "parse", "run_chaos"]

#: Who asks for everything once more.
_LAST = "last"


async def run_chaos(
    node: BrokerNode,
    fleet: Fleet,
    chaos: Chaos,
    tell: Callable[[str], None] = lambda _: None,
    database: Cluster | None = None,
) -> Report:
    """
    Run one and judge it.

    Args:
        node: A private broker; it is killed.
        fleet: Without processes yet.
        chaos: How much of it.
        tell: Gets a line now and then.
        database: The private server of the fleet's journal, when it is to be killed.
    """
    began = time.monotonic()
    faults = Faults(node, database, fleet, chaos, tell)
    await faults.prepare()
    innocent = calls("work" if fleet.journal == "none" else "draw", chaos.effects, ms=chaos.work_ms)
    guilty = killers(chaos.killers, after_ms=3 * chaos.work_ms)
    plan = spread(innocent, guilty)
    identities = [f"chaos-{number}" for number in range(chaos.producers)]
    producers = Producers(
        fleet,
        plan,
        identities,
        in_flight=chaos.in_flight,
        reply_timeout_s=chaos.reply_timeout_s,
    )
    striking = asyncio.create_task(faults.strike(producers))
    try:
        await producers.ended(timeout_s=chaos.effects / 20 + 300)
    finally:
        faults.stop()
        await striking
    seconds = time.monotonic() - began
    replayed = "" if fleet.journal == "none" else await _ask_again(fleet, plan, tell)
    report = await conclude(fleet, *identities)
    expected = expected_letters(fleet, guilty)
    runs = fleet.ledger.runs()
    report.hostile = examine(expected, report.letters, runs, chaos.max_deaths)
    report.about = {
        "effectmq": version("effectmq"),
        "journal": _journal_version(fleet.journal),
        "seed": chaos.seed,
        "workers": chaos.workers,
        "producers": chaos.producers,
        "killers": chaos.killers,
        "poison": chaos.poison,
        "worker kills": faults.worker_kills,
        "producer kills": faults.producer_kills,
        "broker kills": faults.broker_kills,
        "database kills": faults.database_kills,
        "deaths by a killer": deaths_of(fleet.workers),
        "workers that ended by themselves": faults.deserters,
        "seconds": round(seconds),
    }
    if replayed:
        report.journal.append(replayed)
    return report


async def _ask_again(fleet: Fleet, plan: list[Call], tell: Callable[[str], None]) -> str:
    """Another producer asks for everything; what is wrong with its answers, or nothing."""
    await settle_queues(fleet)
    before = fleet.ledger.runs().total()
    told = {line["effect"]: line for line in fleet.records.lines() if line["event"] == "outcome"}
    records = Records(fleet.folder / "last.jsonl")
    producer = fleet.producer(_LAST, plan, records=records)
    assert await producer.ended(timeout_s=len(plan) / 20 + 120) == 0, producer.log_tail()
    answers = [line for line in records.lines() if line["event"] == "outcome"]
    same = [
        line
        for line in answers
        if line["replayed"] and line["digest"] == told.get(line["effect"], line)["digest"]
    ]
    ran = fleet.ledger.runs().total() - before
    tell(f"{len(same)} of {len(plan)} answered again from the record; {ran} bodies ran for it")
    if len(same) == len(answers) == len(plan) and not ran:
        return ""
    return (
        f"asked again for {len(plan)}, another producer got {len(answers)} answers, {len(same)} "
        f"of them the same and from the record, and {ran} bodies ran for it"
    )


def _journal_version(url: str) -> str:
    kind = url.partition(":")[0]
    if kind == "sqlite":
        return f"SQLite {sqlite3.sqlite_version}"
    if kind == "none":
        return "none"
    with closing(psycopg.connect(url)) as connection:
        return f"PostgreSQL {connection.info.parameter_status('server_version')}"


def main(words: Sequence[str]) -> int:
    """0 when nothing is wrong."""
    arguments = parse(words)
    chaos = Chaos(
        effects=arguments.effects,
        workers=arguments.workers,
        concurrency=arguments.concurrency,
        work_ms=arguments.work_ms,
        producers=arguments.producers,
        killers=arguments.killers,
        max_deaths=arguments.max_deaths,
        poison=arguments.poison,
        worker_kills=arguments.worker_kills,
        worker_kills_every_s=arguments.worker_kills_every,
        producer_kills=arguments.producer_kills,
        broker_kills=arguments.broker_kills,
        database_kills=arguments.database_kills,
        database_kills_every_s=arguments.database_kills_every,
        seed=arguments.seed,
    )
    settings = replace(read_settings(os.environ), wanted=(arguments.broker,), address=None)
    folder = Path(tempfile.mkdtemp(prefix="effectmq-chaos-"))
    print(f"seed {chaos.seed}; records, ledger and logs are in {folder} meanwhile", flush=True)
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    with (
        closing(Brokers(settings)) as brokers,
        closing(Databases(read_database_settings(os.environ))) as databases,
    ):
        database = databases.private() if arguments.journal == "postgres" else None
        journal = {"none": "none", "sqlite": f"sqlite:///{folder}/journal/journal.db"}.get(
            arguments.journal, database.url if database else "none"
        )
        node = brokers.private(arguments.broker)
        with Fleet(folder, node.url, "chaos", journal=journal) as fleet:
            report = asyncio.run(run_chaos(node, fleet, chaos, tell, database))
    print(report)
    if report.problems():
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments of the command."""
    usual = Chaos()
    parser = argparse.ArgumentParser(
        prog="python -m tests.scenarios.chaos",
        description="Kill workers, producers, the broker and the database, and count.",
    )
    parser.add_argument("--broker", choices=(DEFAULT, *SUITES), default=DEFAULT)
    parser.add_argument("--journal", choices=("none", "sqlite", "postgres"), default="sqlite")
    parser.add_argument("--effects", type=int, default=usual.effects)
    parser.add_argument("--seed", type=int, default=random.randrange(1, 1_000_000))
    parser.add_argument("--workers", type=int, default=usual.workers)
    parser.add_argument("--concurrency", type=int, default=usual.concurrency)
    parser.add_argument("--work-ms", type=int, default=usual.work_ms)
    parser.add_argument("--producers", type=int, default=2)
    parser.add_argument("--killers", type=int, default=3)
    parser.add_argument("--max-deaths", type=int, default=usual.max_deaths)
    parser.add_argument("--poison", type=int, default=20)
    parser.add_argument("--producer-kills", type=int, default=30)
    parser.add_argument("--worker-kills", type=int, default=300)
    parser.add_argument("--worker-kills-every", type=float, default=usual.worker_kills_every_s)
    parser.add_argument("--broker-kills", type=int, default=usual.broker_kills)
    parser.add_argument("--database-kills", type=int, default=usual.database_kills)
    parser.add_argument("--database-kills-every", type=_seconds, metavar="SECONDS-SECONDS")
    arguments = parser.parse_args(words)
    if arguments.journal != "postgres" and (
        arguments.database_kills or arguments.database_kills_every
    ):
        parser.error("only --journal postgres has a server to kill")
    return arguments


def _seconds(text: str) -> tuple[float, float]:
    least, _, most = text.partition("-")
    try:
        return float(least), float(most or least)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not two numbers, such as 5-40") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
