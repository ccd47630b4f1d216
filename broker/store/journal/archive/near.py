"""Names of recorded effects that are like one that fits none."""

from __future__ import annotations

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.rows import text
from effectmq.broker.store.journal.archive.selecting import EffectFilter, page
from effectmq.protocol.text import printable

__all__ = ["near_names"]

#: So many effects are looked at, those that changed last, however many there are.
_NEWEST = 1_000
_MOST = 3
#: Longer ids are not typed. Strangers choose ids, and comparing can take a millisecond for each.
_LONGEST = 60
_COMPARED = 200
_CUTOFF = 0.6


def near_names(tx: Transaction, name: str, scope_id: str = "") -> str:
    """
    A question to add to a sentence: the effect ids that a person may have meant; perhaps empty.

    Args:
        tx: The transaction.
        name: What was asked for.
        scope_id: The scope that was searched; empty for any.
    """
    if not 0 < len(name) <= _LONGEST:
        return ""
    columns = "effect_id, updated_at_ms, scope_id, replay_key"
    rows = page(tx, columns, EffectFilter(), limit=_NEWEST)
    ids = dict.fromkeys(text(row[0]) for row in rows if not scope_id or text(row[2]) == scope_id)
    near = _near(name, [each for each in ids if 0 < len(each) <= _LONGEST])
    shown = " or ".join(repr(printable(each, _LONGEST)) for each in near)
    return f"; did you mean the effect id {shown}?" if near else ""


def _near(name: str, ids: list[str]) -> list[str]:
    """Those with the name as one of their parts, as ``1:tea`` has ``tea``; else those alike."""
    parts = [each for each in ids if name.lower() in each.lower().split(":")]
    if parts:
        return parts[:_MOST]
    # A library that is loaded only after a mistake.
    from difflib import get_close_matches

    return get_close_matches(name, ids[:_COMPARED], n=_MOST, cutoff=_CUTOFF)
