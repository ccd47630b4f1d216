"""
What the pipeline asks of the journal, for as long as it takes to get an answer.

``Records`` is what a job talks to: claim, finish, release. ``JournalRecords`` asks a journal; one
that is unavailable is asked again, less and less often up to a limit, because nothing may run
unclaimed and nothing may be acknowledged unrecorded. Deliveries that wait for it stay unsettled, so
a worker whose journal is gone stops taking new ones by itself. Any other failure is not asked
again: it would come back for ever. It is handed to whoever asked, who gives the effect up.
``NoRecords`` is the same without a journal: everything is granted, nothing is remembered.

Leases are renewed for all effects together, a few times within each lease. An effect whose lease
was lost, to another worker or to a cancel, is told at once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from effectmq.broker.crashpoints import reached
from effectmq.broker.store.database.faults import raisable, verdict_of
from effectmq.broker.store.journal.journal import Journal, Look
from effectmq.broker.store.journal.records import (
    Abandon,
    Accepted,
    Begin,
    Claim,
    ClaimAnswer,
    Granted,
    Letter,
    Lost,
    Record,
    Release,
    Renew,
    WhenDoubtful,
    effect_of,
)
from effectmq.consumers.decisions.retry import LONGEST_WAIT_MS
from effectmq.protocol.errors import DatabaseUnavailableError
from effectmq.protocol.messages.request import Identity, Request
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.envelope import RuntimeEffectCommandSleep

__all__ = ["Hold", "JournalRecords", "NoRecords", "Records"]

logger = logging.getLogger("effectmq.worker")

A = TypeVar("A")

#: Gets what the journal raised, when asking again would give the same.
Failed = Callable[[Exception], None]

#: Between two tries to reach a journal that did not answer, in seconds.
_AGAIN_S = 0.5
_AGAIN_MAX_S = 5.0
_DOUBLINGS = 10
_MAX_NAME = 200
#: How many times a lease is renewed before it would run out.
_RENEWALS_PER_LEASE = 3


@dataclass(frozen=True, slots=True)
class Hold:
    """
    A lease that this worker has.

    Attributes:
        identity: The effect.
        fence: What the journal knows the lease by.
    """

    identity: Identity
    fence: int


class Records(Protocol):
    """
    What a job asks; each answer arrives by callback, and none when the worker has left.

    Exactly one of ``then`` and ``failed`` is called, and nothing is raised.
    """

    @property
    def kept(self) -> bool:
        """Whether anything is remembered at all."""
        ...

    @property
    def down(self) -> str:
        """What the journal said when it did not answer the last time; empty when it did."""
        ...

    def claim(
        self,
        request: Request,
        on_uncertain: WhenDoubtful,
        then: Callable[[ClaimAnswer], None],
        failed: Failed,
    ) -> None:
        """Ask to run an effect."""
        ...

    def watch(self, hold: Hold, on_lost: Callable[[], None]) -> None:
        """Keep the lease renewed; ``on_lost`` when somebody else has the effect now."""
        ...

    def unwatch(self, hold: Hold) -> None:
        """The lease has been given up, or is lost."""
        ...

    def check(self, identity: Identity) -> None:
        """Somebody says that this lease is lost: find out now."""
        ...

    def confirm(self, hold: Hold, then: Callable[[bool], None]) -> None:
        """Find out whether the lease is still ours; ``on_lost`` comes first when it is not."""
        ...

    def finish(self, said: Record, then: Callable[[Accepted | Lost], None], failed: Failed) -> None:
        """Record how it ended."""
        ...

    def release(
        self,
        hold: Hold,
        attempts: int,
        due_in_ms: int | None,
        then: Callable[[Accepted | Lost], None],
        failed: Failed,
    ) -> None:
        """Let go of it until it is due; ``None`` for the moment that was fixed before."""
        ...

    def begin(
        self,
        hold: Hold,
        then: Callable[[Accepted | Lost], None],
        failed: Failed,
    ) -> None:
        """Say that its body begins now."""
        ...

    def abandon(self, hold: Hold) -> None:
        """Leave while a body may be half done."""
        ...

    def posted(self, identity: Identity, parks: int) -> None:
        """The dead letter of this parking is out."""
        ...

    def look(self, request: Request, then: Callable[[Look], None], failed: Failed) -> None:
        """What is known of an effect, without asking to run it."""
        ...


class NoRecords:
    """No journal: bodies may run again after a crash, outcomes are not remembered."""

    kept = False
    down = ""

    def claim(
        self,
        request: Request,
        on_uncertain: WhenDoubtful,
        then: Callable[[ClaimAnswer], None],
        failed: Failed,
    ) -> None:
        """Granted."""
        then(Granted(0, request.attempt))

    def watch(self, hold: Hold, on_lost: Callable[[], None]) -> None:
        """Nothing can be lost."""

    def unwatch(self, hold: Hold) -> None:
        """Nothing was watched."""

    def check(self, identity: Identity) -> None:
        """Nothing can be lost."""

    def confirm(self, hold: Hold, then: Callable[[bool], None]) -> None:
        """Nothing can be lost."""
        then(True)

    def finish(self, said: Record, then: Callable[[Accepted | Lost], None], failed: Failed) -> None:
        """Go on without a record."""
        then(Accepted())

    def release(
        self,
        hold: Hold,
        attempts: int,
        due_in_ms: int | None,
        then: Callable[[Accepted | Lost], None],
        failed: Failed,
    ) -> None:
        """Go on."""
        then(Accepted())

    def begin(
        self,
        hold: Hold,
        then: Callable[[Accepted | Lost], None],
        failed: Failed,
    ) -> None:
        """Go on."""
        then(Accepted())

    def abandon(self, hold: Hold) -> None:
        """Nobody has to know."""

    def posted(self, identity: Identity, parks: int) -> None:
        """Nobody has to know."""

    def look(self, request: Request, then: Callable[[Look], None], failed: Failed) -> None:
        """Nothing is known."""
        then(None)


class JournalRecords:
    """
    The records of a worker that has a journal.

    Args:
        journal: Open.
        worker: This worker's name, for people who look at the journal.
        lease_ms: How long a lease lasts without being renewed.
        strict: Never grant a claim.
        counters: ``claims``, ``replayed``, ``recorded``, ``leases_lost``, ``journal_retries``.
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
    ) -> None:
        self._journal = journal
        # A name that no database keeps would be the end of every effect that it claims.
        self._worker = printable(worker, _MAX_NAME)
        self._lease_ms = lease_ms
        self._strict = strict
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        # Fresh for every process: a claim of an earlier one under the same name is not ours.
        self._instance = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._watched: dict[Identity, tuple[Hold, Callable[[], None]]] = {}
        self._left = False
        self._down_since: float | None = None
        self._problem = ""
        self._asked: set[asyncio.Future[Any]] = set()
        self._renewing = self._loop.call_later(self._interval_s, self._renew_all)

    @property
    def _interval_s(self) -> float:
        return self._lease_ms / 1_000 / _RENEWALS_PER_LEASE

    @property
    def down(self) -> str:
        """What the journal said when it did not answer the last time; empty when it did."""
        return self._problem if self._down_since is not None else ""

    async def leave(self, timeout_s: float) -> None:
        """
        Renew no more, and wait for what was asked; then ask no more.

        Args:
            timeout_s: What a journal that does not answer may take of the way out, in seconds.
        """
        self._renewing.cancel()
        self._watched.clear()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while self._asked:
                        await asyncio.wait(self._asked)
        finally:
            self._left = True

    # Asking until there is an answer ---------------------------------------------------------

    def _ask(
        self,
        ask: Callable[[], asyncio.Future[A]],
        then: Callable[[A], None],
        failed: Failed,
        tries: int = 0,
    ) -> None:
        def answered(future: asyncio.Future[A]) -> None:
            self._asked.discard(future)
            problem = _problem_of(future)
            if problem is None:
                self._note_up()
                then(future.result())
            elif self._left:
                return
            elif verdict_of(problem) == "unavailable":
                self._counters["journal_retries"] += 1
                self._note_down(problem)
                wait_s = min(_AGAIN_S * 2 ** min(tries, _DOUBLINGS), _AGAIN_MAX_S)
                self._loop.call_later(wait_s, self._ask, ask, then, failed, tries + 1)
            else:
                self._note_failed(problem)
                failed(problem)

        if not self._left:
            asked = self._begun(ask)
            self._asked.add(asked)
            asked.add_done_callback(answered)

    def _begun(self, ask: Callable[[], asyncio.Future[A]]) -> asyncio.Future[A]:
        """What is asked; also when it is refused before it is, which is then its answer."""
        try:
            return ask()
        except Exception as problem:
            refused: asyncio.Future[A] = self._loop.create_future()
            refused.set_exception(raisable(problem))
            return refused

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
            "the journal does not take what an effect asks of it: %s",
            describe(problem),
            exc_info=problem if verdict_of(problem) == "defect" else None,
            extra={"action": "journal_refusal"},
        )

    # The port --------------------------------------------------------------------------------

    def claim(
        self,
        request: Request,
        on_uncertain: WhenDoubtful,
        then: Callable[[ClaimAnswer], None],
        failed: Failed,
    ) -> None:
        """Ask to run an effect."""
        command = request.envelope.command
        sleep = isinstance(command, RuntimeEffectCommandSleep)
        asked = Claim(
            effect_of(request),
            self._worker,
            f"{self._instance}-{next(self._numbers)}",
            self._lease_ms,
            attempt=request.attempt,
            due_in_ms=min(command.duration_ms, LONGEST_WAIT_MS) if sleep else 0,  # type: ignore[union-attr]
            on_uncertain=on_uncertain,
            parked_as=request.parked_as,
            strict=self._strict,
        )
        self._counters["claims"] += 1
        self._ask(lambda: self._journal.claim(asked), then, failed)

    def finish(self, said: Record, then: Callable[[Accepted | Lost], None], failed: Failed) -> None:
        """Record how it ended; durable before ``then`` is called."""

        def recorded(answer: Accepted | Lost) -> None:
            if isinstance(answer, Accepted):
                self._counters["recorded"] += 1
                reached("after_record")
            then(answer)

        self._ask(lambda: self._journal.record(said), recorded, failed)

    def release(
        self,
        hold: Hold,
        attempts: int,
        due_in_ms: int | None,
        then: Callable[[Accepted | Lost], None],
        failed: Failed,
    ) -> None:
        """Let go of it until it is due."""
        said = Release(hold.identity, hold.fence, attempts, due_in_ms)
        self._ask(lambda: self._journal.hand_back(said), then, failed)

    def begin(
        self,
        hold: Hold,
        then: Callable[[Accepted | Lost], None],
        failed: Failed,
    ) -> None:
        """Say that its body begins now; durable before ``then`` is called."""
        said = Begin(hold.identity, hold.fence)
        self._ask(lambda: self._journal.hand_back(said), then, failed)

    def abandon(self, hold: Hold) -> None:
        """Leave while a body may be half done: the lease ends now."""
        said = Abandon(hold.identity, hold.fence)
        self._ask(lambda: self._journal.hand_back(said), _ignore, _ignore)

    def posted(self, identity: Identity, parks: int) -> None:
        """The dead letter of this parking is out."""
        said = Letter(identity, parks)
        self._ask(lambda: self._journal.hand_back(said), _ignore, _ignore)

    def look(self, request: Request, then: Callable[[Look], None], failed: Failed) -> None:
        """What is known of an effect, without asking to run it."""
        self._ask(lambda: self._journal.look(request.identity, request.hash), then, failed)

    # Leases ----------------------------------------------------------------------------------

    def watch(self, hold: Hold, on_lost: Callable[[], None]) -> None:
        """Keep the lease renewed."""
        self._watched[hold.identity] = hold, on_lost

    def unwatch(self, hold: Hold) -> None:
        """The lease has been given up, or is lost."""
        watched = self._watched.get(hold.identity)
        if watched is not None and watched[0] == hold:
            del self._watched[hold.identity]

    def check(self, identity: Identity) -> None:
        """Somebody says that this lease is lost: find out now."""
        watched = self._watched.get(identity)
        if watched is not None:
            self._renew(watched[0])

    def confirm(self, hold: Hold, then: Callable[[bool], None]) -> None:
        """Find out whether the lease is still ours."""
        said = Renew(hold.identity, hold.fence, self._lease_ms)

        def renewed(answer: Accepted | Lost) -> None:
            if isinstance(answer, Lost):
                self._lost(hold)
            then(isinstance(answer, Accepted))

        # When that cannot be asked at all, the fence decides at the end.
        self._ask(lambda: self._journal.hand_back(said), renewed, lambda _: then(True))

    def _renew_all(self) -> None:
        # First of all: whatever becomes of this round, there is a next one.
        self._renewing = self._loop.call_later(self._interval_s, self._renew_all)
        for hold, _ in list(self._watched.values()):
            self._renew(hold)

    def _renew(self, hold: Hold) -> None:
        said = Renew(hold.identity, hold.fence, self._lease_ms)

        def renewed(done: asyncio.Future[Accepted | Lost]) -> None:
            problem = _problem_of(done)
            if problem is None:
                self._note_up()
                if isinstance(done.result(), Lost):
                    self._lost(hold)
            elif self._left:
                return
            elif verdict_of(problem) == "unavailable":
                # Whoever holds the lease will ask for more, and find out when it is over.
                self._note_down(problem)
            else:
                self._note_failed(problem)

        # One that fails is not repeated by itself: the next round asks again.
        self._begun(lambda: self._journal.hand_back(said)).add_done_callback(renewed)

    def _lost(self, hold: Hold) -> None:
        watched = self._watched.get(hold.identity)
        if watched is None or watched[0] != hold:
            return
        del self._watched[hold.identity]
        self._counters["leases_lost"] += 1
        watched[1]()


def _problem_of(future: asyncio.Future[Any]) -> Exception | None:
    """What it failed with, in a form that can be handed on."""
    problem = asyncio.CancelledError() if future.cancelled() else future.exception()
    if problem is None or isinstance(problem, Exception):
        return problem
    # Raised where a callback handles it, it would pass for the end of the loop or of a task.
    return DatabaseUnavailableError(f"the journal was interrupted: {describe(problem)}")


def _ignore(answer: Any) -> None:
    """Nothing depends on it."""
