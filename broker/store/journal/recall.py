"""
The journal as a producer sees it: recorded answers, and cancelling.

A producer with access to the journal asks it first: a recorded answer needs no worker. Other
effects are published. A worker asks the same journal again, so nothing depends on this look.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable
from typing import TypeVar

from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Cancel, Cancelled, Mismatch, Recorded, effect_of
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.differences import differing_paths, mismatch_sentence
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from effectmq.protocol.errors import (
    DatabaseUnavailableError,
    EffectCancelledError,
    EffectFailedError,
    EffectMismatchError,
    EffectSupersededError,
    RecordMissingError,
)
from effectmq.protocol.messages.log_names import log_names
from effectmq.protocol.messages.reply import Reply
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import printable
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError, RuntimeEffectOutcome

__all__ = ["CONFLICT", "SUPERSEDED", "Recall", "cancel_error", "failure_of", "in_time", "reply_of"]

logger = logging.getLogger("effectmq.client")

T = TypeVar("T")

#: The code of a replay key that is used for two effects.
CONFLICT = "effectmq_hash_conflict"
#: The code of an effect in whose place another one with its debounce key runs.
SUPERSEDED = "effectmq_superseded"
#: How long a look may take before the effect is published, in seconds.
_LOOK_S = 5.0
_CANCELLED = ("effectmq_cancelled", "runtime_effect_sleep_cancelled")


class Recall:
    """
    The journal as one producer sees it: it looks, and cancels.

    Args:
        journal: An open journal.
        strict: Whether a missing record is an error.
        counters: ``recalled``, ``journal_unavailable``.
    """

    def __init__(self, journal: Journal, counters: Counter[str], *, strict: bool) -> None:
        self._journal = journal
        self._strict = strict
        self._counters = counters

    async def reply(self, request: Request, timeout_s: float) -> Reply | None:
        """
        The recorded answer; ``None`` when there is none and the effect must be published.

        Raises:
            EffectMismatchError: When the key is recorded with another envelope.
            RecordMissingError: With strict replay, when there is no finished record.
            DatabaseUnavailableError: With strict replay, when the journal cannot be read.
        """
        # Most of the caller's time is for the effect, which is published when this finds nothing.
        limit_s = timeout_s if self._strict else min(timeout_s / 2, _LOOK_S)
        try:
            async with asyncio.timeout(limit_s):
                found = await self._journal.look(request.identity, request.hash)
        except (DatabaseUnavailableError, TimeoutError) as problem:
            if self._strict:
                raise _silent(problem, limit_s) from None
            # Not a reason to stop: the worker asks its journal, too.
            self._counters["journal_unavailable"] += 1
            logger.warning(
                "the journal cannot be read, so effect %s is published: %s",
                printable(request.effect_id, 200),
                problem or "no answer in time",
                extra={"action": "journal_unavailable", **log_names(request)},
            )
            return None
        if isinstance(found, Recorded):
            self._counters["recalled"] += 1
            return reply_of(request, found)
        if isinstance(found, Mismatch):
            raise _mismatch(request, found)
        if self._strict:
            identity = request.identity
            raise RecordMissingError(request.effect_id, identity.scope_id, identity.replay_key)
        return None

    async def cancel(
        self, request: Request, error: RuntimeEffectControllerError, timeout_s: float
    ) -> bool:
        """
        Cancel an effect unless it is finished; returns whether it is cancelled now.

        Raises:
            EffectMismatchError: When the key is recorded with another envelope.
            DatabaseUnavailableError: When the journal cannot be written, or not in time.
        """
        asked = Cancel(effect_of(request), canonical_json(to_tree(error)).decode())
        answer = await in_time(self._journal.cancel(asked), timeout_s)
        if isinstance(answer, Mismatch):
            raise _mismatch(request, answer)
        return isinstance(answer, Cancelled)


async def in_time(asked: Awaitable[T], timeout_s: float) -> T:
    """
    The journal's answer.

    Raises:
        DatabaseUnavailableError: When it does not come in time, or the journal has said so.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await asked
    except TimeoutError as problem:
        raise _silent(problem, timeout_s) from None


def _silent(
    problem: DatabaseUnavailableError | TimeoutError, limit_s: float
) -> DatabaseUnavailableError:
    if isinstance(problem, DatabaseUnavailableError):
        return problem
    return DatabaseUnavailableError(
        f"the journal gave no answer within {limit_s:g} s; the operation may have been "
        "done, and asking again is safe"
    )


def reply_of(request: Request, recorded: Recorded) -> Reply:
    """A record in the form of a worker's reply."""
    result: RuntimeEffectOutcome | RuntimeEffectControllerError
    if recorded.outcome_json:
        result = from_tree(RuntimeEffectOutcome, parse_json(recorded.outcome_json))
    else:
        result = from_tree(RuntimeEffectControllerError, parse_json(recorded.error_json))
    return Reply(
        request.effect_id,
        request.replay_key,
        request.hash,
        result,
        attempt=recorded.attempts,
        replayed=True,
    )


def failure_of(effect_id: str, error: RuntimeEffectControllerError) -> EffectFailedError:
    """The exception for a controller error, by its code."""
    if error.code == CONFLICT:
        return EffectMismatchError(effect_id, error.code, error.message)
    if error.code in _CANCELLED:
        return EffectCancelledError(effect_id, error.code, error.message)
    if error.code == SUPERSEDED:
        return EffectSupersededError(effect_id, error.code, error.message)
    return EffectFailedError(effect_id, error.code, error.message)


def cancel_error(kind: str, reason: str) -> RuntimeEffectControllerError:
    """The record of a cancelled effect; for a sleep in the words of the wire format."""
    if kind == "sleep":
        return RuntimeEffectControllerError(
            code="runtime_effect_sleep_cancelled", message="runtime effect sleep was cancelled"
        )
    because = f": {printable(reason, 500)}" if reason else ""
    return RuntimeEffectControllerError(
        code="effectmq_cancelled",
        message=f"the effect was cancelled before it had an outcome{because}",
    )


def _mismatch(request: Request, found: Mismatch) -> EffectMismatchError:
    identity = request.identity
    asked = request.canonical.decode()
    sentence = mismatch_sentence(
        identity.scope_id,
        identity.replay_key,
        found.envelope_json,
        asked,
        found.hash,
        request.hash,
    )
    paths: tuple[str, ...] = ()
    if found.envelope_json:
        paths = differing_paths(parse_json(found.envelope_json), parse_json(asked))
    return EffectMismatchError(request.effect_id, CONFLICT, sentence, paths)
