"""Cancelling one effect in the journal, unless it is finished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.recall import cancel_error
from effectmq.broker.store.journal.records import Cancel, Cancelled, Effect, Recorded
from effectmq.protocol.encoding.serde.model import canonical_bytes

__all__ = ["Decision", "cancel_one"]


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What won.

    Attributes:
        won: ``cancelled``; ``outcome`` when that came first; ``neither`` when another envelope took
            the key in this moment.
        status: The status of the effect now; empty when it is not known.
    """

    won: Literal["cancelled", "outcome", "neither"]
    status: str


async def cancel_one(journal: Journal, effect: Effect, reason: str) -> Decision:
    """
    Cancel an effect; its cancelling and its outcome are two writes, and exactly one of them wins.

    Args:
        journal: Decides.
        effect: Which; of one that no worker has seen yet, its name is enough.
        reason: Goes into its error.

    Raises:
        InvalidEnvelopeError: When its name cannot be that of an effect.
        DatabaseUnavailableError: When the journal cannot be used.
    """
    error = canonical_bytes(cancel_error(effect.kind, reason)).decode()
    answer = await journal.cancel(Cancel(effect, error))
    if isinstance(answer, Cancelled):
        return Decision("cancelled", "cancelled")
    if isinstance(answer, Recorded):
        return Decision("outcome", answer.status)
    return Decision("neither", "")
