"""A worker is killed while it tells how far an effect is: the record keeps its last word."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from effectmq import Client
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.journal.archive.facts import progress_facts
from effectmq.protocol.messages.progress import Progress
from tests.scenarios.conftest import IDENTITY
from tests.scenarios.fleet import Fleet
from tests.waiting import eventually

pytestmark = [pytest.mark.scenario, pytest.mark.one_broker]

_APP = "tests.scenarios.progress_app:app"
_PATIENCE_S = 60.0


async def _recorded(fleet: Fleet) -> tuple[int, object, object, object]:
    """The number of claims, and what the record says: how much, what, and whether it is former."""
    async with open_archive(fleet.journal, namespace=fleet.namespace) as archive:
        (effect,) = await archive.find()
        (told,) = await archive.progress([effect])
        facts = progress_facts(effect, told) or {}
    return effect.fence, facts.get("done"), facts.get("note"), facts.get("former")


async def test_the_last_word_outlives_its_worker_and_the_next_run_begins_anew(
    recording_fleet: Fleet, tmp_path: Path
) -> None:
    """It is told apart from what the next one says, for whoever looks and for whoever waits."""
    fleet, told = recording_fleet, list[Progress]()
    first = fleet.worker("tool_call", app=_APP)
    await fleet.ready(first)
    async with Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY) as client:
        turn = client.turn(session_id="s", turn_id="t")
        asked = asyncio.create_task(
            turn.tool_call(
                "index",
                {"folder": str(tmp_path)},
                call_id="c",
                timeout=300,
                on_progress=told.append,
            )
        )
        await eventually(lambda: told and told[-1].done == 9, _PATIENCE_S)

        async def last_word() -> bool:
            return await _recorded(fleet) == (1, 9, "at first", False)

        await eventually(last_word, _PATIENCE_S)
        first.kill9()
        second = fleet.worker("tool_call", app=_APP)
        await fleet.ready(second)

        async def former() -> bool:
            return await _recorded(fleet) == (2, 9, "at first", True)

        await eventually(former, _PATIENCE_S)
        (tmp_path / "tell").touch()

        async def anew() -> bool:
            return await _recorded(fleet) == (2, 1, "once more", False)

        await eventually(anew, _PATIENCE_S)
        (tmp_path / "end").touch()
        assert (await asked).value == "done"
        assert (told[-1].done, told[-1].note) == (1, "once more")
    assert await _recorded(fleet) == (2, 1, "once more", False)
