"""Limits as tables and as documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.facts import limit_facts
from effectmq.broker.store.admission.looking import LimitState
from effectmq.cli.terminal.colours import Colour
from effectmq.cli.terminal.tables import Column, Room, table
from effectmq.cli.terminal.times import age

__all__ = ["limits_document", "limits_table"]

_COLUMNS = (
    Column("limit", least=12, priority=9, most=120),
    Column("route", priority=8),
    Column("of each", priority=7, most=60),
    Column("admits", least=8, priority=6),
    Column("running", priority=5),
    Column("waiting", priority=4),
    Column("oldest", priority=3),
    Column("shut", priority=2),
    Column("set by", priority=1, most=60, colours={"operator": Colour.YELLOW}),
)


def limits_table(states: Sequence[LimitState], now_ms: int, room: Room) -> str:
    """The limits, one a line."""
    return table(_COLUMNS, [_row(state, now_ms) for state in states], room)


def _row(state: LimitState, now_ms: int) -> tuple[object, ...]:
    limit = state.limit
    return (
        limit.name,
        limit.route,
        f"{limit.key}={limit.only}" if limit.only else limit.key,
        _admits(limit),
        state.running,
        state.waiting,
        age(state.oldest_ms, now_ms),
        state.shut or "",
        state.set_by if limit.source == "program" else f"operator {state.set_by}",
    )


def _admits(limit: Limit) -> str:
    said = [
        f"{limit.concurrency} at a time" if limit.concurrency else "",
        str(limit.rate),
        f"shut for {limit.cooldown_ms / 1_000:g}s after {limit.breaker} failures"
        if limit.breaker
        else "",
    ]
    return ", ".join(filter(None, said)) or "heeds waits"


def limits_document(states: Sequence[LimitState]) -> list[dict[str, Any]]:
    """The limits for scripts."""
    return [limit_facts(state) for state in states]
