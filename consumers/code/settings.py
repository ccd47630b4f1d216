"""The settings for running code: one frozen value, with units in the names."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, TypedDict

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.numbers import check_numbers

__all__ = ["CodeArguments", "CodeSettings"]


@dataclass(frozen=True, slots=True)
class CodeSettings:
    """
    The limits of one block of code, and of the processes that run it.

    Attributes:
        time_limit_s: How long a block may compute. Waiting for tools and sleeping does not count.
        wait_limit_s: How long one attempt at a block may take, waits included; after that it is an
            error like any other, for the retry policy to decide.
        memory_bytes: How large a session's heap may get.
        max_recursion_depth: How deep calls may be nested.
        output_bytes: How much a block may print.
        observation_chars: How many characters of the printed text, and of the last value, go into
            the outcome.
        observation_lines: How many lines of them do.
        error_chars: How much of an error's text goes into the outcome.
        max_tool_calls: How many tools a block may call.
        parallel_calls: How many gathered calls of a block are under way at a time.
        argument_bytes: How large the arguments of one call may be, and the value of ``finish``.
        records_bytes: How large the records of calls in the outcome may be; records beyond it are
            left out, but the outcomes of the calls have them.
        max_sleeps: How often it may sleep; each sleep is an effect.
        max_images: How many images it may show.
        image_bytes: How large one of them may be.
        state_bytes: How large the kept state of a session may be.
        kept_states: How many blocks of a session can be run again from the state before them.
        processes: How many blocks run at a time; each has an interpreter process of its own.
        warm_processes: How many interpreter processes wait for work.
        blocks_per_process: After how many blocks an interpreter process is replaced.
        backend: The interpreter. ``monty`` is a subset of Python without access to anything;
            ``cpython`` is the worker's Python in a sandbox of bubblewrap, with a new process for
            each block.
    """

    time_limit_s: float = 10.0
    wait_limit_s: float = 600.0
    memory_bytes: int = 64 * 1024 * 1024
    max_recursion_depth: int = 500
    output_bytes: int = 1024 * 1024
    observation_chars: int = 16_000
    observation_lines: int = 400
    error_chars: int = 4_000
    max_tool_calls: int = 100
    parallel_calls: int = 8
    argument_bytes: int = 256 * 1024
    records_bytes: int = 256 * 1024
    max_sleeps: int = 100
    max_images: int = 16
    image_bytes: int = 8 * 1024 * 1024
    state_bytes: int = 16 * 1024 * 1024
    kept_states: int = 16
    processes: int = 4
    warm_processes: int = 1
    blocks_per_process: int = 1_000
    backend: Literal["monty", "cpython"] = "monty"

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.backend not in ("monty", "cpython"):
            raise ConfigurationError(f"backend is {self.backend!r}; expected 'monty' or 'cpython'")
        none_allowed = {"max_tool_calls", "max_sleeps", "max_images"}
        for field in fields(self):
            if field.name == "backend":
                continue
            value: float = getattr(self, field.name)
            if value <= 0 and not (field.name in none_allowed and value == 0):
                least = "0 or more" if field.name in none_allowed else "more than 0"
                raise ConfigurationError(f"{field.name} is {value}; expected {least}")
        if self.output_bytes >= self.memory_bytes:
            # The interpreter reports both with the same words; only the number differs.
            raise ConfigurationError(
                f"output_bytes is {self.output_bytes} and memory_bytes is {self.memory_bytes}; "
                "expected room for less output than memory"
            )
        if self.warm_processes > self.processes:
            raise ConfigurationError(
                f"warm_processes is {self.warm_processes} and processes is {self.processes}; "
                "expected no more processes that wait than there may be"
            )


class CodeArguments(TypedDict, total=False):
    """The same as arguments, each of which may be left out; see ``Worker.code``."""

    time_limit_s: float | None
    wait_limit_s: float | None
    memory_bytes: int | None
    max_recursion_depth: int | None
    output_bytes: int | None
    observation_chars: int | None
    observation_lines: int | None
    error_chars: int | None
    max_tool_calls: int | None
    parallel_calls: int | None
    argument_bytes: int | None
    records_bytes: int | None
    max_sleeps: int | None
    max_images: int | None
    image_bytes: int | None
    state_bytes: int | None
    kept_states: int | None
    processes: int | None
    warm_processes: int | None
    blocks_per_process: int | None
    backend: Literal["monty", "cpython"] | None
