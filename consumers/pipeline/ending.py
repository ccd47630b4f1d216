"""
How a delivery ends: its outcome or its error is recorded, told, and settled, in this order.

The part of a job that does not depend on how it came so far. A message that could not even be
read ends here as well: parked, its sender told as far as its headers say who that is.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec

from effectmq.broker.store.journal.records import Accepted, Lost, Record
from effectmq.broker.transports.port import Delivery
from effectmq.consumers.decisions.deaths import (
    UNDELIVERED_CODE,
    Later,
    after_undelivered,
    undelivered_message,
)
from effectmq.consumers.decisions.delivery import Park
from effectmq.consumers.pipeline.answers import encoded_answer, error_json_of, error_of, to_caller
from effectmq.consumers.pipeline.attempt import HandlerExitError
from effectmq.consumers.pipeline.bodies import answer_limits
from effectmq.consumers.pipeline.leases import Hold
from effectmq.consumers.pipeline.route import Lane
from effectmq.consumers.tools.outputs import without_result
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.codec import JSON, MSGPACK
from effectmq.protocol.encoding.model import to_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.kinds import EFFECT_KINDS, kind_of
from effectmq.protocol.messages.body_reference import accepts_out_of_line
from effectmq.protocol.messages.dead_letter import dead_message
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import Answer
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome, RuntimeEffectOutcomeToolCall

if TYPE_CHECKING:
    from effectmq.consumers.pipeline.job import Job

__all__ = ["Ending"]

P = ParamSpec("P")

logger = logging.getLogger("effectmq.worker")


class Ending(ABC):
    """
    The end of one delivery: recorded, told, and settled.

    Args:
        lane: What all jobs of one route share.
        delivery: What arrived.
    """

    __slots__ = ("_answer", "_followers", "_hold", "_request", "_telling", "delivery", "lane")

    def __init__(self, lane: Lane[Job], delivery: Delivery) -> None:
        self.lane = lane
        self.delivery = delivery
        self._request: Request | None = None
        #: Other deliveries of the same effect, which get the same answer.
        self._followers: list[Job] = []
        self._answer: Answer | None = None
        #: The lease, while we have it, and whether the journal is being told how it ends.
        self._hold: Hold | None = None
        self._telling = False

    @abstractmethod
    def _defect(self, problem: Exception) -> None:
        """Something raised where nothing may."""

    def _safely(self, step: Callable[P, None]) -> Callable[P, None]:
        """
        A step, to be called by the loop, a task or the journal.

        There, what it raises would be lost, and with it the effect: unsettled, its lease renewed
        for as long as the worker lives.
        """

        def run(*args: P.args, **keywords: P.kwargs) -> None:
            try:
                step(*args, **keywords)
            except Exception as problem:
                self._defect(problem)

        return run

    @abstractmethod
    def _unkept(self, problem: Exception) -> None:
        """The journal does not take what it is told, and would not if it were told again."""

    @abstractmethod
    def _discard(self) -> None:
        """The lease was lost meanwhile: the record decides."""

    @abstractmethod
    def _end(self) -> None:
        """Nothing is left to do."""

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

    # Ends --------------------------------------------------------------------------------------

    def _give(self, outcome: RuntimeEffectOutcome) -> None:
        """Record an outcome, then answer with it."""
        ready = self._ready(outcome)
        if isinstance(ready, Park) and isinstance(outcome, RuntimeEffectOutcomeToolCall):
            # A tool's failure is an outcome: that its result cannot be sent is one, too.
            for shorter in without_result(outcome, ready.message):
                ready = self._ready(shorter) if isinstance(ready, Park) else ready
        if isinstance(ready, Park):
            self._park(ready)
            return
        answer, encoded, recorded = ready
        self.lane.counters["completed"] += 1
        self._finish(lambda _: self._send(answer, encoded), outcome_json=recorded)

    def _ready(self, outcome: RuntimeEffectOutcome) -> tuple[Answer, bytes, str] | Park:
        """An outcome as an answer, as its bytes and as its record; or why it cannot be sent."""
        request = self._known()
        try:
            tree: dict[str, object] = to_tree(outcome)
            recorded = canonical_json(tree).decode() if self.lane.records.kept else ""
        except MalformedError as problem:
            return Park("rejected", "effectmq_outcome_unencodable", describe(problem))
        answer = to_caller(request, self.delivery.message, {"Ok": tree}, attempt=request.attempt)
        encoded = self._encoded(answer)
        return encoded if isinstance(encoded, Park) else (answer, encoded, recorded)

    def _finish(
        self,
        then: Callable[[int], None],
        *,
        outcome_json: str = "",
        error_json: str = "",
        park_reason: str = "",
    ) -> None:
        """Record how it ended, when we hold it; ``then`` gets the number of the parking."""
        hold = self._hold
        if hold is None:
            then(0)
            return

        def finished(answer: Accepted | Lost) -> None:
            self._telling, self._hold = False, None
            self.lane.records.unwatch(hold)
            if isinstance(answer, Accepted):
                then(answer.parks)
            else:
                self._discard()

        self._telling = True
        said = Record(
            hold.identity,
            hold.fence,
            self._known().attempt,
            outcome_json,
            error_json,
            park_reason,
        )
        self.lane.records.finish(said, self._safely(finished), self._safely(self._unkept))

    def _send(self, answer: Answer, encoded: bytes | None = None) -> None:
        """Answer, if anybody wants to know; then settle. Followers get the same answer."""
        ready = self._encoded(answer) if encoded is None else encoded
        if isinstance(ready, Park):
            if not answer.failed:
                self._park(ready)
                return
            # It is parked already; only telling its caller cannot be done.
            self._note_unsendable(ready)
        self._answer = answer
        if isinstance(ready, bytes) and self.delivery.message.reply_to:
            self._answer_with(ready, answer, self._settle)
        else:
            self._settle()
        for follower in self._take_followers():
            follower._send(answer)

    def _answer_with(self, encoded: bytes, answer: Answer, then: Callable[[], None]) -> None:
        request = self._request
        fetches = request is not None and accepts_out_of_line(request.message)
        self.lane.settlement.replies.add(
            self.delivery.message.reply_to,
            self._content_type,
            encoded,
            answer.effect_id,
            then,
            out_of_line=answer.hash if fetches else "",
            keep=None if self._is_elsewhere(answer) else self._keeping(answer),
        )

    def _is_elsewhere(self, answer: Answer) -> bool:
        """Whether the answer can be had without its reply: from the journal, or a dead letter."""
        return self.lane.records.kept or answer.failed

    def _keeping(self, answer: Answer) -> Callable[[Message], None]:
        """What to do with the answer when its reply queue does not exist."""
        reply_to = self.delivery.message.reply_to

        def keep(message: Message) -> None:
            self._keep(undelivered_message(message, answer, reply_to))

        return self._safely(keep)

    def _keep(self, message: Message) -> None:
        """An outcome has no reply queue: send it again later, or park it with itself inside."""
        lane = self.lane
        step = after_undelivered(
            message,
            now_ms=lane.now_ms(),
            keep_ms=round(lane.settings.reply_keep_s * 1_000),
            levels_ms=lane.levels_ms,
            jitter=lane.jitter,
        )
        if isinstance(step, Later):
            lane.counters["outcomes_kept"] += 1
            lane.settlement.delay(
                step.level_ms, self.route, step.message, self._settle, self._defect
            )
            return
        logger.error(
            "the outcome of effect %s is parked: %s",
            self.effect_id,
            step.detail,
            extra={"action": "outcome_parked", "effect_id": self.effect_id},
        )
        letter = dead_message(
            message,
            kind=self.kind,
            route=self.route,
            reason="undelivered",
            code=UNDELIVERED_CODE,
            detail=step.detail,
            parked_ms=lane.now_ms(),
            parked_by=lane.worker_name,
        )
        lane.settlement.park("undelivered", self.kind, letter, self._settle, self._defect)

    @property
    def _content_type(self) -> str:
        """That of the answer: the same as the request's, when that is one of ours."""
        return JSON if self.delivery.message.content_type == JSON else MSGPACK

    def _encoded(self, answer: Answer) -> bytes | Park:
        limits = answer_limits(self.lane.claims, self.delivery.message, self.lane.limits)
        return encoded_answer(answer, self._content_type, limits.max_body_bytes)

    def _note_unsendable(self, why: Park) -> None:
        self.lane.counters["replies_unsendable"] += 1
        logger.error(
            "effect %s: its caller cannot be told that it failed: %s",
            self.effect_id,
            why.message,
            extra={"action": "reply_unsendable", "effect_id": self.effect_id},
        )

    def _park(self, action: Park) -> None:
        """Give up: record it when we hold it, publish the dead letter, answer, settle."""
        logger.error(
            "effect %s is parked as %s: %s",
            self.effect_id,
            action.reason,
            printable(action.message),
            extra={"action": "park", "effect_id": self.effect_id, "reason": action.reason},
        )
        result = error_of(action)
        answer = to_caller(
            self._request,
            self.delivery.message,
            result,
            attempt=self._request.attempt if self._request else 1,
        )
        self._finish(
            lambda parks: self._post(action.reason, result, parks, answer),
            error_json=error_json_of(result),
            park_reason=action.reason,
        )

    def _post(self, reason: str, result: dict[str, object], parks: int, answer: Answer) -> None:
        """Publish the dead letter, then answer."""
        lane, request = self.lane, self._request
        error: dict[str, str] = result["Err"]  # type: ignore[assignment]
        letter = dead_message(
            request.changed({}).message if request else self.delivery.message,
            kind=self.kind,
            route=self.route,
            reason=reason,
            code=error["code"],
            detail=error["message"],
            parked_ms=lane.now_ms(),
            parked_by=lane.worker_name,
            number=parks,
        )

        def posted() -> None:
            if parks and request is not None:
                lane.records.posted(request.identity, parks)
            self._send(answer)

        lane.settlement.park(reason, self.kind, letter, self._safely(posted), self._defect)

    def _settle(self) -> None:
        self.delivery.ack()
        self._end()

    def _take_followers(self) -> list[Job]:
        followers, self._followers = self._followers, []
        return followers

    def _known(self) -> Request:
        if self._request is None:
            raise HandlerExitError("the message was not read")
        return self._request
