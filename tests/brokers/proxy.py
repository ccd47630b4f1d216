"""
A TCP proxy that misbehaves as told: holes, resets, half-closes, latency, corruption, cuts.

It stands between a client and a broker, so that a test can break the line without touching either
end. A *hole* holds bytes back and delivers them when it ends, as a network does whose route comes
back before TCP gives up; it never drops a byte out of the middle of a stream, which no network
does. What a rule does to a connection is decided when bytes are about to be forwarded, so a rule
counts for open and for new connections from the moment it is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

__all__ = ["ChaosProxy", "Direction"]

Direction = Literal["to_client", "to_server"]

_CHUNK = 65_536
# Chunks under way in a slow line; then the sender is slowed down, as by a full TCP window.
_LINE_LENGTH = 64
#: In so many pieces a second does a slow line carry what it carries.
_PIECES_A_SECOND = 10
_LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What happens to bytes now; the default is nothing."""

    held: frozenset[Direction] = frozenset()
    delay_s: float = 0.0
    jitter_s: float = 0.0
    refuse: Literal["reset", "half_close"] | None = None
    budget: int | None = None
    bytes_per_s: int | None = None


class ChaosProxy:
    """
    One listening port on 127.0.0.1, as an async context manager.

    Args:
        target_host: Where connections lead.
        target_port: Its port.
        seed: Of the jitter, which is the only randomness.

    Attributes:
        host: Always ``127.0.0.1``.
        port: Known once entered.
        accepted: Connections accepted so far; a test waits on it to see a reconnection.
        corrupted: Bytes corrupted so far.
    """

    def __init__(self, target_host: str, target_port: int, *, seed: int = 0) -> None:
        self.target = (target_host, target_port)
        self.host = "127.0.0.1"
        self.port = 0
        self.accepted = 0
        self.corrupted = 0
        #: Ends at the broker whose clients are gone.
        self.ghosts: list[asyncio.StreamWriter] = []
        self._random = random.Random(seed)
        self._rule = _Rule()
        self._corrupt_at: dict[Direction, int] = {}
        self._changed = asyncio.Event()
        self._connections: dict[_Connection, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None

    @classmethod
    def to(cls, url: str, *, seed: int = 0) -> Self:
        """A proxy in front of the broker at an AMQP URL."""
        parts = urlsplit(url)
        return cls(parts.hostname or "127.0.0.1", parts.port or 5672, seed=seed)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
            self.cut()
            await asyncio.gather(*self._connections.values(), return_exceptions=True)
            for ghost in self.ghosts:
                _reset(ghost)
            await self._server.wait_closed()

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._connections)

    def url(self, url: str) -> str:
        """The same AMQP URL, leading through this proxy."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}{at}{self.host}:{self.port}").geturl()

    def pass_through(self) -> None:
        """Forward everything at once; what a hole held back is delivered now."""
        self._set(_Rule())

    def hole(self) -> None:
        """Accept, and forward nothing either way, not even the end of a connection."""
        self._set(_Rule(held=frozenset(("to_client", "to_server"))))

    def hole_to_client(self) -> None:
        """The broker hears the client, the client does not hear the broker."""
        self._set(_Rule(held=frozenset(("to_client",))))

    def hole_to_server(self) -> None:
        """The client hears the broker, the broker does not hear the client."""
        self._set(_Rule(held=frozenset(("to_server",))))

    def delay(self, ms: float, jitter_ms: float = 0.0) -> None:
        """Deliver each piece after ``ms`` plus or minus ``jitter_ms`` milliseconds, in order."""
        self._set(_Rule(delay_s=ms / 1000, jitter_s=jitter_ms / 1000))

    def slow(self, bytes_per_s: int) -> None:
        """Carry only so much in a second, each way of each connection."""
        self._set(_Rule(bytes_per_s=bytes_per_s))

    def rst(self) -> None:
        """Reset every connection, and each new one as soon as it is accepted."""
        self._set(_Rule(refuse="reset"))
        self.cut()

    def half_close(self) -> None:
        """Send every client, old or new, the end of the stream; still forward what it sends."""
        self._set(_Rule(refuse="half_close"))
        for connection in self._connections:
            connection.half_close()

    def cut_after(self, count: int) -> None:
        """Reset each connection once ``count`` more bytes, both ways together, have passed."""
        self._set(_Rule(budget=count))

    def corrupt_byte(self, direction: Direction = "to_server", after: int = 0) -> None:
        """
        Invert one byte, once; other rules stay as they are.

        Args:
            direction: Of the byte to corrupt.
            after: How many bytes pass unharmed first. In an idle AMQP connection the next byte,
                0, is the type of a frame, so the receiver must notice.
        """
        self._corrupt_at[direction] = after

    def cut(self) -> None:
        """Reset every open connection, both ends; new ones are accepted as before."""
        for connection, task in self._connections.items():
            connection.reset()
            task.cancel()

    def abandon(self) -> None:
        """
        Reset the client's end of every open connection, and keep the broker's end open, silent.

        What the broker is left with is a ghost, which it holds until it misses the heartbeats.
        """
        for connection, task in list(self._connections.items()):
            connection.leave_ghost()
            task.cancel()

    def _set(self, rule: _Rule) -> None:
        self._rule = rule
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for connection in self._connections:
            connection.budget = rule.budget

    async def wait_until_open(self, direction: Direction) -> None:
        """Return once no hole holds this direction back."""
        while direction in self._rule.held:
            await self._changed.wait()

    @property
    def bytes_per_s(self) -> int | None:
        """How much is carried in a second; ``None`` for as much as there is."""
        return self._rule.bytes_per_s

    def lag(self) -> float:
        """Seconds the next piece is delayed."""
        rule = self._rule
        return max(0.0, rule.delay_s + self._random.uniform(-rule.jitter_s, rule.jitter_s))

    def corrupt(self, direction: Direction, data: bytes) -> bytes:
        """The data, with one byte inverted when its turn has come."""
        at = self._corrupt_at.pop(direction, None)
        if at is None:
            return data
        if at >= len(data):
            self._corrupt_at[direction] = at - len(data)
            return data
        self.corrupted += 1
        return data[:at] + bytes((data[at] ^ 0xFF,)) + data[at + 1 :]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._rule.refuse == "reset":
            _reset(writer)
            return
        connection = _Connection(self, reader, writer, self._rule.budget)
        if self._rule.refuse == "half_close":
            connection.half_close()
        task = asyncio.get_running_loop().create_task(connection.run())
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._connections.pop(connection))


class _Connection:
    """One client's connection and the one to the target that belongs to it."""

    def __init__(
        self,
        proxy: ChaosProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        budget: int | None,
    ) -> None:
        self.budget = budget
        self._proxy = proxy
        self._client = (reader, writer)
        self._writers = [writer]
        self._client_is_gone = False

    async def run(self) -> None:
        """Forward both ways until both have ended, or either has broken."""
        try:
            # What a hole keeps from the broker includes the wish to connect.
            await self._proxy.wait_until_open("to_server")
            server = await asyncio.open_connection(*self._proxy.target)
            self._writers.append(server[1])
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward("to_server", self._client[0], server[1]))
                group.create_task(self._forward("to_client", server[0], self._client[1]))
        except* OSError:
            self.reset()  # a broken end is passed on as a broken end
        finally:
            for writer in self._writers:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    def half_close(self) -> None:
        """End the stream towards the client only."""
        self._client_is_gone = True
        with contextlib.suppress(OSError):
            self._client[1].write_eof()

    def leave_ghost(self) -> None:
        """Break the client's end only; the other one is closed with the proxy."""
        _reset(self._writers[0])
        self._proxy.ghosts += self._writers[1:]
        del self._writers[1:]

    def reset(self) -> None:
        """Break both ends at once, with RST."""
        for writer in self._writers:
            _reset(writer)

    async def _forward(
        self, direction: Direction, source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        """Two tasks and a queue: a slow line must not be a narrow one."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_LINE_LENGTH)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fill(direction, source, line))
            group.create_task(self._drain(direction, line, target))

    async def _fill(
        self,
        direction: Direction,
        source: asyncio.StreamReader,
        line: asyncio.Queue[tuple[float, bytes]],
    ) -> None:
        clock = asyncio.get_running_loop()
        while True:
            # Not reading is what makes the sender's window fill up, as it would in a real hole.
            await self._proxy.wait_until_open(direction)
            data = await source.read(_CHUNK)
            await line.put((clock.time() + self._proxy.lag(), data))
            if not data:
                return

    async def _drain(
        self,
        direction: Direction,
        line: asyncio.Queue[tuple[float, bytes]],
        target: asyncio.StreamWriter,
    ) -> None:
        clock = asyncio.get_running_loop()
        while True:
            due, data = await line.get()
            await asyncio.sleep(max(0.0, due - clock.time()))
            await self._proxy.wait_until_open(direction)
            forward = direction == "to_server" or not self._client_is_gone
            if not data:
                if forward:
                    target.write_eof()
                return
            if forward:
                for piece in self._pieces(self._proxy.corrupt(direction, data)):
                    await self._write(target, piece)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """What is carried in each tenth of a second; all at once on an ordinary line."""
        while data:
            rate = self._proxy.bytes_per_s
            size = max(1, rate // _PIECES_A_SECOND) if rate else len(data)
            yield data[:size]
            data = data[size:]

    async def _write(self, target: asyncio.StreamWriter, data: bytes) -> None:
        if self.budget is not None:
            data = data[: self.budget]
            self.budget -= len(data)
        target.write(data)
        await target.drain()
        if self._proxy.bytes_per_s:
            await asyncio.sleep(1 / _PIECES_A_SECOND)
        if self.budget == 0:
            raise ConnectionResetError("the byte budget of this connection is used up")


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other end sees RST, not an orderly end."""
    with contextlib.suppress(OSError):
        plain: socket.socket | None = writer.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    writer.transport.abort()
