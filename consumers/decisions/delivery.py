"""
What to do with an effect: facts in, one action out. No I/O, no clock, no randomness.

==========================================  =====================================================
fact                                        action
==========================================  =====================================================
cannot be read                              ``Park`` as malformed, tampered, unsupported, rejected
another kind than its queue                 ``Park`` as tampered
held by another worker                      ``Pause``, later ``Delay``, then ask again
a worker died with it, and it must not run  ``Park`` as uncertain
twice
the journal refuses to keep its record      ``Park`` as rejected
deadline passed                             ``Park`` as expired
not due yet, more than a second away        ``Delay`` to the longest level that does not overshoot
not due yet, a second or less               ``Pause``, then go on
a sleep seen for the first time             its due time is fixed, then as above
workers died with it, and one more death    ``Run``, alone
parks it
workers died with it too often              ``Park`` as crash_looping
otherwise                                   ``Run``
its sleep is over                           ``Awake``
its tool failed and may be tried again      ``Pause`` or ``Delay``, with the next attempt
needs what this worker does not have        ``Delay`` to another worker, for a stated time
raised, and the policy allows a retry       ``Pause`` or ``Delay``, with the next attempt
raised, and the policy allows none          ``Park`` as exhausted (rejected, when it said so)
the broker gave up on it, again             ``Delay``, counted; past the limit ``Park``
==========================================  =====================================================

A wait of up to a second is slept in place; a longer one is published to a delay level, where it
holds no worker. Parking always answers too, so that nobody waits in vain.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from effectmq.consumers.decisions.retry import (
    IN_PLACE_LIMIT_MS,
    LONGEST_WAIT_MS,
    RetryPolicy,
    delay_level,
    retry_wait_ms,
    sleep_step,
)
from effectmq.protocol.errors import (
    EffectmqError,
    HashMismatchError,
    InvalidEnvelopeError,
    NotStorableError,
    RejectEffectError,
    RetryEffectError,
    UnsupportedVersionError,
)
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.envelope import RuntimeEffectCommandSleep

__all__ = [
    "PARK_REASONS",
    "Awake",
    "Delay",
    "Known",
    "Park",
    "ParkReason",
    "Pause",
    "Run",
    "after_crash",
    "after_error",
    "answer_look",
    "asked_elsewhere",
    "busy",
    "crash_looping",
    "elsewhere",
    "expired",
    "misrouted",
    "no_answers",
    "no_debounce",
    "on_arrival",
    "park_unreadable",
    "retry_in",
    "uncertain",
    "unkept",
]

#: How many looks are made in place; the wait before each is twice the one before.
_PATIENT_POLLS = 4
_FIRST_POLL_MS = 25
#: The longest wait until the next look, however long the lease is: a clock that was set back makes
#: it look longer, and its holder may be done in a moment.
_LONGEST_LOOK_MS = 60_000
#: The shortest wait until the next look at an effect that somebody else answers.
_SOONEST_LOOK_MS = 15_000

#: Whether another worker can do what this one cannot.
Known = Literal["somebody", "nobody", "unsure"]

#: How many times an effect without a known worker is given back at the shortest level; then rarer.
_EAGER_TRIES = 5
_KNOWN_PATIENCE = 10

ParkReason = Literal[
    "exhausted",
    "rejected",
    "malformed",
    "tampered",
    "unsupported",
    "uncertain",
    "crash_looping",
    "expired",
    "undelivered",
]

#: The reasons for which an effect is given up, and what each means.
PARK_REASONS: dict[str, str] = {
    "exhausted": "every attempt of its retry policy failed",
    "rejected": "its handler, or the rules of the envelope, refused it",
    "malformed": "the bytes are not an envelope",
    "tampered": "hash, kind or signature do not agree with the content",
    "unsupported": "written for another version of the protocol",
    "uncertain": "a worker died while it ran, and its handler must not run twice",
    "crash_looping": "workers kept dying while they held it",
    "expired": "its deadline passed before it was carried out",
    "undelivered": "it was carried out without a journal, and its outcome, which is inside, found "
    "no reply queue",
}


@dataclass(frozen=True, slots=True)
class Run:
    """
    Execute it now.

    Attributes:
        alone: Whether nothing else may begin beside it, because one more death would park it.
    """

    alone: bool = False


@dataclass(frozen=True, slots=True)
class Awake:
    """A sleep is over: answer, then settle."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait in place, then go on with these header values."""

    wait_ms: int
    headers: dict[str, int]


@dataclass(frozen=True, slots=True)
class Delay:
    """Publish to a delay level with these header values, then settle."""

    level_ms: int
    headers: dict[str, int]


@dataclass(frozen=True, slots=True)
class Park:
    """Publish to the dead letters with this reason, answer with the error, then settle."""

    reason: ParkReason
    code: str
    message: str


def misrouted(request: Request, queue_kind: str) -> Park | None:
    """
    The action for an effect on the queue of another kind; ``None`` when the queue is right.

    Args:
        request: What arrived.
        queue_kind: The kind of the queue it arrived on.
    """
    if request.kind == queue_kind:
        return None
    return Park(
        "tampered",
        "effectmq_tampered",
        f"the envelope is a {request.kind} and arrived on the queue of {queue_kind}; publish "
        "it with its own kind as the routing key",
    )


def on_arrival(
    request: Request, *, now_ms: int, levels_ms: Sequence[int], max_deaths: int
) -> Run | Awake | Pause | Delay | Park:
    """
    What to do with an effect that may be run.

    Args:
        request: What arrived, with the moment at which it is due.
        now_ms: Unix milliseconds.
        levels_ms: The delay levels, ascending.
        max_deaths: How many workers may die with it.
    """
    if request.deadline_ms and now_ms >= request.deadline_ms:
        return expired(request, now_ms)
    due_ms = request.due_ms
    command = request.envelope.command
    if isinstance(command, RuntimeEffectCommandSleep) and not due_ms:
        due_ms = now_ms + min(command.duration_ms, LONGEST_WAIT_MS)
    if due_ms > now_ms:
        return _step(request, due_ms, now_ms, levels_ms, {"due": due_ms})
    if isinstance(command, RuntimeEffectCommandSleep):
        return Awake()
    if request.deaths >= max_deaths:
        return crash_looping(request)
    return Run(alone=0 < request.deaths == max_deaths - 1)


def _step(
    request: Request, due_ms: int, now_ms: int, levels_ms: Sequence[int], headers: dict[str, int]
) -> Pause | Delay:
    """
    One step of waiting for a moment.

    A deadline is answered when it passes, not when a long delay level happens to end.
    """
    wanted_ms = min(due_ms, request.deadline_ms) if request.deadline_ms else due_ms
    remaining_ms = max(0, wanted_ms - now_ms)
    level = sleep_step(levels_ms, remaining_ms)
    return Pause(remaining_ms, headers) if level is None else Delay(level, headers)


def expired(request: Request, now_ms: int) -> Park:
    """The action for an effect whose deadline has passed."""
    return Park(
        "expired",
        "effectmq_expired",
        f"the deadline passed {now_ms - request.deadline_ms} ms ago, before there was an outcome; "
        "give it more time, or start more workers",
    )


def crash_looping(request: Request, dead_workers: Sequence[str] = ()) -> Park:
    """
    The action for an effect with which too many workers died.

    Args:
        request: The effect, with its deaths.
        dead_workers: The names of the workers that died last, where they are known.
    """
    who = f" ({', '.join(dead_workers)})" if dead_workers else ""
    former = (
        f", after {request.former_deaths} before it was replayed" if request.former_deaths else ""
    )
    what = (
        "1 worker died or fell silent"
        if request.deaths == 1
        else (f"{request.deaths} workers died or fell silent")
    )
    return Park(
        "crash_looping",
        "effectmq_crash_looping",
        f"{what} while running it{who}{former}; look for what ends the process (memory, a crash "
        "in native code, os._exit, a blocked loop), mend it, then replay this letter",
    )


def uncertain() -> Park:
    """The action for an effect that a worker died with, and that must not run twice."""
    return Park(
        "uncertain",
        "effectmq_uncertain",
        "a worker stopped while it ran this effect, so it is unknown how far it came, and its "
        "handler must never run an effect twice (on_uncertain='park'); find out what happened, "
        "then replay or purge the dead letter",
    )


def no_answers() -> Park:
    """The action for an effect that is handed out where there is no journal."""
    return Park(
        "rejected",
        "effectmq_no_journal",
        "its handler hands it out to be answered (wait_for_answer), and its worker has no journal "
        "to keep the question; start the worker with --journal or EFFECTMQ_JOURNAL, then replay "
        "this letter",
    )


def no_debounce(key: str) -> Park:
    """The action for an effect of which only the last of several runs, without a journal."""
    return Park(
        "rejected",
        "effectmq_no_journal",
        f"it has the debounce key {printable(repr(key), 140)}, and its worker has no journal to "
        "know which of the effects with that key is the last; start the worker with --journal or "
        "EFFECTMQ_JOURNAL, then replay this letter, which runs it at once",
    )


def unkept(problem: Exception) -> Park:
    """The action for an effect whose record the journal refuses, and would refuse again."""
    if isinstance(problem, InvalidEnvelopeError):
        return Park("rejected", problem.code, problem.message)
    return Park("rejected", NotStorableError.code, describe(problem))


def elsewhere(
    tried: int,
    since_ms: int,
    known: Known,
    *,
    deadline_ms: int,
    now_ms: int,
    levels_ms: Sequence[int],
    patience_ms: int,
) -> Delay | None:
    """
    The delay that brings an effect, which this worker cannot carry out, to another worker.

    Args:
        tried: How many times it has been given back.
        since_ms: The time of the first time, Unix milliseconds; 0 for now.
        known: Whether another worker is known that can carry it out.
        deadline_ms: The deadline of the effect, Unix milliseconds; 0 for none.
        now_ms: Unix milliseconds.
        levels_ms: The delay levels, ascending.
        patience_ms: How long it is given back, in milliseconds; ten times as long while a worker is
            known.

    Returns:
        ``None`` when that is useless, or the time for it is over.
    """
    if known == "nobody":
        return None
    soon = known == "somebody" or tried < _EAGER_TRIES
    level_ms = levels_ms[0 if soon else min(1, len(levels_ms) - 1)]
    since_ms = since_ms or now_ms
    end_ms = since_ms + patience_ms * (_KNOWN_PATIENCE if known == "somebody" else 1)
    if deadline_ms:
        # Leave time for an answer that says why, rather than only that it is too late.
        end_ms = min(end_ms, deadline_ms)
    if not patience_ms or now_ms + level_ms > end_ms:
        return None
    return Delay(level_ms, {"elsewhere": tried + 1, "elsewhere_since": since_ms, "due": 0})


def asked_elsewhere(request: Request, now_ms: int) -> str:
    """What was tried before no worker was found, as a last sentence; empty when nothing was."""
    if not request.elsewhere:
        return ""
    waited_s = (now_ms - request.elsewhere_since_ms) / 1_000
    return (
        f" It was given back {request.elsewhere} time(s) in {waited_s:.1f} s for another worker, "
        "and none that took it could carry it out (WorkerSettings.elsewhere_s)."
    )


def busy(wait_ms: int, polls: int, levels_ms: Sequence[int]) -> Pause | Delay:
    """
    How to wait for an effect that another worker holds.

    It may be done in a moment, so the first looks are close together. A long wait goes over a delay
    level, where it holds no slot, for at most a minute.

    Args:
        wait_ms: How long the lease of the other worker still lasts.
        polls: How many looks there have been.
        levels_ms: The delay levels, ascending.
    """
    if polls < _PATIENT_POLLS:
        return Pause(min(_FIRST_POLL_MS << polls, max(wait_ms, 1), IN_PLACE_LIMIT_MS), {})
    return Delay(sleep_step(levels_ms, min(wait_ms, _LONGEST_LOOK_MS)) or levels_ms[0], {})


def answer_look(wait_ms: int, levels_ms: Sequence[int]) -> Pause | Delay:
    """
    How to wait for the answer to a handed-out effect.

    Whoever answers asks a worker at once, and looks are for what got lost in between, and for the
    deadline. So they are from 15 s to a minute apart: a sixtieth of the time that is left.

    Args:
        wait_ms: How long there is to the deadline.
        levels_ms: The delay levels, ascending.
    """
    soon_ms = min(max(wait_ms // 60, _SOONEST_LOOK_MS), _LONGEST_LOOK_MS)
    level = sleep_step(levels_ms, min(wait_ms, soon_ms))
    return Pause(wait_ms, {}) if level is None else Delay(level, {})


def park_unreadable(error: EffectmqError) -> Park:
    """The action for a message that could not be read as a request."""
    if isinstance(error, HashMismatchError):
        return Park("tampered", "effectmq_tampered", describe(error))
    if isinstance(error, UnsupportedVersionError):
        return Park("unsupported", "effectmq_unsupported", describe(error))
    if isinstance(error, InvalidEnvelopeError):
        return Park("rejected", error.code, error.message)
    return Park("malformed", "effectmq_malformed", describe(error))


def retry_in(
    request: Request,
    wait_ms: int,
    *,
    now_ms: int,
    levels_ms: Sequence[int],
    jitter: random.Random,
    at_least: bool = False,
    counts: bool = True,
) -> Pause | Delay:
    """
    The next attempt of an effect, ``wait_ms`` from now.

    Args:
        request: The attempt that failed.
        wait_ms: How long to wait.
        now_ms: Unix milliseconds.
        levels_ms: The delay levels, ascending.
        jitter: Draws between two neighbouring levels.
        at_least: Whether the wait is a promise that must not be shortened.
        counts: Whether the run that ended counts as an attempt.
    """
    wait_ms = min(wait_ms, LONGEST_WAIT_MS)
    due_ms = now_ms + wait_ms
    headers: dict[str, int] = {
        "attempt": request.attempt + 1 if counts else request.attempt,
        "first_seen": request.first_seen_ms or now_ms,
        # A retry is not a sleep: when it comes back, its wait is over.
        "due": 0,
    }
    if wait_ms > IN_PLACE_LIMIT_MS:
        level = delay_level(levels_ms, wait_ms, jitter=jitter, at_least=at_least)
        if wait_ms > levels_ms[-1]:
            headers["due"] = due_ms
        if not request.deadline_ms or now_ms + level <= request.deadline_ms:
            return Delay(level, headers)
        headers["due"] = due_ms
    return _step(request, due_ms, now_ms, levels_ms, headers)


def after_error(
    request: Request,
    policy: RetryPolicy,
    error: BaseException,
    *,
    now_ms: int,
    levels_ms: Sequence[int],
    jitter: random.Random,
) -> Pause | Delay | Park:
    """What to do after an attempt that raised."""
    if isinstance(error, NotStorableError):
        return unkept(error)
    elapsed_ms = now_ms - (request.first_seen_ms or now_ms)
    try:
        wait_ms = retry_wait_ms(policy, error, attempt=request.attempt, elapsed_ms=elapsed_ms)
    except Exception as problem:
        # A rule of the user's raised; without an action the effect would never end.
        return Park(
            "exhausted",
            "effectmq_exhausted",
            f"the retry policy raised {describe(problem)} when it was asked about attempt "
            f"{request.attempt}, which failed with {describe(error)}; mend the policy, then replay "
            "this letter",
        )
    if wait_ms is not None:
        promised = isinstance(error, RetryEffectError) and error.after_s is not None
        return retry_in(
            request,
            wait_ms,
            now_ms=now_ms,
            levels_ms=levels_ms,
            jitter=jitter,
            at_least=promised,
        )
    if isinstance(error, RejectEffectError):
        return Park("rejected", error.code, error.message)
    attempts = "1 attempt" if request.attempt == 1 else f"{request.attempt} attempts"
    return Park("exhausted", "effectmq_exhausted", f"gave up after {attempts}: {describe(error)}")


def after_crash(request: Request, *, max_crashes: int, levels_ms: Sequence[int]) -> Delay | Park:
    """The action for an effect that came out of limbo: the broker gave up on it."""
    crashes = request.crashes + 1
    if crashes > max_crashes:
        return Park(
            "crash_looping",
            "effectmq_crash_looping",
            "workers stopped while they held it until the broker gave up on it, "
            f"{crashes} times over; look for what ends the process (memory, a crash in native "
            "code, os._exit), mend it, then replay this letter",
        )
    return Delay(levels_ms[0], {"crashes": crashes})
