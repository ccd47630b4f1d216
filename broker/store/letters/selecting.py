"""How dead letters are chosen in SQL: the same letters as ``DeadFilter.matches`` chooses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from effectmq.broker.store.database.port import Transaction, Value
from effectmq.broker.store.letters.facts import clipped
from effectmq.broker.store.letters.filter import DeadFilter

__all__ = ["Cursor", "conditions", "source"]

#: Contained, capitals as they are; what the two databases call LIKE does not agree on capitals.
_CONTAINS = {"sqlite": "instr({}, ?) > 0", "postgres": "strpos({}, ?) > 0"}
#: Behind every hexadecimal digit.
_LAST = "~"


class Cursor(NamedTuple):
    """Where in the order of time a letter stands; the next page begins behind it."""

    parked_ms: int
    letter_id: str


def source(tx: Transaction, chosen: DeadFilter) -> str:
    """
    The table, with the index to read it by.

    SQLite has no idea of how common a value is, and would sort all that have it.
    """
    if tx.dialect != "sqlite" or chosen.ids:
        return "effectmq_letters"
    index = "session" if len(chosen.sessions) == 1 else "time"
    return f"effectmq_letters INDEXED BY effectmq_letters_{index}"


def conditions(
    tx: Transaction,
    chosen: DeadFilter,
    *,
    after: Cursor | None = None,
    newest_first: bool = False,
) -> tuple[str, list[Value]]:
    """The conditions that must all hold, and what stands for their question marks."""
    parts: list[_Part] = [("namespace = ?", (tx.namespace,))]
    for column, wanted in _columns(chosen):
        if wanted:
            parts.append((f"{column} IN ({', '.join('?' * len(wanted))})", wanted))
    parts += _ids(chosen)
    parts += _times(chosen)
    if chosen.edited is not None:
        parts.append(("edited_from <> ''" if chosen.edited else "edited_from = ''", ()))
    if chosen.text:
        contains = _CONTAINS[tx.dialect]
        either = f"({contains.format('code')} OR {contains.format('detail')})"
        parts.append((either, (chosen.text, chosen.text)))
    if after is not None:
        parts.append((f"(parked_ms, letter_id) {'<' if newest_first else '>'} (?, ?)", after))
    return " AND ".join(part for part, _ in parts), [value for _, each in parts for value in each]


_Part = tuple[str, tuple[Value, ...]]


def _ids(chosen: DeadFilter) -> list[_Part]:
    if not chosen.ids:
        return []
    any_of = " OR ".join(["(letter_id >= ? AND letter_id < ?)"] * len(chosen.ids))
    return [(f"({any_of})", tuple(end for each in chosen.ids for end in (each, each + _LAST)))]


def _times(chosen: DeadFilter) -> list[_Part]:
    parts: list[_Part] = []
    if chosen.since_ms is not None:
        parts.append(("parked_ms >= ?", (chosen.since_ms,)))
    if chosen.until_ms is not None:
        parts.append(("parked_ms < ?", (chosen.until_ms,)))
    # What has no time is in no range.
    return [*parts, ("parked_ms > 0", ())] if parts else []


def _columns(chosen: DeadFilter) -> Iterable[tuple[str, tuple[str, ...]]]:
    return (
        (column, tuple(clipped(column, value) for value in wanted))
        for column, wanted in (
            ("kind", chosen.kinds),
            ("reason", chosen.reasons),
            ("route", chosen.routes),
            ("code", chosen.codes),
            ("effect_id", chosen.effect_ids),
            ("tool", chosen.tools),
            ("model", chosen.models),
            ("session_id", chosen.sessions),
            ("error", chosen.errors),
        )
    )
