"""What can be changed over HTTP: dead letters, effects in progress, new effects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from effectmq import Client, EffectFailedError, Worker
from effectmq.api.access.tokens import Tokens
from effectmq.broker.place import Place
from effectmq.protocol.topology import TopologySettings
from tests.broker.dead_letters.stage import DeadStage, dead_stage
from tests.front_door.api.stage import Stage, some_effects, staged, worker_of
from tests.waiting import eventually

TOKEN = "a-token-of-an-operator"
ASKING = {"Authorization": f"Bearer {TOKEN}"}
TOKENS = Tokens.read(f"alice:operate:{TOKEN}")


@pytest.fixture
async def letters(namespace: str) -> AsyncIterator[DeadStage]:
    """A namespace in memory, with queues."""
    async with dead_stage(f"memory://{namespace}", namespace) as made:
        yield made


@pytest.fixture
async def api(letters: DeadStage, namespace: str) -> AsyncIterator[Stage]:
    """An API over it, without a journal, asked by Alice."""
    place = Place(broker=letters.url, topology=TopologySettings(namespace=namespace))
    async with staged(TOKENS, place=place) as stage:
        stage.http.headers.update(ASKING)
        yield stage


async def ended(stage: Stage, begun: Any) -> dict[str, Any]:
    """An operation, when it has ended."""
    assert begun.status_code == 202, begun.text
    found: dict[str, Any] = {}

    async def has_ended() -> bool:
        found.update((await stage.get(f"/operations/{begun.json()['id']}")).json())
        return found["state"] != "running"

    await eventually(has_ended)
    return found


async def test_letters_are_replayed_by_a_filter_and_it_is_written_down_by_whom(
    letters: DeadStage, api: Stage
) -> None:
    await letters.park(letters.call({"amount": 1}))
    await letters.park(letters.call({"amount": 2}, "other"), reason="rejected")
    page = (await api.get("/dead-letters", reason="rejected")).json()
    assert [each["tool"] for each in page["letters"]] == ["pay"]
    assert page["total"] == 2
    choice = {"reasons": ["rejected"]}
    foreseen = await ended(
        api, await api.post("/dead-letters/replay", {"choice": choice, "dry_run": True})
    )
    assert (foreseen["report"]["done"], foreseen["dry_run"]) == (1, True)
    done = await ended(api, await api.post("/dead-letters/replay", {"choice": choice}))
    assert (done["state"], done["report"]["done"], done["total"]) == ("done", 1, 1)
    assert len(await letters.work("tool_call", 1)) == 1
    (line,) = (await api.get("/dead-letters/audit")).json()["lines"]
    assert (line["who"], line["action"], line["choice"]["reasons"]) == (
        "alice",
        "replay",
        ["rejected"],
    )


async def test_a_patch_is_foreseen_and_then_applied(letters: DeadStage, api: Stage) -> None:
    await letters.park(letters.call({"amount": 1}))
    patch = [{"op": "replace", "path": "/command/call/args/amount", "value": 5}]
    asked = {"choice": {"tools": ["pay"]}, "patch": patch}
    foreseen = await ended(api, await api.post("/dead-letters/edit", {**asked, "dry_run": True}))
    (change,) = foreseen["report"]["edits"][0]["changes"]
    assert (change["before"], change["after"]) == (1, 5)
    done = await ended(api, await api.post("/dead-letters/edit", asked))
    assert done["report"]["done"] == 1
    broken = await api.post("/dead-letters/edit", {**asked, "patch": [{"op": "nothing"}]})
    assert broken.status_code == 422
    assert "expected one of add, copy" in broken.json()["detail"]


async def test_one_letter_is_sent_back_with_another_envelope(
    letters: DeadStage, api: Stage
) -> None:
    await letters.park(letters.call({"amount": 1}))
    (listed,) = (await api.get("/dead-letters")).json()["letters"]
    letter = (await api.get(f"/dead-letters/{listed['id'][:6]}")).json()
    envelope = letter["record"]["envelope"]
    envelope["command"]["call"]["args"]["amount"] = 7
    asked = {"choice": {"ids": [letter["id"]]}, "envelope": envelope}
    done = await ended(api, await api.post("/dead-letters/edit", asked))
    assert done["report"]["edited_from"] == listed["hash"]
    await letters.work("tool_call", 1)
    wrong = await ended(api, await api.post("/dead-letters/edit", {**asked, "envelope": {}}))
    assert (wrong["state"], bool(wrong["problem"])) == ("failed", True)


async def test_a_purge_needs_the_number_that_there_is(letters: DeadStage, api: Stage) -> None:
    for _ in range(3):
        await letters.park()
    everything = {"choice": {"all": True}, "expect": 2}
    refused = await api.post("/dead-letters/purge", everything)
    assert (refused.status_code, refused.json()["code"]) == (409, "other_count")
    nothing = await api.post("/dead-letters/purge", {"choice": {}})
    assert (nothing.status_code, nothing.json()["code"]) == (422, "nothing_chosen")
    await letters.dead(3)
    done = await ended(api, await api.post("/dead-letters/purge", {**everything, "expect": 3}))
    assert done["report"]["done"] == 3
    await letters.dead(0)


async def test_an_operation_is_stopped_and_the_rest_stays(letters: DeadStage, api: Stage) -> None:
    for number in range(20):
        await letters.park(letters.call({"amount": number}, f"call-{number}"))
    begun = await api.post("/dead-letters/replay", {"choice": {"all": True}, "rate": 5})

    async def some() -> bool:
        found = (await api.get(f"/operations/{begun.json()['id']}")).json()
        return 0 < found["done"] < 20

    await eventually(some)
    stopped = (await api.delete(f"/operations/{begun.json()['id']}")).json()
    assert stopped["state"] == "stopped"

    async def given_back() -> bool:
        stats = await letters.transport.stats(letters.names.dead)
        return stats is not None and stats.ready == 20 - stopped["done"]

    await eventually(given_back)
    (line,) = (await api.get("/dead-letters/audit")).json()["lines"]
    assert line["report"] == {"interrupted": True}
    assert (await api.get("/operations")).json()["operations"][0]["id"] == stopped["id"]


async def test_two_operators_at_once_replay_each_letter_once(
    letters: DeadStage, api: Stage
) -> None:
    for number in range(10):
        await letters.park(letters.call({"amount": number}, f"call-{number}"))
    asked = {"choice": {"all": True}, "rate": 10_000}
    both = await asyncio.gather(*(api.post("/dead-letters/replay", asked) for _ in range(2)))
    reports = [await ended(api, each) for each in both]
    assert sum(each["report"]["done"] for each in reports) == 10
    assert len(await letters.work("tool_call", 10)) == 10


async def test_an_effect_is_submitted_and_its_outcome_waited_for() -> None:
    async with staged() as stage, worker_of(stage.place):
        asked = {"tool": "add", "args": {"a": 1, "b": 2}, "session": "s", "wait_s": 10}
        made = (await stage.post("/effects", asked)).json()
        assert made["reply"]["result"]["Ok"]["result"]["output"]["outcome"]["payload"] == 3
        kept = (await stage.get(f"/effects/{made['id']}")).json()
        assert kept["hash"] == made["hash"]
        again = await stage.post("/effects", {"envelope": kept["envelope"], "wait_s": 10})
        assert again.json()["reply"]["replayed"] is True
        late = await stage.post("/effects/cancel", {"id": made["id"], "reason": "too late"})
        assert (late.json()["won"], late.json()["status"]) == ("outcome", "completed")
        for wrong in ({}, {"tool": "add", "kind": "sleep"}, {"kind": "nap"}, {"envelope": {}}):
            answer = await stage.post("/effects", wrong)
            assert answer.status_code == 422, wrong


async def test_an_effect_is_submitted_for_later() -> None:
    """It waits, and what is no moment is refused."""
    async with staged() as stage, worker_of(stage.place):
        asked = {"tool": "add", "args": {"a": 1, "b": 2}}
        for when in ({"delay_s": 3_600}, {"not_before": "2100-01-01T00:00:00Z"}):
            assert (await stage.post("/effects", {**asked, **when})).json()["reply"] is None
        past = {"not_before": "2000-01-01T00:00:00Z", "wait_s": 10}
        assert (await stage.post("/effects", {**asked, **past})).json()["reply"] is not None
        for wrong in (
            {"delay_s": -1},
            {"not_before": "2100-01-01T00:00:00"},
            {"delay_s": 1, "not_before": "2100-01-01T00:00:00Z"},
        ):
            answer = await stage.post("/effects", {**asked, **wrong})
            assert answer.status_code in (400, 422), (wrong, answer.text)


async def test_of_several_effects_the_last_runs() -> None:
    async with staged() as stage, worker_of(stage.place):
        asked = {"tool": "add", "args": {"a": 1, "b": 2}, "debounce": "k"}
        first = (await stage.post("/effects", {**asked, "delay_s": 3_600})).json()
        last = await stage.post("/effects", {**asked, "delay_s": 0.05, "wait_s": 30})
        assert "Ok" in last.json()["reply"]["result"]

        async def superseded() -> bool:
            found = (await stage.get(f"/effects/{first['id']}")).json()
            return bool(found.get("error")) and found["error"]["code"] == "effectmq_superseded"

        await eventually(superseded)
        answer = await stage.post("/effects", {**asked, "debounce_max_s": 5})
        assert answer.status_code in (400, 422), answer.text


async def test_versions_are_ramped_and_drained() -> None:
    async with staged() as stage, worker_of(stage.place):
        old = Worker(place=stage.place, name="old", version="1")
        old.tool(name="later")(lambda: "1")

        async def taking() -> dict[str, tuple[object, ...]]:
            """What each version of the route takes."""
            rows = (await stage.get("/versions")).json()["versions"]
            return {
                row["version"]: (row["workers"], row["takes"], row["share"], row["why"])
                for row in rows
                if row["route"] == "tool_call"
            }

        async with old:
            asked = {"route": "tool_call", "version": "1", "why": "it is old"}
            ramped = await stage.post("/versions/ramp", {**asked, "share": 0.5})
            assert ramped.json()["changed"] == ["tool_call"]
            for share, rest, own in ((0.5, "rest", "0.5"), (0.0, "any", "none")):
                if not share:
                    drained = await stage.post("/versions/drain", asked)
                    assert drained.json()["changed"] == ["tool_call"]
                shown = {"": (1, rest, share, "it is old"), "1": (1, own, share, "it is old")}
                # A worker that is slow to answer is not counted the first time.
                await _until(taking, shown)
            cleared = await stage.post("/versions/clear", {"route": "tool_call"})
            assert cleared.json()["changed"] == ["tool_call"]
            await _until(taking, {"": (1, "any", None, ""), "1": (1, "any", None, "")})
            for wrong in ({**asked, "share": 2}, {**asked, "route": "nothing", "share": 1}):
                answer = await stage.post("/versions/ramp", wrong)
                assert answer.status_code in (400, 422), answer.text


async def _until(ask: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Ask until the answer is what is wanted."""

    async def is_so() -> bool:
        return await ask() == wanted

    await eventually(is_so)


async def test_effects_are_cancelled_one_by_one_and_by_a_filter() -> None:
    async with staged() as stage:
        worker, begun = Worker(place=stage.place), asyncio.Semaphore(0)

        @worker.tool
        async def wait() -> str:
            begun.release()
            await asyncio.sleep(60)
            return "done"

        async with worker, Client(place=stage.place) as client:
            turn = client.turn(session_id="s", turn_id="t")
            calls = [
                asyncio.create_task(turn.tool_call("wait", {}, call_id=f"c-{number}"))
                for number in range(3)
            ]
            for _ in calls:
                await begun.acquire()
            effects = (await stage.get("/effects", state="in_progress")).json()["effects"]
            one = await stage.post("/effects/cancel", {"id": effects[0]["id"], "reason": "no"})
            assert (one.status_code, one.json()["won"]) == (200, "cancelled")
            again = await stage.post("/effects/cancel", {"id": effects[0]["id"], "reason": "no"})
            assert again.json() == one.json()
            nothing = await stage.post("/effects/cancel", {"reason": "no"})
            assert nothing.json()["code"] == "nothing_chosen"
            asked = {"session": "s", "reason": "no"}
            dry = await ended(
                stage, await stage.post("/effects/cancel", {**asked, "dry_run": True})
            )
            assert dry["report"]["cancelled"] == 2
            done = await ended(stage, await stage.post("/effects/cancel", asked))
            assert done["report"]["cancelled"] == 2
            await asyncio.gather(*calls, return_exceptions=True)
        lines = (await stage.get("/dead-letters/audit")).json()["lines"]
        assert [line["action"] for line in lines] == ["cancel"] * 3


async def test_a_ping_goes_to_a_worker_and_back() -> None:
    async with staged() as stage:
        nobody = await stage.post("/ping", {})
        assert (nobody.status_code, nobody.json()["code"]) == (409, "no_worker")
        async with worker_of(stage.place):
            answer = (await stage.post("/ping", {"routes": ["tool_call", "exec_code"]})).json()
    found = {each["route"]: each for each in answer["routes"]}
    assert found["tool_call"]["ms"] > 0
    assert "no queue" in found["exec_code"]["problem"]


async def test_pages_are_told_what_has_changed() -> None:
    async with staged() as stage:
        async with worker_of(stage.place):
            await stage.get("/effects")
        heard: list[str] = []

        async def listen() -> None:
            # The client in this process waits for whole answers, so the stream is read itself.
            from effectmq.api.context import Context

            context: Context = stage.http._transport.app.state.effectmq  # type: ignore[attr-defined]
            async for line in context.events.listen():
                heard.append(line.decode())

        listening = asyncio.create_task(listen())
        await eventually(lambda: heard)
        async with worker_of(stage.place), Client(place=stage.place) as client:
            turn = client.turn(session_id="s", turn_id="t")
            await turn.tool_call("add", {"a": 1, "b": 1}, call_id="c")
            await eventually(lambda: any('"effects"' in line for line in heard))
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_workers_are_seen_and_steered() -> None:
    async with staged() as stage:
        assert (await stage.get("/workers")).json()["workers"] == []
        async with worker_of(stage.place) as worker:

            async def seen() -> bool:
                rows = (await stage.get("/workers")).json()["workers"]
                return [(row["name"], row["answered"]) for row in rows] == [(worker.name, True)]

            await eventually(seen)
            nothing = await stage.post("/workers/pause", {})
            assert nothing.json()["code"] == "nothing_chosen"
            asked = {"routes": ["tool_call"], "why": "the bank is closed"}
            paused = (await stage.post("/workers/pause", asked)).json()
            assert paused["changed"] == ["tool_call"]
            listed = (await stage.get("/workers")).json()
            assert listed["paused"]["tool_call"]["why"] == "the bank is closed"
            overview = (await stage.get("/overview")).json()
            rows = {each["route"]: each for each in overview["routes"]}
            assert rows["tool_call"]["paused"]["why"] == "the bank is closed"
            assert "paused" in {each["code"] for each in overview["attention"]}
            more = (await stage.post("/workers/concurrency", {"slots": 3, "all": True})).json()
            assert [each["did"] for each in more["answers"]] == ["changed"]
            resumed = (await stage.post("/workers/resume", {"routes": ["tool_call"]})).json()
            assert resumed["changed"] == ["tool_call"]
            drained = (await stage.post("/workers/drain", {"workers": [worker.name]})).json()
            assert [each["did"] for each in drained["answers"]] == ["draining"]


async def test_a_missing_queue_is_declared(letters: DeadStage, api: Stage) -> None:
    plan = (await api.get("/topology", route="sleep")).json()
    assert "missing" in {row["state"] for row in plan["rows"]}
    made = (await api.post("/topology/apply", {"routes": ["sleep"]})).json()
    assert "created" in {row["state"] for row in made["rows"]}
    assert (await api.get("/topology", route="sleep")).json()["missing"] == 0
    wrong = await api.post("/topology/apply", {"routes": ["nap"]})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "no_such_route")


async def test_letters_are_exported_with_what_is_secret_masked(
    letters: DeadStage, api: Stage
) -> None:
    for number in range(3):
        await letters.park(letters.call({"card": f"4111-{number}"}, f"call-{number}"))
    answer = await api.get("/dead-letters/export", redact="card")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["envelope"]["command"]["call"]["args"]["card"] for line in lines] == ["***"] * 3
    assert "4111" not in answer.text


async def test_a_journal_is_told_in_numbers_and_pruned() -> None:
    async with staged() as stage:
        await some_effects(stage.place, 2)
        assert (await stage.get("/journal")).json()["effects"] == 4
        whole = await ended(stage, await stage.post("/journal/verify"))
        assert whole["report"] == {"checked": 4, "damaged": 0, "damages": []}
        asked = {"older_than_s": 0, "dry_run": True}
        foreseen = await ended(stage, await stage.post("/journal/prune", asked))
        assert foreseen["report"]["pruned"] == 4
        done = await ended(stage, await stage.post("/journal/prune", {"older_than_s": 0}))
        assert (done["state"], done["report"]["pruned"]) == ("done", 4)
        (line,) = (await stage.get("/dead-letters/audit")).json()["lines"]
        assert (line["action"], line["report"]["pruned"]) == ("prune", 4)
        assert (await stage.get("/effects", state="forgotten")).json()["effects"]


async def test_one_effect_is_pruned_and_it_is_written_down_by_whom() -> None:
    async with staged() as stage:
        await some_effects(stage.place, 1)
        (done, *_) = (await stage.get("/effects", state="completed")).json()["effects"]
        answer = await stage.post("/effects/prune", {"id": done["id"]})
        assert (answer.status_code, answer.json()["pruned"]) == (200, True)
        assert (await stage.get(f"/effects/{done['id']}")).json()["outcome"] is None
        again = await stage.post("/effects/prune", {"id": done["id"]})
        assert (again.status_code, again.json()["code"]) == (409, "not_pruned")
        (line,) = (await stage.get("/dead-letters/audit")).json()["lines"]
        assert (line["action"], line["report"]["pruned"]) == ("prune", 1)


async def test_the_outcome_of_one_replay_is_waited_for(namespace: str) -> None:
    url = f"memory://{namespace}"
    async with dead_stage(url, namespace) as letters:
        place = Place(broker=url, journal=url, topology=TopologySettings(namespace=namespace))
        worker = Worker(place=place)

        @worker.tool
        async def pay(amount: int) -> int:
            return amount

        async with worker, staged(place=place) as stage:
            await letters.park(letters.call({"amount": 3}))
            (listed,) = (await stage.get("/dead-letters")).json()["letters"]
            asked = {"choice": {"ids": [listed["id"]]}, "wait_s": 10}
            done = await ended(stage, await stage.post("/dead-letters/replay", asked))
            assert (done["state"], done["problem"]) == ("done", None)
            outcome = done["report"]["reply"]["result"]["Ok"]["result"]["output"]["outcome"]
            assert outcome["payload"] == 3
            several = {"choice": {"all": True}, "wait_s": 1}
            refused = await stage.post("/dead-letters/replay", several)
            assert "for one letter" in refused.json()["detail"]


async def test_what_was_too_large_for_a_worker_is_replayed_to_one_that_has_the_clients_limit(
    namespace: str, tmp_path: Path
) -> None:
    """Client, worker and API take the limit from one place; the dead letter says what was wrong."""
    journal = f"sqlite:///{tmp_path}/journal.db"
    address = f"memory://{namespace}"
    place = Place.of({"broker": address, "journal": journal, "max_body_bytes": 4_000_000})

    def measuring(**settings: Any) -> Worker:
        worker = Worker(place=place, **settings)

        @worker.tool
        async def measure(text: str) -> int:
            return len(text)

        return worker

    async with staged(place=place) as stage, Client(place=place) as client:
        turn = client.turn(session_id="s", turn_id="t")
        async with measuring(max_body_bytes=1_000_000):
            with pytest.raises(EffectFailedError, match="the limit of this worker is 1000000"):
                await turn.tool_call("measure", {"text": "x" * 2_000_000}, call_id="c")
        (letter,) = (await stage.get("/dead-letters")).json()["letters"]
        assert letter["reason"] == "malformed"
        assert "the limit of this worker is 1000000" in letter["detail"]
        async with measuring():
            asked = {"choice": {"all": True}}
            done = await ended(stage, await stage.post("/dead-letters/replay", asked))
            assert done["state"] == "done", done
            await eventually(lambda: _completed(stage))


async def _completed(stage: Stage) -> bool:
    found = (await stage.get("/effects")).json()["effects"]
    return [each["status"] for each in found] == ["completed"]


async def test_workers_are_steered_while_the_journal_is_away(namespace: str) -> None:
    """What needs no journal goes on; the rest is a sentence without the password."""
    address = f"memory://{namespace}"
    away = {"broker": address, "journal": "postgresql://ada:hunter2@127.0.0.1:1/x"}
    worker = Worker(place=Place.of({"broker": address, "journal": "none"}), name="w")
    async with worker, staged(place=Place.of(away)) as stage:
        seen = (await stage.get("/overview")).json()
        assert (set(seen["away"]), len(seen["workers"])) == ({"journal", "letters"}, 1)
        paused = await stage.post("/workers/pause", {"routes": ["sleep"]})
        assert paused.json()["changed"] == ["sleep"]
        assert worker.paused
        resumed = await stage.post("/workers/resume", {"routes": ["sleep"]})
        assert resumed.json()["changed"] == ["sleep"]
        for answer in (
            await stage.get("/effects"),
            await stage.post("/dead-letters/replay", {"choice": {"all": True}}),
            await stage.post("/effects/prune", {"id": "x"}),
        ):
            assert answer.status_code == 503
            assert "the journal is away" in answer.json()["detail"]
            assert "hunter2" not in answer.text
        assert "hunter2" not in str(seen)
