"""
Envelope, replay key, canonical JSON and hash of a tool call, without effectmq and without AMQP.

This is what a producer in any language has to make; ``docs/wire.md`` says it in words, and
``wire.ts`` beside this file is the same in TypeScript.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Place:
    """
    Where in an agent's work an effect is asked for. The same place gives the same replay key.

    Attributes:
        session: The session.
        turn: The turn in it.
        number: Of this effect in its turn, counted from 1 in the order of asking.
        index: Of the turn in its session.
        iteration: How often the turn has gone round.
    """

    session: str
    turn: str
    number: int
    index: int = 0
    iteration: int = 0


def tool_call(place: Place, call_id: str, tool: str, args: Any) -> dict[str, Any]:
    """The envelope of one tool call, its members in the order of the wire format."""
    effect_id = f"{place.number}:{call_id}"
    where = f"{place.session}:{place.turn}:{place.index}:{place.iteration}"
    return {
        "invocation": {
            "scope": {
                "session_id": place.session,
                "turn_id": place.turn,
                "turn_index": place.index,
                "protocol_iteration": place.iteration,
            },
            "subject": {"type": "effect", "effect_id": effect_id, "kind": "tool_call"},
            "caused_by": {
                "type": "effect",
                "session_id": place.session,
                "turn_id": place.turn,
                "effect_id": str(place.number),
            },
            "replay": {"key": f"{where}:tool_call:{effect_id}"},
        },
        "command": {
            "type": "tool_call",
            # What a caller chose freely has no order of its own: it is sorted.
            "call": {"call_id": call_id, "tool_name": tool, "args": in_order(args)},
        },
    }


def in_order(value: Any) -> Any:
    """Opaque JSON with the members of every object sorted by the bytes of their names."""
    if isinstance(value, dict):
        return {name: in_order(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [in_order(item) for item in value]
    return value


def canonical(value: Any) -> str:
    """Compact JSON text as the other side writes it; members stay in the order they are in."""
    if isinstance(value, dict):
        members = (f"{_text(name)}:{canonical(member)}" for name, member in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise ValueError(f"{value} does not fit 64 bits; send it as text")
        return str(value)
    return _float(value)


def _text(value: str) -> str:
    value.encode()  # Half a surrogate pair cannot be sent.
    return json.dumps(value, ensure_ascii=False)


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError("JSON has no number that is not finite")
    # Python has the shortest digits, too, but writes 1e-05 where the wire has 0.00001.
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa
    if int(exponent) == -5:
        sign = "-" if value < 0 else ""
        return f"{sign}0.0000{mantissa.lstrip('-').replace('.', '')}"
    return f"{mantissa}e{int(exponent):+d}"


def hash_of(envelope: dict[str, Any]) -> str:
    """What a worker computes as well: SHA-256 of the canonical envelope, in lowercase hex."""
    return hashlib.sha256(canonical(envelope).encode()).hexdigest()
