"""
The state of sessions of code: what the blocks so far have left behind. The port, and memory.

A session's blocks are numbered. Each leaves a state under its number, with the hash of its effect.
A block that is run again, because the worker died before the outcome was safe, finds its own hash
and begins from the state *before* it; so it does the same again, and asks for the same effects.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Protocol

from effectmq.protocol.errors import RejectEffectError, RetryEffectError

__all__ = ["FORGOTTEN", "MemorySessions", "Sessions", "Start", "forgotten", "overtaken"]

#: Stands for the engine of a state that has been removed; that the block was run is still known.
FORGOTTEN = "forgotten"

_MOST_SESSIONS = 1_000


@dataclass(frozen=True, slots=True)
class Start:
    """
    Where a block begins.

    Attributes:
        sequence: The number of the block before it; 0 when it is the first.
        state: What that left behind; ``None`` when there is nothing.
        engine: The engine that made the state, as ``monty 1.4.0``; empty without a state.
    """

    sequence: int = 0
    state: bytes | None = None
    engine: str = ""


class Sessions(Protocol):
    """Keeps the states of sessions."""

    async def open(self) -> None:
        """
        Make ready what they are kept in.

        Raises:
            DatabaseError: When that cannot be used.
        """
        ...

    async def start(self, session_id: str, effect_hash: str) -> Start:
        """
        Where a block of a session begins: where the last one ended, or where it began before.

        Raises:
            RejectEffectError: When it began before from a state that is not kept any more.
            DatabaseUnavailableError: When the states cannot be read.
        """
        ...

    async def started_ms(self, session_id: str, effect_hash: str) -> int:
        """When this was asked about this block for the first time, Unix milliseconds."""
        ...

    async def keep(
        self, session_id: str, effect_hash: str, start: Start, state: bytes | None, engine: str
    ) -> None:
        """
        Keep what a block leaves behind. Doing it twice is once.

        Args:
            session_id: The session.
            effect_hash: The block.
            start: Where it began.
            state: The state after it.
            engine: The engine that made the state; empty without a state.

        Raises:
            RetryEffectError: When another block was kept since this one began.
            DatabaseUnavailableError: Nothing was kept; trying again is safe.
        """
        ...

    async def forget(self, session_id: str) -> None:
        """Remove everything about a session."""
        ...


def forgotten(session_id: str) -> RejectEffectError:
    """The error for a block whose state before it is gone."""
    return RejectEffectError(
        "effectmq_code_state_forgotten",
        f"the block was run before and the state of session {session_id!r} before it is not kept "
        "any more, so it cannot be run again as it was; keep more states (kept_states)",
    )


def overtaken(session_id: str) -> RetryEffectError:
    """The error for two blocks of one session at a time."""
    return RetryEffectError(
        f"another block of session {session_id!r} was kept while this one ran; the blocks of a "
        "session run one after another"
    )


@dataclass(slots=True)
class _Session:
    states: dict[int, tuple[str, bytes | None, str]] = field(
        default_factory=dict[int, tuple[str, bytes | None, str]]
    )
    started_ms: dict[str, int] = field(default_factory=dict[str, int])


class MemorySessions:
    """
    States in this process only: for one worker without a database.

    Args:
        kept_states: How many blocks of a session can be run again.
    """

    def __init__(self, kept_states: int) -> None:
        self._kept_states = kept_states
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    async def open(self) -> None:
        """Nothing to do."""

    async def start(self, session_id: str, effect_hash: str) -> Start:
        """See the port."""
        states = self._session(session_id).states
        number = next((at for at, state in states.items() if state[0] == effect_hash), None)
        before = max(states, default=0) if number is None else number - 1
        if before == 0:
            return Start()
        _, state, engine = states[before]
        if engine == FORGOTTEN:
            raise forgotten(session_id)
        return Start(before, state, engine)

    async def started_ms(self, session_id: str, effect_hash: str) -> int:
        """See the port."""
        started = self._session(session_id).started_ms
        return started.setdefault(effect_hash, time.time_ns() // 1_000_000)

    async def keep(
        self, session_id: str, effect_hash: str, start: Start, state: bytes | None, engine: str
    ) -> None:
        """See the port."""
        session = self._session(session_id)
        number = start.sequence + 1
        kept = session.states.setdefault(number, (effect_hash, state, engine))
        if kept[0] != effect_hash:
            raise overtaken(session_id)
        old = number - self._kept_states - 1
        if old in session.states:
            session.states[old] = (session.states[old][0], None, FORGOTTEN)

    async def forget(self, session_id: str) -> None:
        """See the port."""
        self._sessions.pop(session_id, None)

    def _session(self, session_id: str) -> _Session:
        session = self._sessions.setdefault(session_id, _Session())
        self._sessions.move_to_end(session_id)
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return session
