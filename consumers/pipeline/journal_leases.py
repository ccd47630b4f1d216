"""
The leases of a worker that has a journal. A question to the journal is repeated until it answers.

A journal that is unavailable is asked again, less and less often up to a limit, because nothing may
run unclaimed and nothing may be acknowledged unrecorded. Deliveries that wait for it stay
unsettled, so a worker whose journal is gone stops taking new ones by itself. Any other failure is
not retried, because it would come again. It is raised, and the job gives the effect up.

Leases are renewed for all effects together, a few times within each lease. An effect whose lease
was lost, to another worker or to a cancel, is told at once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from effectmq.broker.metrics.instruments import Histogram
from effectmq.broker.store.database.faults import raisable, verdict_of
from effectmq.broker.store.journal.handed_out.values import HandOut
from effectmq.broker.store.journal.journal import Journal, Look
from effectmq.broker.store.journal.records import (
    Abandon,
    Accepted,
    Begin,
    Claim,
    ClaimAnswer,
    Letter,
    Lost,
    Record,
    Release,
    Renew,
    WhenDoubtful,
    effect_of,
)
from effectmq.broker.store.spend.book import Guard
from effectmq.broker.store.spend.ceilings import Exceeded
from effectmq.broker.store.spend.records import Payer, Spend
from effectmq.consumers.decisions.retry import LONGEST_WAIT_MS
from effectmq.consumers.metrics.numbers import JournalTimes
from effectmq.consumers.pipeline.leases import JournalRefusalError, Lease, LeftError
from effectmq.consumers.pipeline.progress_notes import ProgressNotes
from effectmq.protocol.errors import DatabaseUnavailableError
from effectmq.protocol.messages.progress import Progress
from effectmq.protocol.messages.request import Identity, Request
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.envelope import RuntimeEffectCommandSleep

if TYPE_CHECKING:
    from effectmq.broker.store.debounce.rules import Arrival, Debounced
    from effectmq.broker.store.debounce.table import DebounceTable

__all__ = ["JournalLeases"]

logger = logging.getLogger("effectmq.worker")

A = TypeVar("A")

#: The pause before a journal that did not answer is asked again, in seconds.
_AGAIN_S = 0.5
_AGAIN_MAX_S = 5.0
_DOUBLINGS = 10
#: How often a worker that has debounced effects looks for windows to forget, in seconds.
_FORGET_EACH_S = 60.0
_MAX_NAME = 200
#: How many times a lease is renewed before it would run out.
_RENEWALS_PER_LEASE = 3


class JournalLeases:
    """
    The leases of one worker, from its journal.

    Args:
        journal: An open journal.
        worker: This worker's name, for people who look at the journal.
        lease_ms: How long a lease lasts without being renewed.
        strict: Never grant a claim.
        counters: ``claims``, ``leases_lost``, ``journal_retries``, ``journal_refusals``.
        took: Measures how long the journal takes to answer.
    """

    kept = True

    def __init__(
        self,
        journal: Journal,
        worker: str,
        lease_ms: int,
        counters: Counter[str],
        *,
        strict: bool = False,
        took: JournalTimes | None = None,
    ) -> None:
        self._took = took or JournalTimes.new()
        self._journal = journal
        # A name that no database can keep would fail every claim.
        self._worker = printable(worker, _MAX_NAME)
        self._guard = Guard(journal.database)
        #: Made with the first effect that is debounced: most workers never see one.
        self._debounces: DebounceTable | None = None
        self._forget_at_s = 0.0
        self._lease_ms = lease_ms
        self._strict = strict
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        # Fresh for every process: a claim of an earlier one under the same name is not ours.
        self._instance = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._watched: dict[Identity, tuple[Lease, Callable[[], None]]] = {}
        self._left = False
        self._down_since: float | None = None
        self._problem = ""
        #: The questions under way to the journal; not those that wait to be asked again.
        self._asked: set[asyncio.Future[Any]] = set()
        self._said: set[asyncio.Task[None]] = set()
        self._renewing = self._loop.call_later(self._interval_s, self._renew_all)
        self._notes = ProgressNotes(self._loop, self._renew)

    @property
    def _interval_s(self) -> float:
        return self._lease_ms / 1_000 / _RENEWALS_PER_LEASE

    @property
    def down(self) -> str:
        """The journal's error when it did not answer the last time; empty when it did."""
        return self._problem if self._down_since is not None else ""

    async def leave(self, timeout_s: float) -> None:
        """
        Stop renewing, wait for the questions under way, then ask no more.

        Args:
            timeout_s: How long to wait at most for a journal that does not answer, in seconds.
        """
        self._renewing.cancel()
        self._notes.stop()
        self._watched.clear()
        # The last questions are asked in the next turn of the loop.
        await asyncio.sleep(0)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while self._asked:
                        await asyncio.wait(self._asked)
        finally:
            self._left = True
            for task in self._said:
                task.cancel()

    # Asking until there is an answer ---------------------------------------------------------

    async def _ask(self, took: Histogram, ask: Callable[[], asyncio.Future[A]]) -> A:
        """
        The journal's answer, after any time for which the journal is unavailable.

        Raises:
            JournalRefusalError: When asking again would give the same.
            LeftError: When the worker has left.
        """
        tries = 0
        while not self._left:
            began_s = self._loop.time()
            try:
                asked = ask()
            except Exception as refused:
                asked = self._refused(refused)
            self._asked.add(asked)
            try:
                answer = await asked
            except BaseException as raised:
                problem = _told(asked, raised)
            else:
                took.observe(self._loop.time() - began_s)
                if self._down_since is not None:
                    self._note_up()
                return answer
            finally:
                self._asked.discard(asked)
            if self._left:
                break
            if verdict_of(problem) != "unavailable":
                self._note_failed(problem)
                raise JournalRefusalError(problem)
            self._counters["journal_retries"] += 1
            self._note_down(problem)
            await asyncio.sleep(min(_AGAIN_S * 2 ** min(tries, _DOUBLINGS), _AGAIN_MAX_S))
            tries += 1
        raise LeftError

    def _refused(self, problem: Exception) -> asyncio.Future[Any]:
        """A failed answer, for a journal that raised before it was asked."""
        refused: asyncio.Future[Any] = self._loop.create_future()
        refused.set_exception(raisable(problem))
        return refused

    def _say(
        self,
        ask: Callable[[], asyncio.Future[A]],
        then: Callable[[A | None], None] | None = None,
    ) -> None:
        """Tell the journal something; ``then`` gets its answer, or ``None`` when it refuses."""

        async def said() -> None:
            answer: A | None = None
            try:
                answer = await self._ask(self._took.change, ask)
            except JournalRefusalError:
                pass
            except LeftError:
                return
            if then is not None:
                then(answer)

        task = self._loop.create_task(said())
        self._said.add(task)
        task.add_done_callback(self._said.discard)

    def _note_up(self) -> None:
        if self._down_since is not None:
            logger.info(
                "the journal answers again, after %.1f s",
                self._loop.time() - self._down_since,
                extra={"action": "journal_up"},
            )
            self._down_since = None

    def _note_down(self, problem: Exception) -> None:
        self._problem = describe(problem)
        if self._down_since is None:
            # Once for each outage, not once for each effect that waits.
            self._down_since = self._loop.time()
            logger.error(
                "%s. Effects wait, nothing is acknowledged",
                self._problem,
                extra={"action": "journal_down"},
            )

    def _note_failed(self, problem: Exception) -> None:
        self._counters["journal_refusals"] += 1
        logger.error(
            "the journal refused a request for an effect, and would refuse it again: %s",
            describe(problem),
            exc_info=problem if verdict_of(problem) == "defect" else None,
            extra={"action": "journal_refusal"},
        )

    # Stores beside the journal -------------------------------------------------------------

    def ask(self, ask: Callable[[], asyncio.Future[A]]) -> Coroutine[object, object, A]:
        """
        Ask another store of the journal's database, for as long as it takes.

        Raises:
            JournalRefusalError: When asking again would give the same.
            LeftError: When the worker has left.
        """
        return self._ask(self._took.change, ask)

    def say(
        self, ask: Callable[[], asyncio.Future[A]], then: Callable[[A | None], None] | None = None
    ) -> None:
        """``ask`` in the background; ``then`` gets the answer, or ``None`` for a refusal."""
        self._say(ask, then)

    # The port --------------------------------------------------------------------------------

    def claim(
        self, request: Request, on_uncertain: Callable[[Request], WhenDoubtful]
    ) -> Coroutine[object, object, ClaimAnswer]:
        """Ask to run an effect."""
        command = request.envelope.command
        due_in_ms = 0
        if isinstance(command, RuntimeEffectCommandSleep):
            due_in_ms = min(command.duration_ms, LONGEST_WAIT_MS)
        doubtful = on_uncertain(request)
        asked = Claim(
            effect_of(request),
            self._worker,
            f"{self._instance}-{next(self._numbers)}",
            self._lease_ms,
            attempt=request.attempt,
            due_in_ms=due_in_ms,
            on_uncertain=doubtful,
            parked_as=request.parked_as,
            strict=self._strict,
            # What came back before may have ended its host: from then on deaths are counted surely.
            durable=doubtful != "retry" or due_in_ms > 0 or request.message.returns > 0,
        )
        self._counters["claims"] += 1
        return self._ask(self._took.claim, partial(self._journal.claim, asked))

    def finish(self, said: Record) -> Coroutine[object, object, Accepted | Lost]:
        """Record how it ended; durable when it is answered."""
        return self._ask(self._took.record, partial(self._journal.record, said))

    def release(
        self, lease: Lease, attempts: int, due_in_ms: int | None, spend: Spend | None = None
    ) -> Coroutine[object, object, Accepted | Lost]:
        """Let go of it until it is due."""
        said = Release(lease.identity, lease.fence, attempts, due_in_ms, spend)
        return self._ask(self._took.change, partial(self._journal.hand_back, said))

    def hand_out(self, said: HandOut) -> Coroutine[object, object, Accepted | Lost]:
        """Keep what is asked, and let go of it until it is answered."""
        return self._ask(self._took.change, partial(self._journal.hand_out, said))

    def begin(self, lease: Lease) -> Coroutine[object, object, Accepted | Lost]:
        """Say that its body begins now; durable when it is answered."""
        said = Begin(lease.identity, lease.fence)
        return self._ask(self._took.change, partial(self._journal.hand_back, said))

    def hand_back(self, lease: Lease, attempts: int) -> None:
        """Leave before a body has begun."""
        said = Release(lease.identity, lease.fence, attempts, None)
        self._say(partial(self._journal.hand_back, said))

    def abandon(self, lease: Lease) -> None:
        """Leave while a body may be half done: the lease ends now."""
        self._say(partial(self._journal.hand_back, Abandon(lease.identity, lease.fence)))

    def posted(self, identity: Identity, parks: int) -> None:
        """Record that the dead letter of this parking is out."""
        self._say(partial(self._journal.hand_back, Letter(identity, parks)))

    def look(self, request: Request) -> Coroutine[object, object, Look]:
        """What is known of an effect, without asking to run it."""
        return self._ask(
            self._took.look, partial(self._journal.look, request.identity, request.hash)
        )

    async def debounce(self, arrival: Arrival) -> Debounced:
        """What becomes of an effect of which only the last of several runs; durable."""
        from effectmq.broker.store.debounce.rules import Debounced
        from effectmq.broker.store.debounce.table import MOST_FORGOTTEN, DebounceTable

        if self._strict:
            # It only replays: the claim says what is recorded.
            return Debounced(decided=False)
        table = self._debounces
        if table is None:
            table = DebounceTable(self._journal)
            made = table.ensure
            await self._ask(self._took.change, lambda: asyncio.ensure_future(made()))
            table = self._debounces = self._debounces or table
        answer = await self._ask(self._took.change, partial(table.ask, arrival))
        if self._loop.time() >= self._forget_at_s:
            self._forget_at_s = self._loop.time() + _FORGET_EACH_S

            def forgot(count: int | None) -> None:
                if count == MOST_FORGOTTEN:  # There are more.
                    self._forget_at_s = 0.0

            self._say(table.forget, forgot)
        return answer

    @property
    def free_to_spend(self) -> bool:
        """Whether there was no ceiling a moment ago."""
        return self._guard.idle

    def exceeded(self, payer: Payer) -> Coroutine[object, object, Exceeded | None]:
        """The ceiling that has no room for somebody."""
        return self._ask(self._took.look, partial(self._guard.ask, payer))

    # Leases ----------------------------------------------------------------------------------

    def watch(self, lease: Lease, on_lost: Callable[[], None]) -> None:
        """Keep the lease renewed."""
        self._watched[lease.identity] = lease, on_lost

    def unwatch(self, lease: Lease) -> None:
        """Stop renewing a lease that was given up or lost."""
        watched = self._watched.get(lease.identity)
        if watched is not None and watched[0] == lease:
            del self._watched[lease.identity]

    def check(self, identity: Identity) -> None:
        """Find out now whether this lease is lost, because a notice says so."""
        watched = self._watched.get(identity)
        if watched is not None:
            self._renew(watched[0])

    def confirm(self, lease: Lease, then: Callable[[bool], None]) -> None:
        """Find out whether this worker still holds the lease."""
        said = Renew(lease.identity, lease.fence, self._lease_ms)

        def renewed(answer: Accepted | Lost | None) -> None:
            if isinstance(answer, Lost):
                self._lost(lease)
            # When the journal cannot be asked, the fence decides at the end.
            then(not isinstance(answer, Lost))

        self._say(partial(self._journal.hand_back, said), renewed)

    def _renew_all(self) -> None:
        # First: whatever happens in this round, there is a next one.
        self._renewing = self._loop.call_later(self._interval_s, self._renew_all)
        for lease, _ in list(self._watched.values()):
            self._renew(lease)

    def note_progress(self, lease: Lease, progress: Progress) -> None:
        """Put it on the record with the next renewal of the lease, or a little earlier."""
        self._notes.add(lease, progress)

    def keep_progress(self, lease: Lease) -> None:
        """Put on the record now what was noted and is not there."""
        if self._notes.has(lease):
            self._renew(lease)

    def _renew(self, lease: Lease) -> None:
        progress = self._notes.take(lease)
        said = Renew(lease.identity, lease.fence, self._lease_ms, progress)

        def renewed(done: asyncio.Future[Accepted | Lost]) -> None:
            problem = _problem_of(done)
            if problem is None:
                self._note_up()
                if isinstance(done.result(), Lost):
                    self._lost(lease)
            elif self._left:
                return
            elif verdict_of(problem) == "unavailable":
                # The job asks the journal again later, and learns then when its lease is over.
                self._note_down(problem)
                self._notes.put_back(lease, progress)
            else:
                self._note_failed(problem)

        # A renewal that fails is not repeated: the next round asks again.
        try:
            asked = self._journal.hand_back(said)
        except Exception as problem:
            asked = self._refused(problem)
        asked.add_done_callback(renewed)

    def _lost(self, lease: Lease) -> None:
        watched = self._watched.get(lease.identity)
        if watched is None or watched[0] != lease:
            return
        del self._watched[lease.identity]
        self._counters["leases_lost"] += 1
        watched[1]()


def _told(asked: asyncio.Future[A], raised: BaseException) -> Exception:
    """
    The journal's error, when waiting for its answer raised.

    Raises:
        BaseException: When the journal did not raise it: the task that asked is being cancelled.
    """
    task = asyncio.current_task()
    ours = task is not None and task.cancelling()
    problem = None if ours or not asked.done() else _problem_of(asked)
    if problem is None:
        raise raised
    return problem


def _problem_of(future: asyncio.Future[A]) -> Exception | None:
    """The error of a future, as an exception that can be raised again; ``None`` for none."""
    problem = asyncio.CancelledError() if future.cancelled() else future.exception()
    if problem is None or isinstance(problem, Exception):
        return problem
    # Raised as it is, it would end the loop or a task.
    return DatabaseUnavailableError(f"the journal was interrupted: {describe(problem)}")
