"""
One attempt: a handler that runs in its own task, under its time limit.

A handler that runs over its limit is cancelled and gets a short time to end. One that swallows the
cancellation is abandoned: its effect goes on without it, and its late result is ignored.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from typing import TYPE_CHECKING, Any

from effectmq.broker.crashpoints import reached
from effectmq.broker.inheritance import Inheritance, carry_out_here
from effectmq.broker.store.spend.records import Use
from effectmq.consumers.answering import WaitForAnswer, new_token
from effectmq.consumers.handler import EffectContext, NotHere, TryAgain, checked_outcome
from effectmq.consumers.logs.lines import note_raised
from effectmq.consumers.outboxes.chunks import SendChunk
from effectmq.consumers.outboxes.progress import ProgressTeller
from effectmq.consumers.pipeline.leases import Lease
from effectmq.consumers.runtime.threads import Confirm, Seat, take_seat
from effectmq.protocol.errors import HandlerError
from effectmq.protocol.exact.tools import WrittenOutcome
from effectmq.protocol.messages.log_names import log_names
from effectmq.protocol.messages.progress import Progress, progress_of
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import printable
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome

if TYPE_CHECKING:
    from effectmq.consumers.pipeline.route import Route

__all__ = ["Attempt", "HandlerExitError", "Result"]

logger = logging.getLogger("effectmq.worker")

#: How often to look whether an attempt whose time is up still waits for a thread, in seconds.
_LOOK_AGAIN_S = 0.05
#: Calls that one attempt may note as paid for.
_MOST_USES = 1_000
#: Two threads of one handler may tell its first progress at once.
_MAKING = threading.Lock()

#: The result of an attempt; errors are values here, so that no exception reaches the loop.
Result = RuntimeEffectOutcome | WrittenOutcome | TryAgain | NotHere | WaitForAnswer | BaseException


class HandlerExitError(HandlerError):
    """A handler called ``sys.exit``, or ended its own task."""


class Attempt:
    """
    One run of a handler; it starts when the object is made.

    Args:
        route: The handler, and what all jobs of its route share.
        request: The effect.
        confirm: Finds out whether this worker still holds the effect, before a body begins that had
            to wait for a thread.
        lease: Under which it runs; ``None`` where nothing is recorded.
    """

    __slots__ = (
        "_called",
        "_counted",
        "_deadline_s",
        "_grace",
        "_lease",
        "_limit_s",
        "_overdue",
        "_request",
        "_route",
        "_seat",
        "_send",
        "_started_s",
        "_stopping",
        "_task",
        "_token",
        "ended",
        "progress",
        "silent",
        "took_s",
        "uses",
    )

    def __init__(
        self,
        route: Route[Any],
        request: Request,
        confirm: Confirm | None = None,
        lease: Lease | None = None,
    ) -> None:
        self._route = route
        self._request = request
        #: The result, and whether the attempt ran over its time.
        #: How long it took, in seconds; 0 until it has ended.
        self.took_s = 0.0
        self.ended: asyncio.Future[tuple[Result, bool]] = route.loop.create_future()
        self._overdue = self._stopping = self._counted = self._called = False
        self._send: SendChunk | None = None
        self._lease = lease
        #: Tells how far it is; ``None`` until the handler says it.
        self.progress: ProgressTeller | None = None
        #: Nobody is told any more: a thread that outlives its attempt may have its first word then.
        self.silent = False
        #: What it has used so far; ``None`` for nothing.
        self.uses: list[Use] | None = None
        self._token = ""
        self._seat = Seat(route.threads, confirm)
        limit_s = route.handler.limit_s(request) or route.settings.time_limit_s
        left_s = math.inf
        if request.deadline_ms:
            left_s = max(0.0, (request.deadline_ms - route.now_ms()) / 1_000)
        self._limit_s = min(limit_s, left_s)
        self._started_s = route.loop.time()
        self._deadline_s = self._started_s + left_s
        route.counters["started"] += 1
        self._task = route.loop.create_task(self._run())
        self._grace: asyncio.TimerHandle | None = None
        route.time_limits.add(self, self._limit_s)

    @property
    def over(self) -> bool:
        """Whether the handler has ended; its result may be told a moment later."""
        return self._task.done() or self.ended.done()

    def stop(self) -> bool:
        """
        Cancel the handler; it still ends, at the latest when it is abandoned.

        Returns:
            Whether any part of it may have run. If not, none ever will.
        """
        # First: a thread may begin at any moment, and after this none does.
        self._seat.take_back()
        begun = self._called and not self._seat.untouched
        if not self._stopping:
            self._cancel()
        return begun

    def _note_use(self, use: Use) -> None:
        """Note what a call has used; may be called in any thread."""
        if self.uses is None:
            self.uses = []
        if len(self.uses) >= _MOST_USES:
            raise ValueError(
                f"an attempt can note {_MOST_USES} calls that were paid for; note sums of them"
            )
        self.uses.append(use.bounded())

    def _cancel(self) -> None:
        self._stopping = True
        self._route.time_limits.discard(self)
        self._seat.take_back()
        if not self._called:
            # Its coroutine never begins, and cannot tell that it has ended.
            self._task.add_done_callback(self._done)
        self._task.cancel()
        if not self._route.leaving:
            grace_s = self._route.settings.kill_grace_s
            self._grace = self._route.loop.call_later(grace_s, self._abandon)

    def is_over(self) -> None:
        """Cancel a handler that ran over its time, and give it a moment to end."""
        if self._task.done():
            return
        left_s = self._left_s()
        if left_s > 0:
            self._route.time_limits.add(self, left_s)
            return
        self._overdue = True
        self._route.counters["timeouts"] += 1
        self._cancel()

    def _left_s(self) -> float:
        """The rest of its time limit, in seconds; waiting for a thread does not count."""
        now_s = self._route.loop.time()
        left_s = self._started_s + self._limit_s + self._seat.waited_s() - now_s
        if self._seat.waits:
            left_s = max(left_s, _LOOK_AGAIN_S)
        return min(left_s, self._deadline_s - now_s)

    def _abandon(self) -> None:
        if self._task.done() or self.ended.done():
            # It ended after all, or the worker has left without it.
            return
        logger.error(
            "effect %s cannot be stopped; its handler is abandoned and still runs",
            printable(self._request.effect_id, 200),
            extra={"action": "handler_abandoned", **log_names(self._request)},
        )
        if not self._seat.abandon():
            # A coroutine that swallowed its cancellation; the threads count their own.
            self._counted = True
            self._route.abandoned.add()
        self.ended.set_result((self._timed_out(), self._overdue))

    def _done(self, task: asyncio.Task[Result]) -> None:
        """The end of a task that was cancelled, or that ended in no usual way."""
        if task.cancelled():
            self._end(HandlerExitError("the handler cancelled its own task"))
        else:
            error = task.exception()
            self._end(task.result() if error is None else error)

    def _end(self, result: Result) -> None:
        if self._task.cancelling() and not self._task.done():
            # Only the task will know whether it was cancelled.
            self._task.add_done_callback(self._done)
            return
        self._route.time_limits.discard(self)
        if self._grace is not None:
            self._grace.cancel()
        if self.ended.done():
            # Abandoned before; the effect has gone on without it.
            if self._counted:
                self._route.abandoned.remove()
            return
        self.took_s = self._route.loop.time() - self._started_s
        self._route.numbers.runs.observe(self.took_s)
        reached("after_effect")
        self.ended.set_result((self._timed_out() if self._overdue else result, self._overdue))

    def _timed_out(self) -> Result:
        try:
            return self._route.handler.timed_out(self._request, self._limit_s)
        except Exception as problem:
            return problem

    async def _run(self) -> Result:
        """
        Run the handler once, and tell what came of it; an exception is told as a value.

        A callback of the task would tell one turn of the loop later. Only a task that was cancelled
        needs one: it alone knows how it has ended.
        """
        self._called = True
        route, request = self._route, self._request
        try:
            reached("mid_effect")
            parent = Inheritance.of(request)
            context = EffectContext(
                request.envelope,
                request.effect_id,
                request.attempt,
                request.deadline_ms,
                parent.traceparent,
                self._stream,
                parent.tracestate,
                parent.tenant,
                parent.version,
                request.priority,
                self._note_use,
                self,
            )
            # Both for this task only, which ends with the attempt.
            take_seat(self._seat)
            carry_out_here(parent)
            result = await route.handler.run(request, context)
            if not isinstance(result, (WrittenOutcome, TryAgain, NotHere, WaitForAnswer)):
                # A record stays for ever, so the result of every handler is checked.
                result = checked_outcome(request.kind, result)
        except SystemExit as problem:
            note_raised(request, problem)
            exited = HandlerExitError(f"the handler called sys.exit({problem.code!r})")
            self._end(exited)
            return exited
        except Exception as problem:
            note_raised(request, problem)
            self._end(problem)
            return problem
        except BaseException:
            self._task.add_done_callback(self._done)
            raise
        self._end(result)
        return result

    def answer_token(self) -> str:
        """The token of whoever answers, if this attempt hands its effect out; always the same."""
        self._token = self._token or new_token()
        return self._token

    def _stream(self, text: str) -> None:
        """
        Send a piece of text, unless the attempt was abandoned: its text is not the next one's.
        """
        if self.ended.done():
            return
        self._sender()(text)

    def _sender(self) -> SendChunk:
        if self._send is None:
            self._send = self._route.chunks.stream(self._request)
        return self._send

    def note_progress(self, done: object, total: object, note: object) -> None:
        """Tell how far it is; in any thread."""
        progress = progress_of(done, total, note, self._request.attempt)
        if self.progress is None:
            with _MAKING:
                self.progress = self.progress or ProgressTeller(
                    self._route.loop, self._tell_progress, self._route.chunks.telling
                )
        # Looked at after it was made: who ends the attempt sets this first, and then looks for it.
        if not self.silent:
            self.progress.note(progress)

    def _tell_progress(self, progress: Progress) -> None:
        self._sender()("", progress)
        if self._lease is not None:
            self._route.leases.note_progress(self._lease, progress)

    def end_progress(self) -> None:
        """It has ended: what was noted last is told and recorded, and nothing after it."""
        if self.progress is None:
            return
        self.progress.end()
        if self._lease is not None:
            self._route.leases.keep_progress(self._lease)
