"""Opens the socket for the library, keeps access to it, and explains failures."""

from __future__ import annotations

import asyncio
from typing import Any

import aio_pika
import aio_pika.connection
import aiormq.connection
import pamqp.commands
import pamqp.frame
from aiormq import exceptions as amqp

from effectmq.broker.transports.rabbitmq.driver.address import Address, heartbeat_s
from effectmq.broker.transports.rabbitmq.driver.errors import (
    credentials_error,
    lost_error,
    mechanism_error,
    refused_error,
    unreachable_error,
)
from effectmq.broker.transports.rabbitmq.driver.tap import Tap
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import ConfigurationError, EffectmqError

__all__ = ["Wire", "library_connection", "negotiated_s", "open_error", "text"]


class Wire(aiormq.connection.TransportFactory):
    """
    Opens the socket for aiormq, and keeps access to it.

    aiormq loses the broker's text when the broker closes the connection in the greeting, cannot
    drop a socket whose other end has stopped reading, and reads and writes frame by frame.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._opener = (
            aiormq.connection.TLSTransportFactory()
            if address.tls
            else aiormq.connection.TCPTransportFactory()
        )
        self._tap: Tap | None = None
        self._transport: asyncio.WriteTransport | None = None

    async def create(
        self, url: Any, **kwargs: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open the socket, and tap the incoming data."""
        reader, writer = await self._opener.create(url, **kwargs)
        self._transport = writer.transport
        self._tap = Tap(reader)
        return reader, writer

    @property
    def tap(self) -> Tap:
        """
        The tap of the incoming data.

        Raises:
            BrokerUnreachableError: When it was never opened.
        """
        if self._tap is None:
            raise lost_error(self._address, "connecting", "")
        return self._tap

    @property
    def last_words(self) -> tuple[int, str] | None:
        """Code and text of the ``connection.close`` that ended the greeting, if one did."""
        try:
            frame = pamqp.frame.unmarshal(self.tap.last_words)[2]
        except Exception:  # half a frame, or no frame at all
            return None
        if not isinstance(frame, pamqp.commands.Connection.Close):
            return None
        return frame.reply_code or 0, frame.reply_text or ""

    def write(self, payload: bytes) -> None:
        """Write whole frames beside the library's own; does nothing once it is being closed."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(payload)

    def cut(self) -> None:
        """Close the socket now, with unwritten data; calling it again does no harm."""
        if self._transport is not None:
            self._transport.abort()


def negotiated_s(heartbeat_s: float) -> int:
    """
    The interval to agree on with the broker, in seconds, at least 1.

    RabbitMQ checks once in an interval and drops a silent client after two failed checks, so
    between two and three intervals after the last sign of life. Two thirds of the requested
    interval keep that within two heartbeats.
    """
    return max(1, int(heartbeat_s * 2 / 3))


def library_connection(url: str, settings: TransportSettings, purpose: str) -> aio_pika.Connection:
    """
    A connection of the library, not yet open, with its purpose in its name.

    Raises:
        ConfigurationError: When the address cannot be used; never with its password.
    """
    try:
        beat_s = negotiated_s(heartbeat_s(url, settings.heartbeat_s))
        return aio_pika.Connection(
            aio_pika.connection.make_url(url, heartbeat=beat_s),
            client_properties={"connection_name": f"{settings.name}:{purpose}"},
        )
    except ValueError:
        # The library's text may contain the password.
        raise ConfigurationError(
            "the broker's address cannot be used; expected amqp://user:password@host:port/vhost, "
            "with special characters percent-encoded"
        ) from None


def open_error(address: Address, wire: Wire, failure: BaseException) -> EffectmqError:
    """The reason why a connection could not be opened, as an error of effectmq."""
    if isinstance(failure, EffectmqError):
        return failure
    if isinstance(failure, amqp.ProbableAuthenticationError):
        return credentials_error(address, str(failure))
    if isinstance(failure, amqp.AuthenticationError):
        return mechanism_error(address, text(failure.args[0] if failure.args else ""))
    said = wire.last_words
    if said is not None:
        return refused_error(address, *said)
    return unreachable_error(address, _root_cause(failure))


def text(value: object) -> str:
    """The broker's text; bytes that are not UTF-8 are replaced."""
    return value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)


def _root_cause(failure: BaseException) -> BaseException:
    """The operating system's own error, where the library wrapped one."""
    while failure.__cause__ is not None:
        failure = failure.__cause__
    return failure
