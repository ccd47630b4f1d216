"""What was spent over HTTP, and ceilings, with who set them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from effectmq.api.access.tokens import Tokens
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Record
from effectmq.broker.store.spend.records import Spend, Use
from tests.conformance.asking import effect, granted
from tests.front_door.api.stage import Stage, staged

OPERATOR, READER = "a-token-of-an-operator", "a-token-of-a-reader"
TOKENS = Tokens.read(f"alice:operate:{OPERATOR},bob:read:{READER}")
SPENT = [
    Spend("acme", "s1", (Use("gpt", 1_000, 200, 100, 1_234_567_890),)),
    Spend("", "s1", (Use("own", 10, 5),)),
]


@pytest.fixture
async def api() -> AsyncIterator[Stage]:
    """An API over a journal in which two effects have spent something, asked by Alice."""
    async with staged(TOKENS) as stage:
        assert stage.place.journal is not None
        async with Journal(stage.place.journal, namespace="effects") as journal:
            await journal.check_writable()
            for number, spend in enumerate(SPENT):
                asked = effect(f"k{number}")
                answer = await granted(journal, asked)
                await journal.record(Record(asked.identity, answer.fence, 1, "{}", spend=spend))
            stage.http.headers["Authorization"] = f"Bearer {OPERATOR}"
            yield stage


async def test_spend_is_told_by_who_spent_it(api: Stage) -> None:
    """With days and the total; of nobody the name is null."""
    found = (await api.get("/spend", by="tenant", newer_than_s=86_400)).json()
    first, second = found["rows"]
    assert first == {
        "name": "acme",
        "calls": 1,
        "input_tokens": 1_000,
        "output_tokens": 200,
        "cached_tokens": 100,
        "nanos": 1_234_567_890,
        "usd": 1.23456789,
        "unpriced_calls": 0,
    }
    assert (second["name"], second["unpriced_calls"]) == (None, 1)
    assert found["total"]["calls"] == sum(day["calls"] for day in found["days"]) == 2
    assert [row["name"] for row in (await api.get("/spend")).json()["rows"]] == ["gpt", "own"]
    assert (await api.get("/spend", by="team")).status_code == 422


async def test_an_effect_has_its_spend_and_its_cost(api: Stage) -> None:
    """No price is no cost, which is not 0."""
    effects = {each["replay_key"]: each for each in (await api.get("/effects")).json()["effects"]}
    assert effects["k0"]["cost_usd"] == 1.23456789
    assert effects["k0"]["spend"]["tenant"] == "acme"
    assert effects["k1"]["cost_usd"] is None
    assert effects["k1"]["spend"]["output_tokens"] == 5


async def test_ceilings_are_set_and_cleared_and_the_audit_has_by_whom(api: Stage) -> None:
    """A text of dollars is exact."""
    asked = {"by": "tenant", "name": "acme", "usd": "0.30", "per": "day"}
    made = (await api.post("/spend/ceilings", asked)).json()
    assert (made["nanos"], made["source"], made["on_exceeded"]) == (300_000_000, "person", "refuse")
    [shown] = (await api.get("/spend")).json()["ceilings"]
    assert shown["changed_ms"] > 0
    assert {**shown, "changed_ms": 0} == {**made, "changed_ms": 0}
    meant = {"by": "tenant", "name": "acme", "per": "day"}
    assert (await api.post("/spend/ceilings/clear", meant)).json() == {"cleared": True}
    assert (await api.post("/spend/ceilings/clear", meant)).json() == {"cleared": False}
    lines = (await api.get("/dead-letters/audit")).json()["lines"]
    assert {(line["who"], line["action"]) for line in lines} == {("alice", "ceiling")}


@pytest.mark.parametrize(
    "wrong",
    [
        {"by": "tenant"},
        {"by": "all", "name": "x", "usd": 1},
        {"by": "tenant", "usd": "much"},
        {"by": "tenant", "usd": -1},
        {"by": "tenant", "name": "\x00", "usd": 1},
        {"by": "tenant", "tokens": 1, "per": "week"},
    ],
)
async def test_a_ceiling_that_cannot_be_one_is_refused(api: Stage, wrong: object) -> None:
    """And nothing is set."""
    assert (await api.post("/spend/ceilings", wrong)).status_code == 422
    assert (await api.get("/spend")).json()["ceilings"] == []


async def test_who_may_only_read_sets_nothing(api: Stage) -> None:
    """But sees it all."""
    api.http.headers["Authorization"] = f"Bearer {READER}"
    assert (await api.get("/spend")).status_code == 200
    refused = await api.post("/spend/ceilings", {"by": "all", "usd": 1})
    assert refused.status_code == 403
