"""
The values of handed-out effects: what a worker says, and what whoever answers says.

The record of a handed-out effect has the outcome that counts at the deadline, and the hash of the
token. So one row decides between answer, deadline and cancel, without the code of the handler.
"""

from __future__ import annotations

from dataclasses import dataclass

from effectmq.broker.store.spend.records import Spend
from effectmq.protocol.messages.request import Identity

__all__ = ["HandOut", "HandedOut", "Question", "Settle"]


@dataclass(frozen=True, slots=True)
class Question:
    """
    What is asked of whoever answers.

    Attributes:
        token_hash: The hash of the token that gives the right to answer; the token is not kept.
        note: What is asked, for people.
        schema_json: The JSON Schema of the value; empty when every value fits.
        asker_json: How to ask a worker again for the effect, so that its caller is answered; see
            ``asker``.
    """

    token_hash: str
    note: str
    schema_json: str
    asker_json: str


@dataclass(frozen=True, slots=True)
class HandOut:
    """
    Hand the effect out: give the lease back until it is answered, or until the deadline.

    Attributes:
        identity: The effect.
        fence: From the claim.
        attempts: The number of attempts made.
        due_in_ms: The time until the deadline.
        outcome_json: Its outcome when nobody answers in time, canonical JSON; empty for an error.
        error_json: Its error then; beside an outcome, code and message of that failure.
        question: What is asked.
        spend: What was spent on it under this lease; ``None`` for nothing.
    """

    identity: Identity
    fence: int
    attempts: int
    due_in_ms: int
    outcome_json: str
    error_json: str
    question: Question
    spend: Spend | None = None


@dataclass(frozen=True, slots=True)
class Settle:
    """
    Give a handed-out effect its outcome.

    Attributes:
        identity: The effect.
        token_hash: Of the question that is answered; another one may have been asked since.
        outcome_json: The outcome, canonical JSON; empty for a controller error.
        error_json: As that of ``Record``.
    """

    identity: Identity
    token_hash: str
    outcome_json: str
    error_json: str


@dataclass(frozen=True, slots=True)
class HandedOut:
    """The effect is handed out and not answered, for at most so many milliseconds from now."""

    wait_ms: int
