"""Dead letters as something to work with, in memory and on RabbitMQ."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from effectmq.broker import crashpoints
from effectmq.broker.dead_letters.content import read_content
from effectmq.broker.dead_letters.dead_letters import (
    DeadFilter,
    DeadLetterIdError,
    DeadLetters,
    DeadLettersInUseError,
    DeadLettersLostError,
)
from effectmq.broker.dead_letters.queue import browser as deadletter_browser
from effectmq.broker.dead_letters.queue import windows as deadletter_windows
from effectmq.broker.dead_letters.queue.settling import Pending, settle
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.memory import MemoryTransport
from effectmq.broker.transports.memory.consumers import MemoryConsumer
from effectmq.broker.transports.port import Delivery, QueueStats
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.encoding.codec import Limits
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import (
    BrokerError,
    ConfigurationError,
    InvalidEnvelopeError,
    MalformedError,
    PublishUnknownError,
    TopologyError,
    TransportClosedError,
    UnroutableError,
)
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.dead_letter import DeadLetter
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.topology import TopologySettings
from tests.broker.dead_letters.stage import PARKED_MS, DeadStage, dead_stage
from tests.brokers.provide import Brokers
from tests.conftest import _have, on_every_broker
from tests.waiting import within

EVERY = DeadFilter()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run in memory, and on each broker that the session wants."""
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


def sweep_namespace(url: str, namespace: str) -> None:
    """Remove what was declared."""
    from tests.brokers.sweep import sweep

    sweep(url, namespace)


def hashes(letters: list[DeadLetter]) -> list[str]:
    """The hashes of some letters."""
    return [letter.hash for letter in letters]


# Looking ---------------------------------------------------------------------------------------


async def test_looking_twenty_five_times_loses_nothing(stage: DeadStage) -> None:
    """Every look gives every letter in its order, however often the queue was looked at."""
    parked = [await stage.park() for _ in range(12)]
    for _ in range(25):
        assert hashes(await stage.listed()) == [request.hash for request in parked]
    await stage.dead(12)


async def test_a_letter_says_all_that_is_known_of_it(stage: DeadStage) -> None:
    """Reason, code, detail, kind, time and worker travel in headers; the body is untouched."""
    request = await stage.park(reason="rejected", code="no", detail="not today", reply_to="me")
    [letter] = await stage.listed()
    assert (letter.reason, letter.code, letter.detail) == ("rejected", "no", "not today")
    assert (letter.kind, letter.route, letter.attempts) == ("exec_code", "exec_code", 1)
    assert (letter.parked_ms, letter.parked_by) == (PARKED_MS, "worker-1")
    assert (letter.message.body, letter.message.reply_to) == (request.message.body, "me")


async def test_a_second_reader_is_told_about_the_first(stage: DeadStage) -> None:
    """One look at a time: what one reader holds would be missing for the other."""
    await stage.park()
    async with stage.letters.browse():
        with pytest.raises(DeadLettersInUseError, match="read by another reader"):
            await stage.listed()
    assert len(await stage.listed()) == 1


async def test_an_empty_queue_is_seen_to_be_empty(stage: DeadStage) -> None:
    """No letter, no waiting for one."""
    async with within(3):
        assert await stage.listed() == []


async def test_a_namespace_without_workers_is_named(stage: DeadStage) -> None:
    """Where nobody has declared anything, the sentence names the queue that is missing."""
    nowhere = DeadLetters(stage.transport, TopologySettings(namespace="t-nowhere"))
    with pytest.raises(TopologyError, match=r"t-nowhere\.dead"):
        await nowhere.find("a")


async def test_leaving_a_look_early_gives_everything_back(stage: DeadStage) -> None:
    """A reader that breaks off takes nothing with it."""
    for _ in range(5):
        await stage.park()
    async with stage.letters.browse() as found:
        await anext(found)
    assert len(await stage.listed()) == 5


async def test_letters_are_found_by_unique_beginnings_of_their_ids(stage: DeadStage) -> None:
    """An id is the same at every look; its beginning is enough as long as it is unique."""
    for _ in range(20):
        await stage.park()
    letters = await stage.listed()
    assert [letter.id for letter in letters] == [letter.id for letter in await stage.listed()]
    wanted = letters[7]
    assert (await stage.letters.find(wanted.id[:10])).hash == wanted.hash
    with pytest.raises(DeadLetterIdError, match="20 dead letters have an id that begins with ''"):
        await stage.letters.find("")
    with pytest.raises(DeadLetterIdError, match="no dead letter"):
        await stage.letters.find("zzz")


async def test_a_browser_is_used_inside_of_async_with(memory: DeadStage) -> None:
    """Only then is there an end, at which everything goes back."""
    with pytest.raises(TransportClosedError, match="async with"):
        await anext(memory.letters.browse())


class Crowded(MemoryTransport):
    """A broker on which somebody else begins to read at the same moment."""

    looks = 0

    async def stats(self, queue: str) -> QueueStats | None:
        """From the second look on there are two consumers."""
        found = await super().stats(queue)
        self.looks += 1
        return replace(found, consumers=2) if found is not None and self.looks > 1 else found


async def test_of_two_that_begin_at_once_one_sees_the_other(memory: DeadStage) -> None:
    """Where the broker does not enforce it, a reader looks around after it sat down, and leaves."""
    await memory.park()
    async with Crowded(memory.url) as crowded:
        with pytest.raises(DeadLettersInUseError):
            await DeadLetters(crowded, memory.topology).find("a")
    await memory.dead(1)


class Blind(MemoryTransport):
    """A broker that counts no consumers."""

    async def stats(self, queue: str) -> QueueStats | None:
        """As if nobody were there."""
        found = await super().stats(queue)
        return None if found is None else replace(found, consumers=0)


async def test_an_exclusive_consumer_is_believed(memory: DeadStage) -> None:
    """A refusal is the same sentence."""
    foreign = await memory.transport.consume(memory.names.dead, prefetch=1, exclusive=True)
    async with Blind(memory.url) as blind:
        with pytest.raises(DeadLettersInUseError):
            await DeadLetters(blind, memory.topology).find("a")
    await foreign.close()


async def test_leaving_twice_does_nothing(memory: DeadStage) -> None:
    """There is nothing left to give back."""
    await memory.park()
    async with memory.letters.browse() as found:
        await anext(found)
    await found.__aexit__(None, None, None)
    await memory.dead(1)


async def test_a_lost_connection_ends_a_look_with_a_sentence(memory: DeadStage) -> None:
    """After a loss everything comes again, so a look that went on would show letters twice."""
    for _ in range(3):
        await memory.park()
    assert isinstance(memory.transport, MemoryTransport)
    async with memory.letters.browse() as found:
        await anext(found)
        memory.transport.lose_connection()
        with pytest.raises(DeadLettersLostError, match="lost after 1 of 3 dead letters"):
            await anext(found)
    assert len(await memory.listed()) == 3


# Replaying -------------------------------------------------------------------------------------


async def test_a_replay_is_the_same_effect_from_the_start(stage: DeadStage) -> None:
    """Same body, hash, key and reply queue; attempts, deadline and park reason are forgotten."""
    request = await stage.park(
        reply_to="me", headers={names.ATTEMPT: 4, names.DEADLINE: 5, names.TRACEPARENT: "00-a"}
    )
    report = await stage.letters.replay(EVERY)
    assert (report.chosen, report.done, report.problems) == (1, 1, [])
    [message] = await stage.work("exec_code", 1)
    again = read_request(message)
    assert (again.hash, again.identity, again.attempt) == (request.hash, request.identity, 1)
    assert (message.body, message.reply_to) == (request.message.body, "me")
    assert set(message.headers) == {names.HASH, names.REPLAY_KEY, names.TRACEPARENT}
    assert await stage.listed() == []


async def test_a_crash_point_is_passed_after_the_acknowledgement(memory: DeadStage) -> None:
    """Armed for a later arrival it changes nothing."""
    await memory.park()
    crashpoints.arm("replay_after_ack:2")
    try:
        report = await memory.letters.replay(EVERY)
    finally:
        crashpoints.arm("")
    assert report.done == 1
    assert await memory.listed() == []


async def test_only_chosen_letters_are_replayed_and_in_order(stage: DeadStage) -> None:
    """The others stay, in their order."""
    parked = [await stage.park(reason=("exhausted", "expired")[n % 2]) for n in range(10)]
    report = await stage.letters.replay(DeadFilter(reasons=("expired",)))
    assert (report.done, report.by_reason) == (5, Counter(expired=5))
    replayed = [read_request(message).hash for message in await stage.work("exec_code", 5)]
    assert replayed == [request.hash for request in parked[1::2]]
    assert hashes(await stage.listed()) == [request.hash for request in parked[::2]]


async def test_a_limit_takes_the_oldest(stage: DeadStage) -> None:
    """A small first step, before all of them."""
    parked = [await stage.park() for _ in range(5)]
    report = await stage.letters.replay(EVERY, limit=2)
    assert (report.chosen, report.done) == (2, 2)
    # What was held and given back may have changed places.
    left = sorted(hashes(await stage.listed()))
    assert left == sorted(request.hash for request in parked[2:])


async def test_what_no_queue_takes_stays(stage: DeadStage) -> None:
    """A kind without a worker is a sentence in the report, and the letter is still there."""
    await stage.park(stage.code("x"), route="exec_code.gone")
    await stage.park()
    report = await stage.letters.replay(EVERY)
    assert (report.done, report.failed) == (1, 1)
    assert "there is no queue for 'exec_code.gone'" in report.problems[0]
    assert [letter.route for letter in await stage.listed()] == ["exec_code.gone"]


async def test_what_cannot_be_read_is_not_replayed(stage: DeadStage) -> None:
    """It would only be parked again; the sentence says what is wrong with it."""
    await stage.raw(Message(body=b"\xc1", correlation_id="poison"))
    await stage.raw(Message(body=b'{"a":1}', content_type="application/json"))
    await stage.park(headers={names.HASH: "0" * 64}, reason="tampered")
    await stage.park(stage.code("x"), route="tool_call")
    report = await stage.letters.replay(EVERY)
    assert (report.done, report.skipped) == (0, 4)
    assert "0xc1" in report.problems[0]
    assert "invocation: the member is missing" in report.problems[1]
    assert "was sent with 0000" in report.problems[2]
    assert "is a exec_code and came on the route 'tool_call'" in report.problems[3]
    await stage.dead(4)


async def test_a_raw_letter_that_is_an_effect_is_replayed(stage: DeadStage) -> None:
    """What the broker moved by itself has no headers of ours, and needs none."""
    request = Request.seal(stage.code("x"))
    await stage.raw(replace(request.message, headers={}), "exec_code")
    [letter] = await stage.listed()
    assert (letter.reason, letter.kind, letter.parked_ms) == ("raw", "exec_code", 0)
    assert (await stage.letters.replay(EVERY)).done == 1
    [message] = await stage.work("exec_code", 1)
    assert read_request(message).hash == request.hash


async def test_a_dry_run_foresees_and_changes_nothing(stage: DeadStage) -> None:
    """It says what would be done, what cannot be read, and what has no queue."""
    await stage.park()
    await stage.raw(Message(body=b"\xc1"))
    await stage.park(stage.code("x"), route="exec_code.gone")
    await stage.park(stage.code("x"), route="exec_code.no such name")
    await stage.park()
    report = await stage.letters.replay(EVERY, dry_run=True)
    assert (report.chosen, report.done, report.skipped, report.failed) == (5, 2, 1, 2)
    await stage.dead(5)
    assert await stage.work("exec_code", 0) == []


async def test_an_effect_that_fails_again_is_not_replayed_again(memory: DeadStage) -> None:
    """What is parked while a replay runs is a new letter, for another replay."""
    for _ in range(3):
        await memory.park()
    consumer = await memory.transport.consume(memory.names.work_queue("exec_code"), prefetch=1)

    async def refuse() -> None:
        async for delivery in consumer:
            envelope = read_request(delivery.message).envelope
            await memory.park(envelope, reason="rejected")
            delivery.ack()

    async with asyncio.TaskGroup() as group:
        refusing = group.create_task(refuse())
        report = await memory.letters.replay(EVERY)
        await memory.dead(3)
        refusing.cancel()
    assert report.done == 3
    assert [letter.reason for letter in await memory.listed()] == ["rejected"] * 3


async def test_a_rate_is_kept(memory: DeadStage) -> None:
    """Five letters at twenty a second take a fifth of a second, give or take a publish."""
    for _ in range(5):
        await memory.park()
    loop = asyncio.get_running_loop()
    began: list[float] = []
    await memory.letters.replay(
        EVERY, rate=20, on_progress=lambda done, total: began.append(loop.time())
    )
    assert began[-1] - began[0] >= 0.15
    with pytest.raises(ConfigurationError, match="expected more than 0"):
        await memory.letters.replay(EVERY, rate=0)


async def test_a_second_copy_of_one_parking_is_taken_off(stage: DeadStage) -> None:
    """A confirmation that got lost leaves two copies of a letter, which is one effect to run."""
    envelope = stage.code("x")
    for _ in range(2):
        await stage.park(envelope, parked_ms=PARKED_MS)
    assert len({letter.id for letter in await stage.listed()}) == 1
    report = await stage.letters.replay(EVERY)
    assert (report.done, report.copies) == (1, 1)
    await stage.work("exec_code", 1)
    assert await stage.listed() == []


async def test_letters_behind_many_that_stay_are_reached(memory: DeadStage) -> None:
    """What cannot be replayed is held until the look ends, and must not fill the window."""
    for number in range(450):
        await memory.raw(Message(body=b"\xc1", correlation_id=str(number)))
    parked = [await memory.park() for _ in range(3)]
    report = await memory.letters.replay(EVERY, rate=100_000)
    assert (report.skipped, report.done, report.gone) == (450, 3, 0)
    assert len(report.problems) == 100
    replayed = [read_request(message).hash for message in await memory.work("exec_code", 3)]
    assert replayed == [request.hash for request in parked]
    await memory.dead(450)


async def test_a_replay_survives_lost_connections(memory: DeadStage) -> None:
    """It goes on where it was; what it had done is not left behind."""
    parked = [await memory.park() for _ in range(6)]
    transport = memory.transport
    assert isinstance(transport, MemoryTransport)

    def lose(done: int, total: int) -> None:
        if done in (2, 6):
            transport.lose_connection()

    report = await memory.letters.replay(EVERY, on_progress=lose)
    assert (report.stopped, report.done, report.gone) == ("", 6, 0)
    replayed = [read_request(message).hash for message in await memory.work("exec_code", 6)]
    assert replayed == [request.hash for request in parked]
    assert await memory.listed() == []


async def test_a_replay_that_cannot_go_on_says_how_far_it_came(memory: DeadStage) -> None:
    """The report of what was done is kept; the rest is still there."""
    for _ in range(4):
        await memory.park()
    transport = memory.transport
    assert isinstance(transport, MemoryTransport)
    report = await memory.letters.replay(
        EVERY, on_progress=lambda done, total: transport.lose_connection()
    )
    assert "lost after" in report.stopped
    assert 0 < report.done < 4
    await memory.work("exec_code", report.done)
    assert len(await memory.listed()) >= 4 - report.done


async def test_an_acknowledgement_that_was_lost_is_given_again(memory: DeadStage) -> None:
    """A line that breaks between the confirmation and the acknowledgement leaves nothing behind."""
    parked = [await memory.park() for _ in range(3)]
    transport = memory.transport
    assert isinstance(transport, MemoryTransport)
    queue = memory.names.work_queue("exec_code")
    async with open_transport(memory.url) as elsewhere:
        consumer = await elsewhere.consume(queue, prefetch=10)

        async def break_the_line() -> list[str]:
            taken: list[str] = []
            async for delivery in consumer:
                if not taken:
                    transport.lose_connection()
                taken.append(read_request(delivery.message).hash)
                delivery.ack()
                if set(taken) == {request.hash for request in parked}:
                    break
            return taken

        breaking = asyncio.create_task(break_the_line())
        report = await memory.letters.replay(EVERY)
        async with asyncio.timeout(30):
            await breaking
    assert (report.done, report.gone, report.stopped) == (3, 0, "")
    assert await memory.listed() == []


async def test_a_broker_that_takes_nothing_ends_a_replay(memory: DeadStage) -> None:
    """It would refuse the next one, too; the letters stay where they are."""
    for _ in range(3):
        await memory.park()
    transport = memory.transport
    assert isinstance(transport, MemoryTransport)
    impatient = TransportSettings(publish_timeout_s=0.05)
    async with open_transport(memory.url, impatient) as other:
        transport.broker.block()
        report = await DeadLetters(other, memory.topology).replay(EVERY)
        transport.broker.unblock()
    assert "alarm" in report.stopped
    assert report.done == 0
    await memory.dead(3)


class Uncertain(MemoryTransport):
    """A line that breaks before every confirmation."""

    tries = 0

    async def publish(
        self, exchange: str, routing_key: str, message: Message, *, timeout: float | None = None
    ) -> None:
        """Nobody knows."""
        self.tries += 1
        raise PublishUnknownError("the connection was lost before the broker confirmed it")


async def test_a_replay_of_unknown_fate_is_tried_again_and_then_ends(memory: DeadStage) -> None:
    """Publishing the same effect again is safe; for ever it is not."""
    for _ in range(2):
        await memory.park()
    async with Uncertain(memory.url) as uncertain:
        report = await DeadLetters(uncertain, memory.topology).replay(EVERY)
        assert uncertain.tries == 3
    assert (report.done, report.stopped[:19]) == (0, "the connection was ")
    await memory.dead(2)


async def test_a_full_queue_keeps_a_letter_where_it_is(namespace: str) -> None:
    """The next letter may be of another kind, so the replay goes on."""
    async with dead_stage(f"memory://{namespace}", namespace, max_length=1) as memory:
        for _ in range(2):
            await memory.park()
        await memory.park(memory.call({}))
        report = await memory.letters.replay(EVERY)
        assert (report.done, report.failed) == (2, 1)
        assert "reached its limit" in report.problems[0]
        await memory.dead(1)


async def test_more_letters_than_one_consumer_can_hold_are_seen_in_order(
    stage: DeadStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AMQP bounds what one consumer holds, so a look takes as many as it needs, and gives back."""
    monkeypatch.setattr(deadletter_browser, "WHOLE", 0)
    monkeypatch.setattr(deadletter_browser, "FIRST_HELD", 2)
    monkeypatch.setattr(deadletter_windows, "MAX_HELD", 3)
    parked = [(await stage.park()).hash for _ in range(12)]
    for _ in range(3):
        assert hashes(await stage.listed()) == parked
    async with stage.letters.browse() as found:
        for _ in range(7):
            await anext(found)
    assert sorted(hashes(await stage.listed())) == sorted(parked)
    report = await stage.letters.replay(EVERY, limit=5)
    assert (report.done, report.unseen) == (5, 0)
    report = await stage.letters.replay(EVERY)
    assert (report.done, report.unseen) == (7, 0)


async def test_large_letters_come_in_small_portions(
    memory: DeadStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the broker sends before it is looked at must fit into memory, however large it is."""
    monkeypatch.setattr(deadletter_browser, "WHOLE", 0)
    monkeypatch.setattr(deadletter_browser, "FIRST_HELD", 4)
    monkeypatch.setattr(deadletter_windows, "_MOST_BYTES", 1)
    monkeypatch.setattr(deadletter_windows, "_LEAST", 3)
    parked = [(await memory.park()).hash for _ in range(40)]
    counters = memory.transport.counters
    before, found = counters["deliveries"], list[str]()
    async with memory.letters.browse() as browser:
        async for letter in browser:
            found.append(letter.message.headers["effect-hash"])
            assert counters["deliveries"] - before - len(found) <= 4
    assert len(found) == len(parked)


async def test_leaving_a_look_early_keeps_the_order(stage: DeadStage) -> None:
    """Also of letters that were given back before, as often as it happens."""
    parked = [(await stage.park()).hash for _ in range(12)]
    for most in (12, 7, 1, 3):
        async with stage.letters.browse() as found:
            for _ in range(most):
                await anext(found)
    assert hashes(await stage.listed()) == parked


async def test_letters_behind_many_that_stay_are_settled(
    stage: DeadStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when more of them stand in front than one consumer can hold."""
    monkeypatch.setattr(deadletter_windows, "MAX_HELD", 3)
    for _ in range(10):
        await stage.park(reason="expired")
    for _ in range(2):
        await stage.park(reason="rejected")
    report = await stage.letters.replay(DeadFilter(reasons=("rejected",)))
    assert (report.done, report.gone) == (2, 0)
    assert len(await stage.listed()) == 10


async def test_the_first_page_fetches_no_more_than_a_portion(
    stage: DeadStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever leaves after one letter has not made the broker send all of them."""
    monkeypatch.setattr(deadletter_browser, "WHOLE", 299)
    for _ in range(300):
        await stage.raw(Message(body=b"x"))
    before = stage.transport.counters["deliveries"]
    async with stage.letters.browse() as found:
        await anext(found)
        assert found.ready == 300
        assert found.unseen == 299
    assert stage.transport.counters["deliveries"] - before <= deadletter_browser.FIRST_HELD
    assert len(await stage.listed()) == 300


class GivingBack(MemoryTransport):
    """A broker that is still giving back what the reader before us held."""

    counted = 0

    async def stats(self, queue: str) -> QueueStats | None:
        """At first the letters are not there yet."""
        found = await super().stats(queue)
        self.counted += 1
        return replace(found, ready=0) if found is not None and self.counted == 1 else found


async def test_letters_that_come_back_during_the_look_are_seen(memory: DeadStage) -> None:
    """An empty answer is known to be empty: the broker is asked once more at the end."""
    parked = [(await memory.park()).hash for _ in range(600)]
    async with GivingBack(memory.url) as giving:
        letters = DeadLetters(giving, memory.topology)
        async with letters.browse() as found:
            assert [letter.hash async for letter in found] == parked


class Silent(MemoryTransport):
    """A broker that says it has letters and delivers none."""

    async def stats(self, queue: str) -> QueueStats | None:
        """One letter waits."""
        found = await super().stats(queue)
        return None if found is None else replace(found, ready=1)


async def test_silence_is_never_taken_for_the_end(
    memory: DeadStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says how many wait, and that nothing was changed."""
    monkeypatch.setattr(deadletter_browser, "_SILENCE_S", 0.2)
    async with Silent(memory.url) as silent:
        with pytest.raises(BrokerError, match=r"has 1 letters .* has given none for 0\.2 s"):
            await DeadLetters(silent, memory.topology).find("a")


class Joining(MemoryTransport):
    """A queue at which a foreign consumer turns up during the look."""

    looks = 0

    async def stats(self, queue: str) -> QueueStats | None:
        """Alone at the first two looks, and one letter short."""
        found = await super().stats(queue)
        self.looks += 1
        if found is None or self.looks <= 2:
            return found
        return replace(found, consumers=found.consumers + 1)


async def test_a_reader_that_turns_up_during_the_look_is_told_of(memory: DeadStage) -> None:
    """What it holds is hidden, so the answer is not known to be whole."""
    await memory.park()
    async with Joining(memory.url) as joined:
        with pytest.raises(DeadLettersInUseError, match="read by another reader"):
            await DeadLetters(joined, memory.topology).find("a")


async def test_letters_that_are_gone_are_not_waited_for(memory: DeadStage) -> None:
    """Somebody may have deleted them meanwhile, by other means."""

    async def act(delivery: Delivery, letter: DeadLetter) -> bool:
        raise AssertionError("there is nothing to act on")

    await memory.park()
    missing = Pending(["000000000000"] * 2)
    assert await settle(memory.transport, memory.names.dead, missing, 1, act) == 2


# Mending ---------------------------------------------------------------------------------------


async def test_an_edit_has_a_new_hash_and_keeps_the_old_one(stage: DeadStage) -> None:
    """Same effect id, replay key, reply queue and content type; the lineage is in a header."""
    request = await stage.park(stage.code("wrong"), reply_to="me", reason="rejected")
    [letter] = await stage.listed()
    document = json.dumps(read_content(letter).tree).replace("wrong", "right")
    edit = await stage.letters.replay_edited(letter.id, document)
    assert (edit.edited_from, edit.route) == (request.hash, "exec_code")
    [message] = await stage.work("exec_code", 1)
    mended = read_request(message)
    assert mended.hash == edit.request.hash != request.hash
    assert (mended.effect_id, mended.identity) == (request.effect_id, request.identity)
    assert to_tree(mended.envelope)["command"]["code"] == "right"
    assert message.headers[names.EDITED_FROM] == request.hash
    assert message.reply_to == "me"
    assert await stage.listed() == []


async def test_an_edit_that_is_parked_again_shows_its_lineage(stage: DeadStage) -> None:
    """Whoever looks at the next letter sees what it was edited from."""
    await stage.park(stage.code("wrong"))
    [letter] = await stage.listed()
    document = json.dumps(read_content(letter).tree).replace("wrong", "also wrong")
    edit = await stage.letters.replay_edited(letter.id, document)
    [message] = await stage.work("exec_code", 1)
    await stage.park(edit.request.envelope, headers=message.headers)
    [again] = await stage.listed()
    assert (again.hash, again.edited_from) == (edit.request.hash, letter.hash)
    assert hashes([again]) != hashes([letter])


@pytest.mark.parametrize(
    ("document", "error", "sentence"),
    [
        ("{", MalformedError, "not JSON"),
        ('{"invocation":{}}', MalformedError, r"invocation\.scope: the member is missing"),
        ("[]", MalformedError, "expected an object"),
    ],
)
async def test_an_edit_that_is_no_envelope_leaves_the_letter(
    memory: DeadStage, document: str, error: type[Exception], sentence: str
) -> None:
    """The sentence has the path; nothing was sent."""
    await memory.park()
    [letter] = await memory.listed()
    with pytest.raises(error, match=sentence):
        await memory.letters.replay_edited(letter.id, document)
    await memory.dead(1)
    assert await memory.work("exec_code", 0) == []


async def test_an_edit_must_keep_the_rules_of_envelopes(memory: DeadStage) -> None:
    """An envelope without a replay key is refused with the wire format's own code."""
    await memory.park()
    [letter] = await memory.listed()
    tree = to_tree(read_request(letter.message).envelope)
    tree["invocation"]["replay"] = None
    with pytest.raises(InvalidEnvelopeError, match="runtime_effect_replay_required"):
        await memory.letters.replay_edited(letter.id, json.dumps(tree))
    await memory.dead(1)


async def test_an_edit_can_move_an_effect_to_its_own_kind(memory: DeadStage) -> None:
    """One that was published with the wrong routing key is mended by an edit that says nothing."""
    request = await memory.park(memory.code("x"), route="tool_call", reason="tampered")
    [letter] = await memory.listed()
    edit = await memory.letters.replay_edited(letter.id, json.dumps(read_content(letter).tree))
    assert (edit.route, edit.request.hash) == ("exec_code", request.hash)
    await memory.work("exec_code", 1)


async def test_an_unreadable_letter_can_be_mended(memory: DeadStage) -> None:
    """The new envelope takes its place; the lineage names the bytes."""
    await memory.raw(Message(body=b"\xc1", reply_to="me", content_type="text/plain"), "exec_code")
    [letter] = await memory.listed()
    document = json.dumps(to_tree(memory.code("good")))
    edit = await memory.letters.replay_edited(letter.id, document)
    assert edit.edited_from.startswith("body:")
    [message] = await memory.work("exec_code", 1)
    assert (message.reply_to, message.content_type) == ("me", "application/msgpack")


async def test_an_edit_keeps_the_effect_scope(memory: DeadStage) -> None:
    """The scope is half of the identity; one that cannot be read falls back to the derived one."""
    scope = '{"type":"runtime_operation","operation_id":"elsewhere"}'
    await memory.park(headers={names.SCOPE: scope})
    await memory.park(headers={names.SCOPE: "nonsense"}, reason="malformed")
    for letter, kept in zip(await memory.listed(), (scope, None), strict=True):
        document = json.dumps(read_content(letter).tree)
        edit = await memory.letters.replay_edited(letter.id, document)
        assert edit.message.headers.get(names.SCOPE) == kept


async def test_an_edit_that_no_queue_takes_leaves_the_letter(memory: DeadStage) -> None:
    """The error names the queue that is missing."""
    await memory.park(memory.code("x"), route="exec_code.gone")
    [letter] = await memory.listed()
    document = json.dumps(read_content(letter).tree)
    with pytest.raises(UnroutableError, match=f"letter {letter.id} is still there"):
        await memory.letters.replay_edited(letter.id, document)
    await memory.dead(1)


async def test_an_edit_takes_off_all_copies_of_its_letter(memory: DeadStage) -> None:
    """What was parked once is mended once."""
    envelope = memory.code("wrong")
    for _ in range(2):
        await memory.park(envelope, parked_ms=PARKED_MS)
    document = json.dumps(to_tree(envelope)).replace("wrong", "right")
    letter = (await memory.listed())[0]
    await memory.letters.replay_edited(letter.id, document)
    await memory.work("exec_code", 1)
    assert await memory.listed() == []


class Forgetful(MemoryTransport):
    """A broker whose second consumer finds the queue empty."""

    consumers = 0

    async def consume(
        self, queue: str, *, prefetch: int, exclusive: bool = False
    ) -> MemoryConsumer:
        """Take everything away before the second one comes."""
        self.consumers += 1
        if self.consumers == 2:
            thief = await super().consume(queue, prefetch=1)
            (await anext(thief)).ack()
            await thief.close()
        return await super().consume(queue, prefetch=prefetch, exclusive=exclusive)


async def test_an_edit_of_a_letter_that_is_gone_sends_nothing(memory: DeadStage) -> None:
    """Whoever took it may have replayed it."""
    await memory.park()
    [letter] = await memory.listed()
    document = json.dumps(read_content(letter).tree)
    async with Forgetful(memory.url) as forgetful:
        with pytest.raises(DeadLetterIdError, match="taken off the queue by another program"):
            await DeadLetters(forgetful, memory.topology).replay_edited(letter.id, document)
    assert await memory.work("exec_code", 0) == []


async def test_a_dry_run_of_an_edit_only_checks_it(memory: DeadStage) -> None:
    """It gives the new hash without sending anything."""
    await memory.park(memory.code("wrong"))
    [letter] = await memory.listed()
    document = json.dumps(read_content(letter).tree).replace("wrong", "right")
    edit = await memory.letters.replay_edited(letter.id, document, dry_run=True)
    assert edit.request.hash != letter.hash
    await memory.dead(1)


# Purging ---------------------------------------------------------------------------------------


async def test_purging_takes_what_is_chosen(stage: DeadStage) -> None:
    """Raw letters too; the rest stays."""
    kept = await stage.park(reason="rejected")
    await stage.park(reason="expired")
    await stage.raw(Message(body=b"\xc1"))
    chosen = DeadFilter(reasons=("expired", "raw"))
    dry = await stage.letters.purge(chosen, dry_run=True)
    assert (dry.chosen, dry.done, dry.dry_run) == (2, 2, True)
    await stage.dead(3)
    steps: list[tuple[int, int]] = []
    report = await stage.letters.purge(chosen, on_progress=lambda *step: steps.append(step))
    assert steps == [(1, 2), (2, 2)]
    assert (report.done, report.by_reason) == (2, Counter(expired=1, raw=1))
    assert hashes(await stage.listed()) == [kept.hash]


async def test_an_ambiguous_id_purges_nothing(stage: DeadStage) -> None:
    """Whatever an id means must be known before anything is thrown away."""
    for _ in range(20):
        await stage.park()
    with pytest.raises(DeadLetterIdError, match="20 dead letters have an id"):
        await stage.letters.purge(DeadFilter(ids=("",)))
    with pytest.raises(DeadLetterIdError, match="no dead letter"):
        await stage.letters.purge(DeadFilter(ids=("zzz",)))
    await stage.dead(20)


async def test_a_letter_over_the_size_limit_is_shown_and_purged(memory: DeadStage) -> None:
    """What is too large for a worker is not too large to look at."""
    await memory.park(memory.code("x" * 2_000))
    small = DeadLetters(memory.transport, memory.topology, Limits(max_body_bytes=1_000))
    [letter] = await memory.listed()
    assert read_content(letter, Limits(max_body_bytes=1_000)).form == "envelope"
    report = await small.replay(EVERY)
    assert report.skipped == 1
    assert "bytes and the limit is 1000" in report.problems[0]
    assert (await small.purge(EVERY)).done == 1
