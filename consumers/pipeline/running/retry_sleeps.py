"""
The wait before a tool runs again, written down as the sleep effect that it is.

The wait itself goes over a delay level or is slept in place, like every wait. The record is for
readers of the journal: the lineage of the call shows the pauses, and a host that carries out the
call again finds them slept already.
"""

from __future__ import annotations

from dataclasses import replace

from effectmq.broker.store.journal.records import Granted, Record, Recorded, WhenDoubtful
from effectmq.consumers.pipeline.leases import JournalRefusalError, Leases
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import InvalidEnvelopeError, PayloadTooLargeError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSleep

__all__ = ["note_sleep"]

_SLEPT = canonical_json(to_tree(RuntimeEffectOutcomeSleep())).decode()


def _always_again(request: Request) -> WhenDoubtful:
    """Sleeping again does no harm."""
    return "retry"


async def note_sleep(leases: Leases, parent: Request, envelope: RuntimeEffectEnvelope) -> str:
    """
    Record a sleep of an effect whose lease is held.

    Args:
        leases: Of the worker.
        parent: The effect that waits.
        envelope: The sleep.

    Returns:
        Why there must be no sleep; empty when the wait may begin.
    """
    try:
        sealed = Request.seal(envelope)
    except (InvalidEnvelopeError, PayloadTooLargeError) as problem:
        return describe(problem)
    # In the effect scope of the call, like everything that the call causes.
    identity = replace(sealed.identity, scope_id=parent.identity.scope_id)
    request = replace(sealed, identity=identity)
    try:
        found = await leases.claim(request, _always_again)
        if isinstance(found, Granted):
            said = Record(request.identity, found.fence, found.attempt, outcome_json=_SLEPT)
            await leases.finish(said)
    except JournalRefusalError as refusal:
        # Its name is longer than that of the call, and may be too long for the journal.
        return describe(refusal.problem)
    if isinstance(found, Recorded) and found.error_json:
        return f"the sleep {request.effect_id!r} before it was cancelled"
    # Else it was noted before: a worker died between this and the wait, or notes it right now.
    return ""
