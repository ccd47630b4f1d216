"""The eight effect kinds, and the routes that split them into lanes and versions."""

from __future__ import annotations

__all__ = [
    "EFFECT_KINDS",
    "VERSION_MARK",
    "kind_of",
    "route_of",
    "unversioned",
    "version_in",
    "versioned",
]

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

#: Between a route and the version whose workers take from it.
VERSION_MARK = "@"


def kind_of(route: str) -> str:
    """The kind of a route, which is a kind or ``kind.lane``, perhaps with a version."""
    return route.partition(VERSION_MARK)[0].partition(".")[0]


def route_of(kind: str, lane: str | None) -> str:
    """The route of a kind; ``lane`` is ``None`` for the kind itself."""
    return f"{kind}.{lane}" if lane else kind


def versioned(route: str, version: str) -> str:
    """The route of what is bound to a version: ``route@version``; an empty version changes none."""
    return f"{unversioned(route)}{VERSION_MARK}{version}" if version else route


def unversioned(route: str) -> str:
    """The route without a version."""
    return route.partition(VERSION_MARK)[0]


def version_in(route: str) -> str:
    """The version of a route; empty for the route that all versions take from."""
    return route.partition(VERSION_MARK)[2]
