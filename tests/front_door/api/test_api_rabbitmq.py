"""The API over a real broker, as ``effectmq api`` serves it, and while something is away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from effectmq import Worker
from effectmq.broker.place import Place
from tests.broker.dead_letters.stage import DeadStage, dead_stage
from tests.brokers.provide import Broker
from tests.brokers.proxy import ChaosProxy
from tests.front_door.api.stage import some_effects, staged, worker_of
from tests.waiting import eventually

pytestmark = pytest.mark.one_broker

TOKEN = "a-token-of-an-operator"


@asynccontextmanager
async def served(place: Mapping[str, str]) -> AsyncGenerator[httpx.AsyncClient]:
    """``effectmq api`` in a process of its own."""
    environment = {
        **os.environ,
        **place,
        "EFFECTMQ_API_ADDRESS": "127.0.0.1:0",
        "EFFECTMQ_API_TOKENS": f"alice:operate:{TOKEN}",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "effectmq", "api", "--log-json"),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        port = await _port(process)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}/api/v1",
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=30,
        ) as client:
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        assert process.returncode == -signal.SIGTERM


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr is not None
    async with asyncio.timeout(30):
        async for line in process.stderr:
            found: dict[str, Any] = json.loads(line)
            if found.get("action") == "api_served":
                return int(found["port"])
    raise AssertionError("it ended before it listened")


async def test_from_a_submit_to_a_replay(broker: Broker, namespace: str, tmp_path: Path) -> None:
    """Everything that an operator does at night, over HTTP; and pages hear of it."""
    journal = f"sqlite:///{tmp_path}/journal.db"
    place = Place.of({"broker": broker.url, "journal": journal, "namespace": namespace})
    at = {
        "EFFECTMQ_BROKER": broker.url,
        "EFFECTMQ_NAMESPACE": namespace,
        "EFFECTMQ_JOURNAL": journal,
    }
    async with worker_of(place), served(at) as http, http.stream("GET", "/events") as events:
        heard: list[str] = []
        listening = asyncio.create_task(_hear(events, heard))
        answer = await http.post("/ping", json={"routes": ["tool_call"]})
        assert answer.json()["routes"][0]["ms"] > 0
        asked = {"tool": "add", "args": {"a": 1, "b": 2}, "session": "s", "turn": "t", "wait_s": 20}
        made = (await http.post("/effects", json=asked)).json()
        assert made["reply"]["result"]["Ok"]["result"]["output"]["outcome"]["payload"] == 3
        assert (await http.get("/sessions/s")).json()["effects"][0]["id"] == made["id"]
        async with dead_stage(broker.url, namespace) as stage:
            await _replayed(http, stage)
        await eventually(lambda: any("operations" in line for line in heard), 20)
        assert any('"effects"' in line for line in heard)
        assert (await http.get("/overview")).json()["away"] == {}
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _hear(events: httpx.Response, heard: list[str]) -> None:
    async for line in events.aiter_lines():
        heard.append(line)


async def _replayed(http: httpx.AsyncClient, stage: DeadStage) -> None:
    envelope = stage.call({"a": 1}, "call")
    await stage.park(envelope, detail="account 7 is closed")
    page: dict[str, Any] = {}

    async def seen() -> bool:
        page.update((await http.get("/dead-letters", params={"text": "7 is closed"})).json())
        return bool(page["letters"])

    await eventually(seen, 20)
    choice = {"ids": [page["letters"][0]["id"]]}
    begun = (await http.post("/dead-letters/replay", json={"choice": choice})).json()

    async def done() -> bool:
        found = (await http.get(f"/operations/{begun['id']}")).json()
        return bool(found["state"] == "done" and found["report"]["done"] == 1)

    await eventually(done, 20)
    (line,) = (await http.get("/dead-letters/audit")).json()["lines"]
    assert (line["who"], line["report"]["done"]) == ("alice", 1)


async def test_a_broker_that_is_away_is_said_and_comes_back(
    broker: Broker, namespace: str, tmp_path: Path
) -> None:
    """At the start, and later; what needs no broker is answered all the while."""
    async with ChaosProxy.to(broker.url) as proxy:
        place = Place.of(
            {
                "broker": proxy.url(broker.url),
                "journal": f"sqlite:///{tmp_path}/journal.db",
                "namespace": namespace,
                "reconnect_max_s": 0.5,
                "connect_timeout_s": 5.0,
            }
        )
        direct = Place.of({"broker": broker.url, "journal": place.journal, "namespace": namespace})
        proxy.rst()
        async with staged(place=place) as stage:
            away = await stage.get("/queues")
            assert (away.status_code, away.json()["code"]) == (503, "broker_away")
            assert away.headers["retry-after"]
            no_journal = await stage.get("/effects")
            assert (no_journal.status_code, no_journal.json()["code"]) == (503, "journal_away")
            await some_effects(direct, 1)
            assert (await stage.get("/effects")).status_code == 200

            async def is_back() -> bool:
                return (await stage.get("/queues")).status_code == 200

            proxy.pass_through()
            await eventually(is_back, 30)
            assert (await stage.post("/effects", {"tool": "add"})).status_code == 202
            proxy.rst()
            proxy.cut()

            async def is_away() -> bool:
                return (await stage.get("/queues")).status_code == 503

            await eventually(is_away, 30)
            overview = (await stage.get("/overview")).json()
            assert "broker" in overview["away"]
            assert overview["effects"] == 2
            assert (await stage.get("/effects")).status_code == 200
            begun = await stage.post("/dead-letters/replay", {"choice": {"all": True}})
            assert (begun.status_code, begun.json()["code"]) == (503, "broker_away")
            proxy.pass_through()
            await eventually(is_back, 30)


async def test_a_journal_that_is_away_is_said_and_comes_back(tmp_path: Path) -> None:
    """At the start, and later: a file that is moved away and put back, as a disk may be."""
    journal = tmp_path / "journal.db"
    place = Place.of({"broker": "memory://away", "journal": f"sqlite:///{journal}"})
    worker = Worker(place=place)
    async with staged(place=place) as stage:
        first = await stage.get("/effects")
        assert (first.status_code, first.json()["code"]) == (503, "journal_away")
        assert "there is no journal at" in first.json()["detail"]
        async with worker:
            pass

        async def is_there() -> bool:
            return (await stage.get("/effects")).status_code == 200

        await eventually(is_there)
        _renamed(tmp_path, "journal.db", "away.db")

        async def is_away() -> bool:
            answer = await stage.get("/effects")
            return answer.status_code == 503 and answer.json()["code"] == "journal_away"

        await eventually(is_away)
        assert "journal" in (await stage.get("/overview")).json()["away"]
        _renamed(tmp_path, "away.db", "journal.db")
        await eventually(is_there)


def _renamed(folder: Path, name: str, other: str) -> None:
    """A database file, with those that belong to it."""
    for each in [each for each in folder.iterdir() if each.name.startswith(name)]:
        each.rename(each.with_name(each.name.replace(name, other)))
