"""
One delivery, from arrival to settlement.

::

    deliver ─▶ decode and verify ─▶ claim ─▶ (pause) ─▶ run ─▶ record ─▶ answer ─▶ ack
                      │               │         │         │
                      ▼               ▼         ▼         ├─▶ pause, then again
                     park          answer     delay       ├─▶ delay ─▶ ack
                                  from record  ─▶ ack     └─▶ park ─▶ answer ─▶ ack

A job is a small state machine on the event loop. It owns one attempt, while a handler runs, and
waits by timer or by callback otherwise: what lives long is cheap, and every way to end goes
through ``_settle``. What to do is decided in ``decisions.delivery`` and in the journal's rules;
this module only does it.

A job whose connection was lost goes on: the effect finishes and is answered, and settling the
stale delivery does nothing. The broker gives the message out again, and the copy joins the job
that is running or is answered by its own run. A job whose *lease* was lost does not: its result is
discarded, and the answer is the one that stands in the journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from effectmq.broker.crashpoints import reached
from effectmq.broker.store.attachments.large_bodies import ClaimCheck
from effectmq.broker.store.database.faults import verdict_of
from effectmq.broker.store.journal.records import (
    Accepted,
    Busy,
    ClaimAnswer,
    Granted,
    Lost,
    Mismatch,
    Missing,
    Recorded,
)
from effectmq.broker.transports.port import Delivery
from effectmq.consumers.decisions.delivery import Answer as AnswerNow
from effectmq.consumers.decisions.delivery import (
    Delay,
    Known,
    Park,
    Pause,
    Run,
    after_error,
    asked_elsewhere,
    busy,
    crash_looping,
    elsewhere,
    expired,
    misrouted,
    on_arrival,
    park_unreadable,
    retry_in,
    uncertain,
    unkept,
)
from effectmq.consumers.decisions.retry import IN_PLACE_LIMIT_MS
from effectmq.consumers.handler import Lack, NotHere, RetrySleep, TryAgain, lacks_of
from effectmq.consumers.pipeline.answers import (
    error_of,
    recorded_result,
    to_caller,
)
from effectmq.consumers.pipeline.attempt import Attempt, Result
from effectmq.consumers.pipeline.bodies import Postpone, is_out_of_line, read_stored
from effectmq.consumers.pipeline.due import Due
from effectmq.consumers.pipeline.ending import Ending
from effectmq.consumers.pipeline.leases import Hold
from effectmq.consumers.pipeline.retry_sleeps import note_sleep
from effectmq.consumers.pipeline.route import Lane
from effectmq.consumers.pipeline.unread import STORE, needs_of, passed_on, running, with_death
from effectmq.protocol.encoding.differences import mismatch_sentence
from effectmq.protocol.errors import ProtocolError
from effectmq.protocol.messages.reply import is_kept_outcome
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSleep

__all__ = ["Job"]

logger = logging.getLogger("effectmq.worker")

#: How long a suspect waits for the others to get away, where no journal knows which bodies began.
_SCATTER_S = 0.3


class Job(Ending):
    """
    One delivery on its way through the worker.

    Args:
        lane: What all jobs of one route share.
        delivery: What arrived.
    """

    __slots__ = (
        "_attempt",
        "_begun",
        "_dead_workers",
        "_defective",
        "_delayed",
        "_due",
        "_fetching",
        "_held_before",
        "_polls",
        "_refused",
        "_timer",
    )

    #: Whether the sender of a message that is too large hears of it from here.
    tells_oversize = True

    def __init__(self, lane: Lane[Job], delivery: Delivery) -> None:
        super().__init__(lane, delivery)
        self._attempt: Attempt | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._delayed: Delay | None = None
        self._polls = 0
        self._due = Due()
        self._defective = False
        self._refused = False
        #: How often this process had the message before.
        self._held_before = 0
        #: Whether the journal knows that its body has begun, and who died with it before.
        self._begun = True
        self._dead_workers: tuple[str, ...] = ()

    # Arrival -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Read the message and take the first step; never raises."""
        self._safely(self._begin)()

    def _begin(self) -> None:
        reached("after_deliver")
        lane = self.lane
        lane.jobs.add(self)
        lane.counters["delivered"] += 1
        if lane.witnesses is not None:
            self._held_before = lane.witnesses.deliver(self.delivery.message)
        if len(self.delivery.message.body) > lane.limits.max_body_bytes:
            self._reject_oversize()
            return
        if is_kept_outcome(self.delivery.message):
            # Not an effect, and nothing to run: it was kept until its reply queue is there.
            lane.settlement.deliver(
                self.delivery.message, self._settle, self._safely(self._keep), self._defect
            )
            return
        if lane.claims is not None and is_out_of_line(self.delivery.message):
            self._fetching = lane.loop.create_task(self._fetch(lane.claims))
            return
        try:
            self._request = read_request(self.delivery.message, lane.limits)
        except ProtocolError as problem:
            self._unreadable(problem)
            return
        self._arrive()

    def _unreadable(self, problem: ProtocolError) -> None:
        """Park it, unless another worker may read what this one cannot."""
        needs = needs_of(self.delivery.message, problem, store=self.lane.claims is not None)
        self._park_unread(park_unreadable(problem), needs, "")

    def _park_unread(self, why: Park, needs: str, version: str) -> None:
        """Park what is not read, unless another worker has what is needed for it."""
        lane = self.lane
        known = lane.abilities.known(needs, version, lane.route) if needs else "nobody"
        action = passed_on(
            self.delivery.message,
            why.message,
            known,
            now_ms=lane.now_ms(),
            levels_ms=lane.levels_ms,
            patience_ms=round(lane.settings.elsewhere_s * 1_000),
        )
        if action is None:
            self._park(why)
            return
        lane.counters["elsewhere"] += 1
        logger.warning(
            "effect %s goes to another worker: %s",
            self.effect_id,
            action.problem,
            extra={"action": "elsewhere", "effect_id": self.effect_id, "needs": needs},
        )
        self._send_on(action)

    async def _fetch(self, claims: ClaimCheck) -> None:
        """Get the body that is kept out of line, then go on as with any other."""
        lane = self.lane
        try:
            found = await read_stored(
                claims,
                self.delivery.message,
                lane.limits,
                now_ms=lane.now_ms(),
                levels_ms=lane.levels_ms,
            )
        except Exception as problem:
            self._defect(problem)
            return
        finally:
            self._fetching = None
        self._safely(self._fetched)(found)

    def _fetched(self, found: Request | Postpone | Park) -> None:
        lane = self.lane
        match found:
            case Request():
                self._request = found
                self._arrive()
            case Park(code="effectmq_body_missing"):
                # There may be stores of two places, of which only one has it.
                self._park_unread(found, STORE, lane.abilities.version(STORE))
            case Park():
                self._park(found)
            case Postpone():
                lane.counters["bodies_postponed"] += 1
                logger.warning(
                    "the body of effect %s cannot be fetched, next try in %d ms: %s",
                    self.effect_id,
                    found.level_ms,
                    found.problem,
                    extra={"action": "body_postponed", "effect_id": self.effect_id},
                )
                self._send_on(found)

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
        why = Park(
            "malformed",
            "effectmq_malformed",
            f"the body is {size} bytes and the limit of this worker is "
            f"{lane.limits.max_body_bytes}; keep large data outside the effect and pass a "
            "reference, or raise the limit",
        )
        answer = to_caller(self._request, self.delivery.message, error_of(why))
        encoded = self._encoded(answer)
        if self.tells_oversize and isinstance(encoded, bytes) and self.delivery.message.reply_to:
            self._answer_with(encoded, answer, self._reject)
        else:
            self._reject()

    def _reject(self) -> None:
        self.delivery.reject()
        self._end()

    def _arrive(self) -> None:
        self.lane.ignored.note(self._known())
        # By the queue, not by the key: a binding of somebody's own may bring anything here.
        astray = misrouted(self._known(), self.lane.kind)
        if astray is not None:
            self._park(astray)
        else:
            self._join()

    def _join(self) -> None:
        """Lead for this effect in this process, or follow whoever does."""
        request = self._known()
        leader = self.lane.inflight.claim(request.identity, self)
        if leader is self:
            self._lead(request)
            return
        self.lane.counters["joined"] += 1
        known = leader._known()
        if known.hash != request.hash:
            self._conflict(known.hash, known.canonical.decode())
        elif leader._answer is not None:
            self._send(leader._answer)
        elif leader._delayed is not None:
            self._wait_like(leader, leader._delayed)
        else:
            leader._followers.append(self)

    def _lead(self, request: Request) -> None:
        if not self._came_back:
            self._claim()
            return

        def heard(died: int) -> None:
            # Only one: no body begins before this has been asked, and what is found out is put
            # into the message, so that it is asked once.
            self._request = replace(request, deaths=self._most_deaths() + died)
            if self._request.deaths >= self.lane.settings.max_deaths:
                self._claim()
            else:
                self._wait(Delay(self.lane.levels_ms[0], {}))

        self._ask_who_died(heard)

    def _most_deaths(self) -> int:
        """What the copy says that knows of the most: who asks again sends one that knows none."""
        return max(job._known().deaths for job in (self, *self._followers))

    def _wait_like(self, leader: Job, action: Delay) -> None:
        """Wait as the leader does, and know of the same deaths."""
        deaths = max(self._known().deaths, leader._known().deaths)
        self._request = replace(self._known(), deaths=deaths)
        self._wait(action)

    @property
    def _came_back(self) -> bool:
        """Whether it came back more often than this process can explain, and nobody counts."""
        returns = self.delivery.message.returns
        return self.lane.witnesses is not None and returns > self._held_before

    def _ask_who_died(self, then: Callable[[int], None]) -> None:
        """How many died holding it since it was last asked: one or nobody."""
        witnesses, message = self.lane.witnesses, self.delivery.message
        if witnesses is None or not self._came_back:
            then(0)
            return

        def heard(times: int) -> None:
            if not self.lane.leaving:
                # What nobody alive explains was a death.
                then(int(message.returns > times))

        witnesses.ask(message, self._held_before, self._safely(heard))

    def _send_on(self, unread: Postpone) -> None:
        """Publish what could not be read here to a delay level; the copy keeps every count."""

        def counted(died: int) -> None:
            message = with_death(unread.message) if died else unread.message
            self.lane.settlement.delay(
                unread.level_ms, self.route, message, self._settle, self._defect
            )

        self._ask_who_died(counted)

    def _conflict(self, known_hash: str, known_envelope: str) -> None:
        request = self._known()
        self.lane.counters["conflicts"] += 1
        sentence = mismatch_sentence(
            request.identity.scope_id,
            request.replay_key,
            known_envelope,
            request.canonical.decode(),
            known_hash,
            request.hash,
        )
        self._park(Park("rejected", "effectmq_hash_conflict", sentence))

    # Claiming ----------------------------------------------------------------------------------

    def _claim(self) -> None:
        request, lane = self._known(), self.lane
        lane.quarantine.leave(self)
        if lane.quarantine.closed and not lane.leaving:
            self._keep_away()
            return
        on_uncertain = lane.handler.on_uncertain(request)
        lane.records.claim(
            request, on_uncertain, self._safely(self._claimed), self._safely(self._unkept)
        )

    def _keep_away(self) -> None:
        """Somebody has its last chance: begin later, and have no part in what happens now."""
        if self._known().deaths and not self.lane.records.kept:
            # What is only in our hands is counted when we die, and this one has been already.
            self._step_aside()
        else:
            self.lane.quarantine.hold(self._safely(self._claim))

    def _claimed(self, answer: ClaimAnswer) -> None:
        if self.lane.leaving:
            self._hand_back(answer)
            return
        match answer:
            case Granted():
                self._granted(answer)
            case Recorded():
                self._replay(answer)
            case Busy():
                self.lane.counters["busy"] += 1
                action = busy(answer.wait_ms, self._polls, self.lane.levels_ms)
                self._polls += 1
                self._wait(action)
            case Mismatch():
                self._conflict(answer.hash, answer.envelope_json)
            case Missing():
                self._not_recorded()

    def _not_recorded(self) -> None:
        """Leave it to a worker that executes, if one is known."""
        needs = running(self.lane.kind)
        sentence = (
            "this worker only replays (replay='strict') and the journal has no finished record of "
            "the effect; run it with a worker that executes"
        )
        known = self.lane.abilities.known(needs, "", self.lane.route)
        if known != "somebody" or not self._went(Lack(needs, "", sentence), known):
            self._park(Park("rejected", "effectmq_replay_missing", sentence))

    def _hand_back(self, answer: ClaimAnswer) -> None:
        """Granted to a worker that leaves: nothing ran, and whoever is next has to know that."""
        records = self.lane.records
        if isinstance(answer, Granted) and not answer.uncertain and records.kept:
            hold = Hold(self._known().identity, answer.fence)
            records.release(hold, answer.attempt, None, _ignore, _ignore)

    def _take(self, answer: Granted) -> None:
        """Hold the lease from now on, and know what the journal knows."""
        request, lane = self._known(), self.lane
        if lane.records.kept:
            self._hold = Hold(request.identity, answer.fence)
            lane.records.watch(self._hold, self._safely(self._lease_lost))
            self._request = replace(
                request,
                attempt=answer.attempt,
                due_ms=lane.now_ms() + answer.due_in_ms,
                deaths=answer.deaths,
                former_deaths=answer.former_deaths,
            )
            self._due.note(self._request.due_ms, lane)
            self._begun = answer.begun
            self._dead_workers = answer.dead_workers
        reached("after_claim")

    def _granted(self, answer: Granted) -> None:
        self._take(answer)
        if answer.uncertain:
            self._park(uncertain())
        else:
            self._step()

    def _lease_lost(self) -> None:
        """Somebody else has the effect now, or it was cancelled: the journal knows."""
        self._hold = None
        if self.lane.leaving:
            return
        logger.warning(
            "the lease of effect %s is lost; what it gives here is discarded",
            self.effect_id,
            extra={"action": "lease_lost", "effect_id": self.effect_id},
        )
        if self._attempt is not None:
            self._attempt.stop()
        elif not self._telling:
            if self._timer is not None:
                self._timer.cancel()
            self._claim()

    def _replay(self, recorded: Recorded) -> None:
        """Answer from the record; nothing runs."""
        lane, request = self.lane, self._known()
        lane.counters["replayed"] += 1
        result = recorded_result(recorded)
        answer = to_caller(
            request, self.delivery.message, result, attempt=recorded.attempts, replayed=True
        )
        if recorded.park_reason:
            # Whoever parked it may have died before its dead letter was out.
            self._post(recorded.park_reason, result, recorded.parks, answer)
        else:
            self._send(answer)

    # Steps -------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Decide on the effect as it is now: when it is ours, and again after every pause."""
        lane = self.lane
        request = self._request = self._due.moved(self._known(), lane)
        action = on_arrival(
            request,
            now_ms=lane.now_ms(),
            levels_ms=lane.levels_ms,
            max_deaths=lane.settings.max_deaths,
        )
        match action:
            case Run(alone=True):
                self._run_alone()
            case Run():
                if not self._gave_away():
                    self._begin_body()
            case AnswerNow():
                self._give(RuntimeEffectOutcomeSleep())
            case Pause() | Delay():
                self._wait(action)
            case Park(reason="crash_looping"):
                self._park(crash_looping(self._known(), self._dead_workers))
            case Park():
                self._park(action)

    def _wait(self, action: Pause | Delay) -> None:
        fixed_ms = self._known().due_ms
        request = self._request = self._known().changed(action.headers)
        lane = self.lane
        if isinstance(action, Pause):
            self._due.note(request.due_ms, lane)
            lane.counters["paused"] += 1
            then = self._step if self._hold or not lane.records.kept else self._claim
            self._timer = lane.loop.call_later(action.wait_ms / 1_000, self._safely(then))
            return
        self._delayed = action
        due_in_ms = max(0, request.due_ms - lane.now_ms()) if request.due_ms else action.level_ms
        # A moment that was fixed before stays what it is, and does not move with every hop.
        kept = request.due_ms and request.due_ms == fixed_ms
        self._let_go(None if kept else due_in_ms, lambda: self._publish_delayed(action))

    def _let_go(self, due_in_ms: int | None, then: Callable[[], None]) -> None:
        """Release the lease before the message goes to wait, so that its next holder is sure."""
        hold = self._hold
        if hold is None:
            then()
            return

        def released(answer: Accepted | Lost) -> None:
            self._telling, self._hold = False, None
            self.lane.records.unwatch(hold)
            if isinstance(answer, Accepted):
                then()
            else:
                self._delayed = None
                self._claim()

        self._telling = True
        self.lane.records.release(
            hold,
            self._known().attempt,
            due_in_ms,
            self._safely(released),
            self._safely(self._unkept),
        )

    def _publish_delayed(self, action: Delay) -> None:
        self.lane.settlement.delay(
            action.level_ms, self.route, self._known().message, self._settle, self._defect
        )
        for follower in self._take_followers():
            follower._wait_like(self, action)

    # Running -----------------------------------------------------------------------------------

    def _run_alone(self) -> None:
        """Take the last chance, when it is its turn."""
        lane = self.lane
        logger.warning(
            "effect %s was running when %d worker(s) died%s; it runs alone, and is parked if it "
            "happens again",
            self.effect_id,
            self._known().deaths,
            f" ({', '.join(self._dead_workers)})" if self._dead_workers else "",
            extra={"action": "last_chance", "effect_id": self.effect_id},
        )
        lane.counters["last_chances"] += 1
        if lane.records.kept:
            self._timer = lane.loop.call_later(
                IN_PLACE_LIMIT_MS / 1_000, self._safely(self._give_way)
            )
            lane.quarantine.enter(self, self._safely(self._begin_body))
        elif lane.quarantine.taken:
            self._step_aside()
        else:
            lane.quarantine.enter(self, self._safely(self._scatter))

    def _give_way(self) -> None:
        if self.lane.quarantine.waits(self):
            self._step_aside()

    def _step_aside(self) -> None:
        """Wait where nothing can happen to it, and where it holds no slot."""
        self.lane.quarantine.leave(self)
        self._wait(Delay(self.lane.levels_ms[0], {}))

    def _scatter(self) -> None:
        """
        Without a journal: let the other suspects get away first.

        Those that came together with this one are in our hands until they are on a delay level,
        and would be counted with it.
        """
        self._timer = self.lane.loop.call_later(_SCATTER_S, self._safely(self._begin_body))

    def _begin_body(self) -> None:
        """Run it, as soon as the journal knows that whoever dies now may have died of it."""
        if self._timer is not None:
            self._timer.cancel()
        hold = self._hold
        if self._begun or hold is None:
            self._run()
            return

        def begun(answer: Accepted | Lost) -> None:
            self._telling = False
            if self.lane.leaving:
                # Known as begun, and yet it never was: whoever is next must not count us.
                self.lane.records.release(hold, self._known().attempt, None, _ignore, _ignore)
                self._end()
            elif isinstance(answer, Accepted) and self._hold is hold:
                self._begun = True
                self._run()
            else:
                self.lane.records.unwatch(hold)
                self._hold = None
                self._claim()

        self._telling = True
        self.lane.records.begin(hold, self._safely(begun), self._safely(self._unkept))

    def _run(self) -> None:
        lane, request = self.lane, self._known()
        lane.quarantine.body_began()
        if not request.first_seen_ms:
            # Kept here only; it goes on the wire with a retry.
            request = self._request = replace(request, first_seen_ms=lane.now_ms())
        hold = self._hold
        confirm = partial(lane.records.confirm, hold) if hold is not None else None
        self._attempt = Attempt(lane, request, self._safely(self._attempted), confirm)

    def _attempted(self, result: Result, overdue: bool) -> None:
        self._attempt = None
        self.lane.quarantine.body_ended()
        self.lane.quarantine.leave(self)
        if self.lane.leaving:
            # Shut down before it was done: never settled, so another worker gets it. Whatever it
            # made of being cancelled is not an attempt.
            self._end()
        elif self._hold is None and self.lane.records.kept:
            self._discard()
        else:
            self._decide(result, overdue)

    def _discard(self) -> None:
        """The lease was lost meanwhile: the record decides, not what came out here."""
        self.lane.counters["results_discarded"] += 1
        self._claim()

    def _decide(self, result: Result, overdue: bool) -> None:
        lane, request = self.lane, self._known()
        now_ms = lane.now_ms()
        given = not isinstance(result, (TryAgain, NotHere, BaseException))
        if not isinstance(result, NotHere):
            # Somebody could, so whatever may be lacking from now on is another matter.
            request = self._request = replace(request, elsewhere=0, elsewhere_since_ms=0)
        late = request.deadline_ms and now_ms >= request.deadline_ms
        if late and (not given or overdue):
            self._park(expired(request, now_ms))
        elif isinstance(result, NotHere):
            self._pass_on(result)
        elif isinstance(result, TryAgain):
            if result.sleep is None or self._hold is None:
                self._try_again(result)
            else:
                self._sleep_first(result, result.sleep, self._hold)
        elif isinstance(result, BaseException):
            self._fail(result, now_ms)
        else:
            self._give(result)

    def _pass_on(self, missing: NotHere) -> None:
        """Give it to another worker, or say what is wrong with it when there is none."""
        lane = self.lane
        known = lane.abilities.known(missing.needs, missing.version, lane.route)
        if not self._went(missing, known):
            self._give(missing.otherwise(asked_elsewhere(self._known(), self.lane.now_ms())))

    def _gave_away(self) -> bool:
        """Whether it went to a worker that is known to have what would be missed here."""
        lane = self.lane
        if lane.abilities.alike:
            return False
        return any(
            lane.abilities.known(lack.needs, lack.version, lane.route) == "somebody"
            and self._went(lack, "somebody")
            for lack in lacks_of(lane.handler, self._known())
        )

    def _went(self, missing: NotHere | Lack, known: Known) -> bool:
        """Send it to whoever takes it next, if that is still worth it."""
        lane, request = self.lane, self._known()
        action = elsewhere(
            request.elsewhere,
            request.elsewhere_since_ms,
            known,
            deadline_ms=request.deadline_ms,
            now_ms=lane.now_ms(),
            levels_ms=lane.levels_ms,
            patience_ms=round(lane.settings.elsewhere_s * 1_000),
        )
        if action is None:
            return False
        lane.counters["elsewhere"] += 1
        logger.warning(
            "effect %s goes to another worker (handover %d): %s",
            self.effect_id,
            request.elsewhere + 1,
            printable(missing.problem),
            extra={"action": "elsewhere", "effect_id": self.effect_id, "needs": missing.needs},
        )
        self._wait(action)
        return True

    def _try_again(self, again: TryAgain) -> None:
        lane = self.lane
        action = retry_in(
            self._known(),
            again.wait_ms,
            now_ms=lane.now_ms(),
            levels_ms=lane.levels_ms,
            jitter=lane.jitter,
            at_least=again.promised,
            counts=again.counts,
        )
        if again.counts:
            self._retry(action, again.problem)
        else:
            self._wait(action)

    def _sleep_first(self, again: TryAgain, sleep: RetrySleep, hold: Hold) -> None:
        """Write the wait down, then wait; unless the effect was taken away meanwhile."""

        def noted(refusal: str) -> None:
            if self._hold is not hold or self.lane.leaving:
                return
            if refusal:
                self._give(sleep.refused(refusal))
            else:
                self._try_again(again)

        note_sleep(self.lane.records, self._known(), sleep.envelope, self._safely(noted))

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

    # What the journal does not take ------------------------------------------------------------

    def _unkept(self, problem: Exception) -> None:
        """
        Park the effect with the reason, since asking the journal again would give the same.

        When it does not even take that, the broker gets the message back; it comes out of limbo a
        few times, and is parked from there.
        """
        self._telling, self._delayed = False, None
        if self.lane.leaving:
            return
        again, self._refused = self._refused, True
        if again:
            self._unrecordable(problem)
        elif verdict_of(problem) == "defect":
            self._defect(problem)
        else:
            self._park(unkept(problem))

    def _unrecordable(self, problem: Exception) -> None:
        """Not even that it is given up can be recorded."""
        self._give_up()

    # Leaving -----------------------------------------------------------------------------------

    def _defect(self, problem: Exception) -> None:
        """
        Something raised where nothing may: park the effect, so that somebody looks at it.

        When even that fails, or the journal is being told another end, the broker gets the message
        back; it comes out of limbo a few times, and is parked from there.
        """
        lane = self.lane
        lane.counters["defects"] += 1
        logger.error(
            "effect %s cannot go on: %s",
            self.effect_id,
            describe(problem),
            exc_info=problem,
            extra={"action": "defect", "effect_id": self.effect_id},
        )
        first, self._defective = not self._defective, True
        if first and self._request is not None and not self._telling and not lane.leaving:
            sentence = f"{describe(problem)}; the worker's log has the whole of it"
            self._safely(self._park)(Park("rejected", "effectmq_defect", sentence))
            return
        self._give_up()

    def _give_up(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            self.lane.records.unwatch(hold)
            self.lane.records.abandon(hold)
        followers = self._take_followers()
        self.delivery.reject()
        self._end()
        for follower in followers:
            follower._safely(follower._join)()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.lane.quarantine.leave(self)
        if self.lane.witnesses is not None:
            self.lane.witnesses.settle(self.delivery.message)
        if self._request is not None:
            self.lane.inflight.release(self._request.identity, self)
        self.lane.discard(self)

    def leave(self) -> None:
        """The worker shuts down and time is up: stop here and leave the effect unsettled."""
        hold, self._hold = self._hold, None
        if hold is not None:
            self.lane.records.unwatch(hold)
        if self._timer is not None:
            self._timer.cancel()
        if self._fetching is not None:
            self._fetching.cancel()
        begun = self._attempt is not None and self._attempt.stop()
        if not self.lane.records.kept:
            self._hand_on()
        if hold is not None and begun:
            self.lane.records.abandon(hold)
        elif hold is not None and not self._telling:
            self.lane.records.release(hold, self._known().attempt, None, _ignore, _ignore)
        if self._attempt is None:
            self._end()

    def _hand_on(self) -> None:
        """
        Without a journal: send the effect home, because what just comes back counts as a death.

        When even that cannot be done in time, it just comes back.
        """
        lane = self.lane
        if self._request is None or self._answer is not None or self._delayed is not None:
            return
        message = self._request.changed({}).message
        lane.settlement.hand_on(lane.levels_ms[0], self.route, message, self.delivery.ack)


def _ignore(answer: object) -> None:
    """Nothing depends on it any more."""
