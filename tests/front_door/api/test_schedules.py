"""Schedules over HTTP: made, looked at, paused, resumed and removed."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.place import Place
from tests.front_door.api.stage import Stage, staged, worker_of


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Stage]:
    """An API whose journal is a file, with a worker beside it."""
    place = Place.of(
        {
            "broker": f"memory://{secrets.token_hex(4)}",
            "journal": f"sqlite:///{tmp_path}/journal.db",
        }
    )
    async with worker_of(place), staged(place=place) as stage:
        yield stage


async def put(stage: Stage, name: str, **asked: Any) -> Any:
    """Make one."""
    return await stage.http.put(f"/api/v1/schedules/{name}", json=asked)


async def test_a_schedule_lives_its_life(api: Stage) -> None:
    call = {"tool": "add", "args": {"a": 1, "b": 2}}
    made = await put(api, "nightly", cron="30 2 * * *", zone="Europe/Berlin", **call)
    assert made.status_code == 200, made.text
    assert (made.json()["what"], made.json()["origin"]) == ("tool_call add", "operator")
    await put(api, "hourly", every_s=3_600, missed="skip", **call)
    seen = (await api.get("/schedules")).json()
    assert [each["name"] for each in seen["schedules"]] == ["hourly", "nightly"]
    assert all(each["next_ms"] > seen["now_ms"] for each in seen["schedules"])
    paused = (await api.post("/schedules/hourly/pause")).json()
    assert (paused["paused"], paused["next_ms"]) == (True, None)
    assert (await api.post("/schedules/hourly/resume")).json()["next_ms"] is not None
    assert (await api.delete("/schedules/hourly")).json()["name"] == "hourly"
    seen = (await api.get("/schedules")).json()
    assert [each["name"] for each in seen["schedules"]] == ["nightly"]


async def test_a_name_that_there_is_not_is_not_found(api: Stage) -> None:
    answers = [
        await api.post("/schedules/none/pause"),
        await api.post("/schedules/none/resume"),
        await api.delete("/schedules/none"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 3


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"every_s": 60},
        {"tool": "add"},
        {"tool": "add", "every_s": 0.1},
        {"tool": "add", "every_s": 60, "cron": "* * * * *"},
        {"tool": "add", "cron": "61 * * * *"},
        {"tool": "add", "cron": "0 0 * * *", "zone": "Berlin"},
        {"tool": "add", "every_s": 60, "missed": "some"},
        {"kind": "sleep", "every_s": 60},
    ],
    ids=str,
)
async def test_what_makes_no_schedule_is_refused_with_a_sentence(
    api: Stage, asked: dict[str, Any]
) -> None:
    answer = await put(api, "s", **asked)
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]
    assert (await api.get("/schedules")).json()["schedules"] == []


async def test_without_a_journal_there_are_none_which_is_said() -> None:
    place = Place.of({"broker": f"memory://{secrets.token_hex(4)}", "journal": "none"})
    async with staged(place=place) as stage:
        answer = await stage.get("/schedules")
    assert answer.status_code == 503
    assert "no journal" in answer.json()["detail"]
