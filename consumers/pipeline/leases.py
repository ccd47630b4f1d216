"""
What a job asks of the journal: the port, and what it is without one.

``Leases`` is what a job talks to: claim, finish, release. ``journal_leases`` asks a journal.
``NoLeases`` is the same without one: everything is granted, nothing is remembered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from effectmq.broker.store.journal.journal import Look
from effectmq.broker.store.journal.records import (
    Accepted,
    ClaimAnswer,
    Granted,
    Lost,
    Record,
    WhenDoubtful,
)
from effectmq.protocol.messages.request import Identity, Request
from effectmq.protocol.text import describe

__all__ = ["JournalRefusalError", "Lease", "Leases", "LeftError", "NoLeases"]


class LeftError(Exception):
    """The worker leaves: the delivery stays unsettled, and the effect goes to another worker."""


class JournalRefusalError(Exception):
    """
    The journal does not take what it is told, and would not if it were told again.

    Args:
        problem: What it raised.
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
    What a job asks of the journal.

    What is awaited raises ``JournalRefusalError`` when asking again would give the same, and
    ``LeftError`` when the worker has left.
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
        self, request: Request, on_uncertain: Callable[[Request], WhenDoubtful]
    ) -> Awaitable[ClaimAnswer]:
        """Ask to run an effect."""
        ...

    def watch(self, lease: Lease, on_lost: Callable[[], None]) -> None:
        """Keep the lease renewed; ``on_lost`` when somebody else has the effect now."""
        ...

    def unwatch(self, lease: Lease) -> None:
        """The lease has been given up, or is lost."""
        ...

    def check(self, identity: Identity) -> None:
        """Somebody says that this lease is lost: find out now."""
        ...

    def confirm(self, lease: Lease, then: Callable[[bool], None]) -> None:
        """Find out whether the lease is still ours; ``on_lost`` comes first when it is not."""
        ...

    def finish(self, said: Record) -> Awaitable[Accepted | Lost]:
        """Record how it ended; durable when it is answered."""
        ...

    def release(
        self, lease: Lease, attempts: int, due_in_ms: int | None
    ) -> Awaitable[Accepted | Lost]:
        """Let go of it until it is due; ``None`` for the moment that was fixed before."""
        ...

    def begin(self, lease: Lease) -> Awaitable[Accepted | Lost]:
        """Say that its body begins now; durable when it is answered."""
        ...

    def hand_back(self, lease: Lease, attempts: int) -> None:
        """Leave before a body has begun: whoever is next need not count this worker."""
        ...

    def abandon(self, lease: Lease) -> None:
        """Leave while a body may be half done: the lease ends now."""
        ...

    def posted(self, identity: Identity, parks: int) -> None:
        """The dead letter of this parking is out."""
        ...

    def look(self, request: Request) -> Awaitable[Look]:
        """What is known of an effect, without asking to run it."""
        ...


class NoLeases:
    """No journal: bodies may run again after a crash, outcomes are not remembered."""

    kept = False
    down = ""

    async def claim(
        self, request: Request, on_uncertain: Callable[[Request], WhenDoubtful]
    ) -> ClaimAnswer:
        """Granted."""
        return Granted(0, request.attempt)

    def watch(self, lease: Lease, on_lost: Callable[[], None]) -> None:
        """Nothing can be lost."""

    def unwatch(self, lease: Lease) -> None:
        """Nothing was watched."""

    def check(self, identity: Identity) -> None:
        """Nothing can be lost."""

    def confirm(self, lease: Lease, then: Callable[[bool], None]) -> None:
        """Nothing can be lost."""
        then(True)

    async def finish(self, said: Record) -> Accepted | Lost:
        """Go on without a record."""
        return Accepted()

    async def release(self, lease: Lease, attempts: int, due_in_ms: int | None) -> Accepted | Lost:
        """Go on."""
        return Accepted()

    async def begin(self, lease: Lease) -> Accepted | Lost:
        """Go on."""
        return Accepted()

    def hand_back(self, lease: Lease, attempts: int) -> None:
        """Nobody has to know."""

    def abandon(self, lease: Lease) -> None:
        """Nobody has to know."""

    def posted(self, identity: Identity, parks: int) -> None:
        """Nobody has to know."""

    async def look(self, request: Request) -> Look:
        """Nothing is known."""
        return None
