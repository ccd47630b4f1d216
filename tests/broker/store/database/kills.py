"""
Kill a process that is committing, many times, and look at what it left.

Each child claims and records without pause and says which effects it has been told are recorded;
it is killed with ``kill -9`` after a random number of them. Then a new process must find every one
of them, byte for byte, and no row that is half of one.

``python -m tests.broker.store.database.kills URL TIMES`` says what was found; 1 when anything was
lost.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from itertools import count

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Recorded
from tests.conformance.asking import claim_of, effect, granted, said

_LANES = 20


def outcome_of(key: str) -> str:
    """Long enough that it takes several pages."""
    return f'"{key}{"x" * 9_000}"'


async def _write_for_ever(url: str, child: int, pipe: int) -> None:
    numbers = count()
    async with Journal(url) as journal:

        async def lane() -> None:
            while True:
                key = f"{child}-{next(numbers)}"
                # As a worker claims what may run again: a process that dies loses none of it.
                answer = await granted(journal, effect(key), durable=False)
                await journal.record(said(effect(key), answer, outcome_of(key)))
                os.write(pipe, f"{key}\n".encode())

        await asyncio.gather(*(lane() for _ in range(_LANES)))


async def _missing(url: str, keys: list[str]) -> list[str]:
    async with Journal(url) as journal:
        found = await asyncio.gather(*(journal.claim(claim_of(effect(key))) for key in keys))
        odd = await journal.database.read(_half_written)
    wrong = [
        key
        for key, answer in zip(keys, found, strict=True)
        if answer != Recorded("completed", 1, outcome_of(key), "")
    ]
    return wrong + odd


def _half_written(tx: Transaction) -> list[str]:
    rows = tx.execute(
        "SELECT replay_key FROM effectmq_effects WHERE NOT ("
        "(status = 'completed' AND length(outcome_json) > 9000 AND lease_token = '') OR "
        "(status = 'in_progress' AND outcome_json = '' AND lease_token <> ''))"
    )
    if tx.dialect == "sqlite":
        rows += [row for row in tx.execute("PRAGMA integrity_check") if row != ("ok",)]
    return [f"half-written: {row[0]}" for row in rows]


def _forked(url: str, child: int, pipe: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(_write_for_ever(url, child, pipe))
        finally:
            os._exit(1)
    return pid


def _killed(url: str, child: int, luck: random.Random) -> list[str]:
    """What one child had been told is recorded when it was killed."""
    reader, writer = os.pipe()
    pid = _forked(url, child, writer)
    os.close(writer)
    wanted = luck.randint(1, 120)
    said = b""
    while said.count(b"\n") < wanted and (more := os.read(reader, 65_536)):
        said += more
    time.sleep(luck.uniform(0, 0.01))
    os.kill(pid, signal.SIGKILL)
    while more := os.read(reader, 65_536):
        said += more
    os.waitpid(pid, 0)
    os.close(reader)
    return said.decode().splitlines()


def main(url: str, times: int) -> int:
    """Kill so many times; the keys that were lost are printed."""
    luck = random.Random(1)
    acknowledged = 0
    for child in range(times):
        keys = _killed(url, child, luck)
        acknowledged += len(keys)
        wrong = asyncio.run(_missing(url, keys))
        if wrong or not keys:
            print(f"kill {child}: {len(wrong)} of {len(keys)} wrong: {wrong[:10]}")
            return 1
    print(f"{times} kills, {acknowledged} acknowledged, 0 lost")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
