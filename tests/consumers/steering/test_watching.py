"""What a running effect streams, as somebody else sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from effectmq.broker.client.fleet.fleet import Fleet
from effectmq.broker.client.fleet.watching import Watch
from effectmq.broker.client.handle import Handle
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.outboxes import watches
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import RetryEffectError
from effectmq.protocol.messages.chunk import Chunk
from effectmq.protocol.messages.fleet.asks import Ask, WatchAsked, ask_message
from effectmq.protocol.messages.fleet.reports import read_reply
from effectmq.protocol.messages.fleet.watched import (
    MOST_WATCHED,
    WATCHED_TYPE,
    Watched,
    read_watched,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.progress import Progress
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode, RuntimeEffectEnvelope
from tests.consumers.stage import NAMES, PATIENCE_S, TOPOLOGY, Stage, outcome
from tests.waiting import eventually

DONE = {"type": "exec_code", "result": {"Err": "the end"}}


class Speaker:
    """A worker with a block that says what it is told to say."""

    def __init__(self, stage: Stage, name: str = "speaker") -> None:
        self.worker = EffectWorker(stage.url, topology=TOPOLOGY, name=name)
        self.began = 0
        self._words: asyncio.Queue[str | None] = asyncio.Queue()

        @self.worker.handler("exec_code")
        async def speak(command: object, context: EffectContext) -> object:
            self.began += 1
            while (word := await self._words.get()) is not None:
                if word == "again":
                    raise RetryEffectError("once more", after_s=0)
                context.stream(word)
            return DONE

    def say(self, *words: str | None) -> None:
        for word in words:
            self._words.put_nowait(word)


@pytest.fixture
async def speaker(stage: Stage) -> Speaker:
    found = Speaker(stage)
    await stage.start(found.worker, ["exec_code"])
    return found


@asynccontextmanager
async def fleet_of(stage: Stage) -> AsyncIterator[Fleet]:
    async with Fleet(await stage.transport(), NAMES, by="anna") as fleet:
        yield fleet


async def begun(stage: Stage, speaker: Speaker) -> tuple[Handle, Identity]:
    client = await stage.client()
    turn = client.turn("s", "t")
    envelope = RuntimeEffectEnvelope(
        invocation=turn.invocation("exec_code"), command=RuntimeEffectCommandExecCode(code="tell")
    )
    handle = await client.submit(envelope)
    await eventually(lambda: speaker.began == 1)
    (identity,) = speaker.worker._running._inflight._leaders  # type: ignore[union-attr]
    return handle, identity


async def text_of(watch: Watch, length: int) -> str:
    text = ""
    async with asyncio.timeout(PATIENCE_S):
        while len(text) < length:
            text += (await anext(watch)).text
    return text


async def rest_of(watch: Watch) -> list[Watched]:
    async with asyncio.timeout(PATIENCE_S):
        return [watched async for watched in watch]


async def test_who_watches_sees_it_from_then_on_to_the_end(stage: Stage, speaker: Speaker) -> None:
    """The producer gets everything all the same; the numbers say what came before."""
    handle, identity = await begun(stage, speaker)
    speaker.say("before ")
    await eventually(lambda: speaker.worker.counters["chunks"] == 1)
    async with (
        fleet_of(stage) as fleet,
        fleet.watch(identity.scope_id, identity.replay_key) as watch,
        fleet.watch(identity.scope_id, identity.replay_key) as another,
    ):
        speaker.say("one ", "two\n")
        async with asyncio.timeout(PATIENCE_S):
            first = await anext(watch)
        assert (first.attempt, first.number) == (1, 1)
        text = first.text + await text_of(watch, len("one two\n") - len(first.text))
        assert text == "one two\n"
        speaker.say("three", None)
        assert "".join(each.text for each in await rest_of(watch)) == "three"
        assert "".join(each.text for each in await rest_of(another)) == "one two\nthree"
    async with asyncio.timeout(PATIENCE_S):
        assert [chunk.text async for chunk in handle.chunks()] == [
            "before ",
            "one ",
            "two\n",
            "three",
        ]
    await outcome(handle)
    await eventually(lambda: not speaker.worker._running._chunks.watches.by_effect)  # type: ignore[union-attr]
    assert speaker.worker.counters["watched_dropped"] == 0


async def test_a_second_attempt_starts_the_text_again(stage: Stage, speaker: Speaker) -> None:
    handle, identity = await begun(stage, speaker)
    async with (
        fleet_of(stage) as fleet,
        fleet.watch(identity.scope_id, identity.replay_key) as watch,
    ):
        speaker.say("void")
        assert await text_of(watch, 4) == "void"
        speaker.say("again", "new", None)
        found = await rest_of(watch)
    assert [(each.attempt, each.number, each.text) for each in found] == [(2, 0, "new")]
    await outcome(handle)


async def test_an_effect_that_nobody_has_ends_the_watch_at_once(
    stage: Stage, speaker: Speaker
) -> None:
    async with fleet_of(stage) as fleet, fleet.watch("nothing", "there") as watch:
        assert await rest_of(watch) == []
        assert watch.refusal == ""


async def test_without_the_proof_nothing_is_copied(stage: Stage, speaker: Speaker) -> None:
    """Who cannot read a control queue has no proof; one is good for one ask, and for that only."""
    handle, identity = await begun(stage, speaker)
    transport = await stage.transport()
    consumer = await transport.listen(
        NAMES.control, name=lambda: NAMES.control_queue("spy"), prefetch=10
    )
    asked = WatchAsked(identity, "a" * 32)

    async def ask(queue: str, watch: WatchAsked, *proofs: str, word: str = "watch") -> Message:
        message = ask_message(Ask(word, "b" * 32, queue, proofs=proofs, watch=watch))
        await transport.publish(NAMES.control, "", message)
        async with asyncio.timeout(PATIENCE_S):
            async for delivery in consumer:
                delivery.ack()
                if delivery.message.type not in (message.type, "effect.able.v1"):
                    return delivery.message
        raise AssertionError

    watched = speaker.worker._running._chunks.watches.by_effect  # type: ignore[union-attr]
    first = read_reply(await ask(consumer.queue, asked))
    assert (first.did, watched) == ("unproven", {})
    # For another watching it does not count, and is used up.
    other = read_reply(await ask(consumer.queue, WatchAsked(identity, "c" * 32), first.proof))
    assert (other.did, watched) == ("unproven", {})
    again = read_reply(await ask(consumer.queue, asked, first.proof))
    assert (again.did, watched) == ("unproven", {})
    # Nor does an effect that is not here make another deed need none.
    nowhere = WatchAsked(Identity("no", "where"), "d" * 32)
    assert read_reply(await ask(consumer.queue, nowhere)).did == "not_here"
    pause = read_reply(await ask(consumer.queue, nowhere, word="pause"))
    assert (pause.did, speaker.worker.paused) == ("unproven", {})
    # A producer's own queue is not answered to at all.
    unread = speaker.worker.counters["notices_unreadable"]
    reply_queue = NAMES.reply_queue("spy")
    await transport.publish(
        NAMES.control, "", ask_message(Ask("watch", "b" * 32, reply_queue, watch=asked))
    )
    await eventually(lambda: speaker.worker.counters["notices_unreadable"] == unread + 1)
    assert watched == {}
    proven = read_reply(await ask(consumer.queue, asked, again.proof))
    assert (proven.did, set(watched)) == ("watching", {identity})
    await consumer.close()
    # Its queue is gone: the watch ends, the effect does not.
    speaker.say("to nobody")
    await eventually(lambda: not watched)
    assert speaker.worker.counters["watched_dropped"] == 1
    speaker.say(None)
    await outcome(handle)


async def test_only_a_few_watch_an_effect(
    stage: Stage, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next is refused with a sentence; a watch that is not asked for again ends."""
    monkeypatch.setattr(watches, "_MOST_OF_ONE", 1)
    monkeypatch.setattr(watches, "_LASTS_S", 0.5)
    handle, identity = await begun(stage, speaker)
    async with fleet_of(stage) as fleet, fleet_of(stage) as late:
        async with fleet.watch(identity.scope_id, identity.replay_key):
            async with late.watch(identity.scope_id, identity.replay_key) as watch:
                assert await rest_of(watch) == []
                assert "1 others watch this effect" in watch.refusal
            await eventually(lambda: not speaker.worker._running._chunks.watches.by_effect)  # type: ignore[union-attr]
        async with late.watch(identity.scope_id, identity.replay_key) as watch:
            speaker.say("seen", None)
            assert await text_of(watch, 4) == "seen"
    await outcome(handle)


async def test_what_is_too_much_or_cannot_be_sent_is_dropped_and_counted(
    stage: Stage, speaker: Speaker
) -> None:
    """And shows as a gap in the numbers; the effect goes on."""
    handle, identity = await begun(stage, speaker)
    async with (
        fleet_of(stage) as fleet,
        fleet.watch(identity.scope_id, identity.replay_key) as watch,
    ):
        speaker.say("a" * (MOST_WATCHED + 1), "b")
        async with asyncio.timeout(PATIENCE_S):
            assert await anext(watch) == Watched(watch._asked.token, 1, 1, 1, "b")
        speaker.say("\ud800")
        await eventually(lambda: speaker.worker.counters["watched_dropped"] == 2)
        speaker.say(chr(0x10FFFF) * MOST_WATCHED, None)
        (last,) = await rest_of(watch)
        assert (last.number, len(last.text)) == (3, MOST_WATCHED)
    await outcome(handle)


async def test_who_reads_too_slowly_loses_text_and_not_memory() -> None:
    async def ask(asked: WatchAsked) -> object:
        raise AssertionError

    from effectmq.broker.client.fleet.watching import Watches

    watch = Watch(Watches(), Identity("s", "k"), ask)  # type: ignore[arg-type]
    for number in range(1_000):
        watch.tell(Watched("t", 1, number, 1, "x"))
    watch.end()
    assert len(await rest_of(watch)) + watch.dropped == 1_000
    assert watch.dropped == 900


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token":1}', b'{"token":"t","chunks":-1}'])
async def test_what_a_stranger_sends_is_ignored(
    stage: Stage, speaker: Speaker, body: bytes
) -> None:
    handle, identity = await begun(stage, speaker)
    async with (
        fleet_of(stage) as fleet,
        fleet.watch(identity.scope_id, identity.replay_key) as watch,
    ):
        assert fleet._consumer is not None
        transport = await stage.transport()
        await transport.publish("", fleet._consumer.queue, Message(body=body, type=WATCHED_TYPE))
        speaker.say("seen", None)
        assert await text_of(watch, 4) == "seen"
    await outcome(handle)


def test_a_text_is_as_it_was() -> None:
    from effectmq.protocol.messages.fleet.watched import watched_message

    watched = Watched("t", 2, 3, 1, "a\u202e\x00\nb", ended=True)
    assert read_watched(watched_message(watched)) == watched
    far = Watched("t", 2, 3, 1, "", progress=Progress(3, 12, "page 3", 2))
    assert read_watched(watched_message(far)) == far


def test_of_many_words_the_last_one_is_copied_also_when_text_is_too_much() -> None:
    """Another attempt begins anew, and what was taken is not told again."""
    watch = watches._Watch("t", "queue", 0.0)
    chunk = Chunk("1", "k", "h", 1, 0, "")
    assert watch.add(replace(chunk, progress=Progress(1)))
    assert watch.add(replace(chunk, number=1, text="x" * MOST_WATCHED))
    assert not watch.add(replace(chunk, number=2, text="y"))
    assert not watch.add(replace(chunk, number=3, progress=Progress(2)))
    taken = watch.take(ended=False)
    assert (taken.number, taken.chunks, taken.progress) == (0, 2, Progress(2))
    assert watch.add(replace(chunk, number=4, text="z"))
    assert watch.take(ended=False).progress is None
    assert watch.add(replace(chunk, attempt=2, progress=Progress(0, attempt=2)))
    assert watch.take(ended=True).progress == Progress(0, attempt=2)


async def test_who_asked_and_is_gone_is_no_error(stage: Stage, speaker: Speaker) -> None:
    """An answer that no queue takes is forgotten."""
    steering = speaker.worker._running._steering  # type: ignore[union-attr]
    await steering._carry_out(Ask("report", "b" * 32, NAMES.control_queue("gone")))
