"""
Effects of the journal as JSON data, for scripts and for the HTTP API; the keys are stable.
"""

from __future__ import annotations

from typing import Any

from effectmq.broker.store.journal.archive.lineage import LineageNode
from effectmq.broker.store.journal.archive.summaries import EffectDetail, EffectSummary
from effectmq.broker.store.journal.handed_out.table import Waiting
from effectmq.broker.store.journal.progress import RecordedProgress
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.errors import MalformedError

__all__ = [
    "detail_facts",
    "effect_facts",
    "is_former",
    "lineage_facts",
    "payload",
    "progress_facts",
    "waiting_facts",
]


def effect_facts(effect: EffectSummary) -> dict[str, Any]:
    """An effect for scripts; the keys are stable."""
    code, message = effect.error
    return {
        "scope_id": effect.identity.scope_id,
        "replay_key": effect.identity.replay_key,
        "effect_id": effect.effect_id,
        "kind": effect.kind,
        "status": effect.status,
        "attempts": effect.attempts,
        "hash": effect.hash,
        "session_id": effect.session_id,
        "turn_id": effect.turn_id or None,
        "caused_by": payload(effect.caused_by),
        "worker": effect.worker or None,
        "deaths": effect.deaths,
        "former_deaths": effect.former_deaths,
        "dead_workers": effect.dead_workers.splitlines(),
        "park_reason": effect.park_reason or None,
        "parks": effect.parks,
        "error": {"code": code, "message": message} if effect.error_json else None,
        "due_ms": effect.due_at_ms or None,
        "created_ms": effect.created_ms,
        "updated_ms": effect.updated_ms,
    }


def detail_facts(effect: EffectDetail) -> dict[str, Any]:
    """An effect with its payloads, for scripts."""
    return {
        **effect_facts(effect),
        "letter_sent": effect.letter_sent if effect.parks else None,
        "lease_left_ms": effect.lease_left_ms,
        "attempt_times": [attempt._asdict() for attempt in effect.attempt_times],
        "envelope": payload(effect.envelope_json),
        "outcome": payload(effect.outcome_json),
    }


def progress_facts(effect: EffectSummary, told: RecordedProgress | None) -> dict[str, Any] | None:
    """How far an effect was when it was told last, for scripts; ``None`` when it never was."""
    if told is None:
        return None
    progress = told.progress
    return {
        "done": progress.done,
        "total": progress.total,
        "note": progress.note,
        "attempt": progress.attempt,
        "told_ms": told.told_ms,
        "former": is_former(effect, told),
    }


def is_former(effect: EffectSummary, told: RecordedProgress) -> bool:
    """Whether another run has begun since, which has told nothing yet."""
    return effect.status == "in_progress" and told.fence != effect.fence


def payload(text: str) -> Any:
    """Stored JSON as a tree; ``None`` when there is none, the text itself when it is damaged."""
    try:
        return parse_json(text) if text else None
    except MalformedError:
        return text


def waiting_facts(waiting: Waiting) -> dict[str, Any]:
    """A handed-out effect for scripts."""
    return {
        "scope_id": waiting.identity.scope_id,
        "replay_key": waiting.identity.replay_key,
        "effect_id": waiting.effect_id,
        "kind": waiting.kind,
        "hash": waiting.hash,
        "session_id": waiting.session_id,
        "turn_id": waiting.turn_id or None,
        "worker": waiting.worker or None,
        "note": waiting.note,
        "value_schema": payload(waiting.schema_json),
        "asked_ms": waiting.asked_ms,
        "deadline_ms": waiting.deadline_ms,
    }


def lineage_facts(node: LineageNode, asked: EffectSummary) -> dict[str, Any]:
    """One effect of a tree, for scripts."""
    focus = node.effect.identity == asked.identity
    return {"depth": node.depth, "focus": focus, **effect_facts(node.effect)}
