"""MCP servers as processes: over HTTP, and the command for stdin and stdout."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.waiting import eventually

__all__ = ["COMMAND", "PATIENCE_S", "HttpServer", "kill", "told"]

COMMAND = [sys.executable, "-m", "tests.consumers.tools.mcp.server"]
#: Python and the library take a while to start on a busy machine.
PATIENCE_S = 90.0


class HttpServer:
    """One server process on a port of its own."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/mcp"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen(
            [*COMMAND, str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for attempt in Retrying(
            wait=wait_fixed(0.05),
            stop=stop_after_delay(PATIENCE_S),
            retry=retry_if_exception_type(OSError),
        ):
            with attempt:
                socket.create_connection(("127.0.0.1", self.port), 1).close()

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.kill()


async def told(note: Path, word: str = "\n") -> str:
    """Wait until a tool has written something into its file."""
    await eventually(lambda: note.exists() and word in note.read_text(), PATIENCE_S)
    return await asyncio.to_thread(note.read_text)


async def kill(note: Path) -> None:
    """End the server in which a tool runs, as a crash would."""
    os.kill(int((await told(note)).split()[0]), signal.SIGKILL)
