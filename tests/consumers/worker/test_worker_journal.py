"""A worker with a journal: one outcome for ever, whoever asks and however often."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.dead_letters.dead_letters import DeadLetters
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Claim, Granted, Record, effect_of
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.codec import JSON, encode_tree
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import (
    ConfigurationError,
    EffectCancelledError,
    EffectFailedError,
    EffectMismatchError,
    RecordMissingError,
    RejectEffectError,
    RetryEffectError,
)
from effectmq.protocol.messages.dead_letter import revived_message
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import PATIENCE_S, Stage, code, hurry, nap, outcome, tool
from tests.waiting import eventually


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal of this test's own."""
    return f"sqlite:///{tmp_path}/journal.db"


class Runs:
    """Counts executions, and can hold them."""

    def __init__(self) -> None:
        self.count = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.stopped = 0

    def on(self, app: EffectWorker, **options: object) -> EffectWorker:
        """Register the handler that is counted."""

        @app.handler("exec_code", **options)  # type: ignore[arg-type]
        async def run(command: RuntimeEffectCommandExecCode) -> object:
            self.count += 1
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.stopped += 1
                raise
            return RuntimeEffectOutcomeExecCode(result=Err(f"{command.code} #{self.count}"))

        return app


async def test_an_effect_that_is_asked_for_again_is_answered_from_the_record(
    stage: Stage, url: str
) -> None:
    """The same outcome, flagged as replayed, and the body does not run."""
    runs = Runs()
    worker = await stage.start(runs.on(stage.worker(journal=url)))
    client = await stage.client()
    first = await (await client.submit(code("a"))).reply(PATIENCE_S)
    other = await stage.client()
    again = await (await other.submit(code("a"))).reply(PATIENCE_S)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.result == first.result
    assert runs.count == 1
    assert worker.counters["replayed"] == 1


async def test_a_record_outlives_its_worker(stage: Stage, url: str) -> None:
    """Another worker on the same journal answers."""
    runs = Runs()
    first = await stage.start(runs.on(stage.worker(journal=url)))
    client = await stage.client()
    before = await outcome(await client.submit(code("a")))
    await first.stop()
    await stage.start(runs.on(stage.worker(journal=url)))
    other = await stage.client()
    assert await outcome(await other.submit(code("a"))) == before
    assert runs.count == 1


async def test_another_envelope_under_the_same_key_says_what_differs(
    stage: Stage, url: str
) -> None:
    """Nothing runs, the record stays, and the caller learns the path."""
    runs = Runs()
    await stage.start(runs.on(stage.worker(journal=url)))
    client = await stage.client()
    await outcome(await client.submit(code("a")))
    with pytest.raises(EffectMismatchError, match=r"they differ at command\.code;"):
        await outcome(await client.submit(code("b")))
    assert runs.count == 1
    (letter,) = await stage.parked()
    assert (letter.reason, letter.code) == ("rejected", "effectmq_hash_conflict")


async def test_a_failure_is_recorded_and_a_replayed_dead_letter_runs_again(
    stage: Stage, url: str
) -> None:
    """Asked again it fails the same way; an operator's replay is what runs it again."""
    app = stage.worker(journal=url)
    broken = True
    runs = 0

    @app.handler("exec_code")
    async def run(command: RuntimeEffectCommandExecCode) -> object:
        nonlocal runs
        runs += 1
        if broken:
            raise RejectEffectError("no_good", "not today")
        return RuntimeEffectOutcomeExecCode(result=Err("done"))

    await stage.start(app)
    client = await stage.client()
    for _ in range(2):
        with pytest.raises(EffectFailedError, match="no_good: not today"):
            await outcome(await (await stage.client()).submit(code("a")))
    assert runs == 1
    (letter,) = await stage.parked()
    broken = False
    handle = client.attach(code("a"))
    await stage.publish("exec_code", revived_message(letter))
    await eventually(lambda: runs == 2)
    await stage.idle(app, "exec_code")
    assert await outcome(await client.submit(code("a"))) == RuntimeEffectOutcomeExecCode(
        result=Err("done")
    )
    # The same copy once more: it belongs to a parking that is over.
    await stage.publish("exec_code", revived_message(letter))
    await stage.idle(app, "exec_code")
    assert runs == 2
    assert handle.hash == letter.hash


async def test_a_dead_letter_that_was_lost_with_its_worker_is_written_again(
    stage: Stage, url: str
) -> None:
    """A worker recorded the parking and died before the letter was out; with every count."""
    request = Request.seal(code("a"))
    async with Journal(url, namespace="t") as journal:
        effect = effect_of(request)
        granted = await journal.claim(Claim(effect, "dead", "t1", 1))
        while not (isinstance(granted, Granted) and granted.deaths == 1):
            granted = await journal.claim(Claim(effect, "second", "t2", 60_000))
        error = '{"code":"no_good","message":"not today"}'
        said = Record(request.identity, granted.fence, 2, error_json=error, park_reason="rejected")
        await journal.record(said)
    runs = Runs()
    await stage.start(runs.on(stage.worker(journal=url)))
    client = await stage.client()
    for _ in range(2):
        with pytest.raises(EffectFailedError, match="no_good"):
            await outcome(await client.submit(code("a")))
        client = await stage.client()
    (letter,) = await stage.parked()
    assert (letter.reason, letter.code, letter.detail) == ("rejected", "no_good", "not today")
    assert (letter.attempts, letter.deaths) == (2, 1)
    assert runs.count == 0


async def test_an_effect_that_another_worker_holds_is_waited_for(
    stage: Stage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers, one effect from two producers: one run, two equal answers."""
    hurry(monkeypatch)
    runs = Runs()
    runs.gate.clear()
    one = await stage.start(runs.on(stage.worker(journal=url, concurrency=1)))
    two = await stage.start(runs.on(stage.worker(journal=url, concurrency=1)))
    client, other = await stage.client(), await stage.client()
    handle = await client.submit(code("a"))
    await eventually(lambda: runs.count == 1)
    again = await other.submit(code("a"))
    await eventually(lambda: one.counters["busy"] + two.counters["busy"] > 1)
    runs.gate.set()
    replies = [await handle.reply(PATIENCE_S), await again.reply(PATIENCE_S)]
    assert replies[0].result == replies[1].result
    assert sorted(reply.replayed for reply in replies) == [False, True]
    assert runs.count == 1


async def dead_claim(url: str, request: Request) -> None:
    """A worker claimed the effect and died; its lease has run out."""
    async with Journal(url, namespace="t") as journal:
        answer = await journal.claim(Claim(effect_of(request), "dead", "t1", 0))
        assert isinstance(answer, Granted)


async def test_an_expired_lease_is_taken_over(stage: Stage, url: str) -> None:
    """The default: a body may run again."""
    await dead_claim(url, Request.seal(code("a")))
    runs = Runs()
    await stage.start(runs.on(stage.worker(journal=url)))
    client = await stage.client()
    await outcome(await client.submit(code("a")))
    assert runs.count == 1


async def test_an_effect_that_must_not_run_twice_is_parked_as_uncertain(
    stage: Stage, url: str
) -> None:
    """At most once, on request."""
    await dead_claim(url, Request.seal(code("a")))
    runs = Runs()
    await stage.start(runs.on(stage.worker(journal=url), on_uncertain="park"))
    client = await stage.client()
    with pytest.raises(EffectFailedError, match="effectmq_uncertain"):
        await outcome(await client.submit(code("a")))
    (letter,) = await stage.parked()
    assert letter.reason == "uncertain"
    assert runs.count == 0


async def test_a_worker_that_lost_its_lease_discards_its_result(stage: Stage, url: str) -> None:
    """The first recorded outcome wins, and both answers are that one."""
    runs = Runs()
    runs.gate.clear()
    worker = await stage.start(runs.on(stage.worker(journal=url, lease_s=60)))
    client = await stage.client()
    handle = await client.submit(code("a"))
    await eventually(lambda: runs.count == 1)
    request = Request.seal(code("a"))
    async with Journal(url, namespace="t") as journal:
        await journal.database.write(
            lambda tx: tx.execute("UPDATE effectmq_effects SET lease_expires_at_ms = 0")
        )
        taken = await journal.claim(Claim(effect_of(request), "other", "t2", 60_000))
        assert isinstance(taken, Granted)
        won = '{"type":"exec_code","result":{"Err":"the other one"}}'
        await journal.record(Record(request.identity, taken.fence, 1, won))
    runs.gate.set()
    reply = await handle.reply(PATIENCE_S)
    assert reply.result == RuntimeEffectOutcomeExecCode(result=Err("the other one"))
    assert reply.replayed
    assert worker.counters["results_discarded"] == 1


async def test_a_running_effect_is_cancelled(stage: Stage, url: str) -> None:
    """Its handler is stopped long before its lease would be renewed."""
    runs = Runs()
    runs.gate.clear()
    worker = await stage.start(runs.on(stage.worker(journal=url, lease_s=600)))
    client = await stage.client(journal=url)
    other = await stage.client()
    handle = await client.submit(code("a"))
    watched = await other.submit(code("a"))
    await eventually(lambda: runs.count == 1)
    assert await client.cancel(code("a"), reason="changed my mind")
    with pytest.raises(EffectCancelledError, match="changed my mind"):
        await outcome(handle)
    with pytest.raises(EffectCancelledError, match="effectmq_cancelled"):
        await outcome(watched)
    await eventually(lambda: runs.stopped == 1)
    assert worker.counters["leases_lost"] == 1
    # Asked again it is still cancelled, and cancelling again changes nothing.
    with pytest.raises(EffectCancelledError):
        await client.execute(code("a"), timeout=PATIENCE_S)
    assert await client.cancel(code("a"))
    assert runs.count == 1


async def test_an_effect_that_was_cancelled_before_it_began_never_runs(
    stage: Stage, url: str
) -> None:
    """The tombstone is there before the worker is."""
    client = await stage.client(journal=url)
    assert await client.cancel(code("a"))
    runs = Runs()
    await stage.start(runs.on(stage.worker(journal=url)))
    other = await stage.client()
    with pytest.raises(EffectCancelledError):
        await outcome(await other.submit(code("a")))
    assert runs.count == 0


async def test_what_is_finished_cannot_be_cancelled(stage: Stage, url: str) -> None:
    """Exactly one of outcome and cancellation."""
    runs = Runs()
    await stage.start(runs.on(stage.worker(journal=url)))
    client = await stage.client(journal=url)
    handle = await client.submit(code("a"))
    given = await outcome(handle)
    assert not await client.cancel(handle)
    assert await client.execute(code("a"), timeout=PATIENCE_S) == given


async def test_a_client_with_the_journal_needs_no_worker(stage: Stage, url: str) -> None:
    """The record answers; nothing is published."""
    runs = Runs()
    worker = await stage.start(runs.on(stage.worker(journal=url)))
    client = await stage.client(journal=url)
    given = await outcome(await client.submit(code("a")))
    await worker.stop()
    assert await client.execute(code("a"), timeout=PATIENCE_S) == given
    assert (await (await client.submit(code("a"))).reply(0)).replayed
    assert client.counters["submitted"] == 1
    with pytest.raises(EffectMismatchError) as caught:
        await client.execute(code("b"), timeout=PATIENCE_S)
    assert caught.value.paths == ("command.code",)


async def test_strict_replay_never_executes(stage: Stage, url: str) -> None:
    """A recorded session is a fixture: no broker, no worker, and what is missing is an error."""
    runs = Runs()
    await stage.start(runs.on(stage.worker(journal=url)))
    recorder = await stage.client()
    given = await outcome(await recorder.submit(code("a")))
    async with EffectClient(
        "memory://nobody", journal=url, replay="strict", topology=stage.topology
    ) as replayer:
        assert await replayer.execute(code("a")) == given
        with pytest.raises(RecordMissingError, match="strict replay never executes"):
            await replayer.execute(code("a", effect_id="2"))
        with pytest.raises(EffectMismatchError):
            await replayer.submit(code("b"))


async def test_a_strict_worker_answers_and_parks_the_rest(stage: Stage, url: str) -> None:
    """It has handlers and does not call them."""
    runs = Runs()
    first = await stage.start(runs.on(stage.worker(journal=url)))
    client = await stage.client()
    given = await outcome(await client.submit(code("a")))
    await first.stop()
    await stage.start(runs.on(stage.worker(journal=url, replay="strict")))
    other = await stage.client()
    assert await outcome(await other.submit(code("a"))) == given
    with pytest.raises(EffectFailedError, match="effectmq_replay_missing"):
        await outcome(await other.submit(code("a", effect_id="2")))
    assert runs.count == 1


async def test_strict_replay_wants_a_journal(stage: Stage) -> None:
    """There is nothing to replay from."""
    with pytest.raises(ConfigurationError, match="answers from a journal and none was given"):
        stage.worker(replay="strict")
    client = await stage.client()
    with pytest.raises(ConfigurationError, match="this client has none"):
        await client.cancel(code("a"))


async def test_a_retry_over_a_delay_level_keeps_its_place(
    stage: Stage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is let go of while it waits, and the attempt is counted in the record."""
    hurry(monkeypatch)
    app = stage.worker(journal=url)

    @app.handler("exec_code")
    async def run(command: RuntimeEffectCommandExecCode, context: EffectContext) -> object:
        if context.attempt < 3:
            raise RetryEffectError("again", after_s=0.02)
        return RuntimeEffectOutcomeExecCode(result=Err(str(context.attempt)))

    await stage.start(app)
    client = await stage.client(journal=url)
    reply = await (await client.submit(code("a"))).reply(PATIENCE_S)
    assert (reply.result, reply.attempt) == (RuntimeEffectOutcomeExecCode(result=Err("3")), 3)
    assert app.counters["delayed"] == 2
    again = await (await client.submit(code("a"))).reply(PATIENCE_S)
    assert (again.attempt, again.replayed) == (3, True)


async def test_a_sleep_ends_when_its_first_claim_said(
    stage: Stage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that comes later does not make it longer."""
    hurry(monkeypatch)
    request = Request.seal(nap(60_000))
    async with Journal(url, namespace="t") as journal:
        await journal.claim(Claim(effect_of(request), "w", "t1", 0, due_in_ms=1))
    await stage.start(stage.worker(journal=url))
    client = await stage.client()
    assert (await outcome(await client.submit(nap(60_000)))).type == "sleep"


async def test_work_that_is_left_at_shutdown_is_free_at_once(stage: Stage, url: str) -> None:
    """The next worker does not wait for a lease of minutes."""
    runs = Runs()
    runs.gate.clear()
    worker = await stage.start(runs.on(stage.worker(journal=url, lease_s=600)))
    client = await stage.client()
    handle = await client.submit(code("a"))
    await eventually(lambda: runs.count == 1)
    await worker.stop(0.0)
    runs.gate.set()
    await stage.start(runs.on(stage.worker(journal=url, lease_s=600)))
    await outcome(handle)
    assert runs.count == 2


async def test_long_work_keeps_its_lease(stage: Stage, url: str) -> None:
    """Renewed while it runs, so that a second worker has to wait."""
    runs = Runs()
    runs.gate.clear()
    await stage.start(runs.on(stage.worker(journal=url, lease_s=0.15)))
    client = await stage.client()
    handle = await client.submit(code("a"))
    await eventually(lambda: runs.count == 1)
    request = Request.seal(code("a"))
    first_expiry = await expiry(url, request)

    async def renewed_often() -> None:
        while await expiry(url, request) < first_expiry + 300:  # noqa: ASYNC110 - a database tells nobody
            await asyncio.sleep(0.01)

    await asyncio.wait_for(renewed_often(), PATIENCE_S)
    runs.gate.set()
    await outcome(handle)
    assert runs.count == 1


async def expiry(url: str, request: Request) -> int:
    """When the lease of an effect runs out."""
    async with Journal(url, namespace="t") as journal:
        rows = await journal.database.read(
            lambda tx: tx.execute(
                "SELECT lease_expires_at_ms FROM effectmq_effects WHERE replay_key = ?",
                (request.replay_key,),
            )
        )
    return int(rows[0][0] or 0)


async def test_a_name_that_no_journal_can_keep_is_rejected(stage: Stage, url: str) -> None:
    """PostgreSQL has no zero characters, so SQLite takes none either."""
    app = stage.worker(journal=url)

    @app.tool
    async def hello() -> str:
        return "hello"

    await stage.start(app)
    client = await stage.client()
    with pytest.raises(EffectFailedError, match="effectmq_name_not_storable"):
        await outcome(await client.submit(tool("hello", "a\x00b")))
    (letter,) = await stage.parked()
    assert letter.reason == "rejected"


async def test_sleeping_effects_leave_nothing_in_the_worker(stage: Stage, url: str) -> None:
    """They lie in a delay queue, where nobody holds them."""
    stage.topology = replace(stage.topology, delay_levels_ms=(60_000,))
    worker = await stage.start(stage.worker(journal=url))
    client = await stage.client()
    for number in range(200):
        await client.submit(nap(3_600_000, str(number)))
    await stage.idle(worker, "sleep")
    running = worker._running
    assert running is not None
    assert len(running._inflight) == 0
    assert [job for route in running._routes for job in route.jobs] == []
    async with Journal(url, namespace="t") as journal:
        rows = await journal.database.read(
            lambda tx: tx.execute(
                "SELECT DISTINCT status, lease_expires_at_ms FROM effectmq_effects"
            )
        )
    assert rows == [("waiting", 0)]


@pytest.mark.parametrize("name", ["A", "B"])
async def test_an_edit_runs_again_what_was_parked_and_no_other(
    stage: Stage, url: str, name: str
) -> None:
    """Under its own name it replaces the record; under that of another it is a conflict."""
    app = stage.worker(journal=url)
    refusing = True

    @app.handler("exec_code")
    async def run(command: RuntimeEffectCommandExecCode) -> object:
        if refusing:
            raise RejectEffectError("no", "not now")
        return RuntimeEffectOutcomeExecCode(result=Err(command.code))

    await stage.start(app)
    client = await stage.client()
    for each in ("A", "B"):
        with pytest.raises(EffectFailedError):
            await client.execute(code(each, each), timeout=PATIENCE_S)
    refusing = False
    letters = DeadLetters(await stage.transport(), stage.topology)
    parked = next(letter for letter in stage.letters() if letter.effect_id == "A")

    edited = code("edited", name)
    await letters.replay_edited(parked.id, encode_tree(to_tree(edited), JSON))

    if name == "A":
        got = await client.attach(edited).outcome(PATIENCE_S)
        assert got == RuntimeEffectOutcomeExecCode(result=Err("edited"))
    else:
        with pytest.raises(EffectMismatchError):
            await client.attach(edited).outcome(PATIENCE_S)
    with pytest.raises(EffectFailedError, match="not now"):
        await client.execute(code("B", "B"), timeout=PATIENCE_S)
