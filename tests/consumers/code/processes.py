"""
The processes of an interpreter, as the system sees them.

The brokers and servers of a test session are children of the same process, so what was there when
a test began is not counted, nor anything below it.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["descendants", "living", "remember_others", "stat"]

_others: set[int] = set()


def stat(process_id: int) -> list[str]:
    """State, parent and more of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def remember_others() -> None:
    """What there is now is not the interpreter's."""
    _others.clear()
    _others.update(_children())


def _running() -> dict[int, int]:
    """Parents by process id, the oldest first; those that have ended are left out."""
    found = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    known = {one: stat(one)[:2] for one in found}
    return {one: int(facts[1]) for one, facts in known.items() if facts and facts[0] != "Z"}


def _children() -> set[int]:
    return {one for one, parent in _running().items() if parent == os.getpid()}


def living() -> set[int]:
    """The processes that this one has started since the test began and that have not ended."""
    return _children() - _others


def descendants() -> list[int]:
    """The same with everything below them, the oldest first."""
    family = {os.getpid()}
    for one, parent in _running().items():
        if parent in family and one not in _others:
            family.add(one)
    return sorted(family - {os.getpid()})
