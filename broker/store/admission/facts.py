"""A limit as plain data, for scripts and for the HTTP API."""

from __future__ import annotations

from typing import Any

from effectmq.broker.store.admission.looking import LimitState, LineState

__all__ = ["limit_facts"]


def limit_facts(state: LimitState) -> dict[str, Any]:
    """
    A limit, what runs under it and what waits for it.

    Times are Unix milliseconds, 0 for none; ``lines`` has the values of its key that are in use,
    at most 20.
    """
    limit = state.limit
    return {
        "name": limit.name,
        "route": limit.route,
        "key": limit.key,
        "only": limit.only,
        "concurrency": limit.concurrency,
        "rate": str(limit.rate),
        "breaker": limit.breaker,
        "cooldown_s": limit.cooldown_ms / 1_000,
        "source": limit.source,
        "set_by": state.set_by,
        "set_ms": state.set_ms,
        "running": state.running,
        "waiting": state.waiting,
        "oldest_ms": state.oldest_ms,
        "shut": state.shut,
        "lines": [_line_facts(line) for line in state.lines],
    }


def _line_facts(line: LineState) -> dict[str, Any]:
    return {
        "value": line.value,
        "running": line.running,
        "waiting": line.waiting,
        "oldest_ms": line.oldest_ms,
        "shut": line.shut,
        "opens_in_ms": line.opens_in_ms,
        "failures": line.failures,
    }
