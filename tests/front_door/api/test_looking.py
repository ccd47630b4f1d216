"""What can be looked at over HTTP."""

from __future__ import annotations

from effectmq import Client
from effectmq.broker.place import Place
from tests.front_door.api.stage import some_effects, staged, worker_of


async def test_effects_are_found_by_what_is_inside_of_them() -> None:
    async with staged() as stage:
        await some_effects(stage.place)
        every = (await stage.get("/effects")).json()
        added = (await stage.get("/effects", tool="add")).json()
        of_one = (await stage.get("/effects", session="s-1", tool=["add", "bad"])).json()
    assert len(every["effects"]) == 4
    assert [each["tool"] for each in added["effects"]] == ["add", "add"]
    assert {each["session_id"] for each in of_one["effects"]} == {"s-1"}
    assert len(of_one["effects"]) == 2


async def test_pages_follow_each_other_and_repeat_nothing() -> None:
    async with staged() as stage:
        await some_effects(stage.place, 3)
        for path, name in (("/effects", "effects"), ("/sessions", "sessions")):
            whole = (await stage.get(path)).json()[name]
            read: list[object] = []
            cursor: str | None = ""
            while cursor is not None:
                page = (await stage.get(path, limit=2, cursor=cursor)).json()
                read += page[name]
                cursor = page["next"]
            assert read == whole


async def test_an_effect_has_its_payloads_and_its_lineage() -> None:
    async with staged() as stage:
        await some_effects(stage.place, 1)
        effects = (await stage.get("/effects")).json()["effects"]
        one = (await stage.get(f"/effects/{effects[0]['id']}")).json()
        same = (await stage.get(f"/effects/{effects[0]['hash'][:12]}")).json()
        diff = (await stage.get(f"/effects/{effects[0]['id']}/diff/{effects[1]['id']}")).json()
    assert one["envelope"]["command"]["call"]["tool_name"] == "bad"
    assert one["outcome"]["type"] == "tool_call"
    assert [each["effect"]["id"] for each in one["lineage"] if each["focus"]] == [one["id"]]
    assert same["id"] == one["id"]
    assert not diff["same"]
    assert "command.call.tool_name" in {each["path"] for each in diff["changes"]}


async def test_a_session_is_a_waterfall_of_its_turns() -> None:
    async with staged() as stage:
        await some_effects(stage.place, 1)
        session = (await stage.get("/sessions/s-0")).json()
        nothing = await stage.get("/sessions/nobody")
    (turn,) = session["turns"]
    assert turn["effects"] == 2
    assert turn["start_ms"] <= turn["end_ms"]
    assert [each["tool"] for each in session["effects"]] == ["add", "bad"]
    assert nothing.status_code == 404
    assert nothing.json()["code"] == "no_such_session"


async def test_of_a_long_session_the_newest_are_shown() -> None:
    """And it says that there are more; a page of thousands would draw nothing in time."""
    async with staged() as stage:
        async with worker_of(stage.place), Client(place=stage.place) as client:
            turn = client.turn(session_id="long", turn_id="t")
            for number in range(6):
                await turn.tool_call("add", {"a": number, "b": 1}, call_id=f"c-{number}")
        some = (await stage.get("/sessions/long", limit=4)).json()
        assert ([each["effect_id"][-1] for each in some["effects"]], some["more"]) == (
            ["2", "3", "4", "5"],
            True,
        )
        assert (some["turns"][0]["effects"], len(some["turns"])) == (4, 1)
        whole = (await stage.get("/sessions/long", limit=6)).json()
        assert (len(whole["effects"]), whole["more"]) == (6, False)
        assert (await stage.get("/sessions/long", limit=10_000)).status_code == 422


async def test_the_overview_has_a_row_for_each_route() -> None:
    async with staged() as stage:
        await some_effects(stage.place, 1)
        overview = (await stage.get("/overview")).json()
        queues = (await stage.get("/queues")).json()["queues"]
        topology = (await stage.get("/topology")).json()
    rows = {row["route"]: row for row in overview["routes"]}
    assert sum(rows["tool_call"]["history"]) == 2
    assert rows["tool_call"]["in_flight"] == 0
    assert overview["effects"] == 2
    assert overview["away"] == {}
    assert "tool_call" in {queue["route"] for queue in queues}
    assert topology["missing"] > 0


async def test_what_is_not_there_and_what_is_wrong_are_sentences() -> None:
    async with staged() as stage:
        await some_effects(stage.place, 1)
        for path, status, code in (
            ("/effects/nobody", 404, "no_such_effect"),
            ("/effects?limit=x", 422, "not_valid"),
            ("/effects?cursor=x", 422, "not_valid"),
            ("/effects?newer_than_s=1&older_than_s=2", 422, "not_valid"),
            ("/dead-letters/0123456789ab", 404, "no_such_letter"),
            ("/queues?route=nothing", 422, "no_such_route"),
            ("/nothing", 404, "no_such_path"),
        ):
            answer = await stage.get(path)
            assert answer.status_code == status, path
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == code
            assert len(answer.json()["detail"]) > 20


async def test_what_no_database_keeps_is_in_none(database_url: str) -> None:
    """A zero character, which one of them refuses and the others do not find."""
    journal = "memory://zero" if database_url.startswith("memory:") else database_url
    place = Place.of({"broker": "memory://zero", "journal": journal})
    async with staged(place=place) as stage:
        await some_effects(place, 1)
        for path in ("/effects", "/sessions", "/overview", "/dead-letters", "/journal"):
            assert (await stage.get(path)).status_code == 200, path
        for path in (
            "/effects?session=%00",
            "/effects?tool=%00",
            "/effects?key=a%00",
            "/effects/a%00",
            "/sessions/%00",
            "/dead-letters?tool=%00",
            "/dead-letters?text=%00",
            "/dead-letters/%00",
            "/effects?cursor=WzEsICJcdTAwMDAiLCAiIl0",
        ):
            answer = await stage.get(path)
            assert answer.status_code in (200, 404, 422), (path, answer.text)
