"""``effectmq dashboard``, as it is started."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import httpx
import pytest

from tests.brokers.node import free_ports
from tests.front_door.cli.command import effectmq
from tests.waiting import eventually


async def test_the_demo_is_full_of_life_without_a_server() -> None:
    (port,) = free_ports(1)
    words = ["dashboard", "--demo", "--api-address", f"127.0.0.1:{port}", "--log-level", "ERROR"]
    demo = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-m", "effectmq", *words], stderr=subprocess.PIPE, text=True
    )
    try:
        assert demo.stderr is not None
        assert f"open http://127.0.0.1:{port}/" in demo.stderr.readline()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

            async def works() -> bool:
                try:
                    seen = (await http.get("/api/v1/overview")).json()
                except httpx.TransportError:
                    return False
                return sum(seen["effects_by_status"].values()) > 10

            await eventually(works, 30)
            assert "<title>Overview" in (await http.get("/")).text
    finally:
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=20)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:9480"])
def test_it_shows_itself_to_nobody_else_without_tokens(
    capsys: pytest.CaptureFixture[str], address: str
) -> None:
    ended = effectmq(capsys, "dashboard", "--api-address", address)
    assert ended.code == 2
    assert "no token is needed" in ended.err


def test_an_address_that_is_taken_is_said_before_anybody_is_sent_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for words in (["dashboard", "--demo"], ["api", "--broker", "memory://x"]):
            ended = effectmq(capsys, *words, "--api-address", address)
            assert ended.code == 2
            assert (
                f"the HTTP address {address} cannot be used (Address already in use)" in ended.err
            )
            assert "another one with --api-address" in ended.err
            assert "http://" not in ended.err
