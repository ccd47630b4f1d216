"""``effectmq worker``: start-up, signals and the way out, with real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from effectmq.broker.transports import open_transport
from effectmq.protocol.errors import MissingExtraError
from effectmq.protocol.topology import Names, Queue, Topology
from tests.brokers.provide import Broker
from tests.front_door.cli.command import effectmq

Write = Callable[[str], str]

_APP = """
from effectmq import Worker, WorkerSettings

app = Worker("memory://", settings=WorkerSettings(shutdown_grace_s=20))

@app.tool
async def add(a: int, b: int) -> int:
    return a + b
"""

#: A worker that gives itself something to do, because memory:// has no other producers.
_BUSY = """
import asyncio, time
from effectmq import Client, Worker, WorkerSettings

class Busy(Worker):
    async def start(self, routes=None):
        await super().start(routes)
        self.client = await Client("memory://").__aenter__()
        turn = self.client.turn("s", "t")
        self.asked = asyncio.ensure_future(turn.tool_call("work", {{}}, call_id="c"))

app = Busy("memory://", settings=WorkerSettings({settings}))

@app.tool({options})
{function}
"""


@contextmanager
def _started(
    *words: str, ready: str, stdout: int = subprocess.DEVNULL
) -> Generator[subprocess.Popen[str]]:
    """A worker process that has said it is ready; ended with the test."""
    command = [sys.executable, "-m", "effectmq", "worker", *words]
    with subprocess.Popen(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        assert process.stderr is not None
        try:
            _read_until(process, ready)
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _read_until(process: subprocess.Popen[str], text: str) -> str:
    """Stderr up to the line that has the text."""
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"the process ended with {process.wait()} and said:\n{seen}")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_signal_ends_it_and_the_parent_sees_why(
    number: signal.Signals, code: int, write_module: Write
) -> None:
    """SIGINT ends as Python programs end on Ctrl-C, SIGTERM as by the signal itself."""
    name = write_module(_APP)
    with _started(f"{name}:app", ready="consumes") as process:
        process.send_signal(number)
        assert process.wait(60) == code
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_the_banner_says_what_was_started(write_module: Write) -> None:
    """Version, broker, namespace, routes, concurrency and journal, before the first log line."""
    name = write_module(_APP)
    words = (f"{name}:app", "--kind", "tool_call", "--concurrency", "3", "--namespace", "mine")
    words += ("--route-concurrency", "tool_call=2")
    command = [sys.executable, "-m", "effectmq", "worker", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        seen = _read_until(process, "consumes")
        process.terminate()
    for expected in (
        "broker       memory://",
        "namespace    mine",
        "routes       tool_call\n",
        "concurrency  3 of each route, 2 of tool_call",
        "tools        add",
        "journal      memory://, which ends with this process",
        "no other program can reach this worker",
    ):
        assert expected in seen


def test_json_logs_have_no_banner(write_module: Write) -> None:
    """Every line on stderr is JSON, from the first one on."""
    name = write_module(_APP)
    command = [sys.executable, "-m", "effectmq", "worker", f"{name}:app", "--log-json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        seen = _read_until(process, "consumes")
        process.terminate()
    assert [json.loads(line)["action"] for line in seen.splitlines()][-1] == "worker_started"


def test_a_kind_without_a_handler_is_refused(
    write_module: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Starting would never succeed, so a supervisor should not try again: exit code 2."""
    name = write_module(_APP)
    result = effectmq(capsys, "worker", f"{name}:app", "--kind", "llm_call", "--quiet")
    assert result.code == 2
    assert "this worker has no handler for 'llm_call'" in result.err


def test_a_kind_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence lists the kinds."""
    result = effectmq(capsys, "worker", "x:app", "--kind", "toolcall")
    assert result.code == 2
    assert "there is no effect kind 'toolcall'" in result.err
    assert "sync_execution_surface" in result.err


@pytest.mark.parametrize("change", ["password", "vhost", "namespace"])
def test_a_start_that_can_never_succeed_exits_2(
    change: str,
    broker: Broker,
    namespace: str,
    write_module: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Password, virtual host, a queue with other arguments: no supervisor can mend them."""
    name = write_module(_APP)
    parts = urlsplit(broker.url)
    url = broker.url
    if change == "password":
        url = parts._replace(netloc=f"guest:geheim@{parts.hostname}:{parts.port}").geturl()
    elif change == "vhost":
        url = parts._replace(path="/no-such-vhost").geturl()
    else:
        asyncio.run(_declare_differently(broker.url, Names(namespace).limbo))
    words = ("worker", f"{name}:app", "--broker", url, "--namespace", namespace, "--quiet")
    result = effectmq(capsys, *words)
    assert result.code == 2, result.err
    assert result.err.startswith("effectmq: ")
    assert len(result.err.splitlines()) == 1
    assert "geheim" not in result.err


async def _declare_differently(url: str, queue: str) -> None:
    async with open_transport(url) as transport:
        wrong = Queue(queue, {"x-queue-type": "quorum", "x-delivery-limit": 7})
        await transport.declare(Topology(queues=(wrong,)))


def test_a_handler_that_cannot_be_stopped_ends_the_worker_with_70(write_module: Write) -> None:
    """The sentence names the trouble, and the blocked thread does not keep the process."""
    name = write_module(
        _BUSY.format(
            settings="max_abandoned=1, kill_grace_s=0.1",
            options="time_limit_s=0.2",
            function="def work() -> None:\n    time.sleep(300)",
        )
    )
    with _started(f"{name}:app", ready="could not be stopped") as process:
        assert process.wait(60) == 70


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_second_signal_leaves_at_once(
    number: signal.Signals, code: int, write_module: Write
) -> None:
    """Even when a thread is in the middle of something that does not end."""
    name = write_module(
        _BUSY.format(
            settings="shutdown_grace_s=300",
            options="",
            function=(
                "def work() -> None:\n"
                "    import sys\n"
                "    print('begun', file=sys.stderr, flush=True)\n"
                "    time.sleep(300)"
            ),
        )
    )
    with _started(f"{name}:app", ready="begun") as process:
        process.send_signal(number)
        _read_until(process, "finishing what runs")
        process.send_signal(number)
        assert process.wait(30) == code


def test_a_change_starts_it_again(write_module: Write) -> None:
    """``--reload`` replaces the process when a Python file changes, and ends with a signal."""
    pytest.importorskip("watchfiles")
    name = write_module(_APP)
    path = Path(f"{name}.py")
    with _started(f"{name}:app", "--reload", ready="consumes") as process:
        path.write_text(_APP.replace("add", "subtract"))
        seen = _read_until(process, "consumes")
        assert f"{name}.py changed; starting again" in seen
        assert "subtract" in seen
        path.write_text("x = = 1")
        seen = _read_until(process, "waiting for a change")
        assert "SyntaxError" in seen
        path.write_text(_APP)
        _read_until(process, "consumes")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM


def test_reload_without_its_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``pip install 'effectmq[reload]'``."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    result = effectmq(capsys, "worker", "x:app", "--reload")
    assert result.code == 2
    assert str(MissingExtraError("effectmq worker --reload", "reload")) in result.err
