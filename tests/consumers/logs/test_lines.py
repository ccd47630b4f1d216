"""What the log says of each effect: how it ended, what was raised, who had it before."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Claim, effect_of
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import EffectFailedError, ToolCallError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectCommandLlmCall
from effectmq.protocol.wire.llm_response import LlmCallError
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeLlmCall
from tests.consumers.llm.asking import spec
from tests.consumers.stage import AT_ONCE, PATIENCE_S, Stage, code, effect, logged, outcome, tool

_CARD = "4111-1111-1111-1111"


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    """As a worker logs by default."""
    caplog.set_level(logging.INFO, logger="effectmq")


def text_of(caplog: pytest.LogCaptureFixture) -> str:
    """Everything that was logged, as the formatter of the standard library writes it."""
    return "\n".join(map(logging.Formatter().format, caplog.records))


async def test_a_success_is_one_line_with_its_duration(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """With the names of the effect, its tool and attempt, and nothing of what it was given."""
    worker = stage.worker()

    @worker.tool
    async def pay(card: str) -> str:
        return f"paid with {card}"

    await stage.start(worker)
    await (await stage.client()).execute(tool("pay", card=_CARD), timeout=PATIENCE_S)
    (record,) = logged(caplog, "done")
    said = vars(record)
    assert (said["session_id"], said["turn_id"], said["effect_id"]) == ("s1", "t1", "1")
    assert (said["tool"], said["attempt"], record.levelno) == ("pay", 1, logging.INFO)
    assert 0 < said["duration_s"] < PATIENCE_S
    assert _CARD not in text_of(caplog)


@pytest.mark.parametrize(("every", "lines"), [(0, 0), (1, 6), (3, 2)])
async def test_successes_are_sampled_or_off(
    stage: Stage, caplog: pytest.LogCaptureFixture, every: int, lines: int
) -> None:
    """Failures are not: there is no setting that hides one."""
    worker = stage.worker(log_every=every)

    @worker.tool
    async def half(number: int) -> float:
        return 1 / number

    await stage.start(worker)
    client = await stage.client()
    for number in range(1, 7):
        await client.execute(tool("half", str(number), number=number), timeout=PATIENCE_S)
    await client.execute(tool("half", "0", number=0), timeout=PATIENCE_S)
    assert len(logged(caplog, "done")) == lines
    assert len(logged(caplog, "failed")) == len(logged(caplog, "raised")) == 1


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_tool_that_raises_is_logged_with_its_traceback(
    stage: Stage, caplog: pytest.LogCaptureFixture, threaded: bool
) -> None:
    """Once for each attempt; the failure that is its outcome has a line of its own."""
    worker = stage.worker()

    def broken(card: str) -> str:
        raise LookupError(f"no card {card} at https://shop:geheim@bank")

    async def broken_too(card: str) -> str:
        return broken(card)

    worker.tool(name="pay", retry=RetryPolicy(max_attempts=3, base_delay_s=0.001))(
        broken if threaded else broken_too
    )
    await stage.start(worker)
    await (await stage.client()).execute(tool("pay", card=_CARD), timeout=PATIENCE_S)
    raised = logged(caplog, "raised")
    assert [vars(record)["attempt"] for record in raised] == [1, 2, 3]
    for record in raised:
        said = vars(record)
        assert (said["session_id"], said["turn_id"], said["effect_id"]) == ("s1", "t1", "1")
        assert said["tool"] == "pay"
        assert f'File "{__file__}"' in (record.exc_text or "")
        assert "LookupError: no card ***" in (record.exc_text or "")
        assert "consumers/tools/handler.py" not in (record.exc_text or "")
    (failed,) = logged(caplog, "failed")
    assert failed.getMessage().startswith("effect 1 has failed in attempt 3: tool_error: Lookup")
    assert vars(failed)["tool"] == "pay"
    written = text_of(caplog)
    assert _CARD not in written
    assert "geheim" not in written


async def test_a_failure_that_a_tool_raises_on_purpose_is_logged_as_well(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """With its code."""
    worker = stage.worker()

    @worker.tool
    async def pay() -> None:
        raise ToolCallError("the bank says no", code="declined")

    await stage.start(worker)
    await (await stage.client()).execute(tool("pay"), timeout=PATIENCE_S)
    (failed,) = logged(caplog, "failed")
    assert vars(failed)["code"] == "declined"
    (raised,) = logged(caplog, "raised")
    assert (raised.exc_text or "").endswith("ToolCallError: the bank says no")


async def test_a_model_that_fails_is_logged_as_failed(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error is inside of an outcome; what the provider says may repeat the prompt."""
    worker = stage.worker()
    refusal = LlmCallError(
        message=f"no answer to {_CARD}",
        retryable=False,
        code="content_policy",
        terminal_reason="provider_error",
    )

    @worker.handler("llm_call")
    async def answer(command: object) -> object:
        return RuntimeEffectOutcomeLlmCall(result=Err(refusal), text_streamed=False)

    await stage.start(worker)
    asked = effect("llm_call", RuntimeEffectCommandLlmCall(request=spec(_CARD)), "1")
    await (await stage.client()).execute(asked, timeout=PATIENCE_S)
    (failed,) = logged(caplog, "failed")
    assert failed.levelno == logging.WARNING
    assert "content_policy: no answer to ***" in failed.getMessage()
    assert (vars(failed)["model"], vars(failed)["code"]) == ("fast", "content_policy")
    assert not logged(caplog, "done")
    assert _CARD not in text_of(caplog)


async def test_a_handler_that_raises_is_logged_with_its_traceback(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Beside the lines that say what becomes of it; none has what it was given."""
    worker = stage.worker()

    @worker.handler("exec_code", retry=AT_ONCE)
    async def run(command: Any) -> object:
        raise RuntimeError(f"cannot run {command.code}")

    await stage.start(worker)
    handle = await (await stage.client()).submit(code("launch_the_rocket()"))
    with pytest.raises(EffectFailedError):
        await outcome(handle)
    raised = logged(caplog, "raised")
    assert [vars(record)["attempt"] for record in raised] == [1, 2, 3]
    assert all("raise RuntimeError" in (record.exc_text or "") for record in raised)
    for record in (*logged(caplog, "retry"), *logged(caplog, "park")):
        assert "RuntimeError: cannot run ***" in record.getMessage()
    assert "launch_the_rocket" not in text_of(caplog)


async def test_a_takeover_says_from_whom(
    stage: Stage, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A worker that died held the effect."""
    url = f"sqlite:///{tmp_path / 'j.db'}"
    worker = stage.worker(journal=url)

    @worker.tool
    async def pay() -> str:
        return "paid"

    envelope = tool("pay")
    async with Journal(url, namespace=stage.topology.namespace) as journal:
        await journal.claim(Claim(effect_of(Request.seal(envelope)), "host-1:4711", "token", 1))
    await stage.start(worker)
    await (await stage.client()).execute(envelope, timeout=PATIENCE_S)
    (record,) = logged(caplog, "taken_over")
    assert "is taken over from worker host-1:4711" in record.getMessage()
    said = vars(record)
    assert (said["from_worker"], said["deaths"], said["tool"]) == ("host-1:4711", 1, "pay")
