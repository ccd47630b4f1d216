"""Ask for an effect, and check the kind of its outcome."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from effectmq.broker.client.asking.timeouts import DEFAULT_TIMEOUT_S
from effectmq.broker.client.turns.options import Execute, WaitOptions
from effectmq.protocol.encoding.serde.model import WireModel
from effectmq.protocol.errors import WrongOutcomeError
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome, wrong_outcome

__all__ = ["Outcome", "Running", "execute_as", "outcome_of"]

R = TypeVar("R")
Outcome = TypeVar("Outcome", bound=WireModel)
#: An effect whose number is taken already; await it, or make a task of it.
Running = Coroutine[Any, Any, R]


async def execute_as(
    execute: Execute,
    expected: type[Outcome],
    envelope: RuntimeEffectEnvelope,
    options: WaitOptions,
) -> Outcome:
    """
    The outcome of an effect.

    Args:
        execute: Carries the effect out.
        expected: The class of the outcomes of its kind.
        envelope: The effect.
        options: How to wait; 30 seconds by default.

    Raises:
        WrongOutcomeError: When a worker answered with an outcome of another kind.
    """
    options.setdefault("timeout", DEFAULT_TIMEOUT_S)
    kind, outcome = envelope.command.type, execute(envelope, **options)
    # The client needs it until it is published, and many may be in flight, for long.
    del envelope
    return outcome_of(expected, kind, await outcome)


def outcome_of(expected: type[Outcome], kind: str, outcome: RuntimeEffectOutcome) -> Outcome:
    """
    The outcome of an effect as the class of its kind.

    Raises:
        WrongOutcomeError: When it is one of another kind.
    """
    if not isinstance(outcome, expected):
        raise WrongOutcomeError(*wrong_outcome(kind, outcome.type))
    return outcome
