"""
What running effects stream, for whoever looks at them.

A listener's watch ends with the effect's stay at one worker, and begins again when the effect is
tried again, until the journal says that it has ended. Who is slow misses text.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress

from effectmq.api.connections import Connections
from effectmq.api.problems import ProblemError
from effectmq.api.views.fleet import FleetLooks
from effectmq.broker.client.fleet.watching import Watch
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.messages.progress import progress_tree
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.text import describe

__all__ = ["Streams"]

_MOST_LISTENERS = 50
#: How long a listener hears nothing at most, so that it knows that the line is there, in seconds.
_BEAT_S = 15.0
#: How soon, and how late at most, it is looked again where an effect is, in seconds.
_FIRST_LOOK_S = 0.5
_LONGEST_LOOK_S = 5.0
_STILL_HERE = b": still here\n\n"
_ON_ITS_WAY = ("in_progress", "waiting")


class Streams:
    """
    Tells listeners what effects stream.

    Args:
        connections: The journal, which knows how an effect goes on.
        fleet: The workers.
    """

    def __init__(self, connections: Connections, fleet: FleetLooks) -> None:
        self._connections = connections
        self._fleet = fleet
        self._listeners = 0
        self._watches: set[Watch] = set()
        self._closed = asyncio.Event()

    def end(self) -> None:
        """Let every stream end, so that nobody waits for them when the server stops."""
        self._closed.set()
        for watch in self._watches:
            watch.end()

    def listen(self, identity: Identity) -> AsyncGenerator[bytes]:
        """
        The stream of one listener, as server-sent events.

        Raises:
            ProblemError: When too many listen.
        """
        if self._listeners >= _MOST_LISTENERS:
            raise ProblemError(
                503,
                "too_many_listeners",
                f"{_MOST_LISTENERS} streams of effects are read already; close some pages",
                headers={"Retry-After": "30"},
            )
        return self._stream(identity)

    async def _stream(self, identity: Identity) -> AsyncGenerator[bytes]:
        # Counted once it runs, because a stream that never ran would be counted for ever.
        self._listeners += 1
        wait_s = _FIRST_LOOK_S
        try:
            yield b"retry: 2000\n" + _event("hello", {})
            while not self._closed.is_set():
                trouble = ""
                try:
                    status = await self._status(identity)
                    if status not in _ON_ITS_WAY:
                        yield _event("end", {"status": status})
                        return
                    if status == "in_progress":
                        async for event in self._watched(identity):
                            wait_s = _FIRST_LOOK_S
                            yield event
                except EffectmqError as problem:
                    # It is asked again, as everything else on a page is.
                    trouble = describe(problem)
                yield _event("trouble", {"detail": trouble}) if trouble else _STILL_HERE
                await self._pause(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_LOOK_S)
        finally:
            self._listeners -= 1

    async def _status(self, identity: Identity) -> str:
        """What the journal says; an effect that is parked stays where it is, too."""
        found = await (await self._connections.archive()).get_exactly(identity)
        return "parked" if found.park_reason else found.status

    async def _watched(self, identity: Identity) -> AsyncGenerator[bytes]:
        """The text of one stay at a worker, or why there is none."""
        fleet = await self._fleet.fleet()
        if fleet is None:
            return
        async with fleet.watch(identity.scope_id, identity.replay_key) as watch:
            self._watches.add(watch)
            try:
                while (events := await _next(watch)) is not None:
                    for event in events:
                        yield event
            finally:
                self._watches.discard(watch)
        if watch.refusal:
            yield _event("trouble", {"detail": watch.refusal})

    async def _pause(self, wait_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._closed.wait()


async def _next(watch: Watch) -> list[bytes] | None:
    """The next events of a watch; ``None`` at its end."""
    try:
        async with asyncio.timeout(_BEAT_S):
            found = await anext(watch, None)
    except TimeoutError:
        return [_STILL_HERE]
    if found is None:
        return None
    # Also when it is empty: whoever counts chunks must not see a gap.
    text = {name: getattr(found, name) for name in ("attempt", "number", "chunks", "text")}
    events = [_event("text", text)]
    if found.progress is not None:
        told = {"attempt": found.attempt, **progress_tree(found.progress)}
        events.append(_event("progress", told))
    return events


def _event(name: str, data: dict[str, object]) -> bytes:
    # In ASCII, so that no text can end a line of the stream.
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
