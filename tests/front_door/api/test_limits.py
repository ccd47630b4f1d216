"""Limits of the fleet over HTTP."""

from __future__ import annotations

from tests.front_door.api.stage import some_effects, staged


async def test_a_limit_is_set_shown_and_cleared() -> None:
    """By an operator, which is written down."""
    async with staged() as stage:
        await some_effects(stage.place, 1)
        asked = {"route": "llm_call", "key": "model", "rate": "60/m", "concurrency": 8}
        done = (await stage.post("/limits", asked)).json()
        assert (done["name"], done["source"], done["waiting"]) == ("llm_call:model", "operator", 0)
        told = (await stage.get("/limits")).json()
        assert (told["limits"], told["waiting"]) == ([done], [])
        cleared = await stage.post("/limits/clear", {"name": "llm_call:model"})
        assert cleared.json() == {"name": "llm_call:model"}
        assert (await stage.get("/limits")).json()["limits"] == []
        lines = (await stage.get("/dead-letters/audit")).json()["lines"]
        assert sorted(line["action"] for line in lines) == ["clear limit", "set limit"]


async def test_what_cannot_be_set_or_cleared_is_said() -> None:
    """And nothing is changed."""
    async with staged() as stage:
        await some_effects(stage.place, 1)
        refused = await stage.post("/limits", {"route": "llm_call"})
        assert (refused.status_code, refused.json()["code"]) == (422, "no_limit")
        assert "limits nothing" in refused.json()["detail"]
        missing = await stage.post("/limits/clear", {"name": "nothing"})
        assert (missing.status_code, missing.json()["code"]) == (404, "no_such_limit")
        assert (await stage.get("/limits")).json()["limits"] == []
