"""
The wait before a tool runs again, written down as the sleep effect that it is.

The wait itself goes the way of every wait, over a delay level or in place. What is written down is
for whoever reads the journal: the lineage of the call shows the pauses, and a host that carries
out the call again finds them slept already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from effectmq.broker.store.journal.records import ClaimAnswer, Granted, Record, Recorded
from effectmq.consumers.pipeline.leases import Records
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.model import to_tree
from effectmq.protocol.errors import InvalidEnvelopeError, PayloadTooLargeError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSleep

__all__ = ["note_sleep"]

_SLEPT = canonical_json(to_tree(RuntimeEffectOutcomeSleep())).decode()


def note_sleep(
    records: Records,
    parent: Request,
    envelope: RuntimeEffectEnvelope,
    then: Callable[[str], None],
) -> None:
    """
    Record a sleep of an effect that is held.

    Args:
        records: Of the worker.
        parent: The effect that waits.
        envelope: The sleep.
        then: Called with why there must be no sleep, or with nothing when the wait may begin.
    """
    try:
        sealed = Request.seal(envelope)
    except (InvalidEnvelopeError, PayloadTooLargeError) as problem:
        then(describe(problem))
        return
    # In the effect scope of the call, as everything that it leads to.
    identity = replace(sealed.identity, scope_id=parent.identity.scope_id)
    request = replace(sealed, identity=identity)

    def failed(problem: Exception) -> None:
        # Its name is longer than that of the call, and may be too long to be kept.
        then(describe(problem))

    def claimed(answer: ClaimAnswer) -> None:
        match answer:
            case Granted():
                said = Record(request.identity, answer.fence, answer.attempt, outcome_json=_SLEPT)
                records.finish(said, lambda _: then(""), failed)
            case Recorded() if answer.error_json:
                then(f"the sleep {request.effect_id!r} before it was cancelled")
            case _:
                # Noted before: a worker died between this and the wait, or notes it right now.
                then("")

    records.claim(request, "retry", claimed, failed)
