"""
Which variables of a block are kept: plain data only, because reading anything else would mean
trusting it. Runs in the sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import cast

__all__ = ["NotPlainError", "TooLargeError", "plain", "remember", "restore"]

_MAX_DEPTH = 100
#: Longer whole numbers cannot be written out in decimal.
_MAX_INT_BITS = 10_000


class NotPlainError(Exception):
    """A value that is not plain data; says what was found."""


class TooLargeError(Exception):
    """
    Plain data that is too large.

    Args:
        size_bytes: The size when counting stopped.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        super().__init__(f"{size_bytes} bytes")


class _Budget:
    """
    Counts the size of a value on the way: an object can be in it many times, or contain itself.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.spent_bytes = 0

    def spend(self, size_bytes: int) -> None:
        self.spent_bytes += size_bytes
        if self.spent_bytes > self._limit_bytes:
            raise TooLargeError(self.spent_bytes)


def plain(value: object, limit_bytes: int, *, tuples: bool = False) -> None:
    """
    Check that a value is whole numbers, floats, text, truth values, ``None``, and lists and
    dictionaries of these.

    Args:
        value: Anything.
        limit_bytes: About how large it may be as JSON.
        tuples: Whether they count as lists.

    Raises:
        NotPlainError: When it is, or holds, anything else.
        TooLargeError: When it is over the limit.
    """
    _check(value, _Budget(limit_bytes), _MAX_DEPTH, tuples)


def _check(value: object, budget: _Budget, room: int, tuples: bool) -> None:
    kind = type(value)
    if type(value) is str:
        budget.spend(len(value) + 2)
    elif value is None or kind is bool or kind is float:
        budget.spend(4)
    elif type(value) is int:
        bits = value.bit_length()
        if bits > _MAX_INT_BITS:
            raise NotPlainError(f"it holds a whole number of {bits} bits")
        budget.spend(1 + bits // 3)
    elif kind is list or kind is dict or (tuples and kind is tuple):
        _check_items(value, budget, room, tuples)
    else:
        raise NotPlainError(f"it holds a {kind.__name__}, which JSON does not have")


def _check_items(value: object, budget: _Budget, room: int, tuples: bool) -> None:
    if room <= 0:
        raise NotPlainError(f"it is nested more than {_MAX_DEPTH} levels deep")
    budget.spend(2)
    # The caller has checked that it is a list, a dict or a tuple.
    items = cast("Iterable[object]", value)
    if type(value) is dict:
        members = cast("dict[object, object]", value)
        for name in members:
            if type(name) is not str:
                raise NotPlainError(f"it holds a {type(name).__name__} as a key, expected text")
            budget.spend(len(name) + 4)
        items = members.values()
    for item in items:
        _check(item, budget, room - 1, tuples)


def remember(variables: Mapping[str, object], randomness: object, limit_bytes: int) -> str:
    """
    The variables as one line of JSON, with the types of those that are not kept.

    Args:
        variables: All variables of the session.
        randomness: The result of ``random.getstate()``.
        limit_bytes: The limit of the line.

    Raises:
        TooLargeError: When the line is longer.
    """
    kept: dict[str, object] = {}
    forgotten: dict[str, str] = {}
    budget = _Budget(limit_bytes)
    for name, value in variables.items():
        try:
            _check(value, budget, _MAX_DEPTH, False)
        except NotPlainError:
            forgotten[name] = type(value).__name__
        else:
            kept[name] = value
    line = json.dumps({"variables": kept, "forgotten": forgotten, "random": randomness})
    if len(line) > limit_bytes:
        raise TooLargeError(len(line))
    return line


def restore(line: str) -> tuple[dict[str, object], dict[str, str], tuple[object, ...]]:
    """
    Read a line of ``remember``: the variables, the types of those not kept, the random state.

    Raises:
        ValueError: When it is not such a line.
    """
    try:
        state = json.loads(line)
        version, numbers, rest = state["random"]
        return state["variables"], state["forgotten"], (version, tuple(numbers), rest)
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise ValueError(
            f"this is not the state of a session: {type(problem).__name__} {problem}"
        ) from None
