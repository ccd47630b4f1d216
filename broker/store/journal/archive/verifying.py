"""
Whether the record of an effect is consistent.

Pure: a stored effect in, sentences out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from effectmq.broker.store.journal.archive.summaries import EffectDetail
from effectmq.broker.store.journal.records import STATUSES
from effectmq.protocol.encoding.canonical import sha256_hex
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import canonical_bytes, from_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import RuntimeSubjectEffect
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError, RuntimeEffectOutcome

__all__ = ["Damage", "problems_of"]


@dataclass(frozen=True, slots=True)
class Damage:
    """
    One thing that is wrong with a record.

    Attributes:
        identity: The effect.
        problem: What was found and what was expected; without payloads.
    """

    identity: Identity
    problem: str


def problems_of(effect: EffectDetail) -> list[Damage]:
    """Everything that is wrong with one stored effect."""
    problems = [*_status_problems(effect), *_envelope_problems(effect), *_ending_problems(effect)]
    return [Damage(effect.identity, problem) for problem in problems]


def _status_problems(effect: EffectDetail) -> list[str]:
    if effect.status not in STATUSES:
        return [f"found the status {effect.status!r}, expected one of {', '.join(STATUSES)}"]
    has_outcome, has_error = bool(effect.outcome_json), bool(effect.error_json)
    # A parked effect has no outcome. Any other failed one may have: a failure of its tool or model.
    failed_outcome = has_outcome and not effect.park_reason
    wanted = {
        "completed": (True, False),
        "failed": (failed_outcome, True),
        "cancelled": (False, True),
        "forgotten": (False, True),
    }.get(effect.status, (False, False))
    problems: list[str] = []
    for what, found, expected in zip(
        ("outcome", "error"), (has_outcome, has_error), wanted, strict=True
    ):
        if found != expected:
            problems.append(
                f"it is {effect.status} and has {'an' if found else 'no'} {what}; expected "
                f"{'one' if expected else 'none'}"
            )
    return problems


def _envelope_problems(effect: EffectDetail) -> list[str]:
    if not effect.envelope_json:
        # Cancelled before its first claim, or pruned: then there is none.
        if effect.status in ("cancelled", "forgotten"):
            return []
        return ["its envelope is missing"]
    data = effect.envelope_json.encode()
    if sha256_hex(data) != effect.hash:
        return [f"its envelope hashes to {sha256_hex(data)}, but {effect.hash} was recorded"]
    try:
        envelope: RuntimeEffectEnvelope = from_tree(RuntimeEffectEnvelope, parse_json(data))
    except MalformedError as problem:
        return [f"its envelope cannot be read: {problem}"]
    if canonical_bytes(envelope) != data:
        return ["its envelope is not written in the canonical form"]
    return _name_problems(effect, envelope)


def _name_problems(effect: EffectDetail, envelope: RuntimeEffectEnvelope) -> list[str]:
    subject, replay = envelope.invocation.subject, envelope.invocation.replay
    effect_id = subject.effect_id if isinstance(subject, RuntimeSubjectEffect) else ""
    compared = {
        "replay key": (effect.identity.replay_key, replay.key if replay else ""),
        "effect id": (effect.effect_id, effect_id),
        "kind": (effect.kind, envelope.command.type),
        "session id": (effect.session_id, envelope.invocation.scope.session_id),
        "turn id": (effect.turn_id, envelope.invocation.scope.turn_id or ""),
    }
    return [
        f"its {name} is recorded as {recorded!r}, but its envelope says {said!r}"
        for name, (recorded, said) in compared.items()
        if recorded != said
    ]


def _ending_problems(effect: EffectDetail) -> list[str]:
    problems: list[str] = []
    if effect.outcome_json:
        outcome = _read(RuntimeEffectOutcome, effect.outcome_json)
        if isinstance(outcome, str):
            problems.append(f"its outcome cannot be read: {outcome}")
        elif outcome.type != effect.kind:
            problems.append(
                f"its outcome is that of a {outcome.type}, but its kind is {effect.kind}"
            )
    if effect.error_json:
        error = _read(RuntimeEffectControllerError, effect.error_json)
        if isinstance(error, str):
            problems.append(f"its error cannot be read: {error}")
    return problems


def _read(type_: Any, text: str) -> Any:
    try:
        return from_tree(type_, parse_json(text))
    except MalformedError as problem:
        return str(problem)
