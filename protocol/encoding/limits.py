"""
The limits of a body, and the check of a JSON tree against them.

A tree is what both encodings of the wire share: null, bool, int, float, str, list and dict with str
keys, all of exactly these types. The check runs for every message, so it is written twice:
`is_sound` answers as fast as Python can, and `find_fault` walks again, slowly, only after a no, to
find the reason and the place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any

from effectmq.protocol.encoding.narrowing import is_just_dict, is_just_list
from effectmq.protocol.encoding.opaque import (
    MAX_DEPTH,
    MAX_INT,
    MIN_INT,
    JsonValue,
    Repeated,
    path_text,
)
from effectmq.protocol.errors import ConfigurationError, MalformedError

__all__ = [
    "DEFAULT_LIMITS",
    "GIVEN_TWICE",
    "HARD_MAX_BODY_BYTES",
    "HARD_MAX_STORED_BODY_BYTES",
    "NOT_FINITE",
    "Limits",
    "count_elements",
    "find_fault",
    "is_sound",
    "printable",
    "safe_path",
    "too_deep",
    "too_many",
]

#: RabbitMQ 4 refuses messages over 16 MiB by default; half of that leaves room for other brokers.
HARD_MAX_BODY_BYTES = 8 * 1024 * 1024

#: A body that is kept out of line does not pass through the broker, but it is decoded in memory.
HARD_MAX_STORED_BODY_BYTES = 256 * 1024 * 1024

_LONGEST_KEY = 60
_LONGEST_PATH = 300

NOT_FINITE = "found NaN or an infinity, which JSON does not have; send null or text"
GIVEN_TWICE = "the key is given more than once in its map; send each key once"
_OUT_OF_RANGE = "found an integer outside -2^63 ... 2^64-1; send it as a float or a string"
_HALF_PAIR = "holds half a surrogate pair, expected Unicode text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    The limits of one body. A body over any of them is malformed.

    Attributes:
        max_body_bytes: Size of the encoded body in bytes, from 1 to `HARD_MAX_STORED_BODY_BYTES`;
            more than `HARD_MAX_BODY_BYTES` only for bodies that are kept out of line.
        max_depth: The nesting of lists and maps, from 1 to 127; ``[[1]]`` has 2.
        max_elements: The number of values in the whole body, at least 1: each scalar, list and map
            is one, and so is each key of a map.

    Raises:
        ConfigurationError: A limit is outside its range.
    """

    max_body_bytes: int = 1024 * 1024
    max_depth: int = 64
    max_elements: int = 100_000

    def __post_init__(self) -> None:
        _require_range("max_body_bytes", self.max_body_bytes, HARD_MAX_STORED_BODY_BYTES)
        _require_range("max_depth", self.max_depth, MAX_DEPTH)
        _require_range("max_elements", self.max_elements, HARD_MAX_BODY_BYTES)


def _require_range(name: str, value: int, highest: int) -> None:
    if not 1 <= value <= highest:
        raise ConfigurationError(
            f"{name} is {value} and must be from 1 to {highest}; for more data keep it outside "
            "the effect and pass a reference"
        )


DEFAULT_LIMITS = Limits()


# In one piece: this runs for every value of every message.
def is_sound(tree: Any, limits: Limits) -> bool:  # noqa: C901
    """
    Whether a value is a JSON tree within the limits, as fast as Python can tell.

    Text is not checked for lone surrogates: encoding finds them, and the encoders do that.

    Args:
        tree: Any value. Lists and maps that contain themselves are too deep, and end as such.
        limits: The depth and the number of elements.
    """
    # Level by level, not depth first: then the depth is known at no cost, and no step needs a stack
    # entry. The root is wrapped in a list that is not a level of the tree.
    elements, most = 0, limits.max_elements
    level: list[Any] = [[tree]]
    for _ in range(limits.max_depth + 1):
        deeper: list[Any] = []
        for node in level:
            elements += len(node)
            kind = type(node)  # pyright: ignore[reportUnknownVariableType]
            if kind is dict:
                elements += len(node)
                for key in node:
                    if type(key) is not str:
                        return False
                node = node.values()
            # At each node: shared sub-lists could multiply without limit within one level.
            if elements > most:
                return False
            for value in node:
                kind = type(value)  # pyright: ignore[reportUnknownVariableType]
                if kind is str:
                    continue
                if kind is dict or kind is list:
                    deeper.append(value)
                elif kind is int:
                    if not MIN_INT <= value <= MAX_INT:
                        return False
                elif kind is float:
                    # NaN for the infinities and for NaN itself, and cheaper than a call.
                    if value - value != 0.0:
                        return False
                elif value is not None and kind is not bool:
                    return False
        if not deeper:
            return True
        level = deeper
    return False


def count_elements(tree: JsonValue) -> int:
    """
    Count the values and keys of a parsed tree; of repeated members all values.

    Args:
        tree: A tree from the parser, not one that was built by hand and may contain itself.
    """
    count = 1
    pending: list[Any] = [tree]
    while pending:
        node = pending.pop()
        kind = type(node)  # pyright: ignore[reportUnknownVariableType]
        if kind is dict:
            count += 2 * len(node)
            pending.extend(item for item in node.values() if type(item) in _NODES)
        elif kind is list:
            count += len(node)
            pending.extend(item for item in node if type(item) in _NODES)
        elif kind is Repeated:
            count += 2 * len(node.earlier)
            pending.extend((*node.earlier, node.last))
    return count


_NODES = (dict, list, Repeated)


def find_fault(tree: object, limits: Limits) -> MalformedError | None:
    """
    Find the first fault of a value that is not a valid JSON tree, in document order.

    Args:
        tree: Any value.
        limits: The depth and the number of elements to stay within.
    """
    try:
        _Search(limits).visit(tree)
    except MalformedError as fault:
        return fault
    except RecursionError:
        # The caller has used up the stack; this is a refusal as well, without a place.
        return None
    return None


class _Search:
    """The slow walk. It recurses, but never deeper than the limit, which is at most 127."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._elements = 1
        self._steps: list[str | int] = []

    def visit(self, value: object) -> None:
        if is_just_list(value):
            self._enter(len(value))
            for index, item in enumerate(value):
                self._descend(index, item)
        elif is_just_dict(value):
            self._enter(2 * len(value))
            for key, member in value.items():
                self._descend(self._checked_key(key), member)
        else:
            problem = _problem_of_scalar(value)
            if problem is not None:
                raise self._fault(problem)

    def _enter(self, elements: int) -> None:
        self._elements += elements
        if len(self._steps) >= self._limits.max_depth:
            raise self._fault(too_deep(self._limits))
        if self._elements > self._limits.max_elements:
            raise self._fault(too_many(self._limits))

    def _descend(self, step: str | int, value: object) -> None:
        self._steps.append(step)
        self.visit(value)
        self._steps.pop()

    def _checked_key(self, key: object) -> str:
        if type(key) is not str:
            raise self._fault(
                f"found a key of type {type(key).__name__}, expected keys of type str"
            )
        if _has_half_pair(key):
            raise self._fault(f"the key {printable(key)!r} {_HALF_PAIR}")
        return key

    def _fault(self, problem: str) -> MalformedError:
        return MalformedError(safe_path(self._steps), problem)


def _problem_of_scalar(value: object) -> str | None:
    if value is None or type(value) is bool:
        return None
    if type(value) is str:
        return f"the text {_HALF_PAIR}" if _has_half_pair(value) else None
    if type(value) is int:
        return None if MIN_INT <= value <= MAX_INT else _OUT_OF_RANGE
    if type(value) is float:
        return None if isfinite(value) else NOT_FINITE
    if type(value) is Repeated:
        return GIVEN_TWICE
    return (
        f"found a Python {type(value).__name__}, expected JSON data of exactly the types "
        "NoneType, bool, int, float, str, list and dict"
    )


def _has_half_pair(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def too_deep(limits: Limits) -> str:
    """The sentence for a list or map that is one level too deep."""
    return f"nested deeper than {limits.max_depth} levels of lists and maps; flatten the data"


def too_many(limits: Limits) -> str:
    """The sentence for a list or map with which the body has too many elements."""
    return (
        f"over the limit of {limits.max_elements} elements (values and keys in the whole body); "
        "keep large data outside the effect and pass a reference"
    )


def printable(text: str) -> str:
    """
    Shorten foreign text, and escape characters that could disturb a terminal or a log.

    Args:
        text: A key, or a property of a message.
    """
    start = text[:_LONGEST_KEY]
    shown = start if start.isprintable() else start.encode("unicode_escape").decode()
    return shown if len(text) <= _LONGEST_KEY else f"{shown}..."


def safe_path(steps: Iterable[str | int]) -> str:
    """
    Write a path as ``command.call.args.items[3]``, safe to log whatever the keys are.

    Paths are written to logs and headers, so a very long one loses its middle.

    Args:
        steps: Keys and indexes, outermost first; none of them means the document itself.
    """
    path = path_text(tuple(printable(step) if type(step) is str else step for step in steps))
    if len(path) <= _LONGEST_PATH:
        return path
    half = _LONGEST_PATH // 2
    return f"{path[:half]}...{path[-half:]}"
