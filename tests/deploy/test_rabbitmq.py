"""What RabbitMQ tells Prometheus and KEDA of a queue, asked as they ask."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import pytest
import yaml

from effectmq.broker.transports import open_transport
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names, TopologySettings, work_topology
from tests.brokers.finding import Installation
from tests.brokers.node import BrokerNode, free_ports
from tests.deploy.names import FROM_RABBITMQ, PROMETHEUS

#: A queue tells its numbers every five seconds.
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Watched:
    """A broker with the plugins that are asked, and their ports."""

    node: BrokerNode
    metrics: int
    management: int

    def scraped(self, queue: str) -> dict[str, float]:
        """What Prometheus reads of a queue, with the address of deploy/prometheus."""
        said: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        (job,) = [job for job in said["scrape_configs"] if job["job_name"] == "rabbitmq"]
        asked = f"{job['metrics_path']}?{urlencode(job['params'], doseq=True)}"
        with urlopen(f"http://127.0.0.1:{self.metrics}{asked}", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        ours = [line.rpartition(" ") for line in lines if f'queue="{queue}"' in line]
        return {name.partition("{")[0]: float(value) for name, _, value in ours}

    def messages(self, queue: str) -> int:
        """What KEDA counts without ``excludeUnacknowledged``."""
        login = base64.b64encode(b"guest:guest").decode()
        address = f"http://127.0.0.1:{self.management}/api/queues/{quote('/', safe='')}/{queue}"
        request = Request(address, headers={"Authorization": f"Basic {login}"})
        with urlopen(request, timeout=10) as answer:
            return int(json.load(answer).get("messages", -1))

    def numbers(self, busy: str, idle: str) -> tuple[list[float], list[float], int]:
        """What waits on both, who consumes them, and what KEDA counts of the busy one."""
        found = [self.scraped(queue) for queue in (busy, idle)]
        ready, consumers = sorted(FROM_RABBITMQ, reverse=True)
        return (
            [each.get(ready, -1) for each in found],
            [each.get(consumers, -1) for each in found],
            self.messages(busy),
        )


@pytest.fixture
def watched(installation: Installation) -> Generator[Watched]:
    metrics, management = free_ports(2)
    node = BrokerNode(installation)
    plugins = "[rabbitmq_management,rabbitmq_prometheus]."
    (node.folder / "enabled_plugins").write_text(plugins)
    with (node.folder / "rabbitmq.conf").open("a") as settings:
        for plugin, port in (("prometheus", metrics), ("management", management)):
            settings.write(f"{plugin}.tcp.ip = 127.0.0.1\n{plugin}.tcp.port = {port}\n")
    with node:
        yield Watched(node, metrics, management)


@pytest.mark.one_broker
async def test_what_waits_and_what_is_in_flight_are_told(watched: Watched) -> None:
    """Also of a queue that nobody consumes, by which a route without workers is found."""
    settings, names = TopologySettings(), Names()
    busy, idle = names.work_queue("tool_call"), names.work_queue("llm_call")
    async with open_transport(watched.node.url) as transport:
        await transport.declare(work_topology(settings, ["tool_call", "llm_call"]))
        for queue in (busy, idle):
            for _ in range(5):
                await transport.publish("", queue, Message(body=b"x"))
        consumer = await transport.consume(busy, prefetch=2)

        def wait() -> None:
            end = time.monotonic() + _PATIENCE_S
            while watched.numbers(busy, idle) != ([3, 5], [1, 0], 5):
                assert time.monotonic() < end, watched.numbers(busy, idle)
                time.sleep(0.2)

        await asyncio.to_thread(wait)
        await consumer.close()
