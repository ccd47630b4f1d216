"""
The engine on CPython, in a sandbox of bubblewrap and the limits of the kernel. Linux only.

Each block has its own process, which can reach nothing of the worker: no network, no files but the
interpreter's, no other process, no way to start one. The sandbox is tested when the engine starts;
if it does not hold, the engine does not start.

Only plain data is kept from block to block: to read back anything else, the worker would have to
trust it.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
from dataclasses import replace
from typing import TYPE_CHECKING

from effectmq.consumers.code.cpython.check import check
from effectmq.consumers.code.cpython.child import Child, EndedError
from effectmq.consumers.code.cpython.conversation import Conversation
from effectmq.consumers.code.cpython.interpreter import this_interpreter
from effectmq.consumers.code.cpython.limits import limits
from effectmq.consumers.code.cpython.sandbox import NOBODY, bubblewrap, command_line
from effectmq.consumers.code.cpython.verdicts import ended
from effectmq.consumers.code.engine import (
    BlockStoppedError,
    EngineCrashedError,
    Host,
    Program,
    Ran,
    StateUnreadableError,
)
from effectmq.consumers.code.faults import over_output, stopped
from effectmq.consumers.code.settings import CodeSettings
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

if TYPE_CHECKING:
    from effectmq.consumers.code.cpython.inside.wire import Instructions

__all__ = ["CPythonEngine"]

#: The first bytes of a state of this engine.
_MARK = b"effectmq cpython 1\n"
#: How long the interpreter may take to start, in seconds; not the block's time.
_START_LIMIT_S = 30.0


class CPythonEngine:
    """
    Runs each block in its own process in a sandbox.

    Args:
        settings: The limits.
    """

    def __init__(self, settings: CodeSettings) -> None:
        self.name = f"cpython {platform.python_version()}"
        self._settings = settings
        self._command: list[str] | None = None
        self._free = asyncio.Semaphore(settings.processes)

    async def __aenter__(self) -> CPythonEngine:
        """
        Test the sandbox; see the port.

        Raises:
            ConfigurationError: When bubblewrap is missing or may not work here, or the sandbox does
                not hold.
        """
        command = command_line(bubblewrap(), this_interpreter())
        self._command = command
        try:
            await check(self._try)
        except BaseException:
            self._command = None
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Do nothing: every block has waited for the end of its process."""
        self._command = None

    async def run(self, program: Program, host: Host) -> Ran:
        """See the port."""
        return await self._run(program, host, self._settings)

    async def _try(self, program: Program, host: Host) -> Ran:
        """Run the program that tries to get out, also on a slow machine."""
        patient = replace(self._settings, time_limit_s=_START_LIMIT_S)
        return await self._run(program, host, patient)

    async def _run(self, program: Program, host: Host, settings: CodeSettings) -> Ran:
        if self._command is None:
            raise ConfigurationError(
                "the engine has not been started; use it inside 'async with', or start the worker "
                "that it was added to"
            )
        if program.state is not None and not program.state.startswith(_MARK):
            raise StateUnreadableError("they are not the variables of a Python in a sandbox")
        async with self._free:
            child = await Child.start(self._command, settings)
            try:
                return await _Run(child, settings).of(program, host)
            finally:
                await child.end()


class _Run:
    """One block in its process, from start to end."""

    def __init__(self, child: Child, settings: CodeSettings) -> None:
        self._child = child
        self._settings = settings

    async def of(self, program: Program, host: Host) -> Ran:
        child = self._child
        try:
            await self._begin(program, host)
            finished = await Conversation(child, host, self._settings).to_the_end()
            await child.end()
            if child.printed_too_much:
                raise BlockStoppedError(over_output(self._settings))
        except EndedError as end:
            return await self._stopped(ended(end.status, self._settings))
        except BlockStoppedError as stop:
            return await self._stopped(stop)
        state = _MARK + finished.state
        return Ran(child.printed, finished.value, finished.error, state)

    async def _begin(self, program: Program, host: Host) -> None:
        child = self._child
        lines = [json.dumps(self._described(program, host)).encode(), b"\n"]
        if program.state is not None:
            lines.append(program.state[len(_MARK) :])
        try:
            answer = json.loads(await child.exchange(b"".join(lines), _START_LIMIT_S))
        except (BlockStoppedError, EndedError):
            await child.end()
            said = printable(child.printed.strip(), 300) or "it said nothing"
            raise EngineCrashedError(f"the sandbox did not start: {said}") from None
        if answer.get("type") == "unreadable":
            raise StateUnreadableError(printable(str(answer.get("problem")), 300))

    def _described(self, program: Program, host: Host) -> Instructions:
        settings = self._settings
        return {
            "code": program.code,
            "seed": program.seed,
            "has_state": program.state is not None,
            "functions": sorted(host.names()),
            "user": NOBODY if os.geteuid() == 0 else None,
            "limits": limits(settings),
            "depth": settings.max_recursion_depth,
            # A longer text than anybody will see would only block the worker.
            "value_chars": 4 * settings.observation_chars,
            "state_bytes": settings.state_bytes - len(_MARK) - 1,
            "argument_bytes": max(settings.argument_bytes, settings.image_bytes),
        }

    async def _stopped(self, problem: Exception) -> Ran:
        # What it printed is complete after its end.
        await self._child.end()
        if not isinstance(problem, BlockStoppedError):
            raise problem
        return Ran(self._child.printed, error=stopped(problem.sentence, problem.details))
