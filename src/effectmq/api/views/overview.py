"""
Everything at one look: routes, letters, what needs a person.

Many pages may show it at once, so one look is shared by all that ask within a moment. What is away
is said, and the rest is shown.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from effectmq.api.connections import Connections
from effectmq.api.views.attention import attention_of
from effectmq.api.views.fleet import FleetLooks
from effectmq.api.views.history import BUCKET_S, History
from effectmq.api.views.letters import LetterLooks
from effectmq.broker.client.fleet.facts import worker_facts
from effectmq.broker.queues.reports import QueueReport, QueuesSeen
from effectmq.broker.store.journal.archive.archive import Archive
from effectmq.broker.store.journal.archive.statistics import JournalStats
from effectmq.broker.store.letters.index import Facets
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.kinds import EFFECT_KINDS, kind_of
from effectmq.protocol.text import describe

__all__ = ["Look", "Overviews"]

#: All that ask within so many seconds get the same answer.
_SHARED_S = 0.5
#: PostgreSQL counts by reading an index; so many times as long as that took, nobody counts again.
_SHARE = 10.0
#: How long the broker may take to say what waits, in seconds.
_BROKER_S = 3.0


@dataclass(slots=True)
class Look:
    """
    What one look found.

    Attributes:
        seen: Queues and workers; ``None`` while the broker is away.
        stats: The journal in numbers; ``None`` while it is away.
        history: What was settled lately.
        facets: Dead letters, by what; ``None`` when they are not known.
        now_ms: The journal's clock, Unix milliseconds; 0 while it is away.
        away: What is away, and why.
    """

    seen: QueuesSeen | None = None
    stats: JournalStats | None = None
    history: History | None = None
    facets: Facets | None = None
    now_ms: int = 0
    away: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def by_route(self) -> Mapping[str, int]:
        """Dead letters by route."""
        return self.facets.counts["route"] if self.facets else {}


class Overviews:
    """
    Makes them.

    Args:
        connections: Broker and journal.
        letters: Looks at dead letters.
        fleet: Looks at queues and workers.
    """

    def __init__(self, connections: Connections, letters: LetterLooks, fleet: FleetLooks) -> None:
        self._connections = connections
        self._letters = letters
        self._fleet = fleet
        self._history = History()
        #: When the journal was counted, how long that took, and what was found.
        self._counted: tuple[float, float, JournalStats] | None = None
        self._making: asyncio.Task[dict[str, Any]] | None = None
        self._made: tuple[float, dict[str, Any]] | None = None

    async def overview(self) -> dict[str, Any]:
        """The overview, as it is or was a moment ago."""
        loop = asyncio.get_running_loop()
        if self._made is not None and loop.time() - self._made[0] < _SHARED_S:
            return self._made[1]
        if self._making is None or self._making.done():
            self._making = loop.create_task(self._make(), name="effectmq api overview")
        # One who goes away must not take it from the others.
        return await asyncio.shield(self._making)

    async def close(self) -> None:
        """End a look that is under way."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)

    async def _make(self) -> dict[str, Any]:
        look = Look()
        await asyncio.gather(
            self._look_at_journal(look),
            self._look_at_letters(look),
            self._look_at_broker(look),
        )
        made = _document(look)
        self._made = (asyncio.get_running_loop().time(), made)
        return made

    async def _look_at_journal(self, look: Look) -> None:
        if self._connections.place.journal is None:
            return
        try:
            archive = await self._connections.archive()
            look.stats = await self._numbers(archive)
            look.now_ms = await archive.now_ms()
            await self._history.refresh(archive, look.now_ms)
            look.history = self._history
        except EffectmqError as problem:
            look.away["journal"] = describe(problem)

    async def _numbers(self, archive: Archive) -> JournalStats:
        """The journal in numbers; where counting takes long, those of a moment ago."""
        clock = asyncio.get_running_loop().time
        if self._counted is not None:
            ended_s, took_s, stats = self._counted
            if clock() - ended_s < _SHARE * took_s:
                return stats
        began_s = clock()
        stats = await archive.stats()
        self._counted = clock(), clock() - began_s, stats
        return stats

    async def _look_at_letters(self, look: Look) -> None:
        try:
            index, _ = await self._letters.index()
            look.facets = await index.facets()
        except EffectmqError as problem:
            look.away.setdefault("letters", describe(problem))

    async def _look_at_broker(self, look: Look) -> None:
        try:
            async with asyncio.timeout(_BROKER_S):
                look.seen = await self._fleet.seen()
        except TimeoutError:
            look.away["broker"] = f"the broker did not answer within {_BROKER_S:g} s"
        except EffectmqError as problem:
            look.away["broker"] = describe(problem)


def _document(look: Look) -> dict[str, Any]:
    stats, facets = look.stats, look.facets
    by_status = Counter[str]()
    for (_, status), count in stats.counts.items() if stats else ():
        by_status[status] += count
    rows = _rows(look)
    return {
        "routes": rows,
        "bucket_s": BUCKET_S,
        "letters": facets.letters if facets else None,
        "letters_by_reason": facets.counts["reason"] if facets else {},
        "effects": by_status.total() if stats else None,
        "effects_by_status": dict(by_status),
        "workers": [worker_facts(each) for each in look.seen.workers] if look.seen else None,
        "silent": look.seen.silent if look.seen else None,
        "attention": attention_of(look.seen, stats, facets, rows, look.away),
        "away": look.away,
        "now_ms": look.now_ms or round(time.time() * 1_000),
    }


def _rows(look: Look) -> list[dict[str, Any]]:
    """A row for each route that has a queue, something in the journal, or dead letters."""
    work = (
        {each.route: each for each in look.seen.queues if each.role == "work"} if look.seen else {}
    )
    waiting = Counter[str]()
    known = set(work)
    for (kind, status), count in look.stats.counts.items() if look.stats else ():
        if kind:
            known.add(kind)
        if status == "waiting":
            waiting[kind] += count
    known.update(route for route in look.by_route if kind_of(route) in EFFECT_KINDS)
    order = {kind: place for place, kind in enumerate(EFFECT_KINDS)}
    routes = sorted(known, key=lambda route: (order.get(kind_of(route), len(order)), route))
    now_ms = round(time.time() * 1_000)
    return [
        {
            "route": route,
            **_of_queue(work.get(route), now_ms),
            **_of_journal(look, route, waiting[route]),
            "parked": look.by_route.get(route, 0) if look.facets else None,
        }
        for route in routes
    ]


def _of_queue(queue: QueueReport | None, now_ms: int) -> dict[str, Any]:
    if queue is None:
        names = ("paused", "ready", "consumers", "in_flight", "oldest_ms")
        return dict.fromkeys(names)
    oldest_s = queue.oldest_at_most_s
    return {
        "paused": None if queue.paused is None else asdict(queue.paused),
        "ready": queue.ready,
        "consumers": queue.consumers,
        "in_flight": queue.in_flight,
        "oldest_ms": None if oldest_s is None else now_ms - round(oldest_s * 1_000),
    }


def _of_journal(look: Look, route: str, waiting: int) -> dict[str, Any]:
    history = look.history
    _, since_ms = history.running.get(route, (0, 0)) if history else (0, 0)
    settled, failed = history.of(route) if history else ([], [])
    total = sum(settled)
    return {
        "waiting": waiting if look.stats else None,
        "rate": history.rate(route) if history else None,
        "failing": round(sum(failed) / total, 4) if total else None,
        "running_since_ms": since_ms or None,
        "history": settled,
        "failures": failed,
    }
