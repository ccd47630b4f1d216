"""Serving an application: where it listens, and who may then ask it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Collection
from types import FrameType

from effectmq.protocol.errors import ConfigurationError, MissingExtraError

try:
    import uvicorn
    from fastapi import FastAPI
except ImportError as missing:
    raise MissingExtraError("the HTTP API", "api") from missing

from effectmq.api.access.guard import LOOPBACK_HOSTS
from effectmq.api.access.tokens import Tokens
from effectmq.api.context import Context
from effectmq.monitoring.server import address_of, listening

__all__ = ["hosts_at", "refuse_open", "serve"]

logger = logging.getLogger("effectmq.api")

#: How long an answer under way may take when the server stops, in seconds.
_GRACE_S = 5
_MOST_AT_ONCE = 256


def refuse_open(address: str, tokens: Tokens) -> None:
    """
    Refuse to let everybody in the network do everything.

    Args:
        address: Where the server is to listen, as ``host:port``.
        tokens: The tokens that are accepted.

    Raises:
        ConfigurationError: When others reach the address and no token is needed.
    """
    host, _ = address_of(address)
    if not tokens and not _is_own(host):
        raise ConfigurationError(
            f"the API is to listen at {address}, which others reach, and no token is needed: "
            "everybody could replay, purge and cancel. Name tokens with --api-tokens or "
            "EFFECTMQ_API_TOKENS (effectmq api --new-token NAME:ROLE makes one), or listen at "
            "127.0.0.1"
        )


def hosts_at(address: str, named: str = "") -> Collection[str] | None:
    """
    The names under which a server may be asked; ``None`` for any.

    At an address that only this machine reaches, a page of another site may reach it by a name that
    leads there (DNS rebinding), so the names are fixed.

    Args:
        address: Where the server listens.
        named: Further names, separated by commas.

    Raises:
        ConfigurationError: When the address is none.
    """
    names = {name.strip().lower() for name in named.split(",") if name.strip()}
    host, _ = address_of(address)
    if _is_own(host):
        return LOOPBACK_HOSTS | names | {host.lower()}
    return LOOPBACK_HOSTS | names if names else None


def _is_own(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class _Server(uvicorn.Server):
    """Ends the streams of pages when it is to stop, so that it need not wait for them."""

    def __init__(self, config: uvicorn.Config, context: Context) -> None:
        super().__init__(config)
        self._context = context
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._context.events.end)
        self._loop.call_soon_threadsafe(self._context.streams.end)
        super().handle_exit(sig, frame)


async def serve(app: FastAPI, address: str, tell: Callable[[str], None]) -> None:
    """
    Serve an application until a signal comes, which is raised again at the end.

    Args:
        app: Made by ``create_app``, perhaps with pages beside it.
        address: Where to listen, as ``host:port``; port 0 takes a free one.
        tell: Is told the address, once it can be reached there.

    Raises:
        ConfigurationError: When nothing can listen there.
    """
    host, port = address_of(address)
    listener = listening(host, port, "--api-address")
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        limit_concurrency=_MOST_AT_ONCE,
        timeout_graceful_shutdown=_GRACE_S,
    )
    named = f"[{host}]" if ":" in host else host
    tell(f"{named}:{listener.getsockname()[1]}")
    logger.info(
        "the API listens at http://%s:%d",
        named,
        listener.getsockname()[1],
        extra={"action": "api_served", "port": listener.getsockname()[1]},
    )
    await _Server(config, app.state.effectmq).serve(sockets=[listener])
