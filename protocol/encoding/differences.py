"""
Which members of two JSON documents differ, and a sentence about it.

When a replay key is used for another envelope, "the hashes differ" does not help; the paths of the
differing members do. Values are not in sentences, because an argument may be a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeAlias

from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.narrowing import is_array, is_object
from effectmq.protocol.encoding.opaque import JsonValue, Repeated
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.text import printable

__all__ = ["WHOLE", "Difference", "differences", "differing_paths", "mismatch_sentence"]

#: The path of the document itself.
WHOLE = "(the whole document)"

_MOST = 10
_LONGEST_KEY = 60
_LONGEST_PATH = 120
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: The place of a value: the place of its container, and the key or index in it. Linked, so that a
#: path is only written when there is a difference at its end.
_Place: TypeAlias = "tuple[_Place, str | int] | None"


@dataclass(frozen=True, slots=True)
class Difference:
    """
    One member that differs between two documents.

    Attributes:
        path: As ``messages[2].content``; keys that are no names are quoted: ``args["a b"]``.
        change: Whether only the second document has it, only the first, or both with other values.
        before: Its value in the first document; ``None`` when it has none.
        after: Its value in the second document; ``None`` when it has none.
    """

    path: str
    change: Literal["added", "removed", "changed"]
    before: JsonValue
    after: JsonValue

    def facts(self) -> dict[str, JsonValue]:
        """The difference as JSON data."""
        return {
            "change": self.change,
            "path": self.path,
            "before": self.before,
            "after": self.after,
        }


def differences(a: object, b: object) -> Iterator[Difference]:
    """
    Compare two documents member by member, in the order of the first; linear in their size.

    Numbers are the same when JSON writes them the same: ``1`` and ``1.0`` differ, as their hashes
    do. Members of an array are compared by position.

    Args:
        a: Plain JSON data.
        b: Plain JSON data.
    """
    pending: list[tuple[_Place, Any, Any]] = [(None, a, b)]
    while pending:
        place, one, other = pending.pop()
        one, other = _plain(one), _plain(other)
        if one is _NOTHING:
            yield Difference(_path(place), "added", None, other)
            continue
        if other is _NOTHING:
            yield Difference(_path(place), "removed", one, None)
            continue
        inside = _inside(place, one, other)
        if inside is not None:
            pending.extend(reversed(inside))
        elif not _same(one, other):
            yield Difference(_path(place), "changed", one, other)


def differing_paths(a: object, b: object, *, most: int = _MOST) -> tuple[str, ...]:
    """
    The paths of the first members that differ, without their values.

    Args:
        a: Plain JSON data.
        b: Plain JSON data.
        most: The largest number of paths.
    """
    return tuple(difference.path for difference in islice(differences(a, b), most))


def mismatch_sentence(
    scope_id: str,
    replay_key: str,
    recorded_envelope_json: str,
    envelope_json: str,
    recorded_hash: str,
    hash_: str,
) -> str:
    """
    The sentence for a replay key that was used for two effects, with the members that differ.

    Args:
        scope_id: The scope of both.
        replay_key: The key.
        recorded_envelope_json: The envelope that has the key; empty when it is not kept.
        envelope_json: The envelope that was asked for.
        recorded_hash: The hash of the first.
        hash_: The hash of the second.
    """
    return (
        f"replay key {printable(replay_key, 200)!r} in scope {printable(scope_id, 200)!r} was "
        f"reused with a different envelope hash ({printable(recorded_hash, 64)} recorded, "
        f"{printable(hash_, 64)} asked): {_where(recorded_envelope_json, envelope_json)}"
    )


def _where(recorded_json: str, asked_json: str) -> str:
    advice = "give a different effect a replay key of its own"
    if not recorded_json:
        return f"the recorded envelope is not kept, so they cannot be compared; {advice}"
    try:
        found = differences(parse_json(recorded_json), parse_json(asked_json))
        first = [difference.path for difference in islice(found, _MOST)]
    except MalformedError:
        return f"one of them is not JSON, so they cannot be compared; {advice}"
    if not first:
        return "but their members are the same; look for damage with: effectmq journal verify"
    more = sum(1 for _ in found)
    rest = f" and {more} more" if more else ""
    return f"they differ at {', '.join(first)}{rest}; {advice}"


# Walking ------------------------------------------------------------------------------------------


class _Nothing:
    """Stands for a missing member, because ``None`` is a value."""


_NOTHING = _Nothing()


def _plain(value: Any) -> Any:
    # Of a member that was given twice, the last value counts.
    return value.last if type(value) is Repeated else value


def _inside(place: _Place, one: Any, other: Any) -> list[tuple[_Place, Any, Any]] | None:
    if is_object(one) and is_object(other):
        return _members(place, one, other)
    if is_array(one) and is_array(other):
        return _items(place, one, other)
    return None


def _members(
    place: _Place, one: dict[str, Any], other: dict[str, Any]
) -> list[tuple[_Place, Any, Any]]:
    both = [((place, key), value, other.get(key, _NOTHING)) for key, value in one.items()]
    added = [((place, key), _NOTHING, value) for key, value in other.items() if key not in one]
    return [*both, *added]


def _items(place: _Place, one: list[object], other: list[object]) -> list[tuple[_Place, Any, Any]]:
    return [
        (
            (place, index),
            one[index] if index < len(one) else _NOTHING,
            other[index] if index < len(other) else _NOTHING,
        )
        for index in range(max(len(one), len(other)))
    ]


def _same(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    # Zero has a sign in JSON, which Python's comparison ignores.
    return repr(one) == repr(other) if type(one) is float else one == other


def _path(place: _Place) -> str:
    steps: list[str] = []
    while place is not None:
        place, step = place
        steps.append(_step(step))
    if not steps:
        return WHOLE
    text = "".join(reversed(steps)).removeprefix(".")
    if len(text) <= _LONGEST_PATH:
        return text
    # Both ends are more useful than the middle.
    kept = _LONGEST_PATH // 2
    return f"{text[:kept]}…{text[-kept:]}"


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    # A key is foreign text.
    shown = step if len(step) <= _LONGEST_KEY else f"{step[: _LONGEST_KEY - 1]}…"
    if _NAME.fullmatch(shown):
        return f".{shown}"
    return f"[{printable(json.dumps(shown))}]"
