"""``effectmq submit``: one effect by hand."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from effectmq.consumers.worker import EffectWorker
from effectmq.protocol import RuntimeEffectOutcomeProcess
from effectmq.protocol.errors import RejectEffectError
from effectmq.protocol.topology import TopologySettings
from tests.brokers.provide import Broker
from tests.front_door.cli.command import effectmq, envelope_line, feed_stdin

_SLEEP = envelope_line("1", {"type": "sleep", "duration_ms": 1})


def _at(broker: Broker, namespace: str) -> tuple[str, ...]:
    return ("--broker", broker.url, "--namespace", namespace)


@contextmanager
def _working(broker: Broker, namespace: str) -> Generator[None]:
    """A worker on a thread and loop of its own, because the command runs on this one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> EffectWorker:
        app = EffectWorker(broker.url, topology=TopologySettings(namespace=namespace))
        app.tool(add)
        app.handler("exec_code")(refuse)
        app.handler("process")(transfer)
        await app.start()
        return app

    app = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(app.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def add(a: int, b: int) -> int:
    """A tool."""
    return a + b


async def refuse(command: object) -> object:
    """A handler that gives up."""
    raise RejectEffectError("not_here", "no")


async def transfer(command: object) -> RuntimeEffectOutcomeProcess:
    """A handler of one process operation."""
    return RuntimeEffectOutcomeProcess.model_validate(
        {"type": "process", "result": {"op": "transfer"}}
    )


def test_memory_is_refused_with_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody could ever get it."""
    result = effectmq(capsys, "submit", "--tool", "add")
    assert result.code == 2
    assert "memory:// is a broker inside one process" in result.err
    assert "effectmq run" in result.err


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--args", "{}"], 2, "--args needs --tool NAME or --kind KIND"),
        (["--tool", "add", "--args", "{"], 2, "--args is not JSON"),
        (["--tool", "add", "--args", "[1]"], 2, "--args is not a JSON object"),
        (["--kind", "sleep"], 2, "--args does not make a sleep command: duration_ms"),
        (["--kind", "sleep", "--tool", "x"], 2, "not allowed with"),
        (["missing.json"], 2, "missing.json cannot be read"),
        (["-"], 1, "not JSON"),
    ],
)
def test_what_makes_no_envelope_is_said_before_connecting(
    words: list[str],
    code: int,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mistake in the command line exits 2, a document that is no envelope 1."""
    feed_stdin(monkeypatch, b"nonsense")
    result = effectmq(capsys, "submit", *words, "--broker", "amqp://127.0.0.1:1/")
    assert result.code == code
    assert expected in result.err


def test_it_prints_what_the_effect_is_called(
    broker: Broker,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Id, key and hash, for people and for scripts; without a worker it waits in its queue."""
    at = _at(broker, namespace)
    effectmq(capsys, "topology", "apply", "--kind", "sleep", *at)
    feed_stdin(monkeypatch, _SLEEP.encode())
    shown = effectmq(capsys, "submit", *at)
    assert shown.code == 0
    assert [line.split()[0] for line in shown.out.splitlines()] == ["effect", "replay", "hash"]
    feed_stdin(monkeypatch, _SLEEP.encode())
    (document,) = effectmq(capsys, "submit", "--json", *at).documents
    assert list(document) == ["effect_id", "replay_key", "hash"]
    assert document["hash"] in shown.out


def test_a_kind_without_a_queue_says_how_to_get_one(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands that start a worker or declare the queue are in the sentence."""
    result = effectmq(capsys, "submit", "--tool", "add", *_at(broker, namespace))
    assert result.code == 1
    assert "effectmq worker module:app --kind tool_call" in result.err


def test_waiting_prints_the_outcome(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The outcome itself for people, the whole answer for scripts; an error exits 1."""
    at = ("--wait", *_at(broker, namespace))
    with _working(broker, namespace):
        words = ("--tool", "add", "--args", '{"a": 1, "b": 2}', "--turn", "t1")
        shown = effectmq(capsys, "submit", *words, *at)
        assert shown.code == 0
        outcome = json.loads(shown.out.splitlines()[-1].removeprefix("outcome"))
        assert outcome["result"]["output"]["outcome"]["payload"] == 3
        (answer,) = effectmq(capsys, "submit", *words, "--json", *at).documents
        assert answer["replay_key"] == "cli:t1:0:0:tool_call:1:call-1"
        assert answer["result"]["Ok"]["type"] == "tool_call"
        failed = effectmq(capsys, "submit", "--kind", "exec_code", "--args", '{"code": ""}', *at)
        assert failed.code == 1
        assert "failed with not_here: no" in failed.err
        moved = effectmq(
            capsys,
            "submit",
            "--kind",
            "process",
            "--args",
            json.dumps(
                {
                    "command": {
                        "op": "transfer",
                        "from_scope": {"session_id": "a"},
                        "to_scope": {"session_id": "b"},
                        "process_ids": [],
                    }
                }
            ),
            *at,
        )
        assert moved.code == 0, moved.err


def test_two_calls_without_a_turn_are_two_effects(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed twice means wanted twice; with the same turn it would be the same effect."""
    at = _at(broker, namespace)
    effectmq(capsys, "topology", "apply", "--kind", "tool_call", *at)
    keys = [
        effectmq(capsys, "submit", "--tool", "x", "--json", *words, *at).documents[0]["replay_key"]
        for words in ((), (), ("--turn", "t"), ("--turn", "t"))
    ]
    assert len(set(keys)) == 3


def test_an_effect_is_put_off(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A delay is waited for; a moment of the past is now."""
    at = _at(broker, namespace)
    call = ("submit", "--tool", "add", "--args", '{"a": 1, "b": 2}', "--json", "--wait")
    with _working(broker, namespace):
        for when in (("--delay", "50ms"), ("--not-before", "2020-01-01T08:00+01:00")):
            done = effectmq(capsys, *call, *when, *at)
            assert done.code == 0, done.err
        debounced = ("--delay", "5ms", "--debounce", "k", "--debounce-max", "1")
        last = effectmq(capsys, *call, *debounced, *at)
        assert last.code == 1
        assert "has no journal to know which" in last.out
    both = effectmq(capsys, *call, "--delay", "1", "--not-before", "2020-01-01", *at)
    assert both.code == 2
    none = effectmq(capsys, *call, "--not-before", "soon", *at)
    assert none.code == 2
    assert "expected an ISO time" in none.err
    bare = effectmq(capsys, *call, "--debounce", "k", *at)
    assert bare.code == 2
    assert "give delay_s, or not_before" in bare.err


def test_a_tool_that_no_worker_has_is_said_to_be_none(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is submitted all the same; a right name, and JSON for a script, get no hint."""
    at = _at(broker, namespace)
    with _working(broker, namespace):
        slip = effectmq(capsys, "submit", "--tool", "ad", *at)
        right = effectmq(capsys, "submit", "--tool", "add", *at)
        script = effectmq(capsys, "submit", "--tool", "ad", "--json", *at)
    assert (slip.code, right.code, script.code) == (0, 0, 0)
    assert "did you mean 'add'?" in slip.err
    assert "no running worker" not in right.err + script.err
