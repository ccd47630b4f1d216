"""Workers that are paused, resumed, drained and changed while they run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.fleet import fleet as fleets
from effectmq.broker.client.fleet.fleet import Fleet
from effectmq.broker.client.fleet.marks import remove_mark
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.steering import steering
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.codec import JSON
from effectmq.protocol.errors import ConfigurationError, TransportClosedError
from effectmq.protocol.messages.fleet.asks import ASK_TYPE, Ask, ask_message
from effectmq.protocol.messages.fleet.reports import REPLY_TYPE, read_reply
from effectmq.protocol.messages.message import Message
from tests.consumers.stage import NAMES, PATIENCE_S, TOPOLOGY, Stage, outcome, payload, tool
from tests.waiting import eventually


class Gate:
    """A tool that runs until it is told to end, and how often it began."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.opened = asyncio.Event()

    def add_to(self, worker: EffectWorker) -> None:
        @worker.tool
        async def hold(number: int) -> int:
            self.began.append(number)
            await self.opened.wait()
            return number


def made(stage: Stage, name: str, gate: Gate | None = None, **settings: Any) -> EffectWorker:
    worker = EffectWorker(
        stage.url,
        settings=WorkerSettings(kill_grace_s=0.05, shutdown_grace_s=5.0, **settings),
        topology=TOPOLOGY,
        name=name,
        app_version="7.1",
    )
    (gate or Gate()).add_to(worker)
    return worker


@asynccontextmanager
async def fleet_of(stage: Stage, by: str = "anna") -> AsyncIterator[Fleet]:
    async with Fleet(await stage.transport(), NAMES, by=by) as fleet:
        yield fleet


async def consumers(stage: Stage) -> int:
    """Who takes tool calls, as the broker knows it."""
    stats = await (await stage.transport()).stats(NAMES.work_queue("tool_call"))
    return stats.consumers if stats is not None else 0


async def test_every_worker_says_how_it_is(stage: Stage) -> None:
    """Without waiting for the time limit, because the broker knows how many there are."""
    gate = Gate()
    await stage.start(made(stage, "a", gate, concurrency=3), ["tool_call", "sleep"])
    await stage.start(made(stage, "b", gate), ["sleep"])
    client = await stage.client()
    busy = await client.submit(tool("hold", number=1))
    await eventually(lambda: gate.began)
    async with fleet_of(stage) as fleet, asyncio.timeout(PATIENCE_S):
        found = await fleet.workers(timeout_s=1_000)
    assert found.silent == 0
    first, second = (one.report for one in found.workers)
    assert (first.name, second.name) == ("a", "b")
    assert first.app_version == "7.1"
    assert first.state == "ready"
    assert first.in_flight == 1
    assert first.started_ms <= first.reported_ms <= found.workers[0].seen_ms
    routes = {route.route: route for route in first.routes}
    assert routes["tool_call"].in_flight == 1
    assert routes["tool_call"].slots == 3
    assert routes["tool_call"].taken == 1
    assert routes["tool_call"].published_ms > 0
    assert all(route.consuming and route.paused is None for route in routes.values())
    gate.opened.set()
    await outcome(busy)


async def test_a_worker_that_does_not_answer_is_counted_and_one_that_left_is_not(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What answered earlier stays in the list, with when that was."""
    await stage.start(made(stage, "a"), ["tool_call"])
    other = await stage.start(made(stage, "b"), ["tool_call"])
    async with fleet_of(stage) as fleet:
        assert (await fleet.workers(timeout_s=PATIENCE_S)).silent == 0
        running = other._running
        assert running is not None
        monkeypatch.setattr(running._steering, "heed", lambda message: None)
        found = await fleet.workers(timeout_s=0.3)
        assert found.silent == 1
        assert [one.answered for one in found.workers] == [True, False]
        await other.stop()
        found = await fleet.workers(timeout_s=PATIENCE_S)
        assert found.silent == 0
        assert [one.answered for one in found.workers] == [True, False]


async def test_a_paused_route_is_consumed_by_nobody_until_it_is_resumed(stage: Stage) -> None:
    """What runs goes on, what comes waits; other routes go on; a worker that starts later knows."""
    gate = Gate()
    first = await stage.start(made(stage, "a", gate), ["tool_call", "sleep"])
    client = await stage.client()
    running = await client.submit(tool("hold", "1", number=1))
    await eventually(lambda: gate.began == [1])
    async with fleet_of(stage) as fleet:
        heard = await fleet.pause(["tool_call"], why="prices are wrong", timeout_s=PATIENCE_S)
        assert heard.changed == ("tool_call",)
        assert [(one.worker.name, one.did) for one in heard.replies] == [("a", "paused")]
        waiting = await client.submit(tool("hold", "2", number=2))
        later = await stage.start(made(stage, "b", gate), ["tool_call", "sleep"])
        gate.opened.set()
        assert payload(await outcome(running)) == 1
        found = await fleet.workers(timeout_s=PATIENCE_S)
        for one in found.workers:
            routes = {route.route: route for route in one.report.routes}
            pause = routes["tool_call"].paused
            assert pause is not None
            assert (pause.by, pause.why, pause.everywhere) == ("anna", "prices are wrong", True)
            assert not routes["tool_call"].consuming
            assert routes["sleep"].consuming
        assert set(found.paused) == {"tool_call"}
        assert later.ready
        assert later.paused == {"tool_call": "paused by anna: prices are wrong"}
        assert stage.ready(NAMES.work_queue("tool_call")) == 1
        # Paused again it stays as it was.
        again = await fleet.pause(["tool_call"], why="other", timeout_s=PATIENCE_S)
        assert not again.changed
        assert {one.did for one in again.replies} == {"unchanged"}
        heard = await fleet.resume(["tool_call"], timeout_s=PATIENCE_S)
        assert {one.did for one in heard.replies} == {"resumed"}
        assert payload(await outcome(waiting)) == 2
        assert not await fleet.paused()
    assert gate.began == [1, 2]
    assert not first.paused


async def test_what_a_paused_worker_holds_runs_once(stage: Stage) -> None:
    """Over many pauses, with work under way all the time."""
    gate = Gate()
    worker = await stage.start(made(stage, "a", gate, concurrency=4), ["tool_call"])
    client = await stage.client()
    handles = [await client.submit(tool("hold", str(n), number=n)) for n in range(12)]
    await eventually(lambda: len(gate.began) == 4)
    async with fleet_of(stage) as fleet:
        for _ in range(5):
            await fleet.pause(["tool_call"], timeout_s=PATIENCE_S)
            await fleet.resume(["tool_call"], timeout_s=PATIENCE_S)
        # All slots are taken by what it held before.
        assert len(gate.began) == 4
        gate.opened.set()
        for handle in handles:
            await outcome(handle)
    assert sorted(gate.began) == list(range(12))
    await stage.idle(worker, "tool_call")
    # One after the other has been closed; deliveries were all that kept them.
    assert await consumers(stage) == 1


async def test_two_operators_at_once_end_where_the_broker_says(stage: Stage) -> None:
    """Whoever was last; no worker stays behind."""
    workers = [await stage.start(made(stage, name), ["tool_call"]) for name in "abc"]
    async with fleet_of(stage, "anna") as one, fleet_of(stage, "bert") as other:
        for _ in range(5):
            await asyncio.gather(
                one.pause(["tool_call"], timeout_s=PATIENCE_S),
                other.resume(["tool_call"], timeout_s=PATIENCE_S),
                other.pause(["tool_call"], timeout_s=PATIENCE_S),
                one.resume(timeout_s=PATIENCE_S),
                one.set_concurrency(3, timeout_s=PATIENCE_S),
            )
            marked = bool(await one.paused(["tool_call"]))
            found = await other.workers(timeout_s=PATIENCE_S)
            routes = [seen.report.routes[0] for seen in found.workers]
            assert [route.paused is not None for route in routes] == [marked] * 3
            assert [route.consuming for route in routes] == [not marked] * 3
    assert all(worker.ready for worker in workers)


async def test_one_worker_can_be_paused_alone(stage: Stage) -> None:
    """Another one takes its part; resuming the route for all says that it is still paused."""
    gate = Gate()
    gate.opened.set()
    await stage.start(made(stage, "a", gate), ["tool_call"])
    await stage.start(made(stage, "b", gate), ["tool_call"])
    async with fleet_of(stage) as fleet:
        heard = await fleet.pause(workers=["a", "ghost"], timeout_s=PATIENCE_S)
        assert [(one.worker.name, one.did) for one in heard.replies] == [("a", "paused")]
        assert heard.unknown == ("ghost",)
        assert not await fleet.paused()
        heard = await fleet.resume(["tool_call"], timeout_s=PATIENCE_S)
        details = {one.worker.name: one.detail for one in heard.replies}
        assert "itself is paused" in details["a"]
        heard = await fleet.resume(workers=["a"], timeout_s=PATIENCE_S)
        assert [one.did for one in heard.replies] == ["resumed"]
        await fleet.pause(workers=["a"], timeout_s=PATIENCE_S)
        await fleet.pause(["sleep"], timeout_s=PATIENCE_S)
        await fleet.pause(timeout_s=PATIENCE_S)
        with pytest.raises(ConfigurationError, match="all routes are paused together"):
            await fleet.resume(["tool_call"])
        heard = await fleet.resume(timeout_s=PATIENCE_S)
        assert set(heard.changed) == {"", "sleep"}
        found = await fleet.workers(timeout_s=PATIENCE_S)
        assert all(route.consuming for one in found.workers for route in one.report.routes)


async def test_a_pause_outlives_a_lost_connection_and_a_resume_is_found_after_it(
    stage: Stage,
) -> None:
    """What was said meanwhile is looked up."""
    gate = Gate()
    gate.opened.set()
    worker = await stage.start(made(stage, "a", gate), ["tool_call"])
    async with fleet_of(stage) as fleet:
        await fleet.pause(["tool_call"], timeout_s=PATIENCE_S)
        stage.connection_of(worker).lose_connection()
        await eventually(lambda: worker.ready)
        await fleet.workers(timeout_s=PATIENCE_S)
        assert worker.paused
        assert await consumers(stage) == 0
        # Resumed by somebody whom this worker does not hear.
        assert await remove_mark(await stage.transport(), NAMES, "tool_call")
        stage.connection_of(worker).lose_connection()
        await eventually(lambda: consumers(stage))
        assert not worker.paused


async def test_draining_finishes_what_runs_and_takes_nothing_new(stage: Stage) -> None:
    """Then ``run`` ends; nothing is handed back."""
    gate = Gate()
    worker = made(stage, "a", gate)
    working = asyncio.create_task(worker.run(["tool_call"]))
    await eventually(lambda: worker.ready)
    client = await stage.client()
    running = await client.submit(tool("hold", "1", number=1))
    await eventually(lambda: gate.began == [1])
    async with fleet_of(stage) as fleet:
        heard = await fleet.drain(["a"], timeout_s=PATIENCE_S)
        assert [(one.did, one.worker.state) for one in heard.replies] == [("draining", "draining")]
        assert not worker.ready
        assert "drains" in (await worker.problems())["worker"]
        await client.submit(tool("hold", "2", number=2))
        gate.opened.set()
        assert payload(await outcome(running)) == 1
        async with asyncio.timeout(PATIENCE_S):
            await working
    assert gate.began == [1]
    assert stage.ready(NAMES.work_queue("tool_call")) == 1


async def test_who_is_not_there_is_waited_for_once_at_most(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages look every second, and where nobody works a look must take no time."""
    app = made(stage, "a")
    await stage.start(app, ["tool_call"])
    await app.stop()
    async with fleet_of(stage) as fleet:
        await fleet.workers(timeout_s=PATIENCE_S)
        monkeypatch.setattr(fleets, "_UNCOUNTED_S", 1_000)
        for _ in range(3):
            async with asyncio.timeout(PATIENCE_S):
                assert (await fleet.workers(timeout_s=2_000)).silent == 0


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("half \ud83d", "half \\ud83d"),
        ("a\u202eb\x1b[2J\n", "a\\u202eb\\x1b[2J\\n"),
        ("n" * 100_000, "n" * 200),
    ],
)
async def test_a_strange_name_is_one_name_everywhere(stage: Stage, name: str, shown: str) -> None:
    """It is steered by the name that it is listed with, whatever its environment had."""
    worker = EffectWorker(stage.url, topology=TOPOLOGY, name=name, app_version=name)
    await stage.start(worker, ["sleep"])
    async with fleet_of(stage) as fleet:
        (found,) = (await fleet.workers(timeout_s=PATIENCE_S)).workers
        assert (found.report.name, found.report.app_version) == (shown, shown)
        heard = await fleet.pause(workers=[shown], timeout_s=PATIENCE_S)
        assert [reply.did for reply in heard.replies] == ["paused"]


async def test_a_draining_worker_goes_on_to_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is the only one, and whoever asks is new; what is asked of it is answered."""
    # Longer than a busy machine pauses.
    monkeypatch.setattr(fleets, "_UNCOUNTED_S", 1.0)
    gate = Gate()
    draining, other = made(stage, "a", gate), made(stage, "b", gate)
    working = asyncio.create_task(draining.run(["tool_call"]))
    await eventually(lambda: draining.ready)
    client = await stage.client()
    running = await client.submit(tool("hold", "1", number=1))
    await eventually(lambda: gate.began == [1])
    async with fleet_of(stage) as fleet:
        await fleet.drain(["a"], timeout_s=PATIENCE_S)
        again = await fleet.drain(["a"], timeout_s=PATIENCE_S)
        assert [one.did for one in again.replies] == ["unchanged"]
        assert (await fleet.pause(workers=["a"], timeout_s=PATIENCE_S)).unknown == ()
        await stage.start(other, ["tool_call"])
        async with fleet_of(stage) as newcomer:
            for asking in (fleet, newcomer, fleet, newcomer):
                found = await asking.workers(timeout_s=PATIENCE_S)
                assert found.silent == 0
                assert [(one.report.state, one.answered) for one in found.workers] == [
                    ("draining", True),
                    ("ready", True),
                ]
    gate.opened.set()
    await outcome(running)
    async with asyncio.timeout(PATIENCE_S):
        await working


async def test_the_concurrency_changes_while_effects_run(stage: Stage) -> None:
    """More begin at once; fewer are never more than that, and nothing is stopped for it."""
    gate = Gate()
    worker = await stage.start(made(stage, "a", gate, concurrency=2), ["tool_call"])
    client = await stage.client()
    handles = [await client.submit(tool("hold", str(n), number=n)) for n in range(20)]
    await eventually(lambda: len(gate.began) == 2)
    async with fleet_of(stage) as fleet:
        heard = await fleet.set_concurrency(5, ["tool_call"], timeout_s=PATIENCE_S)
        assert [(one.did, one.detail) for one in heard.replies] == [
            ("changed", "tool_call: 2 to 5")
        ]
        await eventually(lambda: len(gate.began) == 5)
        await fleet.set_concurrency(1, timeout_s=PATIENCE_S)
        await fleet.set_concurrency(3, ["tool_call"], timeout_s=PATIENCE_S)
        found = await fleet.workers(timeout_s=PATIENCE_S)
        (route,) = found.workers[0].report.routes
        assert (route.slots, route.in_flight, route.consumers) == (3, 5, 0)
        heard = await fleet.set_concurrency(3, ["sleep"], timeout_s=PATIENCE_S)
        assert [one.did for one in heard.replies] == ["not_here"]
        gate.opened.set()
        for handle in handles:
            await outcome(handle)
        await stage.idle(worker, "tool_call")
        with pytest.raises(ConfigurationError, match="expected 1 to 65535"):
            await fleet.set_concurrency(0)
        with pytest.raises(ConfigurationError, match="no effect kind 'tools'"):
            await fleet.pause(["tools"])
    assert sorted(gate.began) == list(range(20))


def asked(**changes: Any) -> Message:
    """An ask that is as a stranger would write it."""
    ask = {
        "word": "drain",
        "token": "0" * 32,
        "reply_to": f"{NAMES.control}.x",
        "workers": ["w"],
        "routes": [],
        "slots": 0,
        "by": "",
        "why": "",
    }
    return Message(body=json.dumps({**ask, **changes}).encode(), content_type=JSON, type=ASK_TYPE)


async def test_hostile_asks_change_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an object, wrong types, other people's queues, too many names, a flood."""
    worker = await stage.start(made(stage, "w"), ["tool_call"])
    transport = await stage.transport()
    hostile = [
        Message(body=b"\xff\xfe", content_type=JSON, type=ASK_TYPE),
        Message(body=b"[" * 10_000, content_type=JSON, type=ASK_TYPE),
        Message(body=b"[]", content_type=JSON, type=ASK_TYPE),
        Message(body=b"x" * 900_000, content_type=JSON, type=ASK_TYPE),
        asked(token="no"),
        asked(token=7),
        asked(reply_to=NAMES.work_queue("tool_call")),
        asked(reply_to="a" * 300),
        asked(workers="w"),
        asked(workers=["w"] * 1_001),
        asked(routes=[1]),
        asked(slots=-1),
        asked(slots=70_000),
        asked(slots=True),
        asked(why={}),
    ]
    for message in hostile:
        await transport.publish(NAMES.control, "", message)
    await eventually(lambda: worker.counters["notices_unreadable"] == len(hostile))
    assert worker.ready
    # A word of a later release is refused in the answer.
    await transport.publish(NAMES.control, "", asked(word="fly\x1b[2J"))
    monkeypatch.setattr(steering, "_MOST_ASKS", 0)
    flood = ask_message(Ask("report", "0" * 32, f"{NAMES.control}.x"))
    await transport.publish(NAMES.control, "", flood)
    await eventually(lambda: worker.counters["asks_dropped"] == 1)
    assert worker.ready
    assert not worker.paused


async def test_a_client_sees_the_workers_of_its_namespace(stage: Stage) -> None:
    """Answers that are no answers are ignored; a client that is not open says so."""
    await stage.start(made(stage, "w"), ["tool_call"])
    client = await stage.client()
    async with client.fleet(by="anna") as fleet:
        transport = await stage.transport()
        for body in (b"{}", b"\xff", b'{"did": "paused", "worker": {"routes": 7}}'):
            forged = Message(body=body, content_type=JSON, type=REPLY_TYPE)
            await transport.publish(NAMES.control, "", forged)
        found = await fleet.workers(timeout_s=PATIENCE_S)
        assert [one.report.name for one in found.workers] == ["w"]
    with pytest.raises(ConfigurationError, match="not open"):
        await fleet.workers()
    with pytest.raises(TransportClosedError, match="not connected"):
        EffectClient(stage.url).fleet()


async def test_who_cannot_read_answers_cannot_steer(stage: Stage) -> None:
    """A producer may publish to the control exchange; a proof is for one deed, once."""
    worker = await stage.start(made(stage, "w"), ["tool_call"])
    transport = await stage.transport()
    for word in ("drain", "pause", "concurrency"):
        await transport.publish(NAMES.control, "", asked(word=word, slots=9))
        await transport.publish(NAMES.control, "", asked(word=word, slots=9, proofs=["0" * 32]))
    consumer = await transport.listen(
        NAMES.control, name=lambda: NAMES.control_queue("test"), prefetch=10
    )
    reply_to = consumer.queue
    await transport.publish(NAMES.control, "", asked(word="pause", reply_to=reply_to))
    proof = ""
    async for delivery in consumer:
        delivery.ack()
        if delivery.message.type == REPLY_TYPE:
            reply = read_reply(delivery.message)
            assert (reply.did, reply.worker.state) == ("unproven", "ready")
            proof = reply.proof
            break
    for _ in range(2):
        stolen = asked(word="drain", reply_to=reply_to, proofs=[proof])
        await transport.publish(NAMES.control, "", stolen)
    async with fleet_of(stage) as fleet:
        found = await fleet.workers(timeout_s=PATIENCE_S)
    (route,) = found.workers[0].report.routes
    assert (found.workers[0].report.state, route.slots, route.paused) == ("ready", 16, None)
    assert worker.ready


async def test_a_worker_that_forgot_its_proof_refuses(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under a flood of asks; it has done nothing, and says so."""
    worker = await stage.start(made(stage, "w"), ["tool_call"])
    monkeypatch.setattr(steering, "_MOST_PROOFS", 0)
    async with fleet_of(stage) as fleet:
        heard = await fleet.drain(["w"], timeout_s=PATIENCE_S)
    assert [one.did for one in heard.replies] == ["refused"]
    assert worker.ready


async def test_forged_words_cannot_pause_a_route_for_all(stage: Stage) -> None:
    """A worker looks at the broker, whatever it is told."""
    worker = await stage.start(made(stage, "w"), ["tool_call"])
    transport = await stage.transport()
    ask = Ask("look", "0" * 32, f"{NAMES.control}.x", routes=("tool_call",), why="because")
    await transport.publish(NAMES.control, "", ask_message(ask))
    async with fleet_of(stage) as fleet:
        await fleet.workers(timeout_s=PATIENCE_S)
    assert not worker.paused
