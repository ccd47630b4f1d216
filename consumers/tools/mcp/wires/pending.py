"""
The calls that wait for an answer on a line that they share. No I/O.

An unreadable answer may not say which call it is for. With one call waiting, it was for that call.
With several, it is known once only as many calls wait as answers were unreadable: the others were
answered.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Pending"]

_REMEMBERED = 10_000


class Pending:
    """The requests under way, by id."""

    def __init__(self) -> None:
        self._methods: dict[str, tuple[str | int, str]] = {}
        self._over: deque[str] = deque(maxlen=_REMEMBERED)
        self._spoilt = 0
        self._suspects: set[str] = set()
        self._reason = ""

    def __len__(self) -> int:
        return len(self._methods)

    def asked(self, id_: str | int, method: str) -> None:
        """A request is sent."""
        self._methods[str(id_)] = (id_, method)

    def knows(self, id_: object) -> bool:
        """Whether a request with this id waits, or waited: late and second answers do no harm."""
        return str(id_) in self._methods or str(id_) in self._over

    def answered(self, id_: object) -> tuple[str | int, str] | None:
        """A request is over; returns its id and its method, when it still waited."""
        key = str(id_)
        found = self._methods.pop(key, None)
        if found is not None:
            self._over.append(key)
            self._suspects.discard(key)
        return found

    def spoil(self, reason: str) -> None:
        """Note an unreadable answer to one of the waiting calls."""
        if self._methods:
            self._spoilt += 1
            self._suspects |= set(self._methods)
            self._reason = reason

    def hopeless(self) -> tuple[list[str | int], str]:
        """End the calls that must have had the unreadable answers; returns them, and the reason."""
        if not self._spoilt or len(self._suspects) > self._spoilt:
            return [], ""
        found = [self._methods[key][0] for key in self._suspects]
        for id_ in found:
            self.answered(id_)
        self._spoilt = 0
        return found, self._reason

    def waiting(self) -> set[str]:
        """The ids of the waiting calls of tools."""
        return {key for key, (_, method) in self._methods.items() if method == "tools/call"}
