"""``effectmq run``: envelopes in, outcomes out, in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from effectmq import Client
from effectmq.cli.run import _Runner
from effectmq.cli.terminal.lines import Line
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.serde.model import from_tree, stable_hash
from effectmq.protocol.topology import TopologySettings
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from tests.front_door.cli.command import Result, effectmq, envelope_line, feed_stdin, tool_line
from tests.waiting import eventually

Write = Callable[[str], str]

_SLEEP = {"type": "sleep", "duration_ms": 1}
_APP = """
import asyncio
from effectmq import RejectEffectError, Worker

app = Worker("memory://elsewhere", namespace="elsewhere")
running = most = 0

@app.tool
async def late(ms: int) -> int:
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(ms / 1000)
    running -= 1
    return ms

@app.handler("exec_code")
async def exec_code(command):
    raise RejectEffectError("not_here", "no")
"""


def _run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, lines: list[str], *words: str
) -> Result:
    path = tmp_path / "envelopes.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return effectmq(capsys, "run", path, *words)


def test_outcomes_come_in_the_order_of_the_lines(
    write_module: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However long each effect takes, and however many are under way."""
    name = write_module(_APP)
    waits = [60, 1, 30, 2, 0]
    lines = [tool_line(str(number), "late", {"ms": ms}) for number, ms in enumerate(waits)]
    result = _run(capsys, tmp_path, lines, "--worker", f"{name}:app")
    assert result.code == 0
    assert [answer["effect_id"] for answer in result.documents] == ["0", "1", "2", "3", "4"]
    assert "5 effects: 5 ok" in result.err


def test_an_answer_has_the_keys_hash_and_canonical_outcome(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stable members in their order, and the outcome byte for byte as it is hashed."""
    line = envelope_line("1", _SLEEP)
    result = _run(capsys, tmp_path, [line])
    (answer,) = result.documents
    envelope = from_tree(RuntimeEffectEnvelope, json.loads(line))
    assert answer == {
        "effect_id": "1",
        "replay_key": "s:t:sleep:1",
        "hash": stable_hash(envelope),
        "attempt": 1,
        "replayed": False,
        "result": {"Ok": {"type": "sleep"}},
    }
    assert result.out.encode() == canonical_json(answer) + b"\n"


def test_bad_lines_are_answered_with_their_number_and_the_rest_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not JSON, not an envelope, a broken rule, binary: a sentence each, and exit code 1."""
    path = tmp_path / "mixed"
    good = envelope_line("1", _SLEEP).encode()
    invalid = good.replace(b'"effect_id": "1"', b'"effect_id": ""')
    path.write_bytes(b"\n".join([good, b"{", b"", b"\xff\x00", b"[]", invalid, b"   ", good]))
    result = effectmq(capsys, "run", path)
    assert result.code == 1
    assert [answer.get("line", "ok") for answer in result.documents] == ["ok", 2, 4, 5, 6, "ok"]
    errors = [answer["error"] for answer in result.documents if "error" in answer]
    assert all(error.startswith("not a valid envelope: ") for error in errors)
    assert "runtime_effect_invocation_subject" in errors[-1]
    assert "2 ok, 4 without an answer" in result.err


def test_binary_rubbish_is_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of another kind altogether."""
    path = tmp_path / "picture.png"
    path.write_bytes(bytes(range(256)) * 64)
    result = effectmq(capsys, "run", path)
    assert result.code == 1
    assert all("error" in answer for answer in result.documents)


def test_without_a_worker_tools_are_unavailable_and_other_kinds_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The small worker sleeps and answers tool calls; for the rest the sentence names --worker."""
    code = envelope_line("2", {"type": "exec_code", "code": "1"})
    result = _run(capsys, tmp_path, [tool_line("1", "add", {}), code])
    assert result.code == 1
    called, refused = result.documents
    failure = called["result"]["Ok"]["result"]["output"]["outcome"]["payload"]
    assert failure["code"] == "tool_unavailable"
    assert "--worker module:app" in failure["message"]
    assert refused["line"] == 2
    assert "no worker here carries out exec_code effects" in refused["error"]
    assert "--worker module:app" in refused["error"]


def test_an_effect_that_cannot_be_carried_out_is_an_err_and_exit_code_1(
    write_module: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A controller error stands where the outcome would."""
    name = write_module(_APP)
    line = envelope_line("1", {"type": "exec_code", "code": "1"})
    result = _run(capsys, tmp_path, [line], "--worker", f"{name}:app")
    assert result.code == 1
    assert result.documents[0]["result"] == {"Err": {"code": "not_here", "message": "no"}}


def test_an_outcome_that_does_not_come_in_time_is_said_with_its_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The effect is under way, so whoever reads the answer can look for it."""
    line = envelope_line("1", {"type": "sleep", "duration_ms": 60_000})
    result = _run(capsys, tmp_path, [line], "--timeout", "200ms")
    assert result.code == 1
    (answer,) = result.documents
    assert list(answer) == ["line", "effect_id", "replay_key", "hash", "error"]
    assert "no outcome for effect '1' within" in answer["error"]


def test_no_more_effects_are_under_way_than_asked_for(
    write_module: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--concurrency`` bounds what is submitted and not answered."""
    name = write_module(_APP)
    lines = [tool_line(str(number), "late", {"ms": 5}) for number in range(40)]
    result = _run(capsys, tmp_path, lines, "--worker", f"{name}:app", "--concurrency", "3")
    assert result.code == 0
    module = __import__(name)
    assert module.most == 3


async def test_a_large_file_is_never_wholly_in_memory() -> None:
    """While the first line waits for its outcome, only a window of the others is read."""
    taken = 0
    written: list[str] = []
    gate = asyncio.Event()
    app = EffectWorker("memory://", topology=TopologySettings())

    @app.tool
    async def wait(number: int) -> int:
        if number == 0:
            await gate.wait()
        return number

    async def lines() -> AsyncIterator[Line]:
        nonlocal taken
        for number in range(500):
            taken += 1
            yield Line(number + 1, tool_line(str(number), "wait", {"number": number}).encode())

    async with app, Client("memory://") as client:
        runner = _Runner(client, timeout_s=30, concurrency=2, kinds=None)
        running = asyncio.create_task(
            runner.execute(lines(), lambda answer: written.append(str(answer["effect_id"])))
        )
        await eventually(lambda: client.counters["answered"] >= 30)
        before = client.counters["answered"]
        await eventually(lambda: client.counters["submitted"] - before <= 5)
        assert taken <= 40
        assert not written
        gate.set()
        await running
    assert written == [str(number) for number in range(500)]


def test_lines_can_come_from_stdin_and_go_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``-`` is stdin; ``--output`` keeps stdout empty; ``--quiet`` stderr, too."""
    feed_stdin(monkeypatch, envelope_line("1", _SLEEP).encode())
    output = tmp_path / "out.jsonl"
    result = effectmq(capsys, "run", "-", "--output", output, "--quiet")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert json.loads(output.read_text())["effect_id"] == "1"


def test_the_input_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Input and output under one name would lose both."""
    path = tmp_path / "envelopes.jsonl"
    path.write_text(envelope_line("1", _SLEEP))
    link = tmp_path / "link"
    link.symlink_to(path)
    result = effectmq(capsys, "run", path, "--output", link)
    assert result.code == 2
    assert "which is the input" in result.err
    assert path.read_text() == envelope_line("1", _SLEEP)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["missing.jsonl"], "missing.jsonl cannot be read: No such file"),
        (["{file}", "--output", "{folder}"], "cannot be written: Is a directory"),
        (["{file}", "--worker", "nothing"], "expected module:object"),
        (["{file}", "--broker", "http://x"], "the broker URL is 'http://x'"),
        (["{file}", "--namespace", "a b"], "namespace is 'a b'"),
    ],
)
def test_what_cannot_be_used_is_a_usage_error(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is executed then."""
    path = tmp_path / "envelopes.jsonl"
    path.write_text(envelope_line("1", _SLEEP))
    result = effectmq(capsys, "run", *[word.format(file=path, folder=tmp_path) for word in words])
    assert result.code == 2
    assert expected in result.err
    assert not result.out


def test_the_same_line_twice_is_one_effect_with_one_answer_each(
    write_module: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both lines get the outcome of the one effect."""
    name = write_module(_APP)
    lines = [tool_line("1", "late", {"ms": 20})] * 2
    result = _run(capsys, tmp_path, lines, "--worker", f"{name}:app")
    assert result.code == 0
    first, second = result.documents
    assert first == second


def test_lines_reach_a_worker_on_a_real_broker(
    broker: object,
    namespace: str,
    write_module: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """``--worker`` works on ``amqp://``, too; its own broker and namespace are overridden."""
    name = write_module(_APP)
    url = getattr(broker, "url", "")
    lines = [tool_line(str(number), "late", {"ms": 1}) for number in range(50)]
    result = _run(
        capsys,
        tmp_path,
        lines,
        *("--worker", f"{name}:app", "--broker", url, "--namespace", namespace),
    )
    assert result.code == 0, result.err
    assert len(result.documents) == 50


def test_a_kind_that_nobody_declared_is_said_for_its_line(
    broker: object, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a real broker the sentence comes from the broker's answer."""
    url = getattr(broker, "url", "")
    result = _run(
        capsys,
        tmp_path,
        [envelope_line("1", _SLEEP)],
        *("--broker", url, "--namespace", namespace),
    )
    assert result.code == 1
    assert "no queue for 'sleep'" in result.documents[0]["error"]
