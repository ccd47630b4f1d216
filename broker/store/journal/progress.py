"""
The table of progress: how far each effect was when it was told last.

It is written with renewals of leases, and kept until the effect is pruned. The table is a component
of its own, made when a worker first needs it: an effect that tells nothing has no row, and the
journal's own table has no column for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from effectmq.broker.store.database.port import Transaction, Value
from effectmq.broker.store.database.rows import RowReader
from effectmq.broker.store.database.schema import Schema
from effectmq.broker.store.journal.records import Renew
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.messages.progress import Progress, progress_tree, read_progress
from effectmq.protocol.messages.request import Identity

__all__ = ["PROGRESS_SCHEMA", "RecordedProgress", "forget", "keep", "progress_of"]

PROGRESS_SCHEMA = Schema(
    "progress",
    [
        [
            """CREATE TABLE effectmq_progress (
                namespace {text} NOT NULL,
                scope_id {text} NOT NULL,
                replay_key {text} NOT NULL,
                fence BIGINT NOT NULL,
                attempt BIGINT NOT NULL,
                told_at_ms BIGINT NOT NULL,
                progress_json TEXT NOT NULL,
                PRIMARY KEY (namespace, scope_id, replay_key)
            )"""
        ]
    ],
)

_KEEP = """
    INSERT INTO effectmq_progress
        (namespace, scope_id, replay_key, fence, attempt, told_at_ms, progress_json)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (namespace, scope_id, replay_key) DO UPDATE SET
        fence = excluded.fence, attempt = excluded.attempt, told_at_ms = excluded.told_at_ms,
        progress_json = excluded.progress_json"""
#: Looked up by the primary key, for all of a page at once.
_OF_EFFECTS = (
    "SELECT scope_id, replay_key, fence, attempt, told_at_ms, progress_json "
    "FROM effectmq_progress WHERE namespace = ? AND (scope_id, replay_key) IN (VALUES {rows})"
)


@dataclass(frozen=True, slots=True)
class RecordedProgress:
    """
    How far an effect was when it was told last.

    Attributes:
        progress: How far it was, with the attempt that said so.
        fence: The claim under which that attempt ran.
        told_ms: When it was recorded, Unix milliseconds.
    """

    progress: Progress
    fence: int
    told_ms: int


class _Row(NamedTuple):
    scope_id: str
    replay_key: str
    fence: int
    attempt: int
    told_ms: int
    progress_json: str


_ROWS = RowReader(_Row)


def keep(tx: Transaction, renewed: Sequence[Renew], now_ms: int) -> None:
    """Record how far effects are, as their renewals say."""
    rows: list[tuple[Value, ...]] = []
    for each in renewed:
        if each.progress is not None:
            written = canonical_json(progress_tree(each.progress)).decode()
            key = (tx.namespace, each.identity.scope_id, each.identity.replay_key)
            rows.append((*key, each.fence, each.progress.attempt, now_ms, written))
    tx.execute_many(_KEEP, rows)


def progress_of(tx: Transaction, effects: Sequence[Identity]) -> list[RecordedProgress | None]:
    """How far each effect was; ``None`` for one that never told it."""
    if not effects:
        return []
    rows = ", ".join(["(?, ?)"] * len(effects))
    values: list[Value] = [tx.namespace]
    for each in effects:
        values += each.scope_id, each.replay_key
    found = {
        Identity(row.scope_id, row.replay_key): _recorded(row)
        for row in _ROWS.all(tx.execute(_OF_EFFECTS.format(rows=rows), tuple(values)))
    }
    return [found.get(each) for each in effects]


def forget(tx: Transaction, keys: Sequence[tuple[str, str]]) -> None:
    """Remove the progress of effects that were pruned."""
    if keys:
        values: list[Value] = [tx.namespace, *(part for key in keys for part in key)]
        rows = ", ".join(["(?, ?)"] * len(keys))
        tx.execute(
            "DELETE FROM effectmq_progress WHERE namespace = ? "
            f"AND (scope_id, replay_key) IN (VALUES {rows})",
            tuple(values),
        )


def _recorded(row: _Row) -> RecordedProgress | None:
    """What a row says; ``None`` when it was damaged, which is no reason to show nothing else."""
    try:
        told = read_progress(parse_json(row.progress_json), row.attempt)
    except MalformedError:
        return None
    return RecordedProgress(told, row.fence, row.told_ms)
