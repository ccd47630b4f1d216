"""The eight effect kinds, and the routes that split them into lanes, versions and priorities."""

from __future__ import annotations

__all__ = [
    "EFFECT_KINDS",
    "PRIORITY_MARK",
    "VERSION_MARK",
    "kind_of",
    "narrowed",
    "prioritized",
    "priority_in",
    "route_of",
    "unprioritized",
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
#: Between a route, with its version, and the priority of what waits there. No lane can have it.
PRIORITY_MARK = "#"


def kind_of(route: str) -> str:
    """The kind of a route: a kind or ``kind.lane``, perhaps with a version and a priority."""
    return unversioned(route).partition(".")[0]


def route_of(kind: str, lane: str | None) -> str:
    """The route of a kind; ``lane`` is ``None`` for the kind itself."""
    return f"{kind}.{lane}" if lane else kind


def versioned(route: str, version: str) -> str:
    """The route of what is bound to a version: ``route@version``; an empty version changes none."""
    return f"{unversioned(route)}{VERSION_MARK}{version}" if version else route


def unversioned(route: str) -> str:
    """The route without a version, and without a priority."""
    return route.partition(PRIORITY_MARK)[0].partition(VERSION_MARK)[0]


def version_in(route: str) -> str:
    """The version of a route; empty for the route that all versions take from."""
    return unprioritized(route).partition(VERSION_MARK)[2]


def prioritized(route: str, priority: str) -> str:
    """The route of what has a priority: ``route#priority``; ``normal`` has none of its own."""
    own = unprioritized(route)
    return own if priority == "normal" else f"{own}{PRIORITY_MARK}{priority}"


def narrowed(route: str, version: str, priority: str) -> str:
    """The route of what is bound to a version, or to none, and has a priority."""
    return prioritized(versioned(route, version), priority)


def unprioritized(route: str) -> str:
    """The route without a priority; it keeps its version."""
    return route.partition(PRIORITY_MARK)[0]


def priority_in(route: str) -> str:
    """The priority of a route; ``normal`` for the route itself."""
    return route.partition(PRIORITY_MARK)[2] or "normal"
