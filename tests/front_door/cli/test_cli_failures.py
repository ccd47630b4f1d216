"""A failed tool or model is an outcome, and whoever looks at the journal sees that it failed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from effectmq import Client, ToolCallError, Worker
from effectmq.protocol.wire.llm_request import LlmContentBlockText, LlmMessage, LlmRequestSpec
from tests.front_door.cli.command import effectmq


async def carry_out(url: str) -> None:
    """A call that succeeds, and one that fails and is asked for twice, by a real worker."""
    app = Worker(journal=url)

    @app.tool
    async def pay(amount: int) -> int:
        if amount > 100:
            raise ToolCallError("the bank says no", code="declined")
        return amount

    async with app, Client(place=app.place, journal="none") as client:
        for number, amount in enumerate((1, 500, 500)):
            turn = client.turn("s", f"t{min(number, 1)}")
            outcome = await turn.tool_call("pay", {"amount": amount}, call_id="c")
            assert outcome.failed is (amount > 100)


def test_it_is_listed_counted_and_shown_as_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With code and message; the outcome is there as well, and nothing is wrong with the record."""
    url = f"sqlite:///{tmp_path / 'j.db'}"
    asyncio.run(carry_out(url))
    listed = effectmq(capsys, "effects", "list", "--status", "failed", "--journal", url)
    assert "declined: the bank says no" in listed.out
    assert len(listed.out.splitlines()) == 2
    (found,) = effectmq(
        capsys, "effects", "list", "--status", "failed", "--json", "--journal", url
    ).documents
    assert found["error"] == {"code": "declined", "message": "the bank says no"}
    completed = effectmq(capsys, "effects", "list", "--status", "completed", "--journal", url)
    assert len(completed.out.splitlines()) == 2
    (shown,) = effectmq(
        capsys, "effects", "get", found["hash"][:12], "--json", "--journal", url
    ).documents
    assert shown["status"] == "failed"
    assert shown["outcome"]["result"]["output"]["outcome"]["payload"]["code"] == "declined"
    stats = json.loads(effectmq(capsys, "journal", "stats", "--json", "--journal", url).out)
    counts = {one["status"]: one["count"] for one in stats["counts"]}
    assert counts == {"completed": 1, "failed": 1}
    assert effectmq(capsys, "journal", "verify", "--journal", url).code == 0


def test_a_model_that_fails_is_listed_and_shown_as_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a tool is: its error is inside of an outcome, and nobody has to look for it there."""
    url = f"sqlite:///{tmp_path / 'j.db'}"

    async def asked() -> None:
        app = Worker(journal=url)
        refused = {"times": 9, "retryable": False, "code": "authentication_failed"}
        line = {"when": "", "reply": "never", "failure": refused}
        app.models({"fast": {"provider": "scripted", "script": [line]}})
        block = LlmContentBlockText(text="a card 4111", cache_breakpoint=False)
        request = LlmRequestSpec(
            model="fast",
            messages=[LlmMessage(role="User", blocks=[block])],
            attachments=[],
            tools=[],
            tool_choice="None",
        )
        async with app, Client(place=app.place, journal="none") as client:
            turn = client.turn("s", "t")
            assert (await turn.llm_call(request)).failed
            assert (await turn.direct(request, usage_source="test")).failed

    asyncio.run(asked())
    failed = effectmq(
        capsys, "effects", "list", "--status", "failed", "--json", "--journal", url
    ).documents
    assert {one["kind"] for one in failed} == {"llm_call", "direct"}
    assert {one["error"]["code"] for one in failed} == {"authentication_failed"}
    listed = effectmq(capsys, "effects", "list", "--status", "failed", "--journal", url)
    assert listed.out.count("authentication_failed: ") == 2
