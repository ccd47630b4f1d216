"""
What payloads say of effects, for lists: the tool, the model, and the tokens of a call.

No column has it, so envelopes and outcomes are read. A page reads so many bytes and no more; what
is larger is unknown, which a list can bear.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.rows import text
from effectmq.broker.store.journal.archive.summaries import EffectSummary
from effectmq.protocol.encoding.narrowing import members_of

__all__ = ["UNKNOWN", "Inside", "TokenCounts", "insides"]

#: Kinds whose payloads are read, and whether their outcome is, too.
_READ = {"tool_call": False, "llm_call": True, "direct": True}
#: A longer envelope or outcome is not read for a list, nor more than so much for one page.
_LONGEST = 256 * 1024
_MOST = 8 * 1024 * 1024
_BATCH = 50
_PAYLOADS = (
    "SELECT CASE WHEN length(envelope_json) <= ? THEN envelope_json ELSE '' END, "
    "CASE WHEN ? = 1 AND length(outcome_json) <= ? THEN outcome_json ELSE '' END "
    "FROM effectmq_effects WHERE namespace = ? AND scope_id = ? AND replay_key = ?"
)


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """The tokens of a call to a model."""

    input: int
    output: int
    cached_input: int
    reasoning: int


@dataclass(frozen=True, slots=True)
class Inside:
    """
    What the payloads of an effect say.

    Attributes:
        tool: The tool of a tool call; empty when unknown.
        model: The model of a call to a model; empty when unknown.
        tokens: What the call took; ``None`` when unknown.
    """

    tool: str = ""
    model: str = ""
    tokens: TokenCounts | None = None


UNKNOWN = Inside()


def insides(tx: Transaction, effects: Sequence[EffectSummary]) -> list[Inside]:
    """What is inside of each, in their order."""
    found: list[Inside] = []
    left = _MOST
    for start in range(0, len(effects), _BATCH):
        batch = effects[start : start + _BATCH]
        if left <= 0:
            found += [UNKNOWN] * len(batch)
            continue
        wanted = [each for each in batch if each.kind in _READ]
        rows = tx.execute_each(
            _PAYLOADS,
            [
                (
                    _LONGEST,
                    int(_READ[each.kind]),
                    _LONGEST,
                    tx.namespace,
                    each.identity.scope_id,
                    each.identity.replay_key,
                )
                for each in wanted
            ],
        )
        read: dict[int, Inside] = {}
        for each, row in zip(wanted, rows, strict=True):
            envelope, outcome = (text(row[0][0]), text(row[0][1])) if row else ("", "")
            left -= len(envelope) + len(outcome)
            read[id(each)] = _inside(envelope, outcome)
        found += [read.get(id(each), UNKNOWN) for each in batch]
    return found


def _inside(envelope: str, outcome: str) -> Inside:
    command = members_of(members_of(_parsed(envelope)).get("command"))
    tool = members_of(command.get("call")).get("tool_name")
    model = members_of(command.get("request")).get("model")
    return Inside(
        tool=tool if isinstance(tool, str) else "",
        model=model if isinstance(model, str) else "",
        tokens=_tokens(_parsed(outcome)),
    )


def _tokens(outcome: object) -> TokenCounts | None:
    result = members_of(members_of(outcome).get("result"))
    answer = members_of(result.get("Ok", result.get("ok")))
    usage = members_of(answer.get("usage"))
    if not usage:
        return None
    input_, output, cached, reasoning = (
        value if isinstance(value := usage.get(f"{name}_tokens"), int) else 0
        for name in ("input", "output", "cached_input", "reasoning")
    )
    return TokenCounts(input_, output, cached, reasoning)


def _parsed(stored: str) -> object:
    """Stored JSON as data, to be looked at only; ``None`` for none, and for what is damaged."""
    try:
        return json.loads(stored) if stored else None
    except (ValueError, RecursionError):
        return None
