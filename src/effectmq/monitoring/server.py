"""
An HTTP server inside of a worker's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Self

from effectmq.monitoring.endpoints import Probed, endpoints
from effectmq.protocol.errors import ConfigurationError, MissingExtraError

try:
    import uvicorn
except ImportError as missing:
    raise MissingExtraError("the HTTP endpoints of a worker", "http") from missing

__all__ = ["HttpServer", "address_of", "listening"]

logger = logging.getLogger("effectmq.worker")

#: How long an answer under way may take when the worker stops, in seconds.
_GRACE_S = 2
#: Connections that wait to be accepted, and requests at a time; the rest are told to come later.
_BACKLOG = 64
_MOST_AT_ONCE = 64


def address_of(text: str) -> tuple[str, int]:
    """
    Host and port of an address as ``127.0.0.1:9464``, ``[::1]:9464`` or ``:9464`` for all.

    Raises:
        ConfigurationError: When it is none.
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65_535:
        raise ConfigurationError(
            f"the HTTP address is {text!r}; expected host:port, for instance 127.0.0.1:9464"
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def listening(host: str, port: int, option: str = "--http") -> socket.socket:
    """
    A socket that listens at an address; port 0 takes a free one.

    Args:
        host: The host.
        port: The port.
        option: What chooses another address, for the sentence of an error.

    Raises:
        ConfigurationError: When nothing can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as problem:
        # The text of the exception itself says the address once more.
        why = os.strerror(problem.errno) if problem.errno else str(problem)
        raise ConfigurationError(
            f"the HTTP address {host}:{port} cannot be used ({why}); choose another one with "
            f"{option}, or end the process that has it"
        ) from None


class _Quiet(uvicorn.Server):
    """Leaves the signals to the worker."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class HttpServer:
    """
    The endpoints of a worker, while it is open. Use as an asynchronous context manager.

    Args:
        worker: Whose.
        address: Where to listen, see ``address_of``; port 0 takes a free one.

    Raises:
        ConfigurationError: When the address is none.
    """

    def __init__(self, worker: Probed, address: str) -> None:
        self._worker = worker
        self._address = address_of(address)
        self._server: _Quiet | None = None
        self._serving: asyncio.Task[None] | None = None
        #: The port that it listens on; 0 while it does not.
        self.port = 0

    async def __aenter__(self) -> Self:
        """
        Listen.

        Raises:
            ConfigurationError: When nothing can listen there.
        """
        listener = listening(*self._address)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            endpoints(self._worker),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            backlog=_BACKLOG,
            limit_concurrency=_MOST_AT_ONCE,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = _Quiet(config)
        self._serving = asyncio.get_running_loop().create_task(
            self._server.serve(sockets=[listener]), name="effectmq http"
        )
        logger.info(
            "worker %s serves metrics and health at http://%s:%d",
            self._worker.name,
            self._address[0],
            self.port,
            extra={"action": "http_served", "port": self.port},
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop listening."""
        self.port = 0
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await asyncio.gather(self._serving, return_exceptions=True)
