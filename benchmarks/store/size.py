"""
How long a look at a large journal takes: ``python -m benchmarks.store.size [--rows N] [URL]``.

Fills a journal with effects as workers leave them (eight kinds, every status, sessions of many
turns, payloads of a kilobyte), then times each filter of ``effectmq effects list``, one row, and
the statistics. Without an address: an SQLite file in a temporary folder. A journal that has the
rows already is only looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from hashlib import sha256

from effectmq.broker.store.database.port import Value
from effectmq.broker.store.journal.archive.archive import Archive, open_archive
from effectmq.broker.store.journal.archive.summaries import EffectFilter
from effectmq.broker.store.journal.journal import Journal
from effectmq.protocol.kinds import EFFECT_KINDS

_BATCH = 5_000
_BEGAN_MS = 1_750_000_000_000
_COLUMNS = (
    "namespace, scope_id, replay_key, envelope_hash, status, attempts, fence, lease_owner_id, "
    "lease_token, lease_clock, lease_expires_at_ms, due_at_ms, due_clock, due_clock_ms, "
    "park_reason, parks, letter_sent, uncertain, kind, effect_id, session_id, turn_id, caused_by, "
    "deaths, begun, former_deaths, dead_workers, created_at_ms, updated_at_ms, error_json, "
    "outcome_json, envelope_json"
)
_PAYLOAD = '{"text":"' + "x" * 1_000 + '"}'


def rows(count: int, began_ms: int = _BEGAN_MS) -> Iterator[tuple[Value, ...]]:
    """Effects as workers leave them, ten a second."""
    for n in range(count):
        session = f"chat-{n // 200}"
        turn = f"{session}:turn-{n // 10 % 20}"
        digest = sha256(str(n).encode()).hexdigest()
        status, reason = "completed", ""
        if n % 50 == 7:
            status, reason = "failed", ("rejected", "exhausted", "")[n // 50 % 3]
        elif n % 1_000 == 3:
            status = ("waiting", "in_progress", "cancelled", "forgotten")[n // 1_000 % 4]
        error = '{"code":"c","message":"m"}' if status in ("failed", "cancelled") else ""
        yield (
            *("effects", turn, f"{turn}:{n % 10}:tool_call", digest, status, 1, 1),
            *(f"host-{n // 100_000}:{n // 10_000 % 3}", "", "boot", 0, 0, "", 0, reason),
            *(int(bool(reason)), 1, 0, EFFECT_KINDS[n % 97 % 8], f"{n % 10}:call-{n % 37}"),
            *(session, turn, f'{{"n":{n // 10}}}' if n % 10 else "", 0, 1, 0, ""),
            *(began_ms + n * 100, began_ms + n * 100 + 50, error),
            *("" if error else _PAYLOAD, _PAYLOAD),
        )


async def fill(url: str, count: int, began_ms: int = _BEGAN_MS) -> None:
    """Put the rows in; in the order of time, as they come."""
    marks = ", ".join("?" * len(_COLUMNS.split(", ")))
    async with Journal(url) as journal:
        source = rows(count, began_ms)
        for _ in range(0, count, _BATCH):
            batch = [row for _, row in zip(range(_BATCH), source, strict=False)]
            await journal.database.write(
                lambda tx, batch=batch: tx.execute_many(  # type: ignore[misc]
                    f"INSERT INTO effectmq_effects ({_COLUMNS}) VALUES ({marks})", batch
                )
            )


def looks(archive: Archive, count: int) -> dict[str, Callable[[], Awaitable[object]]]:
    """Everything that the command line can ask, by name."""
    middle = _BEGAN_MS + count * 50
    turn = f"chat-{count // 400}:turn-3"
    digest = sha256(str(count // 2).encode()).hexdigest()
    filters = {
        "everything": EffectFilter(),
        "--kind tool_call": EffectFilter(kinds=("tool_call",)),
        "--kind, none such": EffectFilter(kinds=("process",), statuses=("cancelled",)),
        "--status failed": EffectFilter(statuses=("failed",)),
        "--status in_progress": EffectFilter(statuses=("in_progress",)),
        "--status, two of them": EffectFilter(statuses=("waiting", "completed")),
        "--parked rejected": EffectFilter(park_reasons=("rejected",)),
        "--parked, none such": EffectFilter(park_reasons=("tampered",)),
        "--session": EffectFilter(session_id="chat-3"),
        "--turn": EffectFilter(turn_id=turn),
        "--scope": EffectFilter(scope_id=turn),
        "--effect-id": EffectFilter(effect_id="3:call-7"),
        "--key, common": EffectFilter(key_prefix="chat-"),
        "--key, one session": EffectFilter(key_prefix="chat-17:"),
        "--key, many of the oldest": EffectFilter(key_prefix="chat-1"),
        "--key, none such": EffectFilter(key_prefix="zzz"),
        "--worker, the oldest": EffectFilter(worker="host-0:1"),
        "--worker, none such": EffectFilter(worker="nobody"),
        "--since": EffectFilter(since_ms=middle),
        "--until": EffectFilter(until_ms=middle),
        "--session --status": EffectFilter(session_id="chat-3", statuses=("failed",)),
        "--worker --parked": EffectFilter(worker="host-0:1", park_reasons=("exhausted",)),
    }
    found: dict[str, Callable[[], Awaitable[object]]] = {
        f"list {name}": lambda chosen=chosen: archive.find(chosen, limit=100)
        for name, chosen in filters.items()
    }
    found["get KEY"] = lambda: archive.get(f"{turn}:4:tool_call")
    found["get HASH, 8 digits"] = lambda: archive.get(digest[:8])
    found["get HASH, whole"] = lambda: archive.get(digest)
    found["tree"] = lambda: _tree(archive, digest)
    found["stats"] = archive.stats
    return found


async def _tree(archive: Archive, digest: str) -> object:
    return await archive.lineage(await archive.get(digest))


async def main() -> None:
    """Fill it, look at it, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?")
    parser.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="effectmq-size-") as folder:
        url = args.url or f"sqlite:///{folder}/journal.db"
        async with Journal(url) as journal:
            (found,) = await journal.database.read(
                lambda tx: tx.execute("SELECT count(*) FROM effectmq_effects")
            )
        if not found[0]:
            began = time.perf_counter()
            await fill(url, args.rows)
            print(f"{args.rows} rows in {time.perf_counter() - began:.1f} s")
        async with open_archive(url) as archive:
            for name, look in looks(archive, args.rows).items():
                took: list[float] = []
                for _ in range(3):
                    began = time.perf_counter()
                    await look()
                    took.append(time.perf_counter() - began)
                print(
                    f"{name:28} {took[0] * 1_000:8.1f} ms first, {min(took) * 1_000:8.1f} ms best"
                )


if __name__ == "__main__":
    asyncio.run(main())
