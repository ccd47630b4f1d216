"""
The state of a session of code: what its blocks have left. The port, and its adapter in memory.

The blocks of a session are numbered. Each leaves a state under its number, with the hash of its
effect. A block that is run again, because the worker died before its outcome was recorded, finds
its own hash and begins from the state *before* it. So it does the same and asks for the same
effects.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Protocol

from effectmq.protocol.errors import RejectEffectError, RetryEffectError

__all__ = ["FORGOTTEN", "MemorySessions", "Sessions", "Start", "forgotten", "overtaken"]

#: The engine of a state that has been removed; it is still known that the block was run.
FORGOTTEN = "forgotten"

_MOST_SESSIONS = 1_000


@dataclass(frozen=True, slots=True)
class Start:
    """
    Where a block begins.

    Attributes:
        sequence: The number of the block before it; 0 when it is the first.
        state: The state after that block; ``None`` when there is none.
        engine: The engine that made the state, as ``monty 1.4.0``; empty without a state.
    """

    sequence: int = 0
    state: bytes | None = None
    engine: str = ""


class Sessions(Protocol):
    """Keeps the states of sessions."""

    async def open(self) -> None:
        """
        Prepare the storage.

        Raises:
            DatabaseError: When it cannot be used.
        """
        ...

    async def start(self, session_id: str, effect_hash: str) -> Start:
        """
        The start of a block: after the last block, or where it began in an earlier run.

        Raises:
            RejectEffectError: When it began before from a state that is no longer kept.
            DatabaseUnavailableError: When the states cannot be read.
        """
        ...

    async def started_ms(self, session_id: str, effect_hash: str) -> int:
        """When this was asked about the block for the first time, Unix milliseconds."""
        ...

    async def keep(
        self, session_id: str, effect_hash: str, start: Start, state: bytes | None, engine: str
    ) -> None:
        """
        Keep the state after a block. Doing it twice changes nothing.

        Args:
            session_id: The session.
            effect_hash: The block.
            start: The start of the block.
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
    """The error for a block whose state before it has been removed."""
    return RejectEffectError(
        "effectmq_code_state_forgotten",
        f"the block was run before, but the state of session {session_id!r} before it is no longer "
        "kept, so it cannot be run again; keep more states (kept_states)",
    )


def overtaken(session_id: str) -> RetryEffectError:
    """The error for two blocks of one session at the same time."""
    return RetryEffectError(
        f"another block of session {session_id!r} was kept while this one ran; run the blocks of a "
        "session one after another"
    )


@dataclass(slots=True)
class _Session:
    states: dict[int, tuple[str, bytes | None, str]] = field(
        default_factory=dict[int, tuple[str, bytes | None, str]]
    )
    started_ms: dict[str, int] = field(default_factory=dict[str, int])


class MemorySessions:
    """
    The states in this process only: for one worker without a database.

    Args:
        kept_states: How many blocks of a session can be run again.
    """

    def __init__(self, kept_states: int) -> None:
        self._kept_states = kept_states
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    async def open(self) -> None:
        """Do nothing: memory is ready."""

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
