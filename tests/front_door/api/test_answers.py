"""Effects that somebody else answers, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from effectmq import Client, Handle, ToolCall, ToolContext, WaitForAnswer, Worker
from effectmq.api.access.tokens import Tokens
from tests.front_door.api.stage import Stage, staged
from tests.waiting import eventually

OPERATOR, LOOKER = "a-token-of-an-operator", "a-token-of-who-only-looks"
TOKENS = Tokens.read(f"alice:operate:{OPERATOR},bob:read:{LOOKER}")


@dataclass
class Asked:
    """An API over a place where two effects wait."""

    stage: Stage
    tokens: list[str]
    handles: list[Handle]

    def asking(self, token: str) -> None:
        self.stage.http.headers["Authorization"] = f"Bearer {token}"

    async def answer(self, **body: Any) -> tuple[int, dict[str, Any]]:
        made = await self.stage.post("/answers", body)
        return made.status_code, made.json()


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    """Both are asked for, and the worker runs."""
    async with staged(TOKENS) as stage:
        app, tokens = Worker(place=stage.place), list[str]()

        @app.tool
        async def refund(amount: int, context: ToolContext) -> int | WaitForAnswer:
            tokens.append(context.answer_token)
            return context.wait_for_answer(note=f"Pay {amount}?", deadline_s=3_600)

        async with app, Client(place=stage.place) as client:
            turn = client.turn("s", "t")
            handles = [
                await client.submit(envelope)
                for envelope in turn.tool_envelopes(
                    [ToolCall("refund", {"amount": n}, f"c{n}") for n in (1, 2)]
                )
            ]
            made = Asked(stage, tokens, handles)
            made.asking(OPERATOR)

            async def waiting() -> bool:
                return (await stage.get("/answers")).json()["total"] == 2

            await eventually(waiting)
            yield made


async def test_what_waits_is_shown_and_answered_by_its_id(asked: Asked) -> None:
    """The caller hears it at once, and the audit has who it was."""
    page = (await asked.stage.get("/answers", limit=1)).json()
    (first,) = page["waiting"]
    assert (first["note"], first["value_schema"]) == ("Pay 1?", {"type": "integer"})
    code, problem = await asked.answer(id=first["id"], value="one")
    assert (code, problem["code"]) == (422, "answer_misfit")
    assert "expected integer" in problem["detail"]
    assert await asked.answer(id=first["id"], value=1) == (
        200,
        {"id": first["id"], "counts": True, "status": "completed", "ran_out": False},
    )
    outcome: Any = await asked.handles[0].outcome(20)
    assert outcome.result.output.outcome.payload == 1
    code, told = await asked.answer(id=first["id"], error="no")
    assert (code, told["counts"], told["status"]) == (200, False, "completed")
    audit = (await asked.stage.get("/dead-letters/audit")).text
    assert "alice" in audit
    assert '"answer"' in audit


async def test_a_token_answers_its_effect(asked: Asked) -> None:
    """With a refusal as well; the audit does not have it."""
    code, told = await asked.answer(token=asked.tokens[1], error="too much")
    assert (code, told["counts"], told["status"]) == (200, True, "failed")
    assert asked.tokens[1] not in (await asked.stage.get("/dead-letters/audit")).text
    code, problem = await asked.answer(token=f"eqa_{'0' * 64}", value=1)
    assert (code, problem["code"]) == (404, "not_handed_out")


@pytest.mark.parametrize(
    "body",
    [{}, {"value": 1}, {"id": "2:c2"}, {"id": "2:c2", "token": "eqa_0", "value": 1}],
)
async def test_an_answer_says_which_effect_and_what(asked: Asked, body: dict[str, Any]) -> None:
    """One of each, and not both."""
    code, _ = await asked.answer(**body)
    assert code == 422


async def test_who_may_only_look_answers_nothing(asked: Asked) -> None:
    """Nor does who has no token of the API."""
    asked.asking(LOOKER)
    assert (await asked.stage.get("/answers")).json()["total"] == 2
    assert (await asked.answer(id="2:c2", value=1))[0] == 403
    asked.asking("wrong")
    assert (await asked.answer(id="2:c2", value=1))[0] == 401
