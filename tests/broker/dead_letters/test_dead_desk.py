"""The desk of dead letters: looking without taking, and several people at once."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.dead_letters.desk import DeadDesk
from effectmq.broker.dead_letters.filter import EVERY_LETTER, DeadFilter
from effectmq.broker.dead_letters.patching import Patch
from effectmq.broker.dead_letters.queue.browser import DeadLettersInUseError, Turn
from effectmq.broker.dead_letters.report import DeadLetterIdError
from effectmq.broker.store.letters.index import Counts
from effectmq.broker.transports import open_transport
from effectmq.protocol.errors import DatabaseUnavailableError, MalformedError, TopologyError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import read_request
from effectmq.protocol.topology import TopologySettings
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall
from tests.broker.dead_letters.stage import DeadStage, dead_stage
from tests.broker.dead_letters.test_dead_letters import sweep_namespace
from tests.brokers.provide import Brokers
from tests.conftest import _have, on_every_broker


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests in memory, and on each broker that the session wants."""
    on_every_broker(metafunc, "place")


@pytest.fixture
async def stage(
    place: str, brokers: Brokers, namespace: str, pytestconfig: pytest.Config
) -> AsyncIterator[DeadStage]:
    """A namespace on each kind of broker."""
    memory = place == "memory"
    url = f"memory://{namespace}" if memory else _have(pytestconfig, brokers.shared, place).url
    async with dead_stage(url, namespace) as made:
        yield made
    if not memory:
        await asyncio.to_thread(sweep_namespace, url, namespace)


@pytest.fixture
async def memory(namespace: str) -> AsyncIterator[DeadStage]:
    """A namespace in memory, for what is about our own code only."""
    async with dead_stage(f"memory://{namespace}", namespace) as made:
        yield made


@asynccontextmanager
async def desk_of(
    stage: DeadStage, database: str | None = None, who: str = "ada", patience_s: float = 30.0
) -> AsyncGenerator[DeadDesk]:
    """The desk of one operator, on a connection of its own."""
    async with (
        open_transport(stage.url) as transport,
        DeadDesk(
            transport, stage.topology, database=database, who=who, turn=Turn(patience_s)
        ) as desk,
    ):
        yield desk


@pytest.fixture
def shared(tmp_path: Path) -> str:
    """A database that operators share."""
    return f"sqlite:///{tmp_path}/shared.db"


async def ids(desk: DeadDesk, chosen: DeadFilter = EVERY_LETTER) -> list[str]:
    """What is meant, the oldest first."""
    return [letter.id async for letter in desk.every(chosen)]


# Looking ---------------------------------------------------------------------------------------


async def test_a_look_shows_what_the_queue_has_with_a_journal_and_without(
    stage: DeadStage, shared: str
) -> None:
    """In the queue's order, with what the bodies say."""
    for _ in range(3):
        await stage.park()
    await stage.park(stage.call({"amount": 1}), reason="rejected")
    await stage.raw(Message(body=b"\xc1"))
    for database in (None, shared):
        async with desk_of(stage, database) as desk:
            assert (await desk.refresh()).exact
            facets = await desk.facets()
            assert facets.counts["reason"] == {"exhausted": 3, "rejected": 1, "raw": 1}
            assert facets.counts["tool"] == {"": 4, "pay": 1}
            page = await desk.page(DeadFilter(sessions=("session",)), limit=2)
            assert page.after is not None
            rest = await desk.page(DeadFilter(sessions=("session",)), limit=9, after=page.after)
            assert [each.turn_id for each in page.letters + rest.letters] == ["turn"] * 4
            letter = await desk.find(page.letters[0].id[:8])
            assert (await desk.content(letter)).form == "envelope"
    await stage.dead(5)


async def test_nobody_is_kept_out_while_another_holds_every_letter(
    stage: DeadStage, shared: str
) -> None:
    """The second one reads what is known, and is told that it may be old."""
    for _ in range(3):
        await stage.park()
    async with desk_of(stage, shared) as desk, desk_of(stage, shared, "bob") as other:
        await desk.refresh()
        async with stage.letters.browse() as held:
            async for _ in held:
                pass
            fresh = await other.refresh()
            assert (fresh.exact, fresh.walked) == (False, False)
            assert len(await ids(other)) == 3
        await stage.dead(3)
        assert (await other.refresh()).exact


async def test_readers_without_a_database_wait_for_their_turn(stage: DeadStage) -> None:
    """Ten at once, and each sees everything."""
    for _ in range(5):
        await stage.park()

    async def look() -> int:
        async with desk_of(stage) as desk:
            await desk.refresh()
            return len(await ids(desk))

    assert await asyncio.gather(*(look() for _ in range(6))) == [5] * 6
    await stage.dead(5)


async def test_who_waits_in_vain_for_a_turn_is_told(memory: DeadStage) -> None:
    """With nothing known there is nothing to show meanwhile."""
    await memory.park()
    async with memory.letters.browse(), desk_of(memory, patience_s=0.1) as desk:
        with pytest.raises(DeadLettersInUseError, match="another reader"):
            await desk.refresh()


async def test_a_namespace_without_workers_is_named(namespace: str) -> None:
    """As everywhere."""
    async with open_transport(f"memory://{namespace}") as transport:
        stage = DeadStage(f"memory://{namespace}", transport, TopologySettings(namespace=namespace))
        async with desk_of(stage) as desk:
            with pytest.raises(TopologyError, match="no worker has ever run"):
                await desk.refresh()


# In step ---------------------------------------------------------------------------------------


async def test_a_queue_that_was_purged_by_hand_empties_the_index(
    stage: DeadStage, shared: str
) -> None:
    """And what is parked after it is there."""
    for _ in range(3):
        await stage.park()
    async with desk_of(stage, shared) as desk:
        await desk.refresh()
        taken = await stage.transport.consume(stage.names.dead, prefetch=10)
        for _ in range(3):
            (await anext(aiter(taken))).ack()
        await taken.close()
        async with asyncio.timeout(20):
            # For a moment the broker may still count the consumer, or what it has acknowledged.
            while not (await desk.refresh()).exact:
                pass
        assert await ids(desk) == []
        await stage.park()
        await desk.refresh()
        assert len(await ids(desk)) == 1


async def test_letters_that_were_swapped_behind_the_index_are_noticed(
    stage: DeadStage, shared: str
) -> None:
    """As many as before, and not the same: a short queue is looked at all the same."""
    await stage.park()
    async with desk_of(stage, shared) as desk:
        await desk.refresh()
        [before] = await ids(desk)
        await stage.letters.purge(EVERY_LETTER)
        await stage.park()
        await stage.dead(1)
        await desk.refresh()
        assert await ids(desk) != [before]


async def test_a_letter_that_only_the_index_has_is_not_replayed(
    stage: DeadStage, shared: str
) -> None:
    """Whoever replays holds its message; there is none."""
    await stage.park()
    await stage.park()
    async with desk_of(stage, shared) as desk:
        await desk.refresh()
        first, second = await ids(desk)
        await stage.letters.purge(DeadFilter(ids=(first,)))
        report = await desk.replay(EVERY_LETTER)
        assert (report.chosen, report.done, report.gone) == (2, 1, 1)
        await stage.work("exec_code", 1)
        await desk.refresh()
        assert await ids(desk) == []
        assert second != first


async def test_what_was_settled_leaves_the_index(memory: DeadStage, shared: str) -> None:
    """Without a walk."""
    for _ in range(4):
        await memory.park()
    async with desk_of(memory, shared) as desk:
        await desk.refresh()
        [first, *_] = await ids(desk)
        await desk.replay(DeadFilter(ids=(first,)))
        assert await desk.index.counts() == Counts(3, 3)
        await desk.purge(EVERY_LETTER, limit=2)
        assert await desk.index.counts() == Counts(1, 1)


# Two at once -----------------------------------------------------------------------------------


async def test_of_two_who_replay_the_same_each_letter_goes_once(
    stage: DeadStage, shared: str, tmp_path: Path
) -> None:
    """With one index or with one each: a message is held by one at a time."""
    async with (
        desk_of(stage, shared) as ada,
        desk_of(stage, shared, "bob") as bob,
        desk_of(stage, f"sqlite:///{tmp_path}/another.db", "cy") as cy,
    ):
        for _ in range(30):
            await stage.park()
        for desk in (ada, bob, cy):
            await desk.refresh()
        reports = await asyncio.gather(
            *(desk.replay(EVERY_LETTER, rate=10_000) for desk in (ada, bob, cy))
        )
        assert sum(report.done for report in reports) == 30
        assert [report.stopped for report in reports] == ["", "", ""]
        await stage.work("exec_code", 30)
        await stage.dead(0)
        for desk in (ada, bob, cy):
            await desk.refresh()
            assert await ids(desk) == []


async def test_a_replay_beside_a_purge_loses_nothing(stage: DeadStage, shared: str) -> None:
    """Each letter is replayed or purged."""
    for _ in range(20):
        await stage.park()
    async with desk_of(stage, shared) as ada, desk_of(stage, shared, "bob") as bob:
        await ada.refresh()
        replayed, purged = await asyncio.gather(
            ada.replay(EVERY_LETTER, rate=10_000), bob.purge(EVERY_LETTER)
        )
        assert replayed.done + purged.done == 20
        await stage.work("exec_code", replayed.done)


async def test_a_replay_goes_on_while_readers_look(stage: DeadStage, shared: str) -> None:
    """A reader who finds the numbers apart does not walk while somebody settles."""
    for _ in range(40):
        await stage.park()
    async with desk_of(stage, shared) as ada, desk_of(stage, shared, "bob") as bob:
        await ada.refresh()
        going = asyncio.create_task(ada.replay(EVERY_LETTER, rate=400))
        while not going.done():
            await bob.refresh()
            await bob.facets()
            await asyncio.sleep(0)
        report = await going
        assert (report.done, report.gone, report.stopped) == (40, 0, "")
        await stage.work("exec_code", 40)


# Mending ---------------------------------------------------------------------------------------


def patch(*operations: dict[str, Any]) -> Patch:
    """A patch."""
    return Patch.parse(json.dumps(operations))


AMOUNT = {"op": "replace", "path": "/command/call/args/amount", "value": 5}


async def test_a_patch_changes_every_letter_that_is_meant(stage: DeadStage, shared: str) -> None:
    """Each keeps its name and gets a hash of its own; the others stay."""
    parked = [
        await stage.park(stage.call({"amount": number}, f"call-{number}")) for number in range(3)
    ]
    await stage.park()
    async with desk_of(stage, shared) as desk:
        await desk.refresh()
        chosen = DeadFilter(tools=("pay",))
        foreseen = await desk.edit(chosen, patch(AMOUNT), dry_run=True)
        assert (foreseen.chosen, foreseen.done, len(foreseen.edits)) == (3, 3, 3)
        [change] = foreseen.edits[1].changes
        assert (change.path, change.before, change.after) == ("command.call.args.amount", 1, 5)
        await stage.dead(4)
        report = await desk.edit(chosen, patch(AMOUNT))
        assert (report.done, report.stopped) == (3, "")
        requests = [read_request(message) for message in await stage.work("tool_call", 3)]
        assert [each.replay_key for each in requests] == [each.replay_key for each in parked]
        before = [each.message.headers["effect-edited-from"] for each in requests]
        assert before == [each.hash for each in parked]
        for request, edit in zip(requests, foreseen.edits, strict=True):
            assert request.hash == edit.hash
            command = request.envelope.command
            assert isinstance(command, RuntimeEffectCommandToolCall)
            assert command.call.args == {"amount": 5}
        await stage.dead(1)


async def test_a_patch_that_does_not_fit_one_letter_moves_none(
    stage: DeadStage, shared: str
) -> None:
    """What it makes of all of them is looked at first."""
    await stage.park(stage.call({"amount": 1}))
    await stage.park()
    await stage.raw(Message(body=b"\xc1"))
    async with desk_of(stage, shared) as desk:
        await desk.refresh()
        report = await desk.edit(EVERY_LETTER, patch(AMOUNT))
        assert (report.chosen, report.done, report.skipped) == (3, 0, 2)
        assert "none was replayed" in report.stopped
        assert "replace /command/call/args/amount" in report.problems[1]
    await stage.dead(3)


async def test_a_patch_must_leave_an_envelope_that_can_be_carried_out(memory: DeadStage) -> None:
    """The rules of envelopes are asked before anything moves."""
    await memory.park(memory.call({"amount": 1}))
    async with desk_of(memory) as desk:
        await desk.refresh()
        for operation in (
            {"op": "remove", "path": "/command"},
            {"op": "replace", "path": "/command/type", "value": "nonsense"},
            {"op": "replace", "path": "", "value": 7},
            {"op": "remove", "path": "/invocation/replay"},
            {"op": "test", "path": "/command/call/tool_name", "value": "another"},
        ):
            report = await desk.edit(EVERY_LETTER, patch(operation))
            assert (report.done, report.skipped) == (0, 1), operation
            assert report.problems
    await memory.dead(1)


@pytest.mark.parametrize(
    "document",
    [
        "nonsense",
        "7",
        "{}",
        "[]",
        "[7]",
        '[{"op": []}]',
        '[{"op": "jump", "path": ""}]',
        '[{"op": "add", "path": "/a"}]',
        '[{"op": "remove", "path": "a"}]',
        '[{"op": "remove"}]',
        json.dumps([{"op": "remove", "path": "/a"}] * 1_001),
    ],
)
def test_what_is_no_patch_is_refused_with_a_sentence(document: str) -> None:
    """Before any letter is looked at."""
    with pytest.raises(MalformedError):
        Patch.parse(document)


@pytest.mark.parametrize("into", ["/a/-", "/b/b"])
def test_a_patch_that_doubles_and_doubles_is_stopped(into: str) -> None:
    """A few bytes could fill any memory, or nest deeper than anything can read."""
    grown = patch(*[{"op": "copy", "from": "", "path": into}] * 200)
    with pytest.raises(MalformedError, match=r"copies have .* or is nested deeper"):
        grown.applied({"a": [1], "b": {}})


def test_a_patch_leaves_the_document_that_it_was_given() -> None:
    """It is looked at again."""
    document = {"a": {"b": [1, 2]}}
    assert patch({"op": "remove", "path": "/a/b/0"}).applied(document) == {"a": {"b": [2]}}
    assert document == {"a": {"b": [1, 2]}}


# Audit -----------------------------------------------------------------------------------------


async def test_every_deed_has_its_line_and_a_dry_run_has_none(
    memory: DeadStage, shared: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who, what, which and how many."""
    caplog.set_level(logging.INFO, "effectmq.audit")
    for _ in range(3):
        await memory.park()
    async with desk_of(memory, shared, "ada@desk") as desk:
        await desk.refresh()
        await desk.replay(EVERY_LETTER, dry_run=True)
        await desk.replay(DeadFilter(reasons=("exhausted",)), limit=1)
        await desk.purge(EVERY_LETTER)
        purge, replay = await desk.audit(10)
    assert (replay.action, purge.action) == ("replay", "purge")
    assert replay.who == "ada@desk"
    assert json.loads(replay.choice_json)["reasons"] == ["exhausted"]
    assert json.loads(replay.report_json)["done"] == 1
    assert json.loads(purge.report_json)["done"] == 2
    assert "purge by ada@desk has ended" in caplog.text


async def test_nothing_is_done_that_cannot_be_written_down(
    memory: DeadStage, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deed without a line would be nobody's."""
    await memory.park()
    async with desk_of(memory, shared) as desk:
        await desk.refresh()

        def away(*_: object) -> None:
            raise DatabaseUnavailableError("the journal is away")

        monkeypatch.setattr(desk._audit._database, "write", away)
        with pytest.raises(DatabaseUnavailableError):
            await desk.purge(EVERY_LETTER)
    await memory.dead(1)


async def test_an_ambiguous_id_does_nothing(memory: DeadStage) -> None:
    """Nor one that means nothing."""
    for _ in range(20):
        await memory.park()
    async with desk_of(memory) as desk:
        await desk.refresh()
        with pytest.raises(DeadLetterIdError, match="begins with 'x'"):
            await desk.purge(DeadFilter(ids=("x",)))
        first = (await ids(desk))[0][0]
        same = [each for each in await ids(desk) if each.startswith(first)]
        if len(same) > 1:
            with pytest.raises(DeadLetterIdError, match="dead letters have an id"):
                await desk.replay(DeadFilter(ids=(first,)))
    await memory.dead(20)
