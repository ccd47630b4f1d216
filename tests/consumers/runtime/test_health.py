"""The wait at a worker's start: what is said of it, and how often."""

from __future__ import annotations

import asyncio

import pytest

from effectmq.consumers.runtime import health
from effectmq.consumers.runtime.health import Health, Patience
from effectmq.protocol.errors import BrokerUnreachableError
from tests.consumers.stage import logged


async def test_a_reason_that_is_known_later_is_told_and_stays(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A first try may take long before it says why; the next ones do not make it unknown again."""
    monkeypatch.setattr(health, "_NOTICE_S", 0.0)
    monkeypatch.setattr(health, "_LONGEST_WAIT_S", 0.01)
    told: list[Health] = []
    tries = 0

    async def step() -> str:
        nonlocal tries
        tries += 1
        known = len(told)
        if tries == 1:
            while len(told) == known:  # noqa: ASYNC110 - until the silence is noticed
                await asyncio.sleep(0)
        elif tries < 4:
            await asyncio.sleep(0.001)  # beyond the notice
        if tries < 4:
            raise BrokerUnreachableError(f"reason {tries}")
        return "open"

    assert await Patience("w", told.append).open("the broker", step) == "open"

    lines = [record.getMessage() for record in logged(caplog, "worker_waits")]
    assert len(lines) == 2
    assert "waits for the broker (no answer so far)" in lines[0]
    assert "waits for the broker (reason 1)" in lines[1]
    assert [one.detail for one in told] == [
        "the broker: no answer so far",
        "the broker: reason 1",
        "the broker: reason 2",
        "the broker: reason 3",
        "",
    ]
    assert told[-1].state == "starting"
