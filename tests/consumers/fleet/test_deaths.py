"""Workers that die with an effect are counted; whatever else brings it back is not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from effectmq.broker.client.handle import Handle
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Begin, Claim, Granted, effect_of
from effectmq.consumers.fleet import witnesses
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import EffectFailedError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.topology import work_topology
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import NAMES, PATIENCE_S, Stage, code, logged, nap, outcome
from tests.waiting import eventually

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody answers at once here."""
    monkeypatch.setattr(witnesses, "ANSWER_S", 0.2)


class Body:
    """Runs until it is let go, and counts."""

    def __init__(self) -> None:
        self.count = 0
        self.gate = asyncio.Event()

    def on(self, app: EffectWorker) -> EffectWorker:
        @app.handler("exec_code")
        async def run(command: RuntimeEffectCommandExecCode) -> object:
            self.count += 1
            if command.code != "quick":
                await self.gate.wait()
            return DONE

        return app


async def die(stage: Stage, count: int) -> None:
    """So many workers die one after the other with the effect in hand; none is left to ask."""
    for _ in range(count):
        transport = await stage.transport()
        consumer = await transport.consume(NAMES.work_queue("exec_code"), prefetch=1)
        async with asyncio.timeout(PATIENCE_S):
            await anext(aiter(consumer))
        await transport.__aexit__()


async def submit_after(stage: Stage, deaths: int, text: str = "", effect_id: str = "1") -> Handle:
    """An effect that workers died with: all but the last are in the message already."""
    await (await stage.transport()).declare(work_topology(stage.topology, ["exec_code"]))
    client = await stage.client("caller")
    handle = client.attach(code(text, effect_id))
    sealed = Request.seal(code(text, effect_id), reply_to=NAMES.reply_queue("caller"))
    await stage.publish("exec_code", sealed.changed({"deaths": deaths - 1}).message)
    await die(stage, 1)
    return handle


async def test_a_third_death_parks_it_before_anything_runs(stage: Stage) -> None:
    """The sentence says how many; the letter does, too."""
    handle = await submit_after(stage, 3)
    app = await stage.start(Body().on(stage.worker()))
    with pytest.raises(EffectFailedError, match="3 workers died") as failed:
        await handle.outcome(PATIENCE_S)
    assert failed.value.code == "effectmq_crash_looping"
    (letter,) = await stage.parked()
    assert (letter.reason, letter.deaths) == ("crash_looping", 3)
    assert app.counters["started"] == 0


async def test_the_last_chance_is_taken_alone(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing begins beside it; when it has ended, the others do."""
    suspect = await submit_after(stage, 2, "slow", "suspect")
    client = await stage.client()
    body = Body()
    app = await stage.start(body.on(stage.worker()))
    await eventually(lambda: body.count == 1)
    assert logged(caplog, "last_chance")
    others = [await client.submit(code("quick", str(number))) for number in range(3)]
    await eventually(lambda: app.counters["delivered"] == 5)
    assert body.count == 1
    body.gate.set()
    assert await suspect.outcome(PATIENCE_S) == DONE
    for other in others:
        assert await other.outcome(PATIENCE_S) == DONE
    assert app.counters["last_chances"] == 1
    assert not stage.letters()


async def test_lost_connections_are_no_deaths(stage: Stage) -> None:
    """However often a long effect goes from one worker to another, each of which lives."""
    stage.topology = replace(stage.topology, delivery_limit=1_000)
    body = Body()
    apps = [await stage.start(body.on(stage.worker())) for _ in range(3)]
    client = await stage.client()
    handle = await client.submit(code())
    for losses in range(9):
        await eventually(lambda losses=losses: sum(a.counters["delivered"] for a in apps) > losses)
        for app in apps:
            stage.connection_of(app).lose_connection()
    body.gate.set()
    assert await handle.outcome(PATIENCE_S) == DONE
    assert not stage.letters()


async def test_workers_that_leave_in_order_are_no_deaths(stage: Stage) -> None:
    """They send home what they have not done, and the next one finds nothing to ask about."""
    body = Body()
    client = await stage.client()
    await (await stage.transport()).declare(work_topology(stage.topology, ["exec_code"]))
    handle = await client.submit(code())
    for rounds in range(1, 7):
        app = body.on(stage.worker())
        await app.start()
        await eventually(lambda rounds=rounds: body.count == rounds)
        await app.stop(0.0)
        assert app.counters["handed_on"] == 1
        assert app.counters["last_chances"] == 0
    body.gate.set()
    await stage.start(body.on(stage.worker()))
    assert await handle.outcome(PATIENCE_S) == DONE
    assert not stage.letters()


async def test_deaths_go_along_when_it_waits(stage: Stage) -> None:
    """A copy on a delay level counts from nothing at the broker; the header knows better."""
    handle = await submit_after(stage, 2)
    body = Body()
    app = body.on(stage.worker())
    await app.start()
    await eventually(lambda: body.count == 1)
    await app.stop(0.0)
    await eventually(lambda: stage.ready(NAMES.work_queue("exec_code")) == 1)
    await die(stage, 1)
    await stage.start(body.on(stage.worker()))
    with pytest.raises(EffectFailedError, match="3 workers died"):
        await handle.outcome(PATIENCE_S)


async def test_one_silence_counts_for_one_death_at_most(stage: Stage) -> None:
    """However often it came back before anybody could ask: no body begins unasked."""
    await (await stage.transport()).declare(work_topology(stage.topology, ["exec_code"]))
    client = await stage.client()
    handle = await client.submit(code("quick"))
    await die(stage, 3)
    app = await stage.start(Body().on(stage.worker()))
    assert await handle.outcome(PATIENCE_S) == DONE
    assert app.counters["last_chances"] == 0


@pytest.mark.parametrize("known", [0, 1, 2])
async def test_copies_of_one_effect_share_their_deaths(stage: Stage, known: int) -> None:
    """Whoever asks again sends a copy that knows of none, and may be the first to come back."""
    await (await stage.transport()).declare(work_topology(stage.topology, ["exec_code"]))
    sealed = Request.seal(code(), reply_to=NAMES.reply_queue("caller"))
    handle = (await stage.client("caller")).attach(code())
    for deaths in (0, known):
        await stage.publish("exec_code", sealed.changed({"deaths": deaths}).message)
    transport = await stage.transport()
    consumer = aiter(await transport.consume(NAMES.work_queue("exec_code"), prefetch=2))
    async with asyncio.timeout(PATIENCE_S):
        await anext(consumer)
        await anext(consumer)
    await transport.__aexit__()
    body = Body()
    app = await stage.start(body.on(stage.worker()))
    if known == 2:
        with pytest.raises(EffectFailedError, match="3 workers died"):
            await handle.outcome(PATIENCE_S)
        assert body.count == 0
        return
    await eventually(lambda: body.count == 1)
    running = app._running
    assert running is not None

    def told() -> list[int]:
        (job,) = running._inflight._leaders.values()
        return [one.known.deaths for one in (job, *job.followers)]

    await eventually(lambda: len(told()) == 2)
    assert told() == [known + 1] * 2
    body.gate.set()
    assert await handle.outcome(PATIENCE_S) == DONE


async def test_without_a_journal_a_copy_that_comes_later_is_counted_anew(stage: Stage) -> None:
    """Nothing remembers what died with the other copy; this one has its own three deaths."""
    handle = await submit_after(stage, 3)
    body = Body()
    await stage.start(body.on(stage.worker()))
    with pytest.raises(EffectFailedError, match="3 workers died"):
        await handle.outcome(PATIENCE_S)
    again = await (await stage.client()).submit(code())
    await eventually(lambda: body.count == 1)
    body.gate.set()
    assert await again.outcome(PATIENCE_S) == DONE


# With a journal -----------------------------------------------------------------------------------


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal of this test's own."""
    return f"sqlite:///{tmp_path}/journal.db"


async def die_holding(url: str, request: Request, *names: str, begin: bool = True) -> None:
    """Workers that claimed an effect and were never heard of again."""
    async with Journal(url, namespace="t") as journal:
        for name in names:
            asked = Claim(effect_of(request), name, name, lease_ms=0)

            async def granted(asked: Claim = asked) -> bool:
                answer = await journal.claim(asked)
                if isinstance(answer, Granted) and begin and not answer.begun:
                    await journal.hand_back(Begin(asked.identity, answer.fence))
                return isinstance(answer, Granted)

            await eventually(granted)


async def test_the_row_counts_and_names_who_died(stage: Stage, url: str) -> None:
    """Parked at the limit, with their names in the sentence."""
    await die_holding(url, Request.seal(code()), "anna", "bert", "carl")
    app = await stage.start(Body().on(stage.worker(journal=url)))
    client = await stage.client()
    with pytest.raises(EffectFailedError, match=r"3 workers died .*\(anna, bert, carl\)"):
        await outcome(await client.submit(code()))
    (letter,) = await stage.parked()
    assert (letter.reason, letter.deaths) == ("crash_looping", 3)
    assert app.counters["started"] == 0


async def test_one_that_never_began_is_not_counted(stage: Stage, url: str) -> None:
    """Beyond the first death it has to be known that the body had begun."""
    await die_holding(url, Request.seal(code("quick")), "anna")
    await die_holding(url, Request.seal(code("quick")), *map(str, range(5)), begin=False)
    app = await stage.start(Body().on(stage.worker(journal=url)))
    client = await stage.client()
    assert await outcome(await client.submit(code("quick"))) == DONE
    assert app.counters["last_chances"] == 0


async def test_a_sleep_takes_nobody_with_it(stage: Stage, url: str) -> None:
    """It has no body, whoever dies while it waits."""
    await die_holding(url, Request.seal(nap(1)), *map(str, range(5)))
    await stage.start(stage.worker(journal=url))
    client = await stage.client()
    assert (await outcome(await client.submit(nap(1)))).type == "sleep"


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_the_limit_is_a_setting(stage: Stage, url: str, limit: int) -> None:
    """With one death less it runs, and the last time alone."""
    names = [f"w{number}" for number in range(limit)]
    await die_holding(url, Request.seal(code("quick", "few")), *names[1:])
    await die_holding(url, Request.seal(code("quick", "many")), *names)
    app = await stage.start(Body().on(stage.worker(journal=url, max_deaths=limit)))
    client = await stage.client()
    assert await outcome(await client.submit(code("quick", "few"))) == DONE
    with pytest.raises(EffectFailedError, match=f"{limit} workers? died"):
        await outcome(await client.submit(code("quick", "many")))
    assert app.counters["last_chances"] == (limit > 1)
