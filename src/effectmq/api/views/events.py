"""
Says which views have changed, so that pages need not be loaded again and again.

One watcher looks, while somebody listens, and tells all. Who is slow is told once about several
changes; what is told has no data, so that nothing can pile up.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress

from effectmq.api.connections import Connections
from effectmq.api.operations import Operations
from effectmq.api.problems import ProblemError
from effectmq.api.views.fleet import FleetLooks, pauses_of
from effectmq.api.views.letters import LetterLooks
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.messages.fleet.reports import RouteReport

__all__ = ["VIEWS", "Events"]

logger = logging.getLogger("effectmq.api")

#: The views that can change.
VIEWS = (
    "overview",
    "effects",
    "sessions",
    "dead-letters",
    "operations",
    "queues",
    "workers",
    "away",
)

#: How often the watcher looks, in seconds.
_EVERY_S = 1.0
#: How long a listener hears nothing at most, so that it knows that the line is there.
_BEAT_S = 15.0
_MOST_LISTENERS = 100
#: What the change of one thing changes.
_CHANGES = {
    "journal": ("overview", "effects", "sessions"),
    "letters": ("overview", "dead-letters"),
    "operations": ("operations", "dead-letters"),
    "queues": ("overview", "queues"),
    "workers": ("overview", "workers"),
    "away": ("overview", "away"),
}


class _Listener:
    """One page that is told."""

    def __init__(self) -> None:
        self._changed: set[str] = set()
        self._wake = asyncio.Event()

    def tell(self, views: set[str]) -> None:
        self._changed |= views
        self._wake.set()

    async def next(self) -> list[str]:
        """What has changed since; nothing when it was quiet for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_BEAT_S):
                await self._wake.wait()
        self._wake.clear()
        changed, self._changed = self._changed, set()
        return [view for view in VIEWS if view in changed]


class Events:
    """
    Tells listeners.

    Args:
        connections: Broker and journal.
        letters: Looks at dead letters.
        fleet: Looks at queues and workers.
        operations: What goes on.
    """

    def __init__(
        self,
        connections: Connections,
        letters: LetterLooks,
        fleet: FleetLooks,
        operations: Operations,
    ) -> None:
        self._connections = connections
        self._letters = letters
        self._fleet = fleet
        self._operations = operations
        self._listeners: set[_Listener] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    def end(self) -> None:
        """Let every stream end, so that nobody waits for them when the server stops."""
        self._closed.set()
        for listener in self._listeners:
            listener.tell(set())

    async def close(self) -> None:
        """End the watcher, and every listening."""
        self.end()
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    def listen(self) -> AsyncGenerator[bytes]:
        """
        The stream of one listener, as server-sent events.

        Raises:
            ProblemError: When too many listen.
        """
        if len(self._listeners) >= _MOST_LISTENERS:
            raise ProblemError(
                503,
                "too_many_listeners",
                f"{_MOST_LISTENERS} pages listen already; close some, or ask for views instead",
                headers={"Retry-After": "30"},
            )
        return self._stream()

    async def _stream(self) -> AsyncGenerator[bytes]:
        # Known once it runs, because a stream that never ran would not be taken out again.
        listener = _Listener()
        self._listeners.add(listener)
        try:
            if self._watcher is None or self._watcher.done():
                self._watcher = asyncio.get_running_loop().create_task(
                    self._watch(), name="effectmq api events"
                )
            yield b"retry: 2000\nevent: hello\ndata: {}\n\n"
            while not self._closed.is_set():
                changed = await listener.next()
                if changed:
                    yield f"event: changed\ndata: {json.dumps({'views': changed})}\n\n".encode()
                else:
                    yield b": still here\n\n"
        finally:
            self._listeners.discard(listener)

    async def _watch(self) -> None:
        known: dict[str, object] = {}
        while self._listeners:
            try:
                state = await self._state()
            except Exception:
                # It is to go on watching; what is wrong is in the log.
                logger.exception("looking for changes failed by a defect")
                state = {}
            changed = {
                view
                for thing, value in state.items()
                if thing in known and known[thing] != value
                for view in _CHANGES[thing]
            }
            known.update(state)
            if changed:
                for listener in self._listeners:
                    listener.tell(changed)
            await asyncio.sleep(_EVERY_S)

    async def _state(self) -> dict[str, object]:
        """What is watched, as far as it can be seen."""
        away = dict(self._connections.away)
        state: dict[str, object] = {"operations": self._operations.version}
        if self._connections.place.journal is not None:
            try:
                state["journal"] = await (await self._connections.archive()).newest_change()
            except EffectmqError as problem:
                away["journal"] = str(problem)
        with suppress(EffectmqError):
            index, _ = await self._letters.index()
            state["letters"] = await index.counts()
        try:
            seen = await self._fleet.seen()
        except EffectmqError as problem:
            away["broker"] = str(problem)
        else:
            # Without ages and rates, which are never the same.
            state["queues"] = [
                (each.queue, each.ready, each.consumers, each.in_flight) for each in seen.queues
            ]
            state["workers"] = (
                [
                    (
                        each.report.name,
                        each.report.state,
                        each.answered,
                        _steered(each.report.routes),
                    )
                    for each in seen.workers
                ],
                pauses_of(seen),
            )
        state["away"] = away
        return state


def _steered(routes: Iterable[RouteReport]) -> list[tuple[object, ...]]:
    return [
        (each.route, each.slots, each.in_flight, each.consuming, each.paused) for each in routes
    ]
