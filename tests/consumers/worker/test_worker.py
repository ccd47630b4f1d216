"""The worker: what can be registered, what is consumed, and how it begins and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from effectmq.broker.place import Place
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker, WorkerStuckError
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import (
    ConfigurationError,
    EffectFailedError,
    EffectTimeoutError,
    TopologyError,
)
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.messages.request import Request
from effectmq.protocol.topology import Queue, Topology
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import AT_ONCE, NAMES, ONCE, PATIENCE_S, Stage, code, logged, nap, tool
from tests.waiting import eventually

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))


# Registration ------------------------------------------------------------------------------------


async def test_decorated_functions_stay_what_they_were(stage: Stage) -> None:
    """They can be called, and tested, as before."""
    app = stage.worker()

    @app.tool
    async def add(a: int, b: int) -> int:
        return a + b

    @app.tool(name="twice", retry=RetryPolicy(max_attempts=2, base_delay_s=0, max_delay_s=0))
    def double(a: int) -> int:
        return 2 * a

    @app.handler("exec_code", time_limit_s=900)
    async def run(command: object) -> object:
        return command

    assert await add(1, 2) == 3
    assert double(4) == 8
    assert await run(5) == 5
    assert list(app.tools) == ["add", "twice"]
    assert app.kinds == ("sleep", "tool_call", "exec_code")
    assert app.longest_time_limit_s == 900


@pytest.mark.parametrize(
    ("register", "words"),
    [
        (lambda app: app.handler("nap")(_handle), ["'nap'", "sleep"]),
        (lambda app: app.handler("tool_call.gpu")(_handle), ["'tool_call.gpu'"]),
        (lambda app: app.handler("sleep")(_handle), ["sleep", "already"]),
        (lambda app: [app.handler("direct")(_handle) for _ in "ab"], ["direct", "already"]),
        (lambda app: [app.tool(_tool), app.handler("tool_call")(_handle)], ["tool_call"]),
        (lambda app: [app.handler("tool_call")(_handle), app.tool(_tool)], ["tool_call"]),
        (lambda app: [app.tool(_tool), app.tool(_tool)], ["'_tool'"]),
        (lambda app: app.tool(name="a b")(_tool), ["a b"]),
        (lambda app: app.tool(time_limit_s=0)(_tool), ["time_limit_s"]),
        (lambda app: app.handler("direct", time_limit_s=-1)(_handle), ["time_limit_s"]),
    ],
)
def test_what_cannot_be_registered_is_refused_with_a_sentence(
    register: Callable[[EffectWorker], object], words: list[str]
) -> None:
    """At import, where the mistake is, and not at the first effect."""
    with pytest.raises(ConfigurationError) as refused:
        register(EffectWorker("memory://"))
    assert all(word in str(refused.value) for word in words)


def _handle(command: object) -> object:
    return command


async def _tool() -> None: ...


def test_a_worker_has_a_name_of_its_own() -> None:
    """Host and process id, for whoever reads a dead letter."""
    assert EffectWorker("memory://").name
    assert EffectWorker("memory://", name="w").name == "w"


# Start -------------------------------------------------------------------------------------------


async def test_a_worker_consumes_every_kind_that_it_has_a_handler_for(stage: Stage) -> None:
    """And no other: a kind without a handler is not consumed."""
    app = stage.worker()
    app.handler("direct")(_handle)
    app.tool(_tool)
    async with app:
        transport = await stage.transport()
        consumed = set()
        for kind in EFFECT_KINDS:
            stats = await transport.stats(NAMES.work_queue(kind))
            if stats is not None:
                assert stats.consumers == 1
                consumed.add(kind)
        assert consumed == {"sleep", "direct", "tool_call"}
        for queue in (NAMES.limbo, NAMES.dead, *map(NAMES.delay, stage.topology.delay_levels_ms)):
            assert await transport.stats(queue) is not None
    for kind in consumed:
        stats = await transport.stats(NAMES.work_queue(kind))
        assert stats is not None
        assert stats.consumers == 0


async def test_a_lane_is_consumed_by_itself(stage: Stage) -> None:
    """So that a pool scales by itself, with the handler of its kind."""
    app = stage.worker()

    @app.handler("exec_code")
    async def run(command: object) -> object:
        return DONE

    await stage.start(app, ["exec_code.gpu", "exec_code.gpu"])
    client = await stage.client()
    assert await client.execute(code(), lane="gpu", timeout=PATIENCE_S) == DONE
    assert stage.broker.queue(NAMES.work_queue("exec_code")) is None


@pytest.mark.parametrize("route", ["direct", "direct.fast", "nap"])
async def test_a_route_without_a_handler_is_refused(stage: Stage, route: str) -> None:
    """Before anything is declared or consumed."""
    with pytest.raises(ConfigurationError, match="no handler for") as refused:
        await stage.worker().start([route])
    assert "'direct.fast')" not in str(refused.value), "a handler is of a kind, not of a lane"
    assert stage.broker.queue(NAMES.limbo) is None


@asynccontextmanager
async def _noting(name: str, opened: list[str]) -> AsyncGenerator[None]:
    opened.append(name)
    yield
    opened.remove(name)


async def test_a_resource_is_open_only_while_one_of_its_kinds_is_consumed(stage: Stage) -> None:
    """In whatever lane; without kinds it is always open."""
    app = stage.worker()
    opened: list[str] = []
    app.use(_noting("always", opened))
    app.use(_noting("sleeping", opened), kinds=("sleep", "direct"))
    app.use(_noting("asking", opened), kinds=("direct",))
    await app.start(["sleep.slow"])
    assert opened == ["always", "sleeping"]
    await app.stop()
    assert opened == []


def test_a_resource_for_a_kind_that_does_not_exist_is_refused(stage: Stage) -> None:
    """With the list of those that do."""
    with pytest.raises(ConfigurationError, match="no effect kind 'nap'; expected some of llm_call"):
        stage.worker().use(_noting("never", []), kinds=("nap",))


async def test_a_worker_starts_once(stage: Stage) -> None:
    """Started twice it would consume twice."""
    app = await stage.start(stage.worker())
    with pytest.raises(ConfigurationError, match="already"):
        await app.start()


async def test_a_worker_that_cannot_declare_its_queues_does_not_stay_connected(
    stage: Stage,
) -> None:
    """It says what differs, and can be started when that is mended."""
    transport = await stage.transport()
    await transport.declare(
        Topology(queues=(Queue(NAMES.limbo, {"x-queue-type": "quorum", "x-delivery-limit": 1}),))
    )
    app = stage.worker()
    with pytest.raises(TopologyError, match="x-delivery-limit"):
        await app.start()
    stage.broker.delete_queue(NAMES.limbo)
    await stage.start(app)


async def test_a_worker_can_be_started_again_after_it_was_stopped(stage: Stage) -> None:
    """Stopping what does not run is no mistake."""
    app = stage.worker()
    await app.stop()
    async with app:
        pass
    await stage.start(app)
    await stage.publish("sleep", Request.seal(code()).message)
    await stage.parked()


def test_settings_that_make_no_sense_are_refused() -> None:
    """The connection's limit grows with the worker's, and never shrinks."""
    small = EffectWorker("memory://", transport=TransportSettings(max_body_bytes=1_000))
    assert small.place.transport.max_body_bytes == small.settings.max_body_bytes


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"place": Place(transport=TransportSettings(max_body_bytes=4_000_000))}, 4_000_000),
        ({"transport": TransportSettings(max_body_bytes=4_000_000)}, 4_000_000),
        (
            {
                "place": Place(transport=TransportSettings(max_body_bytes=4_000_000)),
                "settings": WorkerSettings(concurrency=2),
            },
            4_000_000,
        ),
        (
            {
                "transport": TransportSettings(heartbeat_s=5),
                "settings": WorkerSettings(max_body_bytes=2_000_000),
            },
            2_000_000,
        ),
        (
            {
                "transport": TransportSettings(max_body_bytes=4_000_000),
                "max_body_bytes": 3_000_000,
            },
            3_000_000,
        ),
        (
            {
                "transport": TransportSettings(max_body_bytes=4_000_000),
                "settings": WorkerSettings(max_body_bytes=64_000),
            },
            64_000,
        ),
        ({"transport": TransportSettings(max_body_bytes=1_000)}, 1024 * 1024),
    ],
)
def test_a_worker_takes_as_large_a_body_as_a_client_of_its_place_sends(
    arguments: dict[str, Any], expected: int
) -> None:
    """What somebody chose counts, wherever it was said; a default beside it does not hide it."""
    worker = EffectWorker(**{"broker": "memory://", **arguments})
    assert worker.settings.max_body_bytes == expected
    assert worker.place.transport.max_body_bytes >= expected


# Stop --------------------------------------------------------------------------------------------


async def test_a_graceful_stop_finishes_what_runs_and_takes_no_more(stage: Stage) -> None:
    """Running effects are finished, answered and settled; waiting ones stay in the queue."""
    app = stage.worker(concurrency=2)
    go = asyncio.Event()

    @app.handler("exec_code")
    async def run(command: object) -> object:
        await go.wait()
        return DONE

    await app.start()
    client = await stage.client()
    handles = [await client.submit(code(effect_id=str(n))) for n in range(5)]
    await eventually(lambda: app.counters["started"] == 2)
    stopping = asyncio.create_task(app.stop())
    transport = await stage.transport()

    async def no_consumer() -> bool:
        stats = await transport.stats(NAMES.work_queue("exec_code"))
        return stats is not None and stats.consumers == 0

    await eventually(no_consumer)
    assert not stopping.done()
    go.set()
    await stopping
    for handle in handles[:2]:
        assert await handle.outcome(PATIENCE_S) == DONE
    assert stage.ready(NAMES.work_queue("exec_code")) == 3
    assert app.counters["completed"] == 2


async def test_over_the_grace_time_effects_are_left_for_another_worker(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Never settled, never counted as an attempt, and named in the log."""
    stuck = stage.worker()
    attempts: list[int] = []

    @stuck.handler("exec_code", retry=ONCE)
    async def wait(command: object, context: EffectContext) -> object:
        attempts.append(context.attempt)
        await asyncio.Event().wait()

    await stuck.start()
    client = await stage.client()
    handle = await client.submit(code(effect_id="e7"))
    await eventually(lambda: attempts == [1])
    await stuck.stop(0.01)
    (record,) = logged(caplog, "grace_over")
    assert "e7" in record.getMessage()
    assert stage.unsettled("exec_code") == 0

    other = stage.worker()

    @other.handler("exec_code", retry=ONCE)
    async def run(command: object, context: EffectContext) -> object:
        attempts.append(context.attempt)
        return DONE

    await stage.start(other)
    assert await handle.outcome(PATIENCE_S) == DONE
    assert attempts == [1, 1]
    assert not stage.letters()


async def test_a_handler_that_fails_over_being_stopped_has_not_failed(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """A shutdown is not a failed attempt, whatever the handler makes of being cancelled."""
    app = stage.worker()
    ends: dict[str, Callable[[], Any]] = {"1": _raise, "2": lambda: DONE, "3": lambda: None}

    @app.handler("exec_code", retry=ONCE)
    async def run(command: object, context: EffectContext) -> object:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return ends[context.effect_id]()

    await app.start()
    client = await stage.client()
    for number in ends:
        await client.submit(code(effect_id=number))
    await eventually(lambda: app.counters["started"] == 3)
    await app.stop(0.0)
    await eventually(lambda: stage.ready(NAMES.work_queue("exec_code")) == 3)
    assert not logged(caplog, "park")
    assert app.counters["completed"] == 0
    assert not stage.letters()


def _raise() -> None:
    raise OSError("I was not done")


async def test_a_stop_leaves_followers_and_waiting_retries_too(stage: Stage) -> None:
    """Whatever state an effect is in, it is in the queue afterwards."""
    app = stage.worker()
    running = asyncio.Event()

    @app.handler("exec_code", retry=AT_ONCE)
    async def run(command: object) -> object:
        running.set()
        await asyncio.Event().wait()

    await app.start()
    client = await stage.client()
    for _ in range(2):
        await client.submit(code())
    await stage.publish("sleep", Request.seal(nap(900)).message)
    await eventually(lambda: app.counters["joined"] == 1 and app.counters["paused"] == 1)
    await app.stop(0.0)
    await eventually(lambda: stage.ready(NAMES.work_queue("exec_code")) == 2)
    assert stage.ready(NAMES.work_queue("sleep")) == 1


async def test_a_stop_while_the_broker_is_blocked_loses_nothing(stage: Stage) -> None:
    """The answer was not confirmed, so the effect goes to another worker."""
    app = stage.worker()

    @app.handler("exec_code", retry=ONCE)
    async def run(command: object, context: EffectContext) -> object:
        if context.effect_id == "bad":
            raise OSError("no")
        return DONE

    await app.start()
    client = await stage.client()
    stage.broker.block()
    waiting = [
        asyncio.create_task(client.execute(code(effect_id=name), timeout=PATIENCE_S))
        for name in ("good", "bad")
    ]
    for name in ("good", "bad"):
        message = Request.seal(code(effect_id=name), reply_to=NAMES.reply_queue(client.identity))
        stage.broker.publish(NAMES.work_exchange, "exec_code", message.message)
    await eventually(lambda: app.counters["started"] == 2)
    await app.stop(0.05)
    assert stage.ready(NAMES.work_queue("exec_code")) == 2
    stage.broker.unblock()
    await stage.start(app)
    assert await waiting[0] == DONE
    with pytest.raises(EffectFailedError):
        await waiting[1]


async def test_a_stop_does_not_wait_for_a_thread(stage: Stage) -> None:
    """It cannot be stopped, and the effect goes to another worker."""
    app = stage.worker()
    let_go = threading.Event()

    @app.handler("exec_code")
    def run(command: object) -> object:
        let_go.wait(PATIENCE_S)
        return DONE

    await app.start()
    client = await stage.client()
    await client.submit(code())
    await eventually(lambda: app.counters["started"] == 1)
    await app.stop(0.01)
    await eventually(lambda: stage.ready(NAMES.work_queue("exec_code")) == 1)
    let_go.set()


# Run ---------------------------------------------------------------------------------------------


async def test_run_works_until_it_is_cancelled_and_leaves_nothing_behind(stage: Stage) -> None:
    """A program that embeds a worker ends it so."""
    app = stage.worker()
    app.tool(_tool)
    running = asyncio.create_task(app.run())
    await eventually(lambda: stage.broker.queue(NAMES.limbo) is not None and app._running)
    client = await stage.client()
    await client.execute(tool("_tool"), timeout=PATIENCE_S)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for kind in app.kinds:
        queue = stage.broker.queue(NAMES.work_queue(kind))
        assert queue is not None
        assert queue.consumers == 0
    assert app._running is None


async def test_run_ends_at_a_signal_and_passes_it_on(stage: Stage) -> None:
    """Here a program that embeds it has a handling of its own for the signal."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        app = stage.worker()
        running = asyncio.create_task(app.run())
        await eventually(lambda: app._running is not None)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            await running
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


async def test_run_gives_up_when_too_many_handlers_cannot_be_stopped(stage: Stage) -> None:
    """Whoever supervises the process starts a clean one."""
    app = stage.worker(max_abandoned=2, kill_grace_s=0.02, shutdown_grace_s=0.1)
    let_go = asyncio.Event()

    @app.handler("exec_code", retry=ONCE, time_limit_s=0.02)
    async def run(command: object) -> object:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        return DONE

    running = asyncio.create_task(app.run())
    await eventually(lambda: app._running is not None)
    client = await stage.client()
    for number in range(2):
        with pytest.raises(EffectFailedError):
            await client.execute(code(effect_id=str(number)), timeout=PATIENCE_S)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(WorkerStuckError, match="2 handlers"):
            await running
    let_go.set()


async def test_run_has_a_thread_for_every_effect_that_may_run(stage: Stage) -> None:
    """Plain functions must not wait for each other while there are free slots."""
    app = stage.worker(concurrency=40)
    together = threading.Barrier(40)

    @app.handler("exec_code", retry=ONCE)
    def run(command: object) -> object:
        together.wait(PATIENCE_S)
        return DONE

    running = asyncio.create_task(app.run(["exec_code"]))
    await eventually(lambda: app._running is not None)
    client = await stage.client()
    handles = [await client.submit(code(effect_id=str(n))) for n in range(40)]
    for handle in handles:
        assert await handle.outcome(PATIENCE_S) == DONE
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_defect_of_ours_does_not_stop_a_lane(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, the message is kept, and the next one is handled."""
    app = stage.worker()

    @app.handler("exec_code")
    async def run(command: object) -> object:
        return DONE

    await stage.start(app)
    client = await stage.client()
    with monkeypatch.context() as broken:
        broken.setattr("effectmq.consumers.pipeline.reading.arrival.read_request", _raise_defect)
        with pytest.raises(EffectTimeoutError):
            await client.execute(code(effect_id="1"), timeout=0.05)
        # Nobody could read it, the collector of limbo neither: the broker keeps it as it came.
        (letter,) = await stage.parked()
    assert letter.reason == "raw"
    assert len(logged(caplog, "defect")) == 2
    assert await client.execute(code(effect_id="2"), timeout=PATIENCE_S) == DONE


def _raise_defect(*_: object) -> None:
    raise AssertionError("a defect")
