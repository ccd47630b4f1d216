"""
``python -m tests.scenarios.clock_jumps FILE DIRECTION WHAT``: a worker whose wall clock is set.

Runs below libfaketime, which reads from the file how far the wall clock is off; the clocks that do
not jump are left alone. Prints what happened, one word, for the test to read.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from effectmq.broker.client.client import EffectClient
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Busy, Granted
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import EffectFailedError
from effectmq.protocol.topology import TopologySettings
from tests.conformance.asking import claim_of, effect
from tests.consumers.stage import nap, tool
from tests.waiting import eventually

HOUR_S = 3_600
_PATIENCE_S = 60.0
_TOPOLOGY = TopologySettings(delay_levels_ms=(100, 1_000, 600_000))
_SLEEP_MS = 2_500


class Clock:
    """The wall clock of this process."""

    def __init__(self, file: Path, direction: str) -> None:
        self._file = file
        self._offset = "+3600" if direction == "forward" else "-3600"

    def set(self) -> None:
        """Set it by an hour; returns when it is so."""
        before = time.time()
        self._file.write_text(f"{self._offset}\n")
        while abs(time.time() - before) < HOUR_S / 2:
            time.sleep(0.01)


async def sleep(clock: Clock, journal: str | None) -> str:
    """A sleep that waits in place and over a delay level, its clock set meanwhile."""
    worker = EffectWorker("memory://jumps", journal=journal, topology=_TOPOLOGY)
    await worker.start()
    async with EffectClient("memory://jumps", topology=_TOPOLOGY) as client:
        began = time.monotonic()
        handle = await client.submit(nap(_SLEEP_MS))
        await eventually(lambda: worker.counters["delayed"] + worker.counters["paused"] > 0)
        clock.set()
        await handle.outcome(_PATIENCE_S)
        took_ms = (time.monotonic() - began) * 1_000
    await worker.stop(0.0)
    return "early" if took_ms < _SLEEP_MS else "ended"


async def lease(clock: Clock, folder: str) -> str:
    """A lease that nobody renews, asked for by another after the clock was set."""
    async with Journal(f"sqlite:///{folder}/l.db") as journal:
        assert isinstance(await journal.claim(claim_of(effect(), lease_ms=3_000)), Granted)
        clock.set()
        first = await journal.claim(claim_of(effect()))
        if not isinstance(first, Busy) or first.wait_ms > 3_000:
            return f"{first}"
        await asyncio.sleep(3.1)
        return (
            "held" if isinstance(await journal.claim(claim_of(effect())), Granted) else "for ever"
        )


async def deadline(clock: Clock, journal: str) -> str:
    """An effect with a deadline of half an hour, that a worker sees after the clock was set."""
    async with EffectClient("memory://jumps", topology=_TOPOLOGY) as client:
        worker = EffectWorker("memory://jumps", journal=journal, topology=_TOPOLOGY)

        @worker.tool
        async def hello() -> str:
            return "hello"

        await worker.start()
        await worker.stop(0.0)
        handle = await client.submit(tool("hello"), deadline_s=HOUR_S / 2)
        clock.set()
        await worker.start()
        try:
            await handle.outcome(_PATIENCE_S)
            return "ran"
        except EffectFailedError as problem:
            return problem.code
        finally:
            await worker.stop(0.0)


async def main(file: str, direction: str, what: str) -> None:
    """Do one of them."""
    clock = Clock(Path(file), direction)
    with tempfile.TemporaryDirectory() as folder:
        journal = f"sqlite:///{folder}/j.db"
        match what:
            case "sleep":
                print(await sleep(clock, journal))
            case "sleep-unkept":
                print(await sleep(clock, None))
            case "lease":
                print(await lease(clock, folder))
            case _:
                print(await deadline(clock, journal))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
