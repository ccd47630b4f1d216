"""Which first claims must survive a loss of power, and which may be lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Claim, ClaimAnswer, WhenDoubtful
from effectmq.consumers.pipeline.journal_leases import JournalLeases
from effectmq.protocol.messages.request import Request
from tests.consumers.stage import nap, tool

CALL, SLEEP = Request.seal(tool("add")), Request.seal(nap(60_000))


class Noted(Journal):
    """Notes the claims."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: list[Claim] = []

    def claim(self, asked: Claim) -> asyncio.Future[ClaimAnswer]:
        self.asked.append(asked)
        return super().claim(asked)


def came_back(request: Request) -> Request:
    """The same after its consumer was gone once."""
    return replace(request, message=replace(request.message, returns=1))


@pytest.mark.parametrize(
    ("request_", "when", "durable"),
    [
        pytest.param(CALL, "retry", False, id="it may run again"),
        pytest.param(CALL, "park", True, id="it must not run twice"),
        pytest.param(CALL, "undecided", True, id="its tool is not here"),
        pytest.param(SLEEP, "retry", True, id="it fixes when a sleep ends"),
        pytest.param(came_back(CALL), "retry", True, id="it may have ended its host"),
    ],
)
async def test_a_claim_is_as_durable_as_its_handler_needs(
    request_: Request, when: WhenDoubtful, durable: bool
) -> None:
    async with Noted("memory://") as journal:
        leases = JournalLeases(journal, "w", 60_000, Counter())
        await leases.claim(request_, lambda _: when)
        await leases.leave(1.0)
    assert [asked.durable for asked in journal.asked] == [durable]
