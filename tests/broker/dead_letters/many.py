"""
Looking at more dead letters than one consumer can hold, on a broker of our own.

``python -m tests.broker.dead_letters.many 100000`` publishes them, looks at them in every way,
kills a reader in the middle, and says how long each look took. CI does it with small portions.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time

from effectmq.broker.dead_letters.dead_letters import DeadLetters
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names, TopologySettings, shared_topology
from tests.brokers.finding import installed_on_path
from tests.brokers.node import BrokerNode

_TOPOLOGY = TopologySettings(namespace="t-many")
_AT_ONCE = 5_000
_READING_S = 3.0


async def publish(transport: Transport, count: int) -> None:
    """Fill the dead-letter queue with numbered messages."""
    await transport.declare(shared_topology(_TOPOLOGY))
    queue = Names(_TOPOLOGY.namespace).dead
    for start in range(0, count, _AT_ONCE):
        numbers = range(start, min(count, start + _AT_ONCE))
        messages = [Message(body=str(number).encode()) for number in numbers]
        await asyncio.gather(*(transport.publish("", queue, each) for each in messages))


async def look(transport: Transport, most: int | None = None) -> list[int]:
    """The numbers of the letters, as they come."""
    found: list[int] = []
    async with DeadLetters(transport, _TOPOLOGY).browse() as letters:
        async for letter in letters:
            found.append(int(letter.message.body))
            if len(found) == most:
                break
    return found


def listed(url: str, *words: str, killed_after_s: float | None = None) -> str:
    """What ``effectmq dead list`` says, or nothing when it is killed."""
    environment = {**os.environ, "EFFECTMQ_BROKER": url, "EFFECTMQ_NAMESPACE": _TOPOLOGY.namespace}
    command = [sys.executable, "-m", "effectmq", "dead", "list", *words]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=killed_after_s, check=True
        )
    except subprocess.TimeoutExpired:
        return ""
    return (done.stdout + done.stderr).decode()


async def run(url: str, count: int) -> None:
    """Look at them in every way."""
    started = time.monotonic()

    def say(what: str) -> None:
        nonlocal started
        print(f"{time.monotonic() - started:6.2f} s  {what}", flush=True)
        started = time.monotonic()

    async with open_transport(url, TransportSettings()) as transport:
        await publish(transport, count)
        say(f"{count} published")
        assert await look(transport, 200) == list(range(200))
        say("the first 200 seen")
        for _ in range(2):
            assert await look(transport) == list(range(count))
            say("all seen, in order")
    assert not listed(url, "--json", killed_after_s=_READING_S)
    say("a reader killed")
    assert f"{count - 200} of {count} letters were not looked at" in listed(url)
    say("effectmq dead list")
    assert len(listed(url, "--json").splitlines()) == count
    say("effectmq dead list --json")


def main() -> None:
    """Run on the RabbitMQ of the PATH."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=100_000)
    count: int = parser.parse_args().count
    installation = installed_on_path()
    if installation is None:
        raise SystemExit("there is no rabbitmq-server on the PATH")
    with BrokerNode(installation) as node:
        asyncio.run(run(node.url, count))


if __name__ == "__main__":
    main()
