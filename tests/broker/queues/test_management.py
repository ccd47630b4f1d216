"""The management API of RabbitMQ: what it knows, and what is said when it fails."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.fleet.fleet import Fleet
from effectmq.broker.queues.looking import QueueLooks
from effectmq.broker.queues.management import Management
from effectmq.broker.queues.reports import QueueReport, QueuesSeen
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.topology import Names, TopologySettings
from tests.brokers.finding import Installation
from tests.brokers.node import BrokerNode
from tests.consumers.stage import NAMES, PATIENCE_S, TOPOLOGY, Stage, nap, staged
from tests.local_server import LocalServer, read_request
from tests.waiting import eventually

PASSWORD = "hunter2"


def row(seen: QueuesSeen, route: str) -> QueueReport:
    return next(one for one in seen.queues if one.role == "work" and one.route == route)


class Api(LocalServer):
    """It answers what it was given, and remembers who asked."""

    def __init__(self, status: str = "200 OK", body: bytes = b"{}", head: str = "") -> None:
        super().__init__()
        self.answer = f"HTTP/1.1 {status}\r\n{head}Connection: close\r\n\r\n".encode() + body
        self.asked: list[Any] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await read_request(reader))
        writer.write(self.answer)
        await writer.drain()


def listed(**changes: Any) -> bytes:
    queue = {
        "name": NAMES.work_queue("sleep.deep"),
        "messages_ready": 7,
        "messages_unacknowledged": 2,
        "consumers": 1,
        "message_stats": {
            "publish_details": {"rate": 3.5},
            "deliver_get_details": {"rate": 1.5},
        },
        **changes,
    }
    return json.dumps({"items": [queue, 7, {"name": 7}], "page_count": 1}).encode()


async def look(stage: Stage, server: LocalServer, login: str = f"ops:{PASSWORD}@") -> QueuesSeen:
    transport = await stage.transport()
    management = Management(
        server.url.replace("//", f"//{login}"), "amqp://guest:secret@host/a%2Fb"
    )
    return await QueueLooks(transport, TOPOLOGY, None, management).look()


async def test_the_management_api_knows_lanes_that_nobody_named() -> None:
    """And what is held, and rates; the login goes in a header, the virtual host in the path."""
    async with staged() as stage, Api(body=listed()) as api:
        seen = await look(stage, api)
        assert (seen.source, seen.problem) == ("management", "")
        deep = row(seen, "sleep.deep")
        assert (deep.ready, deep.in_flight, deep.consumers) == (7, 2, 1)
        assert (deep.in_per_s, deep.out_per_s) == (3.5, 1.5)
        (asked,) = api.asked
        assert asked.path.startswith("/api/queues/a%2Fb?")
        assert PASSWORD not in asked.path
        assert asked.headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("api", "found"),
    [
        (Api("401 Unauthorized"), "answered 401; check its user and password"),
        (Api("302 Found", head="Location: http://127.0.0.1:9/\r\n"), "answered 302"),
        (Api(body=b"<html>"), "something else than JSON"),
        (Api(body=b"[" * 100_000), "something else than JSON"),
        (Api(body=b"[]"), "something else than a list of queues"),
        (Api("nonsense"), "cannot be asked"),
    ],
    ids=["login", "redirect", "html", "deep", "list", "nonsense"],
)
async def test_when_it_fails_workers_are_asked_and_the_reason_is_said(api: Api, found: str) -> None:
    """Without the password."""
    async with staged() as stage, api:
        seen = await look(stage, api)
        assert seen.source == "workers"
        assert found in seen.problem
        assert PASSWORD not in seen.problem


@pytest.mark.parametrize(
    "url", ["host:15672", f"ftp://u:{PASSWORD}@host", "http://[", "", "http://"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """With what is expected, and without the password."""
    with pytest.raises(ConfigurationError, match="expected http://user") as refused:
        Management(url, "amqp://host")
    assert PASSWORD not in str(refused.value)


@pytest.mark.one_broker
async def test_a_real_one_says_what_is_ready_and_held(installation: Installation) -> None:
    """With the broker's own login, as RabbitMQ counts it; a wrong password is said as such."""
    settings = TopologySettings(namespace="shop")
    with BrokerNode(installation, management=True) as node:
        worker = EffectWorker(node.url, topology=settings, name="a", concurrency=2)
        async with (
            asyncio.timeout(120),
            worker,
            EffectClient(node.url, topology=settings) as client,
            open_transport(node.url, TransportSettings()) as transport,
            Fleet(transport, Names("shop")) as fleet,
        ):
            for number in range(5):
                await client.submit(nap(3_600_000, str(number)))
            looks = QueueLooks(
                transport, settings, fleet, Management(node.management_url, node.url)
            )

            async def counted() -> bool:
                seen = await looks.look(timeout_s=PATIENCE_S)
                assert seen.problem == ""
                assert seen.source == "management"
                found = row(seen, "sleep")
                return found.consumers == 1 and found.in_per_s is not None

            # Its numbers are seconds old.
            await eventually(counted, timeout_s=60)
            wrong = Management(node.management_url.replace("//", "//guest:no@"), node.url)
            seen = await QueueLooks(transport, settings, fleet, wrong).look(timeout_s=PATIENCE_S)
            assert seen.source == "workers"
            assert "answered 401" in seen.problem
