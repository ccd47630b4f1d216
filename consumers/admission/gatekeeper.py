"""
Asks the store of admission for the jobs of a worker.

The limits are read again every so often, so a limit that an operator sets holds a moment later. The
store decides by those that it has at the time; here it is only seen for which effects to ask.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from effectmq.broker.crashpoints import reached
from effectmq.broker.store.admission.deciding.gates import Verdict
from effectmq.broker.store.admission.declared.keys import Line, lines_of, shared_line
from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.records import (
    Answer,
    Ask,
    End,
    Ended,
    NotAdmitted,
    Settle,
    digest_of,
)
from effectmq.broker.store.admission.store import AdmissionStore
from effectmq.consumers.pipeline import admission
from effectmq.consumers.pipeline.admission import Permit, RoomFull
from effectmq.consumers.pipeline.journal_leases import JournalLeases
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.messages.request import Request

if TYPE_CHECKING:
    from effectmq.broker.store.admission.declared.shares import Share

__all__ = ["Gatekeeper"]

#: After which time it is looked whether there is room under a ceiling by itself, as when a day or a
#: month has begun.
_LOOK_AGAIN_MS = 30_000


class Gatekeeper:
    """
    The limits of a worker's routes; ``pipeline.admission`` is the port.

    Args:
        store: An open one.
        leases: The worker's; asks the database until it answers.
        wake: Called when it is worth looking into the room.
        answer: Called with an effect that has ended and is in the room for somebody else, too.
        max_waiting: How many effects may wait in the room.
        shares: The shares of the program.

    Attributes:
        waiting: How many effects wait in the room: as they were counted last, with those that this
            worker has brought and taken since.
    """

    def __init__(
        self,
        store: AdmissionStore,
        leases: JournalLeases,
        wake: Callable[[], None],
        answer: Callable[[str], None],
        max_waiting: int,
        shares: Sequence[Share] = (),
    ) -> None:
        self.waiting = 0
        self.max_waiting = max_waiting
        self._store = store
        self._leases = leases
        self.wake = wake
        self._answer = answer
        self._shares = shares
        self._refused: list[End] = []
        self._limits: list[Limit] = []
        self._by_route: dict[str, list[Limit]] = {}

    @property
    def limits(self) -> list[Limit]:
        """The limits that hold, as they were last read."""
        return self._limits

    def learn(self, limits: Iterable[Limit]) -> None:
        """Heed these limits from now on."""
        self._limits = list(limits)
        self._by_route.clear()

    def of(self, route: str) -> list[Limit]:
        """The limits that hold for a route."""
        found = self._by_route.get(route)
        if found is None:
            found = [limit for limit in self._limits if limit.covers(route)]
            self._by_route[route] = found
        return found

    def share(self, route: str) -> Share | None:
        """The share that holds for a route."""
        if not self._shares:
            return None
        # Not at the top: most workers share nothing.
        from effectmq.broker.store.admission.declared.shares import share_of

        return share_of(self._shares, route)

    def lines(self, route: str, request: Request) -> tuple[Line, ...]:
        """See the port."""
        return lines_of(self.of(route), request)

    async def wait(
        self, request: Request, route: str, home: str
    ) -> admission.NotAdmitted | RoomFull:
        """Keep an effect of a shared route, for which there is no slot, until it is its turn."""
        lines = self.lines(route, request)
        permit = Permit(digest_of(request.identity), "", lines, self)
        kept = await self._ask(permit, request.changed({}), route, home, full=True)
        return kept or admission.NotAdmitted(shared_line(route))

    async def ask(
        self, request: Request, lines: tuple[Line, ...], route: str, home: str
    ) -> Permit | admission.NotAdmitted | RoomFull:
        """See the port."""
        permit = Permit(digest_of(request.identity), secrets.token_hex(8), lines, self)
        return await self._ask(permit, request, route, home) or permit

    async def hold(
        self, request: Request, line: Line, route: str, home: str
    ) -> admission.NotAdmitted | RoomFull:
        """See the port."""
        permit = Permit(digest_of(request.identity), "", (line,), self)
        kept = await self._ask(permit, request, route, home, _LOOK_AGAIN_MS)
        return kept or admission.NotAdmitted(line)

    def look_again(self, request: Request) -> None:
        """See the port."""
        self._answer(digest_of(request.identity))

    async def _ask(
        self,
        permit: Permit,
        request: Request,
        route: str,
        home: str,
        look_ms: int = 0,
        *,
        full: bool = False,
    ) -> admission.NotAdmitted | RoomFull | None:
        """Where the effect waits now; ``None`` when it may start."""
        # What waits for money has no turn before there is some.
        share = None if look_ms else self.share(route)
        asked = Ask(
            permit.effect,
            permit.token,
            permit.lines if share is None else (*permit.lines, shared_line(route)),
            route,
            request.message,
            home,
            request.deadline_ms,
            look_ms=look_ms,
            turn=None if share is None else share.turn(request.tenant, to_tree(request.envelope)),
            full=full,
        )
        answer = await self._leases.ask(partial(self.keep, asked))
        if not isinstance(answer, NotAdmitted):
            return None
        if answer.full:
            return RoomFull(answer.line)
        reached("after_room")
        self.wake()
        return admission.NotAdmitted(answer.line)

    def keep(self, asked: Ask) -> asyncio.Future[Answer]:
        """Ask once; the future fails when the database does not answer."""
        # A place is kept for each that is asked for: many are, before the first answer is there.
        may_enter = self.waiting < self.max_waiting
        self.waiting += may_enter
        future = self._store.ask(replace(asked, may_enter=may_enter))

        def answered(done: asyncio.Future[Answer]) -> None:
            failed = done.cancelled() or done.exception() is not None
            answer = None if failed else done.result()
            if not isinstance(answer, NotAdmitted) or answer.full:
                self.waiting = max(0, self.waiting - may_enter)

        future.add_done_callback(answered)
        return future

    def give_back(self, permit: Permit, verdict: Verdict) -> None:
        """See the port."""
        self._say(End(permit.effect, permit.token, permit.lines, verdict))

    def _say(self, ended: End) -> None:
        self._leases.say(partial(self._store.ask, ended), partial(self._given_back, ended))

    def _given_back(self, ended: End, answer: Answer | None) -> None:
        if answer is None and ended.lines:
            # A gate that cannot be read or written keeps no permit: that goes without a verdict.
            self._say(End(ended.effect, ended.token, ()))
        elif answer is None:
            self._refused.append(ended)
        elif isinstance(answer, Ended) and answer.waited_for:
            if answer.copies:
                self._answer(ended.effect)
            self.wake()

    def give_back_again(self) -> None:
        """Say once more what the database has refused; until then it counts as running."""
        refused, self._refused = self._refused, []
        for ended in refused:
            self._say(ended)

    def settle(self, room_id: str, token: str) -> None:
        """An effect of the room is settled."""
        self._leases.say(partial(self._store.ask, Settle(room_id, token)))
