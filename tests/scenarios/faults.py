"""What chaos does: workers, producers, broker and database are killed, and brought back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.brokers.node import BrokerNode
from tests.databases.cluster import Cluster
from tests.scenarios.fleet import Fleet, FleetProcess, started
from tests.scenarios.hostile import KILLER_CODE, publish_poison
from tests.scenarios.producers import Producers

__all__ = ["Chaos", "Faults"]

#: A worker that starts while the broker is down waits for it rather than giving up.
_TRANSPORT = {"connect_timeout_s": 60.0, "reconnect_max_s": 5.0}


@dataclass(frozen=True, slots=True)
class Chaos:
    """
    Attributes:
        effects: How many are submitted, killers aside.
        workers: How many run at a time; one that was killed is replaced at once.
        concurrency: Effects at a time in each.
        work_ms: How long a body takes.
        producers: How many there are, each with an identity and a share of the effects.
        in_flight: Effects that all producers together wait for at a time.
        killers: Effects that end the process of whoever runs them.
        max_deaths: How many workers may die with one effect before it is parked. More than usual:
            where one after the other is killed, that happens to innocent effects again and again.
        poison: Messages that are no effects.
        worker_kills: How often a worker is killed, spread evenly over the effects.
        worker_kills_every_s: Instead: seconds between two kills.
        producer_kills: How often a producer is killed, spread evenly over the effects.
        broker_kills: How often the broker is killed, spread evenly over the effects.
        database_kills: How often the database is killed, spread evenly over the effects.
        database_kills_every_s: Instead: the least and the most seconds between two kills.
        seed: Of the choice of victims, and of moments.
        reply_timeout_s: How long a producer waits for one outcome.
    """

    effects: int = 10_000
    workers: int = 3
    concurrency: int = 8
    work_ms: int = 100
    producers: int = 1
    in_flight: int = 200
    killers: int = 0
    max_deaths: int = 5
    poison: int = 0
    worker_kills: int = 0
    worker_kills_every_s: float = 0.0
    producer_kills: int = 0
    broker_kills: int = 2
    database_kills: int = 0
    database_kills_every_s: tuple[float, float] | None = None
    seed: int = 1
    reply_timeout_s: float = 120.0


class Faults:
    """
    Args:
        node: A private broker.
        database: A private database server; ``None`` when there is none to kill.
        fleet: Without workers yet.
        chaos: How much of it.
        tell: Gets a line now and then.

    Attributes:
        worker_kills, producer_kills, broker_kills, database_kills: How many there were.
        deserters: Workers that ended by themselves, and not by a killer.
    """

    def __init__(
        self,
        node: BrokerNode,
        database: Cluster | None,
        fleet: Fleet,
        chaos: Chaos,
        tell: Callable[[str], None],
    ) -> None:
        self.worker_kills = 0
        self.producer_kills = 0
        self.broker_kills = 0
        self.database_kills = 0
        self.deserters = 0
        self._node = node
        self._database = database
        self._fleet = fleet
        self._chaos = chaos
        self._all = chaos.effects + chaos.killers
        self._tell = tell
        self._random = random.Random(chaos.seed)
        # Of its own, so that which worker dies does not depend on how often the database does.
        self._moments = random.Random(chaos.seed)
        self._victims = random.Random(chaos.seed)
        self._poisons = random.Random(chaos.seed)
        self._poisoned = 0
        self._live: list[FleetProcess] = []
        self._over = asyncio.Event()

    async def prepare(self) -> None:
        """Start the workers, and have the broker write down which queues there are."""
        for _ in range(self._chaos.workers):
            self._start()
        await self._fleet.ready(*self._live)
        await asyncio.to_thread(self._node.settle)

    def stop(self) -> None:
        """No more is killed."""
        self._over.set()

    async def strike(self, producers: Producers) -> None:
        """Kill all of them until it is stopped; open the gate when all counted kills are done."""
        chaos = self._chaos
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_after_workers())
            group.create_task(self._keep_killing_the_database())
            async with asyncio.TaskGroup() as counted:
                for times, act in (
                    (chaos.worker_kills, self._kill_worker),
                    (chaos.producer_kills, lambda: self._kill_producer(producers)),
                    (chaos.broker_kills, self._kill_broker),
                    (chaos.database_kills, self._kill_database),
                    (chaos.poison, self._poison),
                ):
                    counted.create_task(self._at_shares(times, act))
            self._fleet.gate.touch()

    def _start(self) -> None:
        worker = self._fleet.worker(
            concurrency=self._chaos.concurrency,
            settings={"max_deaths": self._chaos.max_deaths},
            transport=_TRANSPORT,
        )
        self._live.append(worker)

    def _replace(self, worker: FleetProcess) -> None:
        self._live.remove(worker)
        self._start()

    async def _look_after_workers(self) -> None:
        """Replace whoever ended by itself, and kill one now and then, when that is wanted."""
        every_s = self._chaos.worker_kills_every_s
        while not await self._over_within(every_s or 1.0):
            for worker in [each for each in self._live if not each.alive]:
                self._tell(f"{worker.name} ended by itself with {worker.code}")
                self.deserters += worker.code != KILLER_CODE
                self._replace(worker)
            if every_s:
                await self._kill_worker()
            self._tell(f"{self._outcomes()} of {self._all} answered")

    async def _kill_worker(self) -> None:
        """Kill a working one, and replace it at once."""
        while not (ready := [each for each in self._live if each.alive and started(each)]):
            if await self._over_within(0.1):
                return
        victim = self._random.choice(ready)
        victim.kill9()
        self.worker_kills += 1
        self._replace(victim)

    async def _at_shares(self, times: int, act: Callable[[], Awaitable[None]]) -> None:
        """Do it when a share of the effects is done, and when the next one is."""
        for number in range(1, times + 1):
            share = self._chaos.effects * number // (times + 1)
            while self._outcomes() < share:
                if self._over.is_set():
                    return
                await asyncio.sleep(0.1)
            await act()

    async def _keep_killing_the_database(self) -> None:
        every_s = self._chaos.database_kills_every_s
        while every_s is not None and not self._over.is_set():
            if not await self._over_within(self._moments.uniform(*every_s)):
                await self._kill_database()

    async def _over_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._over.wait()
        except TimeoutError:
            return False

    async def _poison(self) -> None:
        await publish_poison(self._fleet, self._poisons, self._poisoned)
        self._poisoned += 1

    async def _kill_producer(self, producers: Producers) -> None:
        """It is back at once, and goes on."""
        self.producer_kills += producers.kill_one(self._victims)

    async def _kill_broker(self) -> None:
        await asyncio.to_thread(self._break_broker)

    def _break_broker(self) -> None:
        # A reply queue that was declared a moment ago would come back and never answer.
        self._node.settle()
        self._tell(f"killing the broker after {self._outcomes()} outcomes")
        self._node.kill9()
        self.broker_kills += 1
        self._node.start()
        self._tell("the broker is back")

    async def _kill_database(self) -> None:
        await asyncio.to_thread(self._break_database)

    def _break_database(self) -> None:
        """Kill it, or restart it in good order, as the seed says."""
        database = self._database
        if database is None:
            raise RuntimeError("there is no private database to kill; give run_chaos one")
        how = self._moments.choice((database.kill9, database.stop))
        self._tell(f"the database gets a {how.__name__} after {self._outcomes()} outcomes")
        how()
        self.database_kills += 1
        database.start()
        self._tell("the database is back")

    def _outcomes(self) -> int:
        return self._fleet.records.outcomes()
