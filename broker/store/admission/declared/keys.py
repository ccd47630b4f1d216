"""What an effect counts for: the lines of the limits that hold for it, and whose turn it takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple

from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.protocol.encoding.narrowing import members_of
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.messages.request import Request

__all__ = [
    "TURN_COST",
    "Line",
    "Turn",
    "is_of_spend",
    "is_shared",
    "lines_of",
    "shared_line",
    "shared_value",
    "spend_line",
    "spend_lines",
]

#: Names the lines of effects that wait for room under ceilings on spend; no limit can have it.
_SPEND = "~spend"
#: Names the lines of effects that wait for their turn; no limit can have it.
_SHARED = "~share"
#: What one start costs at weight 1, in virtual time.
TURN_COST = 1_000_000

#: A longer value, or one that a database or a terminal does not take, is kept as its digest.
_MOST_CHARACTERS = 200

#: An empty text is a value as well: nobody gets around a limit with it.
_EMPTY = '""'

_NAMED = {
    "tool": ("command", "call", "tool_name"),
    "model": ("command", "request", "model"),
    "session": ("invocation", "scope", "session_id"),
    "turn": ("invocation", "scope", "turn_id"),
}


class Line(NamedTuple):
    """
    The effects that share one limit.

    Attributes:
        name: The limit.
        value: The value of its key; empty for a limit of the whole route.
    """

    name: str
    value: str = ""


def spend_line(by: str, name: str) -> Line:
    """
    The line in which effects wait until there is room under a ceiling on spend.

    Args:
        by: What the ceiling is for: ``all``, ``tenant``, ``session`` or ``model``.
        name: The one that has spent it; empty for everything.
    """
    return Line(_SPEND, f"{by}:{name}")


def spend_lines(by: str) -> tuple[Line, Line]:
    """The first of the lines of ``by``, and the first line behind them."""
    return Line(_SPEND, f"{by}:"), Line(_SPEND, f"{by};")


def is_of_spend(line: Line) -> bool:
    """Whether effects wait in it for room under a ceiling on spend."""
    return line.name == _SPEND


class Turn(NamedTuple):
    """
    Whose turn an effect takes.

    Attributes:
        who: The tenant, the session, or another value of the share's key; may be empty.
        cost: What one start costs it, in virtual time; less for a higher weight.
    """

    who: str
    cost: int = TURN_COST


def lines_of(limits: Iterable[Limit], request: Request) -> tuple[Line, ...]:
    """
    The lines of an effect, sorted.

    An effect without the member that a limit tells apart by is not limited by it.
    """
    found: list[Line] = []
    tree: object = None
    for limit in limits:
        if not limit.key:
            found.append(Line(limit.name))
            continue
        if limit.key == "tenant":
            # Beside the envelope, in a header.
            value = _shown(request.tenant)
        elif limit.key in _NAMED:
            value = _named_value(request, limit.key)
        else:
            # Only now: it costs as much as the envelope is large.
            tree = tree or to_tree(request.envelope)
            value = _value(tree, limit.key)
        if value and (not limit.only or value == _shown(limit.only)):
            found.append(Line(limit.name, value))
    return tuple(sorted(found))


def shared_value(key: str, tenant: str, tree: object) -> str:
    """
    The value by which an effect of a shared route is told apart; empty when it has none.

    Args:
        key: The share's.
        tenant: For whom it is done; without one, its session stands for it.
        tree: The envelope.
    """
    if key == "tenant":
        return _shown(tenant) if tenant else _value(tree, ".".join(_NAMED["session"]))
    return _value(tree, ".".join(_NAMED.get(key) or (key,)))


def shared_line(route: str) -> Line:
    """The line in which the effects of a shared route wait for their turn."""
    return Line(_SHARED, route)


def is_shared(line: Line) -> bool:
    """Whether a line is that of a shared route."""
    return line.name == _SHARED


def _named_value(request: Request, key: str) -> str:
    place: object = request.envelope
    for member in _NAMED[key]:
        place = getattr(place, member, None)
    return _shown(place or _EMPTY) if isinstance(place, str) else ""


def _value(tree: object, key: str) -> str:
    place: object = tree
    for member in key.split("."):
        place = members_of(place).get(member)
    if place is None:
        return ""
    text = place if isinstance(place, str) else json.dumps(place, sort_keys=True)
    return _shown(text or _EMPTY)


def _shown(value: str) -> str:
    if len(value) <= _MOST_CHARACTERS and value.isprintable():
        return value
    return f"sha256:{hashlib.sha256(value.encode(errors='surrogatepass')).hexdigest()}"
