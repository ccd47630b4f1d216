"""What this worker cannot do another one may: facts about one worker are none about the effect."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.store.attachments.memory import MemoryObjects
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Claim, effect_of
from effectmq.broker.transports.memory import MemoryTransport
from effectmq.consumers.decisions.delivery import Delay, asked_elsewhere, elsewhere
from effectmq.consumers.fleet import witnesses
from effectmq.consumers.fleet.abilities import Abilities
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.outboxes.settlement import Settlement
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import AttachmentStoreError, EffectFailedError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.body_reference import BodyReference, with_reference
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.notices.cancel import Able, able_notice
from effectmq.protocol.messages.request import Request
from effectmq.protocol.topology import Binding, Queue, Topology, work_topology
from tests.consumers.stage import (
    NAMES,
    PATIENCE_S,
    TOPOLOGY,
    Stage,
    code,
    gathered,
    logged,
    payload,
    tool,
)
from tests.waiting import eventually

_CALLS = 20
LEVELS = (1_000, 2_000, 5_000)


# The decision -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tried", "waited_ms", "known", "expected_ms"),
    [
        (0, 0, "nobody", None),
        (0, 0, "unsure", 1_000),
        (4, 4_000, "unsure", 1_000),
        (5, 5_000, "unsure", 2_000),
        (9, 27_999, "unsure", 2_000),
        (9, 28_001, "unsure", None),
        (30, 28_001, "somebody", 1_000),
        (300, 298_999, "somebody", 1_000),
        (300, 299_001, "somebody", None),
    ],
)
def test_how_it_is_given_back(
    tried: int, waited_ms: int, known: Any, expected_ms: int | None
) -> None:
    """Soon at first, rarer later, longer while somebody is known, and never for nothing."""
    now_ms = 1_000_000
    since_ms = now_ms - waited_ms if tried else 0
    action = elsewhere(
        tried,
        since_ms,
        known,
        deadline_ms=0,
        now_ms=now_ms,
        levels_ms=LEVELS,
        patience_ms=30_000,
    )
    if expected_ms is None:
        assert action is None
    else:
        headers = {"elsewhere": tried + 1, "elsewhere_since": now_ms - waited_ms, "due": 0}
        assert action == Delay(expected_ms, headers)


@pytest.mark.parametrize(("deadline_ms", "patience_ms"), [(500, 30_000), (0, 0)])
def test_who_has_no_time_is_answered_at_once(deadline_ms: int, patience_ms: int) -> None:
    """A deadline that the next look would miss, and a setting of 0."""
    assert (
        elsewhere(
            0,
            0,
            "somebody",
            deadline_ms=deadline_ms and 1_000 + deadline_ms,
            now_ms=1_000,
            levels_ms=LEVELS,
            patience_ms=patience_ms,
        )
        is None
    )


def test_the_sentence_says_how_often_and_how_long() -> None:
    request = replace(Request.seal(code()), elsewhere=7, elsewhere_since_ms=1_000)
    assert "given back 7 time(s) in 30.5 s" in asked_elsewhere(request, 31_500)
    assert asked_elsewhere(Request.seal(code()), 31_500) == ""


# A deployment that rolls --------------------------------------------------------------------------


async def rolling(stage: Stage, **options: Any) -> tuple[EffectWorker, EffectWorker]:
    """Workers of an old and of a new version, both running."""
    old, new = stage.worker(**options), stage.worker(**options)

    @old.tool(name="pay")
    async def old_pay(n: int) -> str:
        return f"old {n}"

    @new.tool(name="pay")
    async def pay(n: int, currency: str = "EUR") -> str:
        return f"{currency} {n}"

    @new.tool
    async def refund(n: int, context: EffectContext) -> str:
        return f"refunded {n}, attempt {context.attempt}"

    return await stage.start(old), await stage.start(new)


async def told(stage: Stage, name: str, **args: Any) -> list[Any]:
    """What many calls of one tool give."""
    client = await stage.client()
    handles = [
        await client.submit(tool(name, str(n), call_id=f"c{n}", n=n, **args)) for n in range(_CALLS)
    ]
    return [payload(reply.result) for reply in await gathered(handles)]  # type: ignore[arg-type]


@pytest.mark.parametrize("kept", [False, True])
async def test_a_new_tool_is_found_at_a_new_worker(
    stage: Stage, tmp_path: Path, kept: bool
) -> None:
    """All calls succeed, none of them as a second attempt, and that is what is recorded."""
    journal = f"sqlite:///{tmp_path}/journal.db" if kept else None
    old, _ = await rolling(stage, journal=journal)
    assert await told(stage, "refund") == [f"refunded {n}, attempt 1" for n in range(_CALLS)]
    assert old.counters["elsewhere"] > 0
    if journal is not None:
        async with open_archive(journal, namespace="t") as archive:
            rows = await archive.find()
        assert {(row.status, row.attempts, row.deaths) for row in rows} == {("completed", 1, 0)}


async def test_a_new_argument_is_understood_by_a_new_worker(stage: Stage) -> None:
    """The old one refuses what its version of the tool does not have."""
    old, _ = await rolling(stage)
    assert await told(stage, "pay", currency="CHF") == [f"CHF {n}" for n in range(_CALLS)]
    assert old.counters["elsewhere"] > 0


async def test_a_model_s_bad_arguments_are_answered_at_once_where_all_are_alike(
    stage: Stage,
) -> None:
    """Everybody has the same version of the tool, so asking anybody else is no use."""
    apps = [stage.worker() for _ in range(2)]
    for app in apps:

        @app.tool
        async def pay(n: int) -> int:
            return n

        await stage.start(app)
    client = await stage.client()
    failure = payload(await client.execute(tool("pay", n="much", extra=1), timeout=PATIENCE_S))
    assert failure.code == "invalid_tool_args"
    assert sum(app.counters["elsewhere"] for app in apps) == 0


async def test_when_nobody_takes_it_the_failure_says_what_was_tried(stage: Stage) -> None:
    """After the stated time, with the count; a worker that says it could and never does, too."""
    app = stage.worker(elsewhere_s=0.02)
    app.tool(name="pay")(_pay)
    await stage.start(app)
    await pretend(stage, app, {"tool refund": "1"})
    client = await stage.client()
    failure = payload(await client.execute(tool("refund"), timeout=PATIENCE_S))
    assert failure.code == "tool_unavailable"
    assert "It was given back" in failure.message
    assert "none that took it could carry it out" in failure.message
    assert app.counters["elsewhere"] > 0


async def test_whoever_takes_from_another_lane_is_not_waited_for(stage: Stage) -> None:
    """It has the tool, and the effect never comes to it."""
    there, here = stage.worker(), stage.worker()

    @there.tool
    async def refund(n: int) -> int:
        return n

    @here.tool
    async def other(n: int) -> int:
        return n

    await stage.start(there, ["tool_call"])
    await stage.start(here, ["tool_call.gpu"])
    running = here._running
    assert running is not None
    await eventually(lambda: not running._abilities.alike)
    client = await stage.client()
    handle = await client.submit(tool("refund", n=1), lane="gpu")
    failure = payload(await handle.outcome(PATIENCE_S))
    assert failure.code == "tool_unavailable"
    assert payload(await client.execute(tool("refund", "2", n=2), timeout=PATIENCE_S)) == 2


async def test_the_last_to_leave_tells_nobody_and_says_nothing_of_it(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """That nobody is there is no failure."""
    first, last = await rolling(stage)
    with caplog.at_level(logging.INFO, "effectmq.worker"):
        await first.stop(0.0)
        await last.stop(0.0)
    assert logged(caplog, "abilities_untold") == []


async def test_whoever_left_is_not_waited_for(stage: Stage) -> None:
    """In memory, nobody who could be there is left then."""
    _, new = await rolling(stage)
    await new.stop()
    client = await stage.client()
    failure = payload(await client.execute(tool("refund"), timeout=PATIENCE_S))
    assert failure.code == "tool_unavailable"
    assert "given back" not in failure.message


@pytest.mark.parametrize("release", ["this", "earlier"])
async def test_whoever_died_is_not_waited_for(stage: Stage, release: str) -> None:
    """It said nothing; its queue is gone, or, of an earlier release, has no consumer any more."""
    app = stage.worker()
    app.tool(name="pay")(_pay)
    await stage.start(app)
    closing = await pretend(stage, app, {"tool refund": "1"}, lasting=release == "earlier")
    await closing()
    client = await stage.client()
    failure = payload(await client.execute(tool("refund"), timeout=PATIENCE_S))
    assert failure.code == "tool_unavailable"
    assert app.counters["elsewhere"] <= 2


async def _pay(n: int) -> int:
    return n


async def test_whoever_lost_its_connection_is_told_everything_again(stage: Stage) -> None:
    """And tells it: what was said to it meanwhile went to a queue that is gone."""
    one, other = stage.worker(), stage.worker()
    for app in (one, other):
        app.tool(name="pay")(_pay)
        await stage.start(app)
    assert one._running is not None
    assert other._running is not None
    mine, theirs = one._running._abilities, other._running._abilities
    await eventually(lambda: list(theirs._peers) == [mine._queue])
    former = mine._queue
    mine._peers.clear()

    transport = one._running._transport
    assert isinstance(transport, MemoryTransport)
    transport.lose_connection()

    await eventually(lambda: mine._queue in theirs._peers)
    await eventually(lambda: theirs._queue in mine._peers)
    assert mine._queue != former
    assert stage.broker.queue(former) is None


async def pretend(
    stage: Stage, app: EffectWorker, able: dict[str, str], *, lasting: bool = False
) -> Any:
    """
    A worker that only says what it can do; gives what ends it without a word.

    Args:
        stage: Where.
        app: Who hears it.
        able: What it can do.
        lasting: Its queue stays when it goes, as in an earlier release.
    """
    transport = await stage.transport()
    queue = NAMES.control_queue("pretender")
    if lasting:
        binding = Binding(NAMES.control, queue, "")
        await transport.declare(
            Topology(queues=(Queue(queue, {"x-queue-type": "quorum"}),), bindings=(binding,))
        )
        consumer = await transport.consume(queue, prefetch=10)
    else:
        consumer = await transport.listen(NAMES.control, name=lambda: queue, prefetch=10)
    await transport.publish(NAMES.control, "", able_notice(Able(queue, able)))
    running = app._running
    assert running is not None
    await eventually(lambda: queue in running._abilities._peers)
    return consumer.close


# What cannot even be read -------------------------------------------------------------------------


async def test_another_version_of_the_protocol_goes_to_whoever_reads_it(stage: Stage) -> None:
    """And is parked when nobody does."""
    app = stage.worker(elsewhere_s=0.02)
    app.tool(name="pay")(_pay)
    await stage.start(app)
    newer = replace(Request.seal(tool("pay", n=1)).message, type="effect.envelope.v9")
    await stage.publish("tool_call", newer)
    await stage.parked(1)
    assert app.counters["elsewhere"] == 0
    await pretend(stage, app, {"protocol effect.envelope.v9": "1"})
    await stage.publish("tool_call", newer)
    (_, letter) = await stage.parked(2)
    assert letter.reason == "unsupported"
    assert app.counters["elsewhere"] > 0


async def test_a_body_in_a_store_goes_to_a_worker_that_has_the_store(
    stage: Stage, tmp_path: Path
) -> None:
    """One without it cannot even know what it is."""
    store = f"file://{tmp_path}/store"
    without, having = stage.worker(), stage.worker(attachments=store)
    for app in (without, having):

        @app.tool
        async def size(text: str) -> int:
            return len(text)

        await stage.start(app)
    client = await stage.client(attachments=store)
    handles = [
        await client.submit(tool("size", str(n), call_id=f"c{n}", text="x" * 300_000))
        for n in range(6)
    ]
    replies = await gathered(handles)
    assert [payload(one.result) for one in replies] == [300_000] * 6  # type: ignore[arg-type]
    assert without.counters["elsewhere"] > 0
    assert not stage.letters()


async def test_a_body_goes_to_the_worker_whose_store_has_it(stage: Stage, tmp_path: Path) -> None:
    """Stores of two places, as with a wrong mount: what one has not is not gone."""
    store = f"file://{tmp_path}/store"
    wrong, right = stage.worker(attachments=f"file://{tmp_path}/x"), stage.worker(attachments=store)
    for app in (wrong, right):

        @app.tool
        async def size(text: str) -> int:
            return len(text)

        await stage.start(app)
    running = wrong._running
    assert running is not None
    await eventually(lambda: bool(running._abilities._peers))
    client = await stage.client(attachments=store)
    handles = [
        await client.submit(tool("size", str(n), call_id=f"c{n}", text="x" * 300_000))
        for n in range(6)
    ]
    replies = await gathered(handles)
    assert [payload(one.result) for one in replies] == [300_000] * 6  # type: ignore[arg-type]
    assert wrong.counters["elsewhere"] > 0
    assert not stage.letters()


async def test_what_is_not_on_record_goes_to_a_worker_that_executes(
    stage: Stage, tmp_path: Path
) -> None:
    """One that only replays parks nothing that another one carries out."""
    journal = f"sqlite:///{tmp_path}/journal.db"
    strict = stage.worker(journal=journal, replay="strict")
    executing = stage.worker(journal=journal)
    for app in (strict, executing):
        app.tool(name="pay")(_pay)
        await stage.start(app)
    assert await told(stage, "pay") == list(range(_CALLS))
    assert strict.counters["elsewhere"] > 0
    assert not stage.letters()


@pytest.mark.parametrize("why", ["protocol", "no store", "store is down"])
async def test_what_cannot_be_read_keeps_the_death_that_brought_it_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """For the broker the copy begins at nothing, so the count goes into it."""
    monkeypatch.setattr(witnesses, "ANSWER_S", 0.1)
    queue = NAMES.work_queue("tool_call")
    await (await stage.transport()).declare(work_topology(TOPOLOGY, ["tool_call"]))
    message = Request.seal(tool("pay", n=1)).changed({"deaths": 1}).message
    if why == "protocol":
        message = replace(message, type="effect.envelope.v9")
    else:
        message = with_reference(message, BodyReference("0" * 64, len(message.body)))
    await stage.publish("tool_call", message)
    dying = await stage.transport()
    async with asyncio.timeout(PATIENCE_S):
        await anext(aiter(await dying.consume(queue, prefetch=1)))
    await dying.__aexit__()

    async def down(self: MemoryObjects, name: str, max_bytes: int) -> bytes | None:
        raise AttachmentStoreError("it does not answer")

    monkeypatch.setattr(MemoryObjects, "get", down)
    app = stage.worker(attachments="memory://down" if why == "store is down" else None)
    app.tool(name="pay")(_pay)
    # Whoever is known to be able keeps it from being parked; nobody takes it there.
    heard: list[Message] = []
    delay = Settlement.delay

    async def note(self: Settlement, level_ms: int, route: str, copy: Message) -> None:
        heard.append(copy)
        await delay(self, level_ms, route, copy)

    monkeypatch.setattr(Settlement, "delay", note)
    monkeypatch.setattr(Abilities, "known", lambda *_: "somebody")
    await stage.start(app)
    await eventually(lambda: len(heard) >= 2)
    assert {copy.headers[names.DEATHS] for copy in heard} == {2}


# What must not run twice --------------------------------------------------------------------------


async def test_a_worker_that_lacks_the_tool_does_not_forget_that_one_died_with_it(
    stage: Stage, tmp_path: Path
) -> None:
    """It cannot know that the tool must not run twice; the next one does."""
    journal = f"sqlite:///{tmp_path}/journal.db"
    envelope = tool("refund", n=1)
    old = stage.worker(journal=journal)
    old.tool(name="pay")(_pay)
    await stage.start(old)
    await pretend(stage, old, {"tool refund": "1"})
    async with Journal(journal, namespace="t") as opened:
        await opened.claim(
            Claim(effect_of(Request.seal(envelope)), "dead", "t", 0, on_uncertain="park")
        )
    client = await stage.client()
    handle = await client.submit(envelope)
    await eventually(lambda: old.counters["elsewhere"] > 0)
    new = stage.worker(journal=journal)
    runs: list[int] = []

    @new.tool(on_uncertain="park")
    async def refund(n: int) -> int:
        runs.append(n)
        return n

    await stage.start(new)
    with pytest.raises(EffectFailedError) as failed:
        await handle.outcome(PATIENCE_S)
    assert failed.value.code == "effectmq_uncertain"
    assert runs == []
