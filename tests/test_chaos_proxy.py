"""The proxy does to a line exactly what its name says, shown with a plain echo server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import pytest

from tests.brokers.proxy import ChaosProxy
from tests.waiting import within

_SECONDS = 5.0
# Long enough for anything on the loopback to arrive, were it forwarded.
_SILENCE = 0.1

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@pytest.fixture
async def proxy() -> AsyncGenerator[ChaosProxy]:
    """A proxy in front of a server that sends everything back."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with ChaosProxy(*server.sockets[0].getsockname()) as proxy:
        yield proxy
    server.close()
    await server.wait_closed()


@contextlib.asynccontextmanager
async def _line(proxy: ChaosProxy) -> AsyncGenerator[Line]:
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _hear(line: Line, count: int) -> bytes:
    return await asyncio.wait_for(line[0].readexactly(count), _SECONDS)


async def _silent(line: Line) -> bool:
    try:
        await asyncio.wait_for(line[0].read(1), _SILENCE)
    except TimeoutError:
        return True
    return False


async def test_bytes_pass_both_ways_and_so_does_the_end(proxy: ChaosProxy) -> None:
    """Without a rule the proxy cannot be told from the server."""
    async with _line(proxy) as line:
        line[1].write(b"hello")
        assert await _hear(line, 5) == b"hello"
        line[1].write_eof()
        assert await asyncio.wait_for(line[0].read(), _SECONDS) == b""


@pytest.mark.parametrize("hole", ["hole", "hole_to_client", "hole_to_server"])
async def test_a_hole_holds_bytes_back_and_delivers_them_when_it_ends(
    proxy: ChaosProxy, hole: str
) -> None:
    """Nothing comes through a hole, and nothing is lost in it."""
    async with _line(proxy) as line:
        line[1].write(b"a")
        assert await _hear(line, 1) == b"a"
        getattr(proxy, hole)()
        line[1].write(b"b")
        assert await _silent(line)
        proxy.pass_through()
        assert await _hear(line, 1) == b"b"


async def test_a_new_connection_into_a_hole_waits_for_its_end(proxy: ChaosProxy) -> None:
    """The handshake of TCP succeeds, as behind a load balancer; nobody answers."""
    proxy.hole()
    async with _line(proxy) as line:
        line[1].write(b"a")
        assert await _silent(line)
        proxy.pass_through()
        assert await _hear(line, 1) == b"a"


async def test_a_cut_resets_open_connections_only(proxy: ChaosProxy) -> None:
    """After a cut a client can come back at once."""
    async with _line(proxy) as line, _line(proxy) as second:
        line[1].write(b"a")
        second[1].write(b"a")
        assert await _hear(line, 1) + await _hear(second, 1) == b"aa"
        proxy.cut()
        for each in (line, second):
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(each[0].read(1), _SECONDS)
    async with _line(proxy) as line:
        line[1].write(b"b")
        assert await _hear(line, 1) == b"b"
        assert (proxy.accepted, proxy.connections) == (3, 1)


async def test_rst_resets_new_connections_too(proxy: ChaosProxy) -> None:
    """Until the rule is lifted, nobody gets a connection that lives."""
    async with _line(proxy) as old:
        old[1].write(b"a")
        assert await _hear(old, 1) == b"a"
        proxy.rst()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(old[0].read(1), _SECONDS)
        with pytest.raises(ConnectionResetError):
            async with _line(proxy) as new:
                await asyncio.wait_for(new[0].read(1), _SECONDS)


async def test_half_close_ends_one_direction(proxy: ChaosProxy) -> None:
    """The client reads the end of the stream, and its own bytes are still taken."""
    async with _line(proxy) as line:
        line[1].write(b"a")
        assert await _hear(line, 1) == b"a"
        proxy.half_close()
        assert await asyncio.wait_for(line[0].read(), _SECONDS) == b""
        line[1].write(b"b")
        await line[1].drain()
        assert proxy.connections == 1


async def test_a_delay_is_latency_and_not_a_narrow_line(proxy: ChaosProxy) -> None:
    """Many pieces sent at once arrive together, in order, one delay later each way."""
    proxy.delay(100, jitter_ms=20)
    async with _line(proxy) as line:
        started = time.monotonic()
        for number in range(50):
            line[1].write(bytes((number,)))
            await asyncio.sleep(0)
        async with within(2.0):
            assert await _hear(line, 50) == bytes(range(50))
        assert time.monotonic() - started >= 0.16


@pytest.mark.parametrize("count", [0, 1, 7, 4096])
async def test_a_cut_after_n_bytes_lets_exactly_n_pass(proxy: ChaosProxy, count: int) -> None:
    """The budget counts both directions of one connection together."""
    async with _line(proxy) as line:
        proxy.cut_after(2 * count + 1)
        if count:
            line[1].write(b"x" * count)
            assert await _hear(line, count) == b"x" * count
        line[1].write(b"yy")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(line[0].readexactly(2), _SECONDS)


@pytest.mark.parametrize("direction", ["to_server", "to_client"])
async def test_corruption_inverts_one_byte_once(proxy: ChaosProxy, direction: str) -> None:
    """Byte 2 of what comes next is inverted, and nothing after it."""
    async with _line(proxy) as line:
        proxy.corrupt_byte("to_client" if direction == "to_client" else "to_server", after=2)
        line[1].write(b"\x00" * 4)
        assert await _hear(line, 4) == b"\x00\x00\xff\x00"
        line[1].write(b"\x00" * 4)
        assert await _hear(line, 4) == b"\x00" * 4
        assert proxy.corrupted == 1


async def test_a_server_that_is_down_is_a_reset(proxy: ChaosProxy) -> None:
    """A connection that cannot be made is broken, not left hanging."""
    proxy.target = ("127.0.0.1", 1)
    async with _line(proxy) as line:
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(line[0].read(1), _SECONDS)


def test_an_url_leads_through_the_proxy_with_its_login() -> None:
    """Only host and port change."""
    proxy = ChaosProxy("127.0.0.1", 1)
    proxy.port = 2
    assert (
        proxy.url("amqp://u:p@broker:5/vh?heartbeat=2") == "amqp://u:p@127.0.0.1:2/vh?heartbeat=2"
    )
