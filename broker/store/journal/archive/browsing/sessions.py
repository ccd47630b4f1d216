"""
The sessions of a journal, in which something changed last first.

There is no table of sessions. Effects are read in the order of changes, and each new session among
them is one row; one look reads so many effects and says where to go on. A session is listed where
its newest effect is, so that no page repeats one of a page before.
"""

from __future__ import annotations

from dataclasses import dataclass

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.rows import number, text
from effectmq.broker.store.journal.archive.selecting import EffectFilter, Place, page
from effectmq.broker.store.journal.archive.summaries import EffectSummary, find
from effectmq.broker.store.journal.steps import OPEN, SETTLED

__all__ = ["SessionNumbers", "SessionsFound", "newest_of", "sessions"]

_READ = "updated_at_ms, scope_id, replay_key, session_id"
_LOOKS = 8_000
_STEP = 1_000
#: Up to so many effects of a session are counted.
_COUNTED = 10_000
_BY_SESSION = {"sqlite": " INDEXED BY effectmq_effects_session", "postgres": ""}
_BY_OPEN = {"sqlite": " INDEXED BY effectmq_effects_open", "postgres": ""}
_ENDS = (
    "SELECT coalesce(min(updated_at_ms), 0), coalesce(max(updated_at_ms), 0), count(*) FROM "
    "(SELECT updated_at_ms FROM effectmq_effects{by} WHERE namespace = ? AND session_id = ? AND "
    f"{SETTLED} ORDER BY updated_at_ms DESC LIMIT ?) AS t"
)
_OPEN = (
    "SELECT session_id, count(*), max(updated_at_ms), min(created_at_ms) FROM "
    f"effectmq_effects{{by}} WHERE namespace = ? AND {OPEN} GROUP BY session_id"
)


@dataclass(frozen=True, slots=True)
class SessionNumbers:
    """
    One session in numbers.

    Attributes:
        session_id: Its id.
        effects: How many effects it has.
        more: Whether it has more than were counted.
        in_progress: How many of them are in progress.
        first_ms: Their first change that was counted, Unix milliseconds.
        last_ms: Their last change.
    """

    session_id: str
    effects: int
    more: bool
    in_progress: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class SessionsFound:
    """
    Some sessions.

    Attributes:
        sessions: The sessions.
        after: Where the next look begins; ``None`` when there is nothing behind.
    """

    sessions: list[SessionNumbers]
    after: Place | None


def sessions(tx: Transaction, *, limit: int, after: Place | None = None) -> SessionsFound:
    """
    The sessions in which something changed last.

    Args:
        tx: The transaction.
        limit: The most sessions.
        after: Where the look before ended.
    """
    running = {
        text(row[0]): (number(row[1]), number(row[2]), number(row[3]))
        for row in tx.execute(_OPEN.format(by=_BY_OPEN[tx.dialect]), (tx.namespace,))
    }
    found: list[SessionNumbers] = []
    seen: set[str] = set()
    for _ in range(_LOOKS // _STEP):
        rows = page(tx, _READ, EffectFilter(), limit=_STEP, after=after)
        for row in rows:
            after, session_id = Place(number(row[0]), text(row[1]), text(row[2])), text(row[3])
            if session_id not in seen:
                seen.add(session_id)
                numbers = _numbers(tx, session_id, running.get(session_id))
                # A newer effect stood on a page before, and the session with it.
                if numbers.last_ms <= after.updated_ms:
                    found.append(numbers)
                    if len(found) == limit:
                        return SessionsFound(found, after)
        if len(rows) < _STEP:
            return SessionsFound(found, None)
    return SessionsFound(found, after)


def _numbers(
    tx: Transaction, session_id: str, running: tuple[int, int, int] | None
) -> SessionNumbers:
    parameters = (tx.namespace, session_id, _COUNTED + 1)
    rows = tx.execute(_ENDS.format(by=_BY_SESSION[tx.dialect]), parameters)
    first, last, settled = (number(value) for value in rows[0])
    open_, open_last, open_first = running or (0, 0, 0)
    firsts = [time for time in (first, open_first) if time]
    return SessionNumbers(
        session_id=session_id,
        effects=min(settled, _COUNTED) + open_,
        more=settled > _COUNTED,
        in_progress=open_,
        first_ms=min(firsts, default=0),
        last_ms=max(last, open_last),
    )


def newest_of(tx: Transaction, session_id: str, *, limit: int) -> list[EffectSummary]:
    """The effects of a session that changed last, in the order in which they began."""
    found = find(tx, EffectFilter(session_id=session_id), limit=limit)
    return sorted(found, key=lambda each: (each.created_ms, each.identity.replay_key))
