"""
The tree of effects that their causes make.

A cause names an effect by session, turn and effect id, or a tool call by session and call id. The
search for a cause begins in the effect's own scope, where it nearly always is; the search for what
an effect caused uses an index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.journal.archive.summaries import (
    EffectFilter,
    EffectSummary,
    find,
    load_detail,
)
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.wire.invocation import CausalRefEffect, CausalRefToolCall

__all__ = ["Lineage", "LineageNode", "children_of", "lineage_of", "parent_of"]

#: The longest way up; a longer one is a loop, or too long to read.
_HIGHEST = 100


@dataclass(frozen=True, slots=True)
class LineageNode:
    """
    One effect of the tree.

    Attributes:
        depth: The number of steps below the root, or below a cause that is not an effect.
        effect: The effect.
    """

    depth: int
    effect: EffectSummary


@dataclass(frozen=True, slots=True)
class Lineage:
    """
    A tree of effects, each before those that it caused.

    Attributes:
        cause: Canonical JSON of the common cause, when that is not an effect in the journal: a
            turn, a batch, a process. Then there are several effects at depth 0.
        nodes: The effects, the root first.
        more: Whether there are more than are listed.
    """

    cause: str
    nodes: tuple[LineageNode, ...]
    more: bool


def lineage_of(tx: Transaction, effect: EffectSummary, *, most: int) -> Lineage:
    """
    The whole tree of an effect.

    Args:
        tx: The transaction.
        effect: Any effect of the tree.
        most: The most effects.
    """
    root, cause = _root(tx, effect)
    # An effect whose cause is not in the journal shares that cause with others.
    first = find(tx, EffectFilter(caused_by=cause), limit=most + 1) if cause else [root]
    nodes: list[LineageNode] = []
    listed = {found.identity for found in first}
    pending = _nodes(0, first)
    while pending and len(nodes) < most:
        node = pending.pop()
        nodes.append(node)
        found = children_of(tx, node.effect, limit=most - len(nodes) + 1)
        children = [child for child in found if child.identity not in listed]
        listed.update(child.identity for child in children)
        pending += _nodes(node.depth + 1, children)
    return Lineage(cause, tuple(nodes), bool(pending))


def _root(tx: Transaction, effect: EffectSummary) -> tuple[EffectSummary, str]:
    """The highest effect above one, and its cause, when that is not in the journal."""
    root, seen = effect, {effect.identity}
    for _ in range(_HIGHEST):
        parent = parent_of(tx, root)
        if parent is None:
            return root, root.caused_by
        if parent.identity in seen:
            break
        root = parent
        seen.add(root.identity)
    return root, ""


def _nodes(depth: int, effects: list[EffectSummary]) -> list[LineageNode]:
    """The nodes in the order of a stack: the oldest last."""
    oldest_last = sorted(effects, key=_age, reverse=True)
    return [LineageNode(depth, effect) for effect in oldest_last]


def children_of(tx: Transaction, effect: EffectSummary, *, limit: int) -> list[EffectSummary]:
    """The effects that an effect caused, the oldest first."""
    found: list[EffectSummary] = []
    for reference in _references(tx, effect):
        found += find(tx, EffectFilter(caused_by=reference), limit=limit)
    return sorted(found, key=_age)[:limit]


def _age(effect: EffectSummary) -> tuple[int, str]:
    return effect.created_ms, effect.identity.replay_key


def parent_of(tx: Transaction, effect: EffectSummary) -> EffectSummary | None:
    """The effect that caused this one; ``None`` when it is not an effect of the journal."""
    if not effect.caused_by:
        return None
    try:
        cause = parse_json(effect.caused_by)
    except MalformedError:
        return None
    if not is_object(cause):
        return None
    match cause.get("type"):
        case "effect":
            return _named_effect(tx, effect, cause)
        case "tool_call":
            return _named_call(tx, effect, cause)
        case _:
            return None


def _named_effect(
    tx: Transaction, effect: EffectSummary, cause: Mapping[str, Any]
) -> EffectSummary | None:
    wanted = EffectFilter(
        session_id=str(cause.get("session_id", "")),
        turn_id=str(cause.get("turn_id") or ""),
        effect_id=str(cause.get("effect_id", "")),
    )
    for chosen in _nearest_first(effect, wanted):
        for found in find(tx, chosen, limit=_HIGHEST):
            # An empty turn in a filter means any turn.
            if found.turn_id == wanted.turn_id and found.identity != effect.identity:
                return found
    return None


def _named_call(
    tx: Transaction, effect: EffectSummary, cause: Mapping[str, Any]
) -> EffectSummary | None:
    session_id, call_id = str(cause.get("session_id", "")), str(cause.get("call_id", ""))
    reference = _call_reference(session_id, call_id)
    wanted = EffectFilter(kinds=("tool_call",), session_id=session_id, effect_id_end=call_id)
    for chosen in _nearest_first(effect, wanted):
        for found in find(tx, chosen, limit=_HIGHEST):
            if found.identity != effect.identity and reference in _references(tx, found):
                return found
    return None


def _nearest_first(effect: EffectSummary, wanted: EffectFilter) -> tuple[EffectFilter, ...]:
    return replace(wanted, scope_id=effect.identity.scope_id), wanted


def _references(tx: Transaction, effect: EffectSummary) -> list[str]:
    """The causes that the effects caused by this one have recorded."""
    cause = CausalRefEffect(
        session_id=effect.session_id, turn_id=effect.turn_id or None, effect_id=effect.effect_id
    )
    references = [canonical_json(to_tree(cause)).decode()]
    if effect.kind == "tool_call":
        references.append(_call_reference(effect.session_id, _call_id(tx, effect)))
    return references


def _call_reference(session_id: str, call_id: str) -> str:
    cause = CausalRefToolCall(session_id=session_id, call_id=call_id)
    return canonical_json(to_tree(cause)).decode()


def _call_id(tx: Transaction, effect: EffectSummary) -> str:
    detail = load_detail(tx, effect.identity)
    if detail is not None and detail.envelope_json:
        try:
            tree: Any = parse_json(detail.envelope_json)
            return str(tree["command"]["call"]["call_id"])
        except (MalformedError, LookupError, TypeError):
            pass
    # The envelope is gone; the effect id of a call of a turn is "batch:call id".
    return effect.effect_id.partition(":")[2]
