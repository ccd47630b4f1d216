"""
What running effects stream, as lines of a terminal.

Each effect that is followed is watched at its worker, the first few at a time. Text comes from the
moment on at which the watching began, best effort.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Self

from effectmq.broker.client.fleet.fleet import Fleet
from effectmq.broker.client.fleet.watching import Watch
from effectmq.broker.store.journal.archive.summaries import EffectSummary
from effectmq.cli.terminal.tables import Room
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.messages.fleet.watched import Watched
from effectmq.protocol.messages.progress import Progress, progress_tree
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.text import printable

__all__ = ["Chunks", "Lines", "chunk_facts"]

#: Each is asked for every few seconds, of all workers.
_MOST = 20
#: How long the beginning of a line waits for the rest, in seconds.
_PATIENCE_S = 1.0
_WIDTH = 160
_LEAST_WIDTH = 20

Tell = Callable[[EffectSummary, Watched | None], None]


class Chunks:
    """
    Follows effects while they run.

    Args:
        fleet: The workers.
        tell: Is told what an effect streamed; ``None`` says that it pauses or ends.
        trouble: Is told a sentence when an effect cannot be watched.
    """

    def __init__(self, fleet: Fleet, tell: Tell, trouble: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._tell = tell
        self._trouble = trouble
        self._said: set[str] = set()
        self._listening: dict[Identity, asyncio.Task[None]] = {}
        self._again: dict[Identity, EffectSummary] = {}
        #: Why nobody reads any more.
        self._lost: OSError | None = None

    async def __aenter__(self) -> Self:
        """Nothing is followed yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Follow nothing more."""
        for task in self._listening.values():
            task.cancel()
        await asyncio.gather(*self._listening.values(), return_exceptions=True)

    def follows(self, identity: Identity) -> bool:
        """Whether an effect is followed."""
        return identity in self._listening

    @property
    def following(self) -> int:
        """How many are followed."""
        return len(self._listening)

    def follow(self, effects: Iterable[EffectSummary]) -> None:
        """
        Follow those of them that run.

        Raises:
            OSError: When what was told could not be written.
        """
        if self._lost is not None:
            raise self._lost
        for effect in effects:
            if effect.status != "in_progress":
                continue
            if effect.identity in self._listening:
                # Taken anew: what is watched may be the stay before.
                self._again[effect.identity] = effect
            elif len(self._listening) < _MOST:
                self._listening[effect.identity] = asyncio.create_task(self._listen(effect))
            else:
                self._once(
                    f"{_MOST} effects are followed at a time; others stream unseen meanwhile"
                )

    async def _listen(self, effect: EffectSummary) -> None:
        identity = effect.identity
        asked: EffectSummary | None = effect
        try:
            while asked is not None:
                watch = self._fleet.watch(identity.scope_id, identity.replay_key)
                try:
                    async with watch:
                        await self._hear(asked, watch)
                except EffectmqError as problem:
                    self._once(f"what effects stream cannot be seen: {problem}")
                    return
                if watch.refusal:
                    self._once(f"what effects stream cannot be seen: {watch.refusal}")
                asked = self._again.pop(identity, None)
        except OSError as lost:
            self._lost = lost
        finally:
            self._again.pop(identity, None)
            del self._listening[identity]

    async def _hear(self, effect: EffectSummary, watch: Watch) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    async for watched in watch:
                        self._tell(effect, watched)
                self._tell(effect, None)
                return
            self._tell(effect, None)

    def _once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._trouble(sentence)


class Lines:
    """
    Makes whole lines of what effects stream, for people.

    Args:
        room: The room of the terminal.
        write: Writes one line.
    """

    def __init__(self, room: Room, write: Callable[[str], None]) -> None:
        self._digits = 8 if room.narrow else 12
        taken = 23 + self._digits
        self._width = max(_LEAST_WIDTH, (room.columns or _WIDTH + taken) - taken)
        self._write = write
        self._begun: dict[Identity, str] = {}
        self._next: dict[Identity, tuple[int, int]] = {}
        self._shown: dict[Identity, str] = {}

    def tell(self, effect: EffectSummary, watched: Watched | None) -> None:
        """Write what is whole; with ``None`` also the beginning of a line."""
        text = self._begun.pop(effect.identity, "")
        if watched is not None:
            attempt, number = self._next.get(effect.identity, (0, 0))
            expected = number if watched.attempt == attempt else 0
            self._next[effect.identity] = watched.attempt, watched.number + watched.chunks
            # Chunks are missing in between, or before.
            text += ("" if watched.number == expected else "…") + watched.text
        *whole, rest = text.split("\n")
        while len(rest) >= self._width:
            whole.append(rest[: self._width])
            rest = rest[self._width :]
        if watched is None and rest:
            whole.append(rest)
        elif rest:
            self._begun[effect.identity] = rest
        for line in whole:
            for at in range(0, max(1, len(line)), self._width):
                self._line(effect, line[at : at + self._width])
        if watched is not None and watched.progress is not None:
            self.progress(effect, watched.progress)

    def progress(self, effect: EffectSummary, progress: Progress) -> None:
        """Write how far an effect is, unless that was written last."""
        said = f"{progress}"
        if self._shown.get(effect.identity) != said:
            self._shown[effect.identity] = said
            self._line(effect, said, "progress")

    def forget(self, identity: Identity) -> None:
        """It has ended."""
        self._next.pop(identity, None)
        self._shown.pop(identity, None)

    def _line(self, effect: EffectSummary, text: str, what: str = "streams") -> None:
        shown = printable(text, 6 * self._width)
        clock = f"{datetime.now().astimezone():%H:%M:%S}"
        self._write(f"{clock}  {effect.hash[: self._digits]}  {what:<11}{shown}".rstrip())


def chunk_facts(effect: EffectSummary, watched: Watched) -> dict[str, object]:
    """What an effect streamed, for scripts; the keys are stable."""
    return {
        "scope_id": effect.identity.scope_id,
        "replay_key": effect.identity.replay_key,
        "effect_id": effect.effect_id,
        "attempt": watched.attempt,
        "number": watched.number,
        "chunks": watched.chunks,
        "text": watched.text,
        "progress": None if watched.progress is None else progress_tree(watched.progress),
    }
