"""
Answer a handed-out effect: its outcome goes into the journal, and a worker answers its caller.

The journal decides, in the effect's own row. After that a worker is asked for the effect once more,
on the caller's behalf, and answers from the record. When that is lost, the message that goes round
until the deadline brings the answer, at the latest a minute later.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from effectmq.broker.store.journal.handed_out.table import Asked, Waiting
from effectmq.broker.store.journal.handed_out.values import Settle
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Accepted, Recorded, ended_as, public_status
from effectmq.broker.transports.port import Transport
from effectmq.protocol.answering.asker import asked_again
from effectmq.protocol.answering.outcomes import Ending, answered, refused
from effectmq.protocol.answering.tokens import checked_token, token_hash
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.encoding.serde.model import from_tree
from effectmq.protocol.errors import (
    BrokerError,
    ConfigurationError,
    NotHandedOutError,
    ProtocolError,
    PublishError,
)
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.text import describe, printable
from effectmq.protocol.topology import Names
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope

__all__ = ["Completion", "Given", "complete"]

logger = logging.getLogger("effectmq.client")

_TIMEOUT_S = 5.0

Publish = Callable[[], Awaitable[Transport | None]]


@dataclass(frozen=True, slots=True)
class Given:
    """
    What was answered: a value, or the reason why there is none.

    Attributes:
        value: Of a tool call, what the tool would have returned; of another kind, its outcome.
        error: Why it is refused; ``None`` for a value.
        code: The code of the refusal; empty for the usual one.
    """

    value: object = None
    error: str | None = None
    code: str = ""

    def __post_init__(self) -> None:
        """Check it."""
        if self.error is not None and self.value is not None:
            raise ConfigurationError("there is a value and an error; give one of the two")
        if self.code and self.error is None:
            raise ConfigurationError("there is a code without an error; give the error as well")

    def ending(self, asked: Asked) -> Ending:
        """
        The end of the effect.

        Raises:
            AnswerMisfitError: When the value does not fit.
        """
        envelope: RuntimeEffectEnvelope = from_tree(
            RuntimeEffectEnvelope, parse_json(asked.envelope_json)
        )
        if self.error is not None:
            return refused(envelope, self.error, self.code)
        schema = asked.question.schema_json
        return answered(envelope, parse_json(schema) if schema else {}, self.value)


@dataclass(frozen=True, slots=True)
class Completion:
    """
    What became of an answer.

    Attributes:
        identity: The effect.
        effect_id: Its id inside its scope.
        counts: Whether it is the outcome; ``False`` when something else came first.
        status: The status of the effect now.
        ran_out: Whether its deadline came first.
    """

    identity: Identity
    effect_id: str
    counts: bool
    status: str
    ran_out: bool = False


async def complete(
    journal: Journal, which: str | Identity, given: Given, names: Names, publish: Publish
) -> Completion:
    """
    Give a handed-out effect its outcome, unless it has one: exactly one answer counts.

    Args:
        journal: That of the workers.
        which: The token, or the effect.
        given: The answer.
        names: The namespace.
        publish: Gives the broker over which a worker is asked to answer the caller; ``None`` when
            it is away.

    Raises:
        ConfigurationError: When the token cannot be one.
        NotHandedOutError: When it was not handed out, or its token belongs to an earlier attempt.
        AnswerMisfitError: When the value does not fit; nothing was changed.
        DatabaseUnavailableError: When the journal cannot be used; the same answer may be given
            again.
    """
    asked = await _asked(journal, which)
    shown = asked.waiting
    if not asked.envelope_json:
        # Pruned, or changed by hand: whatever it was, it is over.
        return Completion(shown.identity, shown.effect_id, False, asked.status)
    ending = given.ending(asked)
    said = Settle(shown.identity, asked.question.token_hash, *ending)
    answer = await journal.settle(said)
    if isinstance(answer, Accepted):
        status = public_status(ended_as(*ending))
        await _tell(asked, names, publish)
        return Completion(shown.identity, shown.effect_id, True, status)
    if isinstance(answer, Recorded):
        if answer.ran_out:
            await _tell(asked, names, publish)
        return Completion(
            shown.identity, shown.effect_id, False, answer.status, ran_out=answer.ran_out
        )
    raise NotHandedOutError(_not_waiting(shown.effect_id))


async def _asked(journal: Journal, which: str | Identity) -> Asked:
    if isinstance(which, Identity):
        found = await journal.asked_of(which)
        if found is None:
            raise NotHandedOutError(_not_waiting(which.replay_key))
        return found
    found = await journal.asked(token_hash(checked_token(which)))
    if found is None:
        raise NotHandedOutError(
            "no handed-out effect has this token: it is of an attempt that did not end, of another "
            "namespace or journal, or its effect was pruned. See what waits with: effectmq effects "
            "waiting"
        )
    return found


def _not_waiting(name: str) -> str:
    return (
        f"the effect {printable(name, 200)} does not wait for an answer; see those that do with: "
        "effectmq effects waiting"
    )


async def _tell(asked: Asked, names: Names, publish: Publish) -> None:
    """Ask a worker to answer the caller; a failure is logged, because the message comes round."""
    limits = Limits(max_body_bytes=max(1, 2 * len(asked.envelope_json)))
    try:
        again = asked_again(asked.question.asker_json, asked.envelope_json, limits)
        transport = None if again is None else await publish()
        if again is not None and transport is not None:
            await transport.publish(
                names.work_exchange, again.route, again.message, timeout=_TIMEOUT_S
            )
    except (PublishError, BrokerError, ProtocolError) as problem:
        logger.warning(
            "the caller of effect %s could not be told of its answer at once, and is told within "
            "a minute: %s",
            printable(asked.waiting.effect_id, 200),
            describe(problem),
            extra={"action": "answer_untold", **_names_of_effect(asked.waiting)},
        )


def _names_of_effect(waiting: Waiting) -> dict[str, str]:
    names = {
        "session_id": waiting.session_id,
        "turn_id": waiting.turn_id,
        "effect_id": waiting.effect_id,
        "hash": waiting.hash,
    }
    return {key: printable(name, 200) for key, name in names.items() if name}
