"""
The port between a session of code and its interpreter.

An engine runs one block. It begins with the state of the session, asks its host for everything
outside (tools, time, sleep), and returns what was printed, the last value, and the new state. It
uses its own processes; nothing that a block does may harm the worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Protocol

from effectmq.protocol.errors import HandlerError

__all__ = [
    "BlockStoppedError",
    "Engine",
    "EngineCrashedError",
    "Host",
    "Later",
    "Program",
    "Ran",
    "StateUnreadableError",
]


class EngineCrashedError(HandlerError):
    """
    The interpreter's process ended while it ran a block; another attempt starts a new one.

    Args:
        problem: What is known about the end.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(
            f"the process that ran the block ended: {problem}. Nothing of the block is kept; look "
            "for what ended the process (the memory killer of the system, a signal)"
        )


class StateUnreadableError(Exception):
    """
    A state that this engine cannot read.

    Args:
        problem: The reason, in the engine's words.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class BlockStoppedError(Exception):
    """
    Ends a block where it is, because of a limit; the code cannot catch it.

    Args:
        sentence: The limit.
        details: The place in the code, when it is known.
    """

    def __init__(self, sentence: str, details: str = "") -> None:
        self.sentence = sentence
        self.details = details
        super().__init__(sentence)


class Later:
    """
    Something to await later, or never: its coroutine is made only when it is awaited.

    Args:
        make: Makes the coroutine.
    """

    def __init__(self, make: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._make = make

    def __await__(self) -> Generator[Any, Any, object]:
        return self._make().__await__()


class Host(Protocol):
    """
    What a block can use from outside of itself.

    A block that is run again gets the same answers in the same order, so there must be no other way
    out.
    """

    def knows(self, name: str) -> bool:
        """Whether code can call a function of this name."""
        ...

    def names(self) -> Collection[str]:
        """The names that ``knows`` knows, for engines that must have them beforehand."""
        ...

    async def call(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """
        Call a function.

        Raises:
            CodeError: To be raised in the code, where it called.
            BlockStoppedError: To end the block.
        """
        ...

    def begin(
        self, name: str, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Awaitable[object]:
        """
        Begin a call whose result is awaited later; it gets its number now.

        An engine must choose what it awaits first by the order of these calls, never by what is
        ready
        first: the code has to do the same when it is run again.

        Returns:
            An awaitable that returns or raises what ``call`` would.

        Raises:
            CodeError: As ``call``.
            BlockStoppedError: As ``call``.
        """
        ...

    async def sleep(self, duration_s: float) -> None:
        """
        Sleep for a time, in seconds.

        Raises:
            CodeError: To be raised in the code, where it slept.
            BlockStoppedError: To end the block.
        """
        ...

    async def now_ms(self) -> int:
        """The time, Unix milliseconds; it moves only when the block sleeps."""
        ...


@dataclass(frozen=True, slots=True)
class Program:
    """
    A block to run.

    Attributes:
        code: The block.
        state: The state after the earlier blocks of the session; ``None`` for a new session.
        seed: The seed of the random numbers of a new session.
    """

    code: str
    state: bytes | None
    seed: str


@dataclass(frozen=True, slots=True)
class Ran:
    """
    The result of a block.

    Attributes:
        printed: What it printed, output and errors together.
        value: Its last value as text; empty when there is none, or it is ``None``.
        error: Why it stopped before its end; ``None`` when it did not.
        state: The state after it; ``None`` when that must not be kept.
    """

    printed: str = ""
    value: str = ""
    error: str | None = None
    state: bytes | None = None


class Engine(Protocol):
    """Runs blocks. Use it as an asynchronous context manager."""

    @property
    def name(self) -> str:
        """Engine and version, as ``monty 1.4.0``; kept with each state that it made."""
        ...

    async def __aenter__(self) -> Engine:
        """
        Start its processes.

        Raises:
            ConfigurationError: When it cannot run here.
        """
        ...

    async def __aexit__(self, *exc_info: object) -> None:
        """End its processes."""
        ...

    async def run(self, program: Program, host: Host) -> Ran:
        """
        Run a block to its end, to its first error, or to a limit.

        Raises:
            EngineCrashedError: When its process ended.
            StateUnreadableError: When this engine cannot read the state.
            Exception: An error of the host that is neither for the code nor to stop it.
        """
        ...
