"""
The port through which a job asks the journal, and its adapter for workers without a journal.

``Leases`` is the port: claim, finish, release. ``journal_leases`` asks a journal. ``NoLeases``
grants everything and remembers nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from effectmq.broker.store.journal.handed_out.values import HandOut
from effectmq.broker.store.journal.journal import Look
from effectmq.broker.store.journal.records import (
    Accepted,
    ClaimAnswer,
    Granted,
    Lost,
    Record,
    WhenDoubtful,
)
from effectmq.broker.store.spend.ceilings import Exceeded
from effectmq.broker.store.spend.records import Payer, Spend
from effectmq.protocol.messages.progress import Progress
from effectmq.protocol.messages.request import Identity, Request
from effectmq.protocol.text import describe

if TYPE_CHECKING:
    from effectmq.broker.store.debounce.rules import Arrival, Debounced

__all__ = ["JournalRefusalError", "Lease", "Leases", "LeftError", "NoLeases"]


class LeftError(Exception):
    """The worker is leaving: the delivery stays unsettled, and another worker gets the effect."""


class JournalRefusalError(Exception):
    """
    The journal refused what it was told, and would refuse it again.

    Args:
        problem: The journal's error.
    """

    def __init__(self, problem: Exception) -> None:
        self.problem = problem
        super().__init__(describe(problem))


@dataclass(frozen=True, slots=True)
class Lease:
    """
    The right of this worker to run an effect, until it ends or is lost.

    Attributes:
        identity: The effect.
        fence: What the journal knows the lease by.
    """

    identity: Identity
    fence: int


class Leases(Protocol):
    """
    The port through which a job asks the journal.

    An awaitable raises ``JournalRefusalError`` when asking again would give the same, and
    ``LeftError`` when the worker has left.
    """

    @property
    def kept(self) -> bool:
        """Whether outcomes are remembered at all."""
        ...

    @property
    def down(self) -> str:
        """The journal's error when it did not answer the last time; empty when it did."""
        ...

    def claim(
        self, request: Request, on_uncertain: Callable[[Request], WhenDoubtful]
    ) -> Awaitable[ClaimAnswer]:
        """Ask to run an effect."""
        ...

    def watch(self, lease: Lease, on_lost: Callable[[], None]) -> None:
        """Keep the lease renewed; ``on_lost`` is called when another worker has the effect."""
        ...

    def unwatch(self, lease: Lease) -> None:
        """Stop renewing a lease that was given up or lost."""
        ...

    def check(self, identity: Identity) -> None:
        """Find out now whether this lease is lost, because a notice says so."""
        ...

    def confirm(self, lease: Lease, then: Callable[[bool], None]) -> None:
        """
        Find out whether this worker still holds the lease; if not, ``on_lost`` is called first.
        """
        ...

    def note_progress(self, lease: Lease, progress: Progress) -> None:
        """Put it on the record with the next renewal of the lease, or a little earlier."""
        ...

    def keep_progress(self, lease: Lease) -> None:
        """Put on the record now what was noted and is not there; the lease ends soon."""
        ...

    def finish(self, said: Record) -> Awaitable[Accepted | Lost]:
        """Record how the effect ended; durable when it answers."""
        ...

    def release(
        self, lease: Lease, attempts: int, due_in_ms: int | None, spend: Spend | None = None
    ) -> Awaitable[Accepted | Lost]:
        """
        Release the lease until the effect is due; ``None`` for the due time that was fixed before.

        With what was spent on the effect under the lease.
        """
        ...

    @property
    def free_to_spend(self) -> bool:
        """Whether no ceiling holds for anybody, so that none need be asked for."""
        ...

    def exceeded(self, payer: Payer) -> Awaitable[Exceeded | None]:
        """The ceiling that has no room for somebody; ``None`` when all have."""
        ...

    def hand_out(self, said: HandOut) -> Awaitable[Accepted | Lost]:
        """Keep what is asked, and release the lease until it is answered; durable."""
        ...

    def begin(self, lease: Lease) -> Awaitable[Accepted | Lost]:
        """Record that the body begins now; durable when it answers."""
        ...

    def hand_back(self, lease: Lease, attempts: int) -> None:
        """Give the lease back before a body has begun, so that it counts as no death."""
        ...

    def abandon(self, lease: Lease) -> None:
        """End the lease now, on leaving while a body may be half done."""
        ...

    def posted(self, identity: Identity, parks: int) -> None:
        """Record that the dead letter of this parking is out."""
        ...

    def look(self, request: Request) -> Awaitable[Look]:
        """What is known of an effect, without asking to run it."""
        ...

    def debounce(self, arrival: Arrival) -> Awaitable[Debounced]:
        """What becomes of an effect of which only the last of several runs; durable."""
        ...


#: What nearly every effect is granted where nothing is remembered.
_FIRST = Granted(0, 1)


class NoLeases:
    """The leases without a journal: bodies may run again after a crash, outcomes are forgotten."""

    kept = False
    down = ""
    free_to_spend = True

    async def claim(
        self, request: Request, on_uncertain: Callable[[Request], WhenDoubtful]
    ) -> ClaimAnswer:
        """Grant it."""
        return _FIRST if request.attempt == 1 else Granted(0, request.attempt)

    def watch(self, lease: Lease, on_lost: Callable[[], None]) -> None:
        """Nothing can be lost."""

    def unwatch(self, lease: Lease) -> None:
        """Nothing was watched."""

    def check(self, identity: Identity) -> None:
        """Nothing can be lost."""

    def confirm(self, lease: Lease, then: Callable[[bool], None]) -> None:
        """Nothing can be lost."""
        then(True)

    def note_progress(self, lease: Lease, progress: Progress) -> None:
        """Do nothing: nothing is recorded."""

    def keep_progress(self, lease: Lease) -> None:
        """Do nothing: nothing is recorded."""

    async def finish(self, said: Record) -> Accepted | Lost:
        """Go on without a record."""
        return Accepted()

    async def release(
        self, lease: Lease, attempts: int, due_in_ms: int | None, spend: Spend | None = None
    ) -> Accepted | Lost:
        """Accept it."""
        return Accepted()

    async def exceeded(self, payer: Payer) -> Exceeded | None:
        """No ceiling is kept."""
        return None

    async def hand_out(self, said: HandOut) -> Accepted | Lost:
        """Refuse it: the question is kept nowhere."""
        return Lost()

    async def begin(self, lease: Lease) -> Accepted | Lost:
        """Accept it."""
        return Accepted()

    def hand_back(self, lease: Lease, attempts: int) -> None:
        """Do nothing: nothing is recorded."""

    def abandon(self, lease: Lease) -> None:
        """Do nothing: nothing is recorded."""

    def posted(self, identity: Identity, parks: int) -> None:
        """Do nothing: nothing is recorded."""

    async def look(self, request: Request) -> Look:
        """Nothing is known."""
        return None

    async def debounce(self, arrival: Arrival) -> Debounced:
        """Let it go on: no others are known."""
        from effectmq.broker.store.debounce.rules import Debounced

        return Debounced()
