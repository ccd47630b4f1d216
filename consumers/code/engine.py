"""
The port between a session of code and whatever interprets it.

An engine runs one block: it begins with a session's state, asks its host for everything that lies
outside (tools, time, sleep), and gives what was printed, the last value, and the new state. It
runs in processes of its own; nothing that a block does may harm the worker.
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
    The interpreter's process ended in the middle of a block; trying again starts a new one.

    Args:
        problem: What is known of it.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(
            f"the process that ran the block ended: {problem}. Nothing of the block is kept; look "
            "for what ended it (the system's memory killer, a signal)"
        )


class StateUnreadableError(Exception):
    """
    A state that this engine cannot begin with.

    Args:
        problem: What the engine says about it.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class BlockStoppedError(Exception):
    """
    Raised to end a block where it is; a limit that the code cannot catch.

    Args:
        sentence: Which limit it was.
        details: Where in the code it happened, when that is known.
    """

    def __init__(self, sentence: str, details: str = "") -> None:
        self.sentence = sentence
        self.details = details
        super().__init__(sentence)


class Later:
    """
    Something to wait for later, or never: a coroutine that is made only when it is awaited.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._make = make

    def __await__(self) -> Generator[Any, Any, object]:
        return self._make().__await__()


class Host(Protocol):
    """
    What a block can reach outside of itself.

    A block that is run again gets the same answers in the same order; so these are the only ways.
    """

    def knows(self, name: str) -> bool:
        """Whether code can call a function of this name."""
        ...

    def names(self) -> Collection[str]:
        """The functions that ``knows`` knows, for engines that must name them beforehand."""
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
        Call a function that is waited for later; its number is that of this moment.

        What engines wait for first they must choose by the order of these calls, never by what is
        ready first: what the code does then has to be the same when it is run again.

        Returns:
            What ``call`` would give, or raise, when it is awaited.

        Raises:
            CodeError: As ``call``.
            BlockStoppedError: As ``call``.
        """
        ...

    async def sleep(self, duration_s: float) -> None:
        """
        Wait.

        Raises:
            CodeError: To be raised in the code, where it slept.
            BlockStoppedError: To end the block.
        """
        ...

    async def now_ms(self) -> int:
        """The time, Unix milliseconds. It moves only when the block sleeps."""
        ...


@dataclass(frozen=True, slots=True)
class Program:
    """
    What to run.

    Attributes:
        code: The block.
        state: What the session's blocks before it left behind; ``None`` for a new session.
        seed: Where the random numbers of a new session begin.
    """

    code: str
    state: bytes | None
    seed: str


@dataclass(frozen=True, slots=True)
class Ran:
    """
    What became of a block.

    Attributes:
        printed: What it printed, output and errors together.
        value: Its last value as text; empty when there is none, or it is ``None``.
        error: Why it stopped, when it did not get to its end.
        state: What it leaves behind; ``None`` when that must not be kept.
    """

    printed: str = ""
    value: str = ""
    error: str | None = None
    state: bytes | None = None


class Engine(Protocol):
    """Runs blocks. Use as an asynchronous context manager."""

    @property
    def name(self) -> str:
        """Engine and version, as ``monty 1.4.0``; kept with each state it made."""
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
            StateUnreadableError: When the state is none of this engine's.
            Exception: Whatever the host raises that is neither for the code nor to stop it.
        """
        ...
