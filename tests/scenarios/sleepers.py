"""
Very many sleeping effects, and what they cost the worker that put them to sleep.

``python -m tests.scenarios.sleepers --broker 4.0 --effects 100000`` starts a private broker and a
worker with a SQLite journal, submits sleeps of an hour, waits until every one of them lies in a
delay queue, and compares the worker's memory with what it was after the first tenth. Nothing in the
worker may belong to a sleeping effect, so the difference is what the allocator and SQLite's caches
keep, whatever the number of sleepers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from effectmq import Client
from effectmq.broker.transports import open_transport
from effectmq.protocol.topology import Names
from effectmq.protocol.wire.envelope import RuntimeEffectCommandSleep, RuntimeEffectEnvelope
from tests.brokers.finding import SUITES
from tests.brokers.provide import Brokers
from tests.brokers.settings import DEFAULT, read_settings
from tests.scenarios.fleet import Fleet

__all__ = ["Slept", "put_to_sleep"]

_SLEEP_MS = 3_600_000
_LEVEL_MS = 1_000_000
_IN_FLIGHT = 200
_PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True)
class Slept:
    """
    Attributes:
        effects: How many lie in the delay queue.
        early_kib: The worker's resident memory after a tenth of them, in KiB.
        late_kib: The same at the end.
    """

    effects: int
    early_kib: int
    late_kib: int

    @property
    def bytes_each(self) -> float:
        """What each of the last nine tenths cost the worker, in bytes."""
        return (self.late_kib - self.early_kib) * 1024 / (self.effects * 0.9)


async def put_to_sleep(
    fleet: Fleet, effects: int, tell: Callable[[str], None] = lambda _: None
) -> Slept:
    """
    Submit sleeps and wait until all of them lie in the delay queue.

    Args:
        fleet: With a delay level of a thousand seconds, and without processes yet.
        effects: How many.
        tell: Gets a line now and then.
    """
    worker = fleet.worker("sleep", concurrency=64)
    await fleet.ready(worker)
    queue = Names(fleet.namespace).delay(_LEVEL_MS)
    early_kib = 0
    async with (
        Client(fleet.broker, namespace=fleet.namespace) as client,
        open_transport(fleet.broker) as transport,
    ):
        turn = client.turn("sleepers", "1")
        places = asyncio.Semaphore(_IN_FLIGHT)

        async def lie_down(number: int) -> None:
            async with places:
                command = RuntimeEffectCommandSleep(duration_ms=_SLEEP_MS + number)
                envelope = RuntimeEffectEnvelope(
                    invocation=turn.invocation("sleep"), command=command
                )
                await client.submit(envelope, timeout=60.0)

        async def lying() -> int:
            stats = await transport.stats(queue)
            return stats.ready if stats else 0

        for first, count in ((0, effects // 10), (effects // 10, effects - effects // 10)):
            async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as group:
                for number in range(first, first + count):
                    group.create_task(lie_down(number))
            async with asyncio.timeout(_PATIENCE_S):
                while (ready := await lying()) < first + count:
                    tell(f"{ready} of {effects} asleep")
                    await asyncio.sleep(0.5)
            early_kib = early_kib or resident_kib(worker.pid)
    return Slept(effects, early_kib, resident_kib(worker.pid))


def resident_kib(pid: int) -> int:
    """The resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])


def main() -> int:
    """0 when a sleeper costs the worker less than a hundred bytes."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios.sleepers", description=__doc__)
    parser.add_argument("--broker", choices=(DEFAULT, *SUITES), default=DEFAULT)
    parser.add_argument("--effects", type=int, default=100_000)
    arguments = parser.parse_args()
    settings = replace(read_settings(os.environ), wanted=(arguments.broker,), address=None)
    brokers = Brokers(settings)
    folder = Path(tempfile.mkdtemp(prefix="effectmq-sleepers-"))
    try:
        node = brokers.private(arguments.broker)
        journal = f"sqlite:///{folder}/journal.db"
        levels = (1_000, _LEVEL_MS)
        with Fleet(folder, node.url, "sleepers", delay_levels_ms=levels, journal=journal) as fleet:
            slept = asyncio.run(
                put_to_sleep(fleet, arguments.effects, lambda line: print(line, flush=True))
            )
    finally:
        brokers.close()
    print(f"{slept}: {slept.bytes_each:.0f} bytes of the worker for each")
    return int(slept.bytes_each > 100)


if __name__ == "__main__":
    sys.exit(main())
