"""Of several effects with one debounce key only the last runs, on a whole worker."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from effectmq.protocol.errors import ConfigurationError, EffectFailedError, EffectSupersededError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.chosen.debounce import Debounce
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode
from tests.consumers.stage import AT_ONCE, PATIENCE_S, Stage, code, outcome
from tests.consumers.worker.test_later import runs_of
from tests.waiting import eventually


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal of this test's own."""
    return f"sqlite:///{tmp_path}/journal.db"


async def test_the_last_of_several_runs(stage: Stage, url: str) -> None:
    """The others end by an error that names it, and are no dead letters."""
    app = stage.worker(journal=url)
    runs = runs_of(app)
    await stage.start(app, ["exec_code"])
    client = await stage.client()
    early = [
        await client.submit(code(effect_id=f"e{nth}"), delay_s=3_600, debounce="doc-1")
        for nth in range(4)
    ]
    last = await client.submit(code(effect_id="last"), delay_s=0.05, debounce="doc-1")
    for handle in early:
        with pytest.raises(EffectSupersededError, match=r"debounce key 'doc-1'.*replay key"):
            await outcome(handle)
    reply = await last.reply(PATIENCE_S)
    assert (reply.attempt, len(runs)) == (1, 1)
    assert app.counters["superseded"] == 4
    assert app.counters["completed"] == 1
    assert await stage.parked(0) == []


async def test_effects_of_other_keys_run(stage: Stage, url: str) -> None:
    app = stage.worker(journal=url)
    runs = runs_of(app)
    await stage.start(app, ["exec_code"])
    client = await stage.client()
    keys = {"e0": ("a", ""), "e1": ("b", ""), "e2": ("a", "acme")}
    handles = [
        await client.submit(code(effect_id=name), delay_s=0.2, debounce=key, tenant=tenant)
        for name, (key, tenant) in keys.items()
    ]
    await asyncio.gather(*map(outcome, handles))
    assert len(runs) == 3


async def test_effects_that_waited_for_a_worker_are_debounced(stage: Stage, url: str) -> None:
    """Their moments are over when it sees them first."""
    app = stage.worker(journal=url)
    runs = runs_of(app)
    await stage.start(app, ["exec_code"])
    for nth, wait_ms in enumerate((3_600_000, 3_600_000, 3_600_000, 50)):
        debounce = Debounce("k", 1_000 + nth, 0)
        sealed = Request.seal(
            code(effect_id=f"e{nth}"), not_before_ms=1_000 + nth + wait_ms, debounce=debounce
        )
        await stage.publish("exec_code", sealed.message)
    await eventually(lambda: app.counters["superseded"] == 3 and app.counters["completed"] == 1)
    assert len(runs) == 1


async def test_an_effect_that_is_asked_for_again_is_not_its_own_rival(
    stage: Stage, url: str
) -> None:
    app = stage.worker(journal=url)
    runs = runs_of(app)
    await stage.start(app, ["exec_code"])
    client = await stage.client()
    handles = [await client.submit(code(), delay_s=0.5, debounce="k") for _ in range(3)]
    await asyncio.gather(*map(outcome, handles))
    assert len(runs) == 1
    assert not app.counters["superseded"]


async def test_what_is_tried_again_keeps_its_place(stage: Stage, url: str) -> None:
    """It has begun; a later one runs beside it."""
    app = stage.worker(journal=url)
    tries: list[str] = []

    @app.handler("exec_code", retry=AT_ONCE)
    async def run(command: RuntimeEffectCommandExecCode) -> object:
        tries.append(command.code)
        raise ConnectionError("not now")

    await stage.start(app, ["exec_code"])
    client = await stage.client()
    first = await client.submit(code("first", effect_id="e0"), delay_s=0.05, debounce="k")
    await eventually(lambda: "first" in tries)
    second = await client.submit(code("second", effect_id="e1"), delay_s=0.05, debounce="k")
    for handle in (first, second):
        with pytest.raises(EffectFailedError) as caught:
            await outcome(handle)
        assert not isinstance(caught.value, EffectSupersededError)
    assert set(tries) == {"first", "second"}


async def test_without_a_journal_it_is_parked_with_what_to_do(stage: Stage) -> None:
    app = stage.worker(journal=None)
    runs = runs_of(app)
    await stage.start(app, ["exec_code"])
    client = await stage.client()
    handle = await client.submit(code(), delay_s=60, debounce="k")
    with pytest.raises(EffectFailedError, match="has no journal to know which"):
        await outcome(handle)
    assert not runs


async def test_headers_that_make_no_sense_are_refused(stage: Stage, url: str) -> None:
    app = stage.worker(journal=url)
    runs_of(app)
    await stage.start(app, ["exec_code"])
    sealed = Request.seal(code(), not_before_ms=2_000, debounce=Debounce("k", 1_000, 0))
    for changed in (
        {names.DEBOUNCE: 7},
        {names.DEBOUNCE: "a\x00"},
        {names.DEBOUNCE_AT: 3_000},
        {names.NOT_BEFORE: 0},
    ):
        headers = {**sealed.message.headers, **changed}
        await stage.publish("exec_code", replace(sealed.message, headers=headers))
    letters = await stage.parked(4)
    assert [letter.reason for letter in letters] == ["malformed"] * 4


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"debounce": "k"}, "give delay_s, or not_before"),
        ({"debounce": "", "delay_s": 1}, "no characters"),
        ({"debounce": "x" * 129, "delay_s": 1}, "more than 128 bytes"),
        ({"debounce": "k", "delay_s": 2, "debounce_max_s": 1}, "not less than the delay"),
        ({"debounce_max_s": 1, "delay_s": 1}, "the debounce key has None, expected text"),
    ],
)
async def test_a_client_refuses_what_cannot_be(
    stage: Stage, said: dict[str, object], sentence: str
) -> None:
    client = await stage.client()
    with pytest.raises(ConfigurationError, match=sentence):
        await client.submit(code(), **said)  # type: ignore[arg-type]
