"""Effects as the API shows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from effectmq.api.names import effect_name
from effectmq.broker.store.journal.archive.browsing.inside import UNKNOWN, Inside
from effectmq.broker.store.journal.archive.facts import effect_facts, payload, progress_facts
from effectmq.broker.store.journal.archive.summaries import EffectSummary
from effectmq.broker.store.journal.progress import RecordedProgress
from effectmq.broker.store.spend.facts import spend_facts
from effectmq.broker.store.spend.reading import SpendRow
from effectmq.protocol.encoding.opaque import last_values

__all__ = ["effect_view", "shown_payload", "turn_spans"]

_ENDED = ("completed", "failed", "cancelled", "forgotten")


def effect_view(
    effect: EffectSummary,
    inside: Inside = UNKNOWN,
    cost_usd: float | None = None,
    spent: SpendRow | None = None,
    told: RecordedProgress | None = None,
) -> dict[str, Any]:
    """One effect, with what is inside of it, what it cost and how far it is."""
    return {
        **effect_facts(effect),
        "id": effect_name(effect.identity),
        "caused_by": shown_payload(effect.caused_by),
        "tool": inside.tool,
        "model": inside.model,
        "tokens": None if inside.tokens is None else asdict(inside.tokens),
        "cost_usd": cost_usd,
        "spend": None if spent is None else spend_facts(spent),
        "progress": progress_facts(effect, told),
        "claims": effect.fence,
        "replayed": effect.parks > bool(effect.park_reason),
        "ended_ms": effect.updated_ms if effect.status in _ENDED else None,
    }


def shown_payload(stored: str) -> Any:
    """Stored JSON as plain data; of a member that is there twice, the last value."""
    tree: Any = last_values(payload(stored))
    return tree


def turn_spans(effects: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The turns of effects that are in the order in which they began."""
    turns: dict[str | None, list[dict[str, Any]]] = {}
    for effect in effects:
        turns.setdefault(effect["turn_id"], []).append(effect)
    return [_span(turn_id, members) for turn_id, members in turns.items()]


def _span(turn_id: str | None, members: list[dict[str, Any]]) -> dict[str, Any]:
    ends = [each["ended_ms"] for each in members]
    tokens = [each["tokens"] for each in members if each["tokens"] is not None]
    costs = [each["cost_usd"] for each in members if each["cost_usd"] is not None]
    return {
        "turn_id": turn_id,
        "start_ms": min(each["created_ms"] for each in members),
        "end_ms": None if None in ends else max(ends),
        "effects": len(members),
        "failed": sum(each["status"] == "failed" for each in members),
        "tokens_in": sum(each["input"] for each in tokens),
        "tokens_out": sum(each["output"] for each in tokens),
        "cost_usd": round(sum(costs), 9) if costs else None,
    }
