"""
A cluster of three nodes, each of which is killed and frozen in turn, under load.

``python -m tests.scenarios.cluster --broker 3.10 --journal sqlite --rounds 3`` is the long run:
every node is killed and frozen in each round, while it leads all queues and effects are submitted
all the time. It tells how long work stood still at most after either fault, and exits with 1 when
an effect was lost, answered differently or still waits at the end. ``--help`` has the rest.
``test_cluster.py`` is the short one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Literal

from effectmq.broker.client.client import EffectClient
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.topology import TopologySettings
from tests.brokers.cluster import BrokerCluster
from tests.brokers.provide import Brokers
from tests.brokers.settings import read_settings
from tests.consumers.stage import payload, tool
from tests.waiting import eventually

__all__ = ["Fault", "Load", "strike"]

Fault = Literal["kill", "freeze"]

#: Notices a dead line within six seconds, and comes back soon.
ATTENTIVE = TransportSettings(heartbeat_s=3, reconnect_max_s=1.0, connect_timeout_s=6.0)
#: What waits on a delay level when a node freezes comes home when the broker tries again to move
#: it, which it does after three minutes.
_PATIENCE_S = 240.0
_PAUSE_S = 0.02
_AT_A_TIME = 20


@dataclass
class Load:
    """
    Producers and workers on a cluster, in this process, and what became of everything.

    Attributes:
        url: The addresses of all nodes.
        namespace: Theirs alone.
        journal: Its address, or ``none``.
        answers: What each effect was answered with.
        problems: What went wrong, a sentence each.
        slowest_s: The longest wait for an answer.
    """

    url: str
    namespace: str
    journal: str = "none"
    answers: dict[int, object] = field(default_factory=dict[int, object])
    problems: list[str] = field(default_factory=list[str])
    slowest_s: float = 0.0
    submitted: int = 0
    runs: int = 0

    async def __aenter__(self) -> Load:
        """Two workers and a producer, each with connections of its own."""
        self._stack = AsyncExitStack()
        self._topology = TopologySettings(
            namespace=self.namespace, delay_levels_ms=(500, 1_000, 5_000), reply_expires_ms=600_000
        )
        for name in ("one", "two"):
            worker = self._worker(name)
            await worker.start(["tool_call"])
            self._stack.push_async_callback(worker.stop, 5.0)
        self._client = await self._stack.enter_async_context(
            EffectClient(self.url, identity="p", topology=self._topology, transport=ATTENTIVE)
        )
        self._pending: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._feeding = asyncio.create_task(self._feed())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.drain()
        await self._stack.aclose()

    def _worker(self, name: str) -> EffectWorker:
        app = EffectWorker(
            self.url,
            settings=WorkerSettings(concurrency=4, shutdown_grace_s=5.0),
            topology=self._topology,
            transport=ATTENTIVE,
            name=name,
            journal=self.journal,
        )

        @app.tool
        async def square(n: int) -> int:
            self.runs += 1
            await asyncio.sleep(0.01)
            return n * n

        return app

    async def _feed(self) -> None:
        while not self._stopping:
            if len(self._pending) < _AT_A_TIME:
                task = asyncio.create_task(self._ask(self.submitted))
                self.submitted += 1
                self._pending.add(task)
                task.add_done_callback(self._pending.discard)
            await asyncio.sleep(_PAUSE_S)

    async def _ask(self, n: int) -> None:
        began = time.monotonic()
        try:
            outcome = await self._client.execute(
                tool("square", str(n), call_id=str(n), n=n), timeout=_PATIENCE_S
            )
        except EffectmqError as problem:
            self.problems.append(f"effect {n}: {problem}")
            return
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.answers[n] = payload(outcome)
        if self.answers[n] != n * n:
            self.problems.append(f"effect {n} was answered with {self.answers[n]}")

    async def answered(self, more: int) -> float:
        """Wait until the next so many effects are answered, all of them; gives seconds."""
        began, first = time.monotonic(), self.submitted
        last = first + more
        await eventually(lambda: all(n in self.answers for n in range(first, last)), _PATIENCE_S)
        return time.monotonic() - began

    async def drain(self) -> None:
        """Submit no more, and wait for what is open."""
        self._stopping = True
        await self._feeding
        if self._pending:
            _, waiting = await asyncio.wait(self._pending, timeout=_PATIENCE_S)
            self.problems += [f"{len(waiting)} effects still wait"] if waiting else []
        lost = [n for n in range(self.submitted) if n not in self.answers]
        if lost:
            self.problems.append(f"lost: {lost[:20]}")


async def strike(
    cluster: BrokerCluster, load: Load, number: int, fault: Fault, *, last: bool = False
) -> float:
    """
    Kill or freeze a node that leads every queue, see that work goes on, and bring it back.

    Args:
        cluster: All nodes of which run.
        load: What is under way.
        number: Of the node.
        fault: What becomes of it.
        last: Leave it ended: nobody needs the cluster any more.

    Returns:
        Seconds until new effects were answered again.
    """
    node = cluster.nodes[number]
    await asyncio.to_thread(cluster.settle)
    await asyncio.to_thread(cluster.gather, node)
    if fault == "kill":
        await asyncio.to_thread(node.kill9)
    else:
        node.sigstop()
    try:
        took_s = await load.answered(10)
        print(f"{node.name} {fault}: answered again after {took_s:.1f} s", flush=True)
    finally:
        # A node that the others have given up begins anew, as whoever supervises it would see to.
        await asyncio.to_thread(node.kill9)
        if not last:
            await asyncio.to_thread(node.start)
    if last:
        return took_s
    await asyncio.to_thread(cluster.wait_until_whole)
    await load.answered(5)
    return took_s


async def _run(cluster: BrokerCluster, journal: str, rounds: int) -> int:
    slowest_s: dict[Fault, float] = {"freeze": 0.0, "kill": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        address = f"sqlite:///{folder}/j.db" if journal == "sqlite" else "none"
        load = Load(cluster.url, "cluster", address)
        async with load:
            await load.answered(10)
            for turn in range(rounds):
                for number in range(len(cluster.nodes)):
                    for fault in slowest_s:
                        print(f"round {turn + 1}: ", end="")
                        took_s = await strike(cluster, load, number, fault)
                        slowest_s[fault] = max(slowest_s[fault], took_s)
    print(
        f"{load.submitted} effects, {len(load.answers)} answered, {load.runs} bodies run, slowest "
        f"{load.slowest_s:.1f} s; slowest recovery {slowest_s['freeze']:.1f} s from a freeze, "
        f"{slowest_s['kill']:.1f} s from a kill"
    )
    for problem in load.problems:
        print(problem)
    return 1 if load.problems else 0


def main(arguments: Sequence[str]) -> int:
    """0 when nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios.cluster")
    parser.add_argument("--broker", default="3.10", help="release: 3.10, 4.0 or 4.3")
    parser.add_argument("--journal", default="none", choices=("none", "sqlite"))
    parser.add_argument("--rounds", type=int, default=1, help="each node is killed and frozen once")
    given = parser.parse_args(arguments)
    brokers = Brokers(read_settings({**os.environ, "EFFECTMQ_TEST_BROKERS": given.broker}))
    try:
        return asyncio.run(_run(brokers.cluster(given.broker), given.journal, given.rounds))
    finally:
        brokers.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
