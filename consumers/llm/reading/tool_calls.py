"""
Tool calls of OpenAI-compatible servers, in pieces or whole, put together again. Pure.

The protocol numbers calls, sends id and name once, and arguments in pieces to be joined. Some
servers repeat id and name with every piece, number all calls 0, give each piece its own id, send
the arguments so far instead of the next piece, or send everything twice. Joining such pieces gives
calls of ``getget`` with ``{"a":1}{"a":2}``. Where only one reading makes sense, that one is used;
where several do, there is no answer.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from effectmq.protocol.encoding.narrowing import members_of, objects_of
from effectmq.protocol.text import printable

__all__ = ["Gathering", "GluedCallsError", "values_in", "whole_calls"]

_MAX_VALUES = 100


class GluedCallsError(Exception):
    """
    The pieces do not show which calls were meant.

    Args:
        found: What was found, as a phrase.
    """

    def __init__(self, found: str) -> None:
        self.found = found
        super().__init__(found)


@dataclass(slots=True)
class _Piece:
    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class _Call:
    pieces: list[_Piece] = field(default_factory=list[_Piece])

    @property
    def id(self) -> str:
        return next((piece.id for piece in self.pieces if piece.id), "")

    @property
    def arguments(self) -> list[str]:
        return [piece.arguments for piece in self.pieces if piece.arguments]

    @property
    def whole(self) -> bool:
        """Whether its arguments are one JSON value, so that no piece can be missing."""
        return values_in("".join(self.arguments)) == 1


class Gathering:
    """
    Gathers the tool calls of a stream, piece by piece.

    Args:
        offered: The names of the tools that the request offers.
    """

    def __init__(self, offered: Collection[str]) -> None:
        self._offered = offered
        #: By the server's number, in the order of their first pieces.
        self._places: dict[object, list[_Call]] = {}
        self._last: object = None

    def add(self, said: object) -> None:
        """Add the tool calls of one delta."""
        for one in objects_of(said):
            self._add(one)

    def _add(self, said: Mapping[str, Any]) -> None:
        piece = _piece(said)
        place: object = said.get("index")
        if not isinstance(place, int | float | str):
            place = self._place_of(piece)
        self._last = place
        calls = self._places.setdefault(place, [])
        known = next((call for call in calls if piece.id and call.id == piece.id), None)
        if known is None and calls and (not piece.id or not calls[-1].id):
            known = calls[-1]
        if known is None:
            known = _Call()
            calls.append(known)
        known.pieces.append(piece)

    def _place_of(self, piece: _Piece) -> object:
        """The call to which a piece without a number belongs."""
        for place, calls in self._places.items():
            if piece.id and any(call.id == piece.id for call in calls):
                return place
        begins = bool(piece.id or piece.name)
        last = self._places.get(self._last)
        if last and (not begins or not last[-1].whole) and not (piece.id and last[-1].id):
            return self._last
        return f"new {len(self._places)}"

    def calls(self) -> list[dict[str, Any]]:
        """
        The calls, each in one piece.

        Raises:
            GluedCallsError: When the pieces do not show which calls were meant.
        """
        found: list[dict[str, Any]] = []
        for calls in self._places.values():
            for call in _apart(calls):
                name = _name([piece.name for piece in call.pieces if piece.name], self._offered)
                found.append(_said(call.id, name, _arguments(call)))
        return _numbered(found)


def whole_calls(said: object, offered: Collection[str]) -> list[dict[str, Any]]:
    """
    The tool calls of an answer in one piece.

    Arguments stay as the model wrote them, also wrong ones and several in a row: no pieces were
    joined here, and the model is told what is wrong.

    Raises:
        GluedCallsError: When the pieces do not show which calls were meant.
    """
    found: list[dict[str, Any]] = []
    for one in objects_of(said):
        piece = _piece(one)
        name = _name([piece.name] if piece.name else [], offered)
        found.append(_said(piece.id, name, piece.arguments))
    return _numbered(found)


def values_in(text: str) -> int | None:
    """How many JSON values in a row a text has; ``None`` when it is something else."""
    decoder = json.JSONDecoder()
    at, count = 0, 0
    text = text.strip()
    while at < len(text) and count < _MAX_VALUES:
        try:
            _, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        count += 1
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
    return count


def _piece(said: Mapping[str, Any]) -> _Piece:
    function = members_of(said.get("function"))
    id_, name, arguments = said.get("id"), function.get("name"), function.get("arguments")
    if isinstance(arguments, dict | list):
        arguments = json.dumps(arguments)
    return _Piece(
        id_ if isinstance(id_, str) else "",
        name if isinstance(name, str) else "",
        arguments if isinstance(arguments, str) else "",
    )


def _apart(calls: list[_Call]) -> Iterable[_Call]:
    """The calls under one number: complete ones, or the pieces of one call with many ids."""
    if len(calls) == 1 or all(call.whole for call in calls):
        yield from calls
        return
    joined = _Call([piece for call in calls for piece in call.pieces])
    if not joined.whole:
        raise GluedCallsError(
            f"{len(calls)} ids under one number, with arguments that are complete neither alone "
            f"nor joined: {_shown(joined)}"
        )
    yield joined


def _arguments(call: _Call) -> str:
    pieces = call.arguments
    joined = "".join(pieces)
    count = values_in(joined)
    if count is not None and count <= 1:
        return joined
    if len(pieces) > 1 and all(_grows(one, next_) for one, next_ in pairwise(pieces)):
        # Each piece holds the arguments so far.
        again = [piece for piece in call.pieces if piece.arguments == pieces[-1]]
        if values_in(pieces[-1]) == 1 and (len(set(pieces)) > 1 or all(one.id for one in again)):
            return pieces[-1]
    if count is not None:
        raise _several(count, joined)
    return joined


def _several(count: int, arguments: str) -> GluedCallsError:
    shown = printable(arguments, 120)
    return GluedCallsError(f"arguments of {count} JSON values in a row: {shown}")


def _grows(one: str, following: str) -> bool:
    return following.startswith(one)


def _name(pieces: list[str], offered: Collection[str]) -> str:
    """The name, which was sent once or with every piece, whole or in parts."""
    if not pieces:
        return ""
    joined, first = "".join(pieces), pieces[0]
    same = all(piece == first for piece in pieces)
    readings = {joined, *([first] if same else []), *_roots(joined)}
    if all(_grows(one, next_) for one, next_ in pairwise(pieces)):
        readings.add(pieces[-1])
    known = sorted(readings & set(offered))
    if len(known) > 1 and len(pieces) > 1:
        raise GluedCallsError(f"a name that is {' or '.join(map(repr, known))}")
    if known:
        return joined if joined in known else known[0]
    if same:
        return first
    raise GluedCallsError(f"a name in pieces that is the name of no tool: {printable(joined, 100)}")


def _roots(name: str) -> set[str]:
    """The parts that a name repeats: ``get`` of ``getget``."""
    size = len(name)
    found = (name[:part] for part in range(1, size // 2 + 1) if size % part == 0)
    return {root for root in found if root * (size // len(root)) == name}


def _numbered(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls, each with its own id; the same call twice under one id counts once."""
    found: list[dict[str, Any]] = []
    ids: set[str] = set()
    said: list[dict[str, Any]] = []
    for call in calls:
        id_ = call["id"]
        if not call["function"]["name"]:
            raise GluedCallsError("a call without a name")
        if id_ in ids:
            if call in said:
                continue
            number = 2
            while f"{id_}-{number}" in ids:
                number += 1
            call = {**call, "id": f"{id_}-{number}"}
        if id_:
            said.append({**call, "id": id_})
            ids.add(call["id"])
        found.append({**call, "index": len(found)})
    return [{k: v for k, v in call.items() if k != "id" or v} for call in found]


def _said(id_: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def _shown(call: _Call) -> str:
    return printable("".join(call.arguments), 120)
