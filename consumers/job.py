"""
One delivery, from arrival to settlement.

::

    deliver ─▶ decode and verify ─▶ (pause) ─▶ claim ─▶ run ─▶ answer ─▶ ack
                      │                │                 │
                      ▼                ▼                 ├─▶ pause, then again
                     park            delay ─▶ ack        ├─▶ delay ─▶ ack
                                                         └─▶ park ─▶ answer ─▶ ack

A job is a small state machine on the event loop. It owns one attempt, while a handler runs, and
waits by timer otherwise: what lives long is cheap, and every way to end goes through ``_settle``.
What to do is decided in ``lifecycle``; this module only does it.

A job whose connection was lost goes on: the effect finishes and is answered, and settling the
stale delivery does nothing. The broker gives the message out again, and the copy joins the job
that is running or is answered by its own run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from effectmq.broker.crashpoints import reached
from effectmq.broker.transport import Delivery
from effectmq.consumers.attempt import Attempt, HandlerExitError, Result
from effectmq.consumers.handler import TryAgain
from effectmq.consumers.lane import Lane
from effectmq.consumers.lifecycle import (
    Answer,
    Delay,
    Park,
    Pause,
    Run,
    after_error,
    expired,
    on_arrival,
    park_unreadable,
    retry_in,
)
from effectmq.protocol import headers as names
from effectmq.protocol.codec import JSON, MSGPACK
from effectmq.protocol.deadletter import dead_message
from effectmq.protocol.errors import MalformedError, ProtocolError
from effectmq.protocol.kinds import EFFECT_KINDS, kind_of
from effectmq.protocol.reply import Reply, encode_reply
from effectmq.protocol.request import Request, read_request
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.outcome import (
    RuntimeEffectControllerError,
    RuntimeEffectOutcome,
    RuntimeEffectOutcomeSleep,
)

__all__ = ["Job"]

logger = logging.getLogger("effectmq.worker")

#: What a message of one answer adds to it.
_LIST_BYTES = 8


class Job:
    """
    Args:
        lane: What all jobs of one route share.
        delivery: What arrived.
    """

    __slots__ = (
        "_answer",
        "_attempt",
        "_delayed",
        "_followers",
        "_request",
        "_timer",
        "delivery",
        "lane",
    )

    #: Whether the sender of a message that is too large hears of it from here.
    tells_oversize = True

    def __init__(self, lane: Lane[Job], delivery: Delivery) -> None:
        self.lane = lane
        self.delivery = delivery
        self._request: Request | None = None
        self._attempt: Attempt | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._followers: list[Job] = []
        self._answer: Reply | None = None
        self._delayed: Delay | None = None

    @property
    def effect_id(self) -> str:
        """For the log: the effect id, made printable."""
        known = self._request.effect_id if self._request else self.delivery.message.correlation_id
        return printable(known, 200)

    @property
    def route(self) -> str:
        """The routing key that brings the effect home: its kind, or ``kind.lane``."""
        key = self.delivery.routing_key
        # A message that somebody moved here comes with the name of the queue as its key.
        return key if kind_of(key) in EFFECT_KINDS else self.lane.route

    @property
    def kind(self) -> str:
        """The kind that its route says it is."""
        return kind_of(self.route)

    # Arrival -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Read the message and take the first step."""
        reached("after_deliver")
        lane = self.lane
        lane.jobs.add(self)
        lane.counters["delivered"] += 1
        if len(self.delivery.message.body) > lane.limits.max_body_bytes:
            self._reject_oversize()
            return
        try:
            self._request = read_request(self.delivery.message, lane.limits)
        except ProtocolError as problem:
            self._park(park_unreadable(problem))
            return
        self._advance()

    def _reject_oversize(self) -> None:
        """Too large to publish again: the broker dead-letters it as it is."""
        lane = self.lane
        size = len(self.delivery.message.body)
        lane.counters["rejected_oversize"] += 1
        logger.error(
            "effect %s has a body of %d bytes and the limit is %d; left to the broker",
            self.effect_id,
            size,
            lane.limits.max_body_bytes,
            extra={"action": "oversize", "effect_id": self.effect_id},
        )
        reply = self._error_reply(
            Park(
                "malformed",
                "effectmq_malformed",
                f"the body is {size} bytes and the limit of this worker is "
                f"{lane.limits.max_body_bytes}; keep large data outside the effect and pass a "
                "reference, or raise the limit",
            )
        )
        encoded = self._encoded(reply)
        if self.tells_oversize and isinstance(encoded, bytes) and self.delivery.message.reply_to:
            self._answer_with(encoded, reply, self._reject)
        else:
            self._reject()

    def _reject(self) -> None:
        self.delivery.reject()
        self._end()

    def _advance(self) -> None:
        """Decide on the effect as it is now: at arrival, and again after every pause."""
        request = self._known()
        action = on_arrival(
            request,
            queue_kind=self.kind,
            now_ms=self.lane.now_ms(),
            levels_ms=self.lane.levels_ms,
        )
        match action:
            case Run():
                self._claim()
            case Answer():
                self._give(RuntimeEffectOutcomeSleep())
            case Pause() | Delay():
                self._wait(action)
            case Park():
                self._park(action)

    def _wait(self, action: Pause | Delay) -> None:
        request = self._request = self._known().changed(action.headers)
        lane = self.lane
        if isinstance(action, Pause):
            lane.counters["paused"] += 1
            self._timer = lane.loop.call_later(action.wait_ms / 1_000, self._advance)
            return
        self._delayed = action
        lane.settlement.delay(action.level_ms, self.route, request.message, self._settle)
        for follower in self._take_followers():
            follower._wait(action)

    # Running -----------------------------------------------------------------------------------

    def _claim(self) -> None:
        request = self._known()
        leader = self.lane.inflight.claim(request.identity, self)
        if leader is self:
            self._run()
            return
        self.lane.counters["joined"] += 1
        known = leader._known()
        if known.hash != request.hash:
            self._conflict(known)
        elif leader._answer is not None:
            self._send(leader._answer)
        elif leader._delayed is not None:
            self._wait(leader._delayed)
        else:
            leader._followers.append(self)

    def _conflict(self, known: Request) -> None:
        request = self._known()
        self.lane.counters["conflicts"] += 1
        self._park(
            Park(
                "rejected",
                "effectmq_hash_conflict",
                f"replay key {printable(request.replay_key, 200)!r} in scope "
                f"{printable(request.identity.scope_id, 200)!r} was reused with a different "
                f"envelope hash ({request.hash}, while {known.hash} is running); give a different "
                "effect a replay key of its own",
            )
        )

    def _run(self) -> None:
        lane, request = self.lane, self._known()
        if not request.first_seen_ms:
            # Kept here only; it goes on the wire with a retry.
            request = self._request = replace(request, first_seen_ms=lane.now_ms())
        self._attempt = Attempt(lane, request, self._attempted)

    def _attempted(self, result: Result, overdue: bool) -> None:
        self._attempt = None
        if self.lane.leaving:
            # Shut down before it was done: never settled, so another worker gets it. Whatever it
            # made of being cancelled is not an attempt.
            self._end()
            return
        self._decide(result, overdue)

    def _decide(self, result: Result, overdue: bool) -> None:
        lane, request = self.lane, self._known()
        now_ms = lane.now_ms()
        given = not isinstance(result, (TryAgain, BaseException))
        late = request.deadline_ms and now_ms >= request.deadline_ms
        if late and (not given or overdue):
            self._park(expired(request, now_ms))
        elif isinstance(result, TryAgain):
            action = retry_in(
                request,
                result.wait_ms,
                now_ms=now_ms,
                levels_ms=lane.levels_ms,
                jitter=lane.jitter,
                at_least=result.promised,
                counts=result.counts,
            )
            if result.counts:
                self._retry(action, result.problem)
            else:
                self._wait(action)
        elif isinstance(result, BaseException):
            self._fail(result, now_ms)
        else:
            self._give(result)

    def _fail(self, error: BaseException, now_ms: int) -> None:
        lane = self.lane
        action = after_error(
            self._known(),
            lane.handler.retry,
            error,
            now_ms=now_ms,
            levels_ms=lane.levels_ms,
            jitter=lane.jitter,
        )
        if isinstance(action, Park):
            self._park(action)
        else:
            self._retry(action, describe(error))

    def _retry(self, action: Pause | Delay, problem: str) -> None:
        self.lane.counters["retried"] += 1
        wait_ms = action.wait_ms if isinstance(action, Pause) else action.level_ms
        logger.warning(
            "attempt %d of effect %s failed, next in %d ms: %s",
            self._known().attempt,
            self.effect_id,
            wait_ms,
            problem,
            extra={"action": "retry", "effect_id": self.effect_id, "wait_ms": wait_ms},
        )
        self._wait(action)

    # Ends --------------------------------------------------------------------------------------

    def _give(self, outcome: RuntimeEffectOutcome) -> None:
        request = self._known()
        self.lane.counters["completed"] += 1
        self._send(
            Reply(
                request.effect_id,
                request.replay_key,
                request.hash,
                outcome,
                attempt=request.attempt,
            )
        )

    def _send(self, reply: Reply) -> None:
        """Answer, if anybody wants to know; then settle. Followers get the same answer."""
        encoded = self._encoded(reply)
        if isinstance(encoded, Park):
            if not isinstance(reply.result, RuntimeEffectControllerError):
                self._park(encoded)
                return
            # It is parked already; only telling its caller cannot be done.
            self._note_unsendable(reply, encoded)
        self._answer = reply
        if isinstance(encoded, bytes) and self.delivery.message.reply_to:
            self._answer_with(encoded, reply, self._settle)
        else:
            self._settle()
        for follower in self._take_followers():
            follower._send(reply)

    def _answer_with(self, encoded: bytes, reply: Reply, then: Callable[[], None]) -> None:
        self.lane.settlement.replies.add(
            self.delivery.message.reply_to, self._content_type, encoded, reply.effect_id, then
        )

    @property
    def _content_type(self) -> str:
        """That of the answer: the same as the request's, when that is one of ours."""
        return JSON if self.delivery.message.content_type == JSON else MSGPACK

    def _encoded(self, reply: Reply) -> bytes | Park:
        """The answer as bytes, or what to do when it cannot be sent."""
        limit = self.lane.limits.max_body_bytes
        try:
            encoded = encode_reply(reply, self._content_type)
        except MalformedError as problem:
            return Park("rejected", "effectmq_outcome_unencodable", describe(problem))
        if len(encoded) + _LIST_BYTES <= limit:
            return encoded
        return Park(
            "rejected",
            "effectmq_outcome_too_large",
            f"the outcome is {len(encoded)} bytes and the limit is {limit}; keep large results "
            "outside and return a reference",
        )

    def _note_unsendable(self, reply: Reply, why: Park) -> None:
        self.lane.counters["replies_unsendable"] += 1
        logger.error(
            "effect %s: its caller cannot be told that it failed: %s",
            self.effect_id,
            why.message,
            extra={"action": "reply_unsendable", "effect_id": self.effect_id},
        )

    def _park(self, action: Park) -> None:
        message = self.delivery.message
        lane = self.lane
        logger.error(
            "effect %s is parked as %s: %s",
            self.effect_id,
            action.reason,
            printable(action.message),
            extra={"action": "park", "effect_id": self.effect_id, "reason": action.reason},
        )
        letter = dead_message(
            self._request.message if self._request else message,
            kind=self.kind,
            route=self.route,
            reason=action.reason,
            code=action.code,
            detail=action.message,
            parked_ms=lane.now_ms(),
            parked_by=lane.worker_name,
        )
        reply = self._error_reply(action)
        lane.settlement.park(action.reason, self.kind, letter, lambda: self._send(reply))

    def _error_reply(self, action: Park) -> Reply:
        """The controller error for the caller, who is found even when the body cannot be read."""
        error = RuntimeEffectControllerError(
            code=printable(action.code, 200), message=printable(action.message)
        )
        request, message = self._request, self.delivery.message
        if request is not None:
            return Reply(
                request.effect_id,
                request.replay_key,
                request.hash,
                error,
                attempt=request.attempt,
            )
        known = message.headers
        return Reply(
            message.correlation_id,
            str(known.get(names.REPLAY_KEY, "")),
            str(known.get(names.HASH, "")),
            error,
        )

    def _settle(self) -> None:
        self.delivery.ack()
        self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._request is not None:
            self.lane.inflight.release(self._request.identity, self)
        self.lane.discard(self)

    def leave(self) -> None:
        """The worker shuts down and time is up: stop here and leave the effect unsettled."""
        if self._timer is not None:
            self._timer.cancel()
        if self._attempt is not None:
            self._attempt.stop()
        else:
            self._end()

    def _take_followers(self) -> list[Job]:
        followers, self._followers = self._followers, []
        return followers

    def _known(self) -> Request:
        if self._request is None:
            raise HandlerExitError("the message was not read")
        return self._request
