"""The eight effect kinds, and the routes that split them into lanes."""

from __future__ import annotations

__all__ = ["EFFECT_KINDS", "kind_of", "route_of"]

#: In the order of the wire format.
EFFECT_KINDS = (
    "llm_call",
    "direct",
    "tool_call",
    "process",
    "exec_code",
    "checkpoint",
    "sync_execution_surface",
    "sleep",
)


def kind_of(route: str) -> str:
    """The kind of a route, which is a kind or ``kind.lane``."""
    return route.partition(".")[0]


def route_of(kind: str, lane: str | None) -> str:
    """The route of a kind; ``lane`` is ``None`` for the kind itself."""
    return f"{kind}.{lane}" if lane else kind
