"""
What an effect costs in the journal: ``python -m benchmarks.store.cpu [--effects N] [--without]``.

Claims and records effects in groups, as the group commit of a busy worker does, in an SQLite file,
and tells the CPU (user and system) that one effect takes. Nothing else runs: no broker, no tools,
no event loop. With ``--without`` it measures again without each index and without the triggers, one
after the other, which says what each of them costs.
"""

from __future__ import annotations

import argparse
import resource
import sqlite3
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from effectmq.broker.store.database.sqlite.adapter import SqliteTransaction
from effectmq.broker.store.journal.records import Claim, Effect, Granted, Operation, Record
from effectmq.broker.store.journal.tables import JOURNAL_SCHEMA, apply
from effectmq.protocol.messages.request import Identity

_GROUP = 100
_PAYLOAD = '{"text":"' + "x" * 700 + '"}'
_OBJECTS = (
    "SELECT type, name FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL "
    "ORDER BY type, name"
)


def effect(number: int) -> Effect:
    """One effect of a turn of ten, in a session of twenty turns."""
    session = f"chat-{number // 200}"
    turn = f"{session}:turn-{number // 10 % 20}"
    return Effect(
        Identity(turn, f"{turn}:{number % 10}:tool_call:{number % 10}:call-{number % 37}"),
        sha256(str(number).encode()).hexdigest(),
        "tool_call",
        f"{number % 10}:call-{number % 37}",
        session,
        turn,
        f'{{"effect_id":"{number // 10}","session_id":"{session}"}}' if number % 10 else "",
        _PAYLOAD,
    )


def open_journal(path: Path) -> sqlite3.Connection:
    """A new one, as a worker makes it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    JOURNAL_SCHEMA.make(SqliteTransaction(connection))
    return connection


def microseconds(path: Path, effects: int, without: Sequence[tuple[str, str]] = ()) -> float:
    """The CPU that one effect takes, without some indexes and triggers."""
    connection = open_journal(path)
    for kind, name in without:
        connection.execute(f"DROP {kind} {name}")
    groups = [
        [effect(number) for number in range(first, min(first + _GROUP, effects))]
        for first in range(0, effects, _GROUP)
    ]
    began = _cpu_s()
    for group in groups:
        claims = [Claim(one, "host-1:4711", f"t{n}", 30_000) for n, one in enumerate(group)]
        fences = [
            found.fence for found in _together(connection, claims) if isinstance(found, Granted)
        ]
        _together(
            connection,
            [
                Record(one.identity, fence, 1, _PAYLOAD)
                for one, fence in zip(group, fences, strict=True)
            ],
        )
    took = _cpu_s() - began
    connection.close()
    return took / effects * 1e6


def _together(connection: sqlite3.Connection, operations: Sequence[Operation]) -> list[object]:
    connection.execute("BEGIN IMMEDIATE")
    answers = apply(SqliteTransaction(connection), operations)
    connection.execute("COMMIT")
    return list(answers)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effects", type=int, default=20_000)
    parser.add_argument("--without", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="effectmq-cpu-") as folder:
        with_all = open_journal(Path(folder) / "objects.db")
        objects = [(str(kind), str(name)) for kind, name in with_all.execute(_OBJECTS)]
        with_all.close()
        triggers = [found for found in objects if found[0] == "trigger"]
        variants: dict[str, Sequence[tuple[str, str]]] = {"as it is": ()}
        if args.without:
            variants |= {
                f"without {name}": [(kind, name)] for kind, name in objects if kind == "index"
            }
            variants |= {"without triggers": triggers, "without all of them": objects}
        for number, (name, without) in enumerate(variants.items()):
            best = min(
                microseconds(Path(folder) / f"{number}-{turn}.db", args.effects, without)
                for turn in range(3)
            )
            print(f"{name:40} {best:7.1f} us CPU an effect")


if __name__ == "__main__":
    main()
