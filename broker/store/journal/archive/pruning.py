"""
Retention: finished effects that are old enough lose their payloads, or are removed.

A page of candidates is read without locks. Then a short transaction changes those that have not
changed since. An effect that is claimed in between (a replayed dead letter) is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from effectmq.broker.store.database.port import Transaction, Value
from effectmq.broker.store.database.rows import RowReader, text
from effectmq.broker.store.journal.archive.summaries import EffectDetail, Place
from effectmq.broker.store.journal.handed_out import table as questions
from effectmq.broker.store.journal.records import FINISHED, UNSUCCESSFUL
from effectmq.broker.store.journal.steps import SETTLED
from effectmq.protocol.encoding.canonical import canonical_json

__all__ = [
    "FORGOTTEN_CODE",
    "Candidate",
    "Pruning",
    "candidate_of",
    "candidates",
    "forget",
    "why_not",
]

#: The code of the error that a pruned effect answers with.
FORGOTTEN_CODE = "effectmq_forgotten"

_SIZE = {
    "sqlite": "length(CAST({} AS BLOB))",
    "postgres": "octet_length({})",
}
_PAGE = (
    "SELECT updated_at_ms, scope_id, replay_key, status, fence, park_reason, letter_sent, {} "
    f"FROM effectmq_effects WHERE namespace = ? AND {SETTLED} "
    "AND updated_at_ms < ? AND updated_at_ms >= ? "
    "AND (updated_at_ms, scope_id, replay_key) > (?, ?, ?) "
    "ORDER BY updated_at_ms, scope_id, replay_key LIMIT ?"
)
#: Unchanged since they were read: a claim raises the fence, and every change moves the time. It is
#: one statement, because each needs a round trip; SQLite has an index for the range.
_UNCHANGED = (
    f"WHERE namespace = ? AND {SETTLED} AND updated_at_ms BETWEEN ? AND ? "
    "AND (scope_id, replay_key, fence, status, updated_at_ms) IN (VALUES {}) "
    "RETURNING updated_at_ms, scope_id, replay_key"
)
_FORGET = (
    "UPDATE effectmq_effects SET status = 'forgotten', envelope_json = '', outcome_json = '', "
    f"error_json = ? {_UNCHANGED}"
)
_REMOVE = f"DELETE FROM effectmq_effects {_UNCHANGED}"


@dataclass(frozen=True, slots=True)
class Pruning:
    """
    Which effects to prune.

    Attributes:
        before_ms: Effects last changed before this time, Unix milliseconds.
        keep_keys: Whether to keep key and hash, so that asking again is an error and not a second
            run.
        parked: Whether to prune parked effects as well; their dead letters can then not be
            replayed.
    """

    before_ms: int
    keep_keys: bool = True
    parked: bool = False

    def chooses(self, seen: Candidate) -> bool:
        """Whether an effect is to be pruned."""
        if seen.parked and not (self.parked and seen.letter_sent):
            # The dead letter that is not out yet is made from the record.
            return False
        done = ("completed", "failed", UNSUCCESSFUL, "cancelled")
        return seen.status in (done if self.keep_keys else (*done, "forgotten"))


@dataclass(frozen=True, slots=True)
class Candidate:
    """
    An old effect as it was read.

    Attributes:
        place: Its place in the order of changes.
        status: Its status.
        fence: The number of its claims.
        parked: Whether it was given up.
        letter_sent: Whether its dead letter is out.
        payload_bytes: The size of envelope, outcome and error.
    """

    place: Place
    status: str
    fence: int
    parked: bool
    letter_sent: bool
    payload_bytes: int


def why_not(effect: EffectDetail, wanted: Pruning) -> str:
    """Why one effect is not pruned, as a sentence; empty when it may be."""
    seen = candidate_of(effect)
    if wanted.chooses(seen):
        return ""
    if seen.status not in FINISHED:
        return (
            f"it is {seen.status.replace('_', ' ')}, and only what is finished is pruned; cancel "
            "it first: effectmq effects cancel"
        )
    if seen.parked and not wanted.parked:
        return (
            "it is parked, and its dead letter could not be replayed any more; replay or purge "
            "that (effectmq dead), or prune it all the same with --parked"
        )
    if seen.parked:
        return (
            "its dead letter is not known to be out yet, and is made from this record; a worker "
            "sends it when the effect is asked for again"
        )
    return "it is pruned already, and only its key is left; --forget-key removes that too"


def candidate_of(effect: EffectDetail) -> Candidate:
    """One effect as pruning sees it."""
    payloads = (effect.envelope_json, effect.outcome_json, effect.error_json)
    # As the database calls it: a failure that has an outcome is not parked.
    status = UNSUCCESSFUL if effect.status == "failed" and effect.outcome_json else effect.status
    return Candidate(
        effect.place,
        status,
        effect.fence,
        parked=bool(effect.park_reason) and status == "failed",
        letter_sent=effect.letter_sent,
        payload_bytes=sum(len(text.encode(errors="surrogatepass")) for text in payloads),
    )


class _Old(NamedTuple):
    updated_ms: int
    scope_id: str
    replay_key: str
    status: str
    fence: int
    park_reason: str
    letter_sent: int
    payload_bytes: int


_OLD_ROWS = RowReader(_Old)


def candidates(tx: Transaction, before_ms: int, after: Place, limit: int) -> list[Candidate]:
    """One page of old effects that are not in progress, the oldest first."""
    size = " + ".join(
        _SIZE[tx.dialect].format(column)
        for column in ("envelope_json", "outcome_json", "error_json")
    )
    rows = tx.execute(
        _PAGE.format(size), (tx.namespace, before_ms, after.updated_ms, *after, limit)
    )
    return [
        Candidate(
            Place(row.updated_ms, row.scope_id, row.replay_key),
            row.status,
            row.fence,
            parked=bool(row.park_reason) and row.status == "failed",
            letter_sent=bool(row.letter_sent),
            payload_bytes=row.payload_bytes,
        )
        for row in _OLD_ROWS.all(rows)
    ]


def forget(tx: Transaction, chosen: Sequence[Candidate], *, keep_keys: bool) -> list[Candidate]:
    """
    Prune the effects that have not changed since they were read.

    Returns:
        The pruned effects.
    """
    if not chosen:
        return []
    rows = ", ".join(["(?, ?, ?, ?, ?)"] * len(chosen))
    moments = [seen.place.updated_ms for seen in chosen]
    as_seen: list[Value] = [tx.namespace, min(moments), max(moments)]
    for seen in chosen:
        place = seen.place
        as_seen += (place.scope_id, place.replay_key, seen.fence, seen.status, place.updated_ms)
    if keep_keys:
        changed = tx.execute(_FORGET.format(rows), (_forgotten(tx.now_ms()), *as_seen))
    else:
        changed = tx.execute(_REMOVE.format(rows), as_seen)
    places = set(changed)
    questions.forget(tx, [(text(place[1]), text(place[2])) for place in changed])
    return [seen for seen in chosen if seen.place in places]


def _forgotten(now_ms: int) -> str:
    day = datetime.fromtimestamp(now_ms / 1_000, UTC).date().isoformat()
    message = (
        f"this effect was finished, and its record was pruned on {day}; its outcome is not kept, "
        "and it will not run again under this key. Ask for it under a new replay key to run it anew"
    )
    return canonical_json({"code": FORGOTTEN_CODE, "message": message}).decode()
