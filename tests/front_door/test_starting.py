"""
What a program loads when it starts. Modules are counted, not milliseconds: most of the time that a
start takes, and much of what an idle worker holds, is theirs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

#: Of the extras, and others that most programs never need; each is slow to load.
_HEAVY = {
    *("anthropic", "dotenv", "fastapi", "genai_prices", "google", "httpx", "httpx2", "jinja2"),
    *("jsonpatch", "mcp", "obstore", "openai", "opentelemetry", "prometheus_client", "psycopg"),
    *("pydantic_ai", "pydantic_monty", "pydantic_settings", "sqlalchemy", "starlette", "uvicorn"),
    "watchfiles",
}

_WORKER = """
import asyncio
import effectmq.cli.worker
from effectmq import Worker

app = Worker("memory://", journal="sqlite:///journal.db")

@app.tool
async def add(a: int, b: int) -> int:
    return a + b

async def work() -> None:
    async with app:
        tell()

asyncio.run(work())
"""
_CLIENT = "from effectmq import Client; tell()"


def loaded(program: str, folder: Path) -> set[str]:
    """The modules that are there when a program calls ``tell``."""
    tell = "import json, sys\ndef tell(): print(json.dumps(sorted(sys.modules)))\n"
    done = subprocess.run(
        [sys.executable, "-c", tell + program],
        cwd=folder,
        env={"PATH": "", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def ours(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.partition(".")[0] == "effectmq"}


@pytest.mark.parametrize("program", [_WORKER, _CLIENT], ids=["worker", "client"])
def test_what_only_extras_need_is_not_loaded(program: str, tmp_path: Path) -> None:
    assert loaded(program, tmp_path) & _HEAVY == set()


def test_a_worker_loads_what_it_works_with(tmp_path: Path) -> None:
    """Neither a client, nor the kinds that it has no handler for, nor other commands."""
    found = loaded(_WORKER, tmp_path)
    rooms = ("api", "dashboard", "broker.client.client", "broker.dead_letters", "broker.queues")
    rooms += ("consumers.llm", "consumers.code.handler", "consumers.processes.runner")
    rooms += ("broker.transports.rabbitmq", "cli.doctor", "cli.dead", "parts")
    rooms += ("broker.store.letters.index", "protocol.wire.execution", "protocol.wire.messages")
    rooms += ("protocol.wire.llm_request", "protocol.wire.sessions")
    rooms += ("protocol.wire.process_commands", "protocol.wire.tool_definitions")
    unneeded = {room for room in rooms if f"effectmq.{room}" in found}
    assert unneeded == set()
    # What only a sentence about a wrong name needs, and what only a failure does.
    assert found & {"difflib", "tenacity"} == set()
    # A ceiling, to be raised with a reason: each module is a little of every start.
    assert len(ours(found)) <= 330


def test_the_event_types_of_processes_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    """Their readers are much of what the wire types hold, and most programs see no process."""
    program = """
from effectmq.protocol.identity import digests
from effectmq.protocol.wire import process_event_types as types

assert not types.ProcessEventType.__pydantic_complete__
assert types.STANDARD_EVENT_TYPES is types.STANDARD_EVENT_TYPES
assert types.ProcessEventType.__pydantic_complete__
tell()
"""
    loaded(program, tmp_path)


def test_a_client_loads_no_worker(tmp_path: Path) -> None:
    found = ours(loaded(_CLIENT, tmp_path))
    settings = {"consumers", "consumers.code", "consumers.processes"}
    settings |= {f"{room}.settings" for room in settings}
    workers = {name for name in found if name.startswith("effectmq.consumers")}
    assert workers <= {f"effectmq.{name}" for name in settings}
    assert not {name for name in found if name.startswith("effectmq.broker.transports.memory")}
    # The types of the wire format are loaded when a client is made.
    assert not {name for name in found if name.startswith("effectmq.protocol.wire")}
    assert len(found) <= 61


@pytest.mark.parametrize("name", ["Client", "Worker"])
def test_the_class_that_is_asked_for_is_loaded_alone(name: str, tmp_path: Path) -> None:
    other = {"Client": "worker", "Worker": "client"}[name]
    found = loaded(f"from effectmq import {name}; tell()", tmp_path)
    assert f"effectmq.wiring.{other}" not in found
