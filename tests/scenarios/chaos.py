"""
Thousands of effects while workers are killed all the time and the broker now and then.

``python -m tests.scenarios.chaos --broker 3.10 --effects 10000 --seed 1 --workers 3
--worker-kills-every 1.0 --broker-kills 2`` starts a private broker, prints one line a second and
the report at the end, and exits with 1 when anything was lost, in conflict, hanging or left over.
The seed decides which worker dies; the rest is up to the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tests.brokers.finding import SUITES
from tests.brokers.node import BrokerNode
from tests.brokers.provide import Brokers
from tests.brokers.settings import DEFAULT, read_settings
from tests.scenarios.checker import Report, conclude
from tests.scenarios.effects import calls
from tests.scenarios.fleet import Fleet, FleetProcess, started

__all__ = ["Chaos", "run_chaos"]

_IDENTITY = "chaos"
#: A worker that starts while the broker is down waits for it rather than giving up.
_TRANSPORT = {"connect_timeout_s": 60.0, "reconnect_max_s": 5.0}


@dataclass(frozen=True, slots=True)
class Chaos:
    """
    Attributes:
        effects: How many are submitted.
        workers: How many run at a time; one that was killed is replaced at once.
        concurrency: Effects at a time in each.
        work_ms: How long a body takes.
        in_flight: Effects that the producer waits for at a time.
        worker_kills_every_s: Seconds between two kills; 0 for none.
        broker_kills: How often the broker is killed, spread evenly over the effects.
        seed: Of the choice of victims.
        reply_timeout_s: How long the producer waits for one outcome.
    """

    effects: int = 10_000
    workers: int = 3
    concurrency: int = 8
    work_ms: int = 100
    in_flight: int = 200
    worker_kills_every_s: float = 1.0
    broker_kills: int = 2
    seed: int = 1
    reply_timeout_s: float = 120.0


async def run_chaos(
    node: BrokerNode, fleet: Fleet, chaos: Chaos, tell: Callable[[str], None] = lambda _: None
) -> Report:
    """
    Run one and judge it.

    Args:
        node: A private broker; it is killed.
        fleet: Without processes yet.
        chaos: How much of it.
        tell: Gets a line now and then.
    """
    began = time.monotonic()
    run = _Run(node, fleet, chaos, tell)
    await run.prepare()
    producer = fleet.producer(
        _IDENTITY,
        calls("work", chaos.effects, ms=chaos.work_ms),
        in_flight=chaos.in_flight,
        reply_timeout_s=chaos.reply_timeout_s,
    )
    faults = [asyncio.create_task(run.kill_workers()), asyncio.create_task(run.kill_broker())]
    try:
        code = await producer.ended(timeout_s=chaos.effects / 20 + 300)
        assert code == 0, f"the producer ended with {code}:\n{producer.log_tail()}"
    finally:
        run.over = True
        results = await asyncio.gather(*faults, return_exceptions=True)
    assert not any(results), results
    seconds = time.monotonic() - began
    report = await conclude(fleet, _IDENTITY)
    report.about = {
        "seed": chaos.seed,
        "workers": chaos.workers,
        "worker kills": run.worker_kills,
        "broker kills": run.broker_kills,
        "workers that ended by themselves": run.deserters,
        "seconds": round(seconds),
    }
    return report


class _Run:
    def __init__(
        self, node: BrokerNode, fleet: Fleet, chaos: Chaos, tell: Callable[[str], None]
    ) -> None:
        self.over = False
        self.worker_kills = 0
        self.broker_kills = 0
        self.deserters = 0
        self._node = node
        self._fleet = fleet
        self._chaos = chaos
        self._tell = tell
        self._random = random.Random(chaos.seed)
        self._live: list[FleetProcess] = []

    async def prepare(self) -> None:
        """Start the workers, and have the broker write down which queues there are."""
        for _ in range(self._chaos.workers):
            self._start()
        await self._fleet.ready(*self._live)
        await asyncio.to_thread(self._node.settle)

    def _start(self) -> None:
        worker = self._fleet.worker(concurrency=self._chaos.concurrency, transport=_TRANSPORT)
        self._live.append(worker)

    def _replace(self, worker: FleetProcess) -> None:
        self._live.remove(worker)
        self._start()

    async def kill_workers(self) -> None:
        """Kill a working one, again and again; replace it, and whoever ended by itself."""
        interval_s = self._chaos.worker_kills_every_s
        while not self.over:
            await asyncio.sleep(interval_s or 1.0)
            for worker in [each for each in self._live if not each.alive]:
                self._tell(f"{worker.name} ended by itself with {worker.code}")
                self.deserters += 1
                self._replace(worker)
            ready = [worker for worker in self._live if started(worker)]
            if interval_s and ready and not self.over:
                victim = self._random.choice(ready)
                victim.kill9()
                self.worker_kills += 1
                self._replace(victim)
            self._tell(f"{self._outcomes()} of {self._chaos.effects} answered")

    async def kill_broker(self) -> None:
        """Kill the broker when its share of the effects is done, and start it again."""
        for number in range(1, self._chaos.broker_kills + 1):
            share = self._chaos.effects * number // (self._chaos.broker_kills + 1)
            while self._outcomes() < share:
                if self.over:
                    return
                await asyncio.sleep(0.1)
            self._tell(f"killing the broker after {self._outcomes()} outcomes")
            await asyncio.to_thread(self._node.kill9)
            self.broker_kills += 1
            await asyncio.to_thread(self._node.start)
            self._tell("the broker is back")

    def _outcomes(self) -> int:
        with suppress(FileNotFoundError):
            return self._fleet.records.path.read_bytes().count(b'"event": "outcome"')
        return 0


def main() -> int:
    """0 when nothing is wrong."""
    arguments = _arguments()
    chaos = Chaos(
        effects=arguments.effects,
        workers=arguments.workers,
        concurrency=arguments.concurrency,
        work_ms=arguments.work_ms,
        worker_kills_every_s=arguments.worker_kills_every,
        broker_kills=arguments.broker_kills,
        seed=arguments.seed,
    )
    settings = replace(read_settings(os.environ), wanted=(arguments.broker,), address=None)
    brokers = Brokers(settings)
    folder = Path(tempfile.mkdtemp(prefix="effectmq-chaos-"))
    print(f"records, ledger and logs are in {folder}", flush=True)
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    try:
        node = brokers.private(arguments.broker)
        with Fleet(folder, node.url, "chaos") as fleet:
            report = asyncio.run(run_chaos(node, fleet, chaos, tell))
    finally:
        brokers.close()
    print(report)
    return 1 if report.problems() else 0


def _arguments() -> argparse.Namespace:
    usual = Chaos()
    parser = argparse.ArgumentParser(
        prog="python -m tests.scenarios.chaos",
        description="Kill workers and the broker, and count.",
    )
    parser.add_argument("--broker", choices=(DEFAULT, *SUITES), default=DEFAULT)
    parser.add_argument("--effects", type=int, default=usual.effects)
    parser.add_argument("--seed", type=int, default=random.randrange(1, 1_000_000))
    parser.add_argument("--workers", type=int, default=usual.workers)
    parser.add_argument("--concurrency", type=int, default=usual.concurrency)
    parser.add_argument("--work-ms", type=int, default=usual.work_ms)
    parser.add_argument("--worker-kills-every", type=float, default=usual.worker_kills_every_s)
    parser.add_argument("--broker-kills", type=int, default=usual.broker_kills)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
