"""
Keeps one connection alive, and reports its state.

::

    CONNECTING ──▶ READY ──▶ lost ──▶ back-off ──▶ CONNECTING …
        │
        └─▶ raised to the caller, when it happens at start-up

At start-up a broker that cannot be reached is tried again until the connect timeout, and a lasting
error (password, virtual host) is raised at once. After the first READY every failure is retried
with a full-jitter backoff, because operators restart brokers and rotate passwords; ``failure`` then
holds the reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from effectmq.broker.backoff import Backoff
from effectmq.broker.transports.rabbitmq.connection.backoff import ReconnectWaits
from effectmq.broker.transports.rabbitmq.connection.ending import end
from effectmq.broker.transports.rabbitmq.connection.rotation import Rotation
from effectmq.broker.transports.rabbitmq.driver import Link
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import (
    BrokerError,
    BrokerUnreachableError,
    TransportClosedError,
)

__all__ = ["Supervisor"]

logger = logging.getLogger("effectmq.rabbitmq")

_START_WAIT_MAX_S = 2.0
_SHORTEST_TRY_S = 1.0


async def _nothing(link: Link) -> None:
    """The default of ``restore``."""


def _none_of(failures: Mapping[str, BrokerError]) -> BrokerError:
    """The only failure, or one sentence for all of them."""
    found = list(failures.values())
    if len(found) == 1:
        return found[0]
    said = "; ".join(str(each) for each in found)
    # The class of the error tells callers what can be mended.
    kind = next((type(each) for each in found if type(each) is not BrokerUnreachableError), None)
    return (kind or BrokerUnreachableError)(f"none of {len(found)} addresses can be used: {said}")


class Supervisor:
    """
    Keeps one connection alive.

    Args:
        addresses: The addresses of the broker, with their passwords.
        settings: Timeouts and names.
        purpose: A part of the connection's name: ``publish`` or ``consume``.
        counters: ``reconnects``.
        restore: Awaited with each new connection but the first, before it is used.
    """

    def __init__(
        self,
        addresses: Rotation,
        settings: TransportSettings,
        purpose: str,
        counters: Counter[str],
        restore: Callable[[Link], Awaitable[None]] = _nothing,
    ) -> None:
        self._addresses = addresses
        self._settings = settings
        self._purpose = purpose
        self._counters = counters
        self._restore = restore
        self._link: Link | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.failure: Exception | None = None

    async def start(self, timeout_s: float) -> None:
        """
        Make the first connection, then keep it.

        Args:
            timeout_s: Seconds to try, all tries together.

        Raises:
            BrokerError: When none could be made in time.
            ConfigurationError: When the address cannot be used.
        """
        self._link = await self._first(timeout_s)
        self.failure = None
        self._task = asyncio.get_running_loop().create_task(
            self._keep(self._link), name=f"effectmq {self._purpose} connection"
        )

    async def _first(self, timeout_s: float) -> Link:
        loop, addresses = asyncio.get_running_loop(), self._addresses
        backoff = Backoff(_START_WAIT_MAX_S)
        deadline = loop.time() + timeout_s
        failures: dict[str, BrokerError] = {}
        while True:
            # Never so short that the limit hides the real problem.
            left_s = max(_SHORTEST_TRY_S, deadline - loop.time())
            url = addresses.url
            try:
                return self._using(await self._open(url, addresses.share_s(left_s)))
            except BrokerError as failure:
                self.failure = failures[url] = failure
            if not addresses.failed():
                continue
            # Only a broker out of reach is worth another round.
            if not any(isinstance(each, BrokerUnreachableError) for each in failures.values()):
                raise _none_of(failures)
            wait_s = backoff.next_s()
            if loop.time() + wait_s >= deadline:
                raise _none_of(failures)
            await asyncio.sleep(wait_s)
            failures.clear()

    async def _open(self, url: str, timeout_s: float) -> Link:
        return await Link.open(url, self._settings, self._purpose, timeout_s)

    def _using(self, link: Link) -> Link:
        if len(self._addresses) > 1:
            logger.info(
                "%s connection is with the node at %s",
                self._purpose,
                link.address,
                extra={"action": "node_chosen", "purpose": self._purpose},
            )
        return link

    async def link(self) -> Link:
        """
        The live connection; waits for one without a limit, so limit the call.

        Raises:
            TransportClosedError: When there will be no connection any more.
        """
        while self._link is None:
            if self._closed:
                raise TransportClosedError("the transport was closed while waiting for the broker")
            self._changed.clear()
            await self._changed.wait()
        return self._link

    @property
    def current(self) -> Link | None:
        """The present connection; ``None`` without one."""
        return self._link

    @property
    def ready(self) -> bool:
        """Whether there is a connection now."""
        return self._link is not None

    @property
    def server(self) -> str:
        """Name and version of the broker at the other end; empty without a connection."""
        return self._link.server if self._link is not None else ""

    async def _keep(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        waits = ReconnectWaits(self._settings.reconnect_max_s)
        while True:
            since = loop.time()
            await link.lost
            lived_s = loop.time() - since
            self._link = None
            self._counters["reconnects"] += 1
            logger.warning(
                "%s connection to the broker at %s lost (%s); reconnecting",
                self._purpose,
                link.address,
                link.reason,
                extra={"action": "connection_lost", "purpose": self._purpose},
            )
            await link.close()
            await asyncio.sleep(waits.after_loss_s(lived_s))
            # The node that was lost is tried last.
            self._addresses.failed()
            self._addresses.begin_round()
            while True:
                again = await self._again()
                if again is not None:
                    break
                if self._addresses.failed():
                    await asyncio.sleep(waits.after_failure_s())
            self._link = link = self._using(again)
            self._changed.set()
            logger.info(
                "%s connection to the broker is back",
                self._purpose,
                extra={"action": "reconnected", "purpose": self._purpose},
            )

    async def _again(self) -> Link | None:
        """Try once to connect and restore; ``None`` when it failed for any reason."""
        link = None
        kept = False
        try:
            share_s = self._addresses.share_s(self._settings.connect_timeout_s)
            link = await self._open(self._addresses.url, share_s)
            await self._restore(link)
            self.failure, kept = None, True
            return link
        except Exception as failure:
            # Any error: giving up would leave a process that looks alive and does nothing.
            self.failure = failure
            logger.warning(
                "%s", failure, extra={"action": "reconnect_failed", "purpose": self._purpose}
            )
            return None
        finally:
            if link is not None and not kept:
                await link.close()

    async def close(self) -> None:
        """Stop, and disconnect; callers that wait for a connection get an error."""
        self._closed = True
        if self._task is not None:
            await end(self._task)
        link, self._link = self._link, None
        self._changed.set()
        if link is not None:
            await link.close()
