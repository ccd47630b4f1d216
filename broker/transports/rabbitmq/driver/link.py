"""One connection to the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar, cast

import aio_pika
import aiormq
import aiormq.abc
from aiormq import exceptions as amqp

from effectmq.broker.transports.rabbitmq.driver.address import Address, read_address
from effectmq.broker.transports.rabbitmq.driver.channels.channel import Channel
from effectmq.broker.transports.rabbitmq.driver.errors import (
    channel_error,
    lost_error,
    name_error,
    one_line,
    silent_error,
)
from effectmq.broker.transports.rabbitmq.driver.outbox import Outbox
from effectmq.broker.transports.rabbitmq.driver.refused import Operation
from effectmq.broker.transports.rabbitmq.driver.waiting import (
    bounded,
    cancellations,
    closed,
    closing,
    seen,
)
from effectmq.broker.transports.rabbitmq.driver.wire import (
    Wire,
    library_connection,
    open_error,
    text,
)
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import BrokerUnreachableError

__all__ = ["Link"]

T = TypeVar("T")

_CLOSE_TIMEOUT_S = 3.0
_CUT_TIMEOUT_S = 1.0
#: To close a connection on which a request had no answer: the close may have none, either.
_SILENT_CLOSE_S = 0.3
#: The broker sends a heartbeat twice in an interval.
_SILENT_INTERVALS = 2
_READ_FIRST_S = 0.25
#: The most that AMQP has, when the broker names no limit.
_MOST_CHANNELS = 65_535


class Link:
    """
    A connection to the broker, which does not come back by itself.

    Args:
        connection: The connection object of the client library, connected.
        wire: Its socket.
        address: The broker.
        timeout_s: Seconds that a request may take.
    """

    def __init__(
        self,
        connection: aio_pika.Connection,
        wire: Wire,
        address: Address,
        timeout_s: float,
    ) -> None:
        underlay = connection.transport
        if underlay is None:
            raise lost_error(address, "connecting", "")
        self._connection = connection
        self._wire = wire
        self.address = self._address = address
        self._timeout_s = timeout_s
        # The library's own class; its annotations name the abstract one, which lacks what we use.
        self._underlay = cast("aiormq.Connection", underlay.connection)
        self._channels: set[Channel] = set()
        self._number = 0
        self.reason = ""
        #: Whether a request was not answered in time.
        self.silent = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        library: Any = self._underlay
        self.outbox = Outbox(wire.write)
        self._tap = wire.tap
        closing(library).add_done_callback(self._note_loss)
        # Without its reader no confirmation can arrive, however long closing takes.
        library._reader_task.add_done_callback(self._note_loss)
        self._loop = asyncio.get_running_loop()
        # The interval that both sides agreed on; an address may set another, or 0 for none.
        self._silence_s = _SILENT_INTERVALS * self._underlay.heartbeat_timeout
        self._pulse: asyncio.TimerHandle | None = None
        if self._silence_s:
            self._pulse = self._loop.call_later(self._silence_s, self._feel_pulse)

    @classmethod
    async def open(
        cls, url: str, settings: TransportSettings, purpose: str, timeout_s: float
    ) -> Link:
        """
        Connect within ``timeout_s`` seconds.

        Raises:
            BrokerError: With one sentence for each usual cause.
            ConfigurationError: When the address cannot be used at all.
        """
        address = read_address(url)
        wire = Wire(address)
        connection = library_connection(url, settings, purpose)
        connection.kwargs["transport_factory"] = wire
        asked = cancellations()
        try:
            async with asyncio.timeout(timeout_s):
                await connection.connect()
            return cls(connection, wire, address, settings.connect_timeout_s)
        except (Exception, asyncio.CancelledError) as failure:
            wire.cut()
            await _shut(connection, _CUT_TIMEOUT_S)
            if isinstance(failure, asyncio.CancelledError) and cancellations() > asked:
                raise
            raise open_error(address, wire, failure) from None

    @property
    def server(self) -> str:
        """Name and version that the broker gave in its greeting, for instance RabbitMQ 4.0.5."""
        said: Mapping[str, object] = self._underlay.server_properties or {}
        return " ".join(text(said.get(name, "")) for name in ("product", "version")).strip()

    def _feel_pulse(self, *, again: bool = False) -> None:
        """
        Give the connection up when nothing has arrived for too long, not even a heartbeat.

        The library notices much later, and never while the other end accepts what is sent.
        """
        if self.lost.done():
            return
        left_s = self._tap.heard + self._silence_s - self._loop.time()
        if left_s > 0:
            self._pulse = self._loop.call_later(left_s, self._feel_pulse)
        elif not again:
            # This process may have been stopped for a while: read what arrived meanwhile first.
            self._pulse = self._loop.call_later(_READ_FIRST_S, self._feel_second_pulse)
        else:
            self._lose(f"nothing was heard from it for {self._silence_s:g} s, not even a heartbeat")
            self._wire.cut()

    def _feel_second_pulse(self) -> None:
        self._feel_pulse(again=True)

    def _note_loss(self, ended: asyncio.Future[Any]) -> None:
        failure = None if ended.cancelled() else ended.exception()
        self._lose(str(failure or ""))

    def _lose(self, reason: str) -> None:
        if self._pulse is not None:
            self._pulse.cancel()
        if self.lost.done():
            return
        self.reason = one_line(reason)
        self.lost.set_result(None)
        self.outbox.close()
        for channel in list(self._channels):
            channel.fail(self.reason)

    async def channel(self, *, confirms: bool) -> Channel:
        """Open a channel; with ``confirms`` the broker confirms each publish on it."""
        opening = asyncio.ensure_future(
            self._underlay.channel(self._free_number(), publisher_confirms=confirms)
        )
        try:
            channel = self._take(await self.call(opening, "opening a channel"))
        except BaseException:
            opening.add_done_callback(self._leave)
            raise
        if self.lost.done():
            channel.fail(self.reason)
        return channel

    def _free_number(self) -> int:
        """
        A channel number that was not used lately.

        The library takes the lowest number that it believes free, at times before the broker knows
        that the old channel is closed. The broker then closes the whole connection.
        """
        most = self._underlay.connection_tune.channel_max or _MOST_CHANNELS
        taken = self._underlay.channels
        for _ in range(most):
            self._number = self._number % most + 1
            if self._number not in taken:
                return self._number
        raise BrokerUnreachableError(
            f"opening a channel: all {most} channels of the connection to {self._address} are in "
            "use. Make fewer calls at a time, or raise channel_max in rabbitmq.conf"
        )

    def _take(self, opened: aiormq.abc.AbstractChannel) -> Channel:
        # The library annotates the abstract class here, too.
        channel = Channel(self._tap, self.outbox, self.call, cast("aiormq.Channel", opened))
        self._channels.add(channel)
        channel.lost.add_done_callback(lambda _: self._channels.discard(channel))
        return channel

    def _leave(self, opening: asyncio.Future[aiormq.abc.AbstractChannel]) -> None:
        """Close a channel that was opened after its caller had stopped waiting."""
        if not opening.cancelled() and opening.exception() is None:
            self._take(opening.result()).abandon("not needed")

    async def call(
        self,
        waiting: Awaitable[T],
        doing: str,
        operation: Operation = "",
        patience_s: float | None = None,
    ) -> T:
        """
        Await the library for a limited time, and translate every exception of it.

        A caller that stops waiting does not cancel the library's request. Cancelled in the middle
        of one, the library closes the channel, even when it is closed already, and the broker then
        closes the connection.

        Raises:
            BrokerError: When the request failed; names ``doing`` and the cause.
        """
        asked = cancellations()
        request = asyncio.ensure_future(waiting)
        request.add_done_callback(seen)
        limit_s = self._timeout_s if patience_s is None else patience_s
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(request)
        except TimeoutError:
            self.silent = True
            raise silent_error(self._address, doing, limit_s) from None
        except asyncio.CancelledError:
            if cancellations() > asked:
                raise
            raise lost_error(self._address, doing, self.reason) from None
        except amqp.ChannelClosed as failure:
            raise channel_error(*_reply(failure), doing, operation) from None
        except (ValueError, TypeError) as failure:
            raise name_error(doing, str(failure)) from None
        except Exception as failure:
            raise lost_error(self._address, doing, self.reason or str(failure)) from None

    async def blocked(self) -> bool:
        """Whether the broker accepts no publishes at the moment (memory or disk alarm)."""
        try:
            async with asyncio.timeout(0.01):
                await self._underlay.ready()
        except TimeoutError:
            return True
        return False

    async def close(self) -> None:
        """Close the connection; after 3 seconds cut it, whatever the broker does. Never raises."""
        ending = closing(self._underlay)
        self.outbox.flush()
        try:
            goodbye_s = _SILENT_CLOSE_S if self.silent else _CLOSE_TIMEOUT_S
            await _shut(self._connection, goodbye_s)
        finally:
            self._wire.cut()
            if not self.lost.done():
                self._note_loss(closed())
        # aiormq's tasks end a few turns later; asyncio would warn of them at its end.
        await asyncio.wait({ending}, timeout=_CUT_TIMEOUT_S)
        await asyncio.sleep(0)


async def _shut(connection: aio_pika.Connection, timeout_s: float) -> None:
    """
    Say goodbye within so many seconds, and leave the connection object closed in every case.

    One whose goodbye failed, was cut, or was not awaited to its end still counts as open. Its
    destructor would begin another goodbye, perhaps on a thread without an event loop.
    """
    # The library's own mark; there is no public way to set it without another goodbye.
    library: Any = connection
    mark: asyncio.Future[bool] = library._closed
    try:
        await bounded(connection.close(), timeout_s)
    finally:
        if not mark.done():
            mark.set_result(True)


#: Of these aiormq keeps the broker's text only; the class stands for the code.
_CODES: dict[type[amqp.AMQPError], int] = {
    amqp.ChannelAccessRefused: 403,
    amqp.ChannelNotFoundEntity: 404,
    amqp.ChannelLockedResource: 405,
    amqp.ChannelPreconditionFailed: 406,
}


def _reply(failure: amqp.ChannelClosed) -> tuple[int, str]:
    code = next((part for part in failure.args if isinstance(part, int)), 0)
    said = next((part for part in failure.args if isinstance(part, str)), "")
    return code or _CODES.get(type(failure), 0), said
