"""
One process in a sandbox, from its start to its end, and the pipes to it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress

from effectmq.consumers.code.engine import BlockStoppedError
from effectmq.consumers.code.faults import over_output, over_time
from effectmq.consumers.code.settings import CodeSettings
from effectmq.protocol.errors import ConfigurationError

__all__ = ["Child", "EndedError"]

_CHUNK_BYTES = 64 * 1024
#: How long to wait for the end of a killed process, in seconds; only a broken kernel takes longer.
_END_LIMIT_S = 10.0


class EndedError(Exception):
    """
    The process has ended, or closed its pipe.

    Args:
        status: Its exit status; minus the signal that ended it.
    """

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(str(status))


class Child:
    """
    A running process. Make it with ``start``, and always call ``end``.

    Args:
        process: The process.
        settings: The limits.

    Attributes:
        printed_too_much: Whether it was killed because it printed more than its limit.
    """

    def __init__(self, process: Process, settings: CodeSettings) -> None:
        self._process = process
        self._settings = settings
        self._left_s = settings.time_limit_s
        self._printed = bytearray()
        self.printed_too_much = False
        self._listening = asyncio.ensure_future(self._listen())

    @classmethod
    async def start(cls, command: Sequence[str], settings: CodeSettings) -> Child:
        """
        Start a process in the sandbox.

        Args:
            command: The command line.
            settings: The limits.

        Raises:
            ConfigurationError: When the program does not exist.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                limit=_line_bytes(settings),
                env={},
                start_new_session=True,
            )
        except OSError as problem:
            raise ConfigurationError(f"{command[0]} cannot be started: {problem}") from None
        return cls(process, settings)

    @property
    def printed(self) -> str:
        """What it has printed so far; complete once it has ended."""
        return self._printed.decode(errors="replace")

    async def exchange(self, lines: bytes, limit_s: float | None = None) -> bytes:
        """
        Send lines, and wait for the next line of the process.

        Args:
            lines: What to send; may be empty.
            limit_s: How long it may take, in seconds. ``None`` stands for the rest of the time to
                compute, from which it is taken.

        Raises:
            BlockStoppedError: When it took too long, or reached a limit.
            EndedError: When there is no next line.
        """
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._left_s if limit_s is None else limit_s):
                return await self._exchange(lines)
        except TimeoutError:
            raise BlockStoppedError(over_time(self._settings)) from None
        finally:
            if limit_s is None:
                self._left_s = max(0.0, self._left_s - (time.monotonic() - began))

    async def end(self) -> int:
        """
        Kill the process and everything that it started, and wait until they are gone.

        Returns:
            Its exit status; minus the signal that ended it.
        """
        if self._process.returncode is None:
            # bubblewrap has its own process group; the kernel ends the namespace of processes with
            # it.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        status = await self._process.wait()
        await asyncio.wait([self._listening], timeout=_END_LIMIT_S)
        return status

    async def _exchange(self, lines: bytes) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with suppress(ConnectionError):
            # After the end of a process there is nothing to read either.
            stdin.write(lines)
            await stdin.drain()
        try:
            line = await stdout.readline()
        except ValueError:
            raise BlockStoppedError(
                "the block sent a larger message than its limits allow; show smaller images, or "
                "keep less data in variables"
            ) from None
        if self.printed_too_much:
            raise BlockStoppedError(over_output(self._settings))
        if not line.endswith(b"\n"):
            raise EndedError(await self._process.wait())
        return line

    async def _listen(self) -> None:
        """Keep what it prints; kill it when that exceeds the limit."""
        stderr, limit = self._process.stderr, self._settings.output_bytes
        assert stderr is not None
        while chunk := await stderr.read(_CHUNK_BYTES):
            room = limit - len(self._printed)
            self._printed += chunk[:room]
            if len(chunk) > room and not self.printed_too_much:
                self.printed_too_much = True
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)


def _line_bytes(settings: CodeSettings) -> int:
    """The longest line that the driver sends: the variables, or an image in base 64."""
    most = max(settings.state_bytes, 2 * settings.image_bytes, settings.argument_bytes)
    return 2 * most + _CHUNK_BYTES
