"""The producer: submit, wait, come back, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import (
    BrokerBlockedError,
    ConfigurationError,
    EffectFailedError,
    EffectTimeoutError,
    InvalidEnvelopeError,
    PayloadTooLargeError,
    ReplyQueueInUseError,
    TransportClosedError,
    UnroutableError,
)
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import OUTCOME_TYPE, Reply, encode_reply, join_replies
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.topology import DEFAULT_REPLY_EXPIRES_MS, work_topology
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from effectmq.protocol.wire.scopes import EffectScopeCron
from tests.consumers.stage import NAMES, ONCE, PATIENCE_S, Stage, code, gathered, logged, nap
from tests.waiting import eventually, within

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A broker that nobody else uses, with queues for code and sleeps and nobody at work."""
    async with AsyncExitStack() as stack:
        made = Stage(stack)
        topology = work_topology(made.topology, ["exec_code", "sleep"])
        await (await made.transport()).declare(topology)
        yield made
        async with asyncio.timeout(PATIENCE_S):
            await stack.aclose()


async def work(stage: Stage) -> EffectWorker:
    """A worker that does what it is asked, except for code that says not to."""
    app = stage.worker()

    @app.handler("exec_code", retry=ONCE)
    async def run(command: Any) -> object:
        if command.code == "fail":
            raise OSError("no")
        return DONE

    return await stage.start(app)


def submitted(stage: Stage) -> list[Message]:
    """What waits in the queue of code."""
    queue = stage.broker.queue(NAMES.work_queue("exec_code"))
    assert queue is not None
    return list(queue.ready)


def answer(*envelopes: Any, **changes: Any) -> Message:
    """A message with outcomes for these, as a worker would send it."""
    encoded = []
    for envelope in envelopes:
        sealed = Request.seal(envelope)
        reply = Reply(sealed.effect_id, sealed.replay_key, sealed.hash, DONE)
        encoded.append(encode_reply(reply, "application/msgpack"))
    body = join_replies(encoded, "application/msgpack")
    return Message(**{"body": body, "type": OUTCOME_TYPE, **changes})


async def send(stage: Stage, client: EffectClient, message: Message) -> None:
    """Put a message into a client's reply queue, as anybody can."""
    transport = await stage.transport()
    await transport.publish("", NAMES.reply_queue(client.identity), message)


# Submitting --------------------------------------------------------------------------------------


async def test_a_submitted_effect_is_in_the_durable_queue(stage: Stage) -> None:
    """With everything that a worker needs, when the call returns."""
    client = await stage.client("me")
    before = time.time()
    scope = EffectScopeCron(job_id="j", execution_id="x")
    handle = await client.submit(code("1"), scope=scope, deadline_s=60, traceparent="00-ab")
    (message,) = submitted(stage)
    request = read_request(message)
    assert (handle.effect_id, handle.replay_key, handle.hash) == (
        request.effect_id,
        request.replay_key,
        request.hash,
    )
    assert not handle.done
    assert message.reply_to == "t.reply.me"
    assert message.correlation_id == "1"
    assert message.headers[names.TRACEPARENT] == "00-ab"
    assert request.identity.scope_id == "x"
    assert before + 59 <= request.deadline_ms / 1_000 <= time.time() + 61
    assert before - 1 <= message.timestamp <= time.time()
    assert client.counters["submitted"] == 1


async def test_each_publish_has_an_id_of_its_own(stage: Stage) -> None:
    """The same effect submitted twice is two messages; aiormq maps returns by their ids."""
    client = await stage.client()
    for _ in range(2):
        await client.submit(code())
    first, second = submitted(stage)
    assert first.message_id != second.message_id
    assert first.body == second.body


async def test_execute_gives_the_outcome(stage: Stage) -> None:
    """Submit and wait in one."""
    await work(stage)
    client = await stage.client()
    assert await client.execute(code(), timeout=PATIENCE_S) == DONE


async def test_a_controller_error_is_raised_with_code_and_message(stage: Stage) -> None:
    """From ``execute`` and from a handle, which also has it as data."""
    await work(stage)
    client = await stage.client()
    with pytest.raises(EffectFailedError) as failed:
        await client.execute(code("fail"), timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_exhausted"
    assert "OSError" in failed.value.message
    assert failed.value.effect_id == "1"
    handle = await client.submit(code("fail"))
    reply = await handle.reply(PATIENCE_S)
    assert handle.done
    assert reply.attempt == 1


async def test_a_kind_that_nobody_ever_declared_is_unroutable_and_lists_the_known_ones(
    stage: Stage,
) -> None:
    """With what to do about it."""
    client = await stage.client()
    with pytest.raises(UnroutableError) as refused:
        await client.turn("s", "t").checkpoint("after_work", timeout=PATIENCE_S)
    sentence = str(refused.value)
    assert "'checkpoint'" in sentence
    assert "exec_code, sleep" in sentence
    assert "effectmq worker" in sentence
    with pytest.raises(UnroutableError, match=r"'exec_code\.gpu'"):
        await client.submit(code(), lane="gpu")


async def test_without_any_worker_ever_there_are_no_queues_at_all() -> None:
    """The first thing that a new user sees."""
    async with EffectClient("memory://nobody-was-here") as client:
        with pytest.raises(UnroutableError, match="no queues at all"):
            await client.submit(code())


async def test_an_envelope_that_breaks_a_rule_is_not_sent(stage: Stage) -> None:
    """The contract's code, before anything is published."""
    client = await stage.client()
    broken = code().model_copy(update={"command": nap(1).command})
    with pytest.raises(InvalidEnvelopeError) as refused:
        await client.submit(broken)
    assert refused.value.code == "runtime_effect_invocation_kind"
    assert submitted(stage) == []


async def test_an_envelope_over_the_limit_is_not_sent(stage: Stage) -> None:
    """Before the socket, with both sizes."""
    client = await stage.client(transport=TransportSettings(max_body_bytes=1_000))
    with pytest.raises(PayloadTooLargeError, match="1000"):
        await client.execute(code("x" * 1_000))
    scope = EffectScopeCron(job_id="j" * 3_000, execution_id="x")
    with pytest.raises(PayloadTooLargeError, match="scope"):
        await client.submit(code(), scope=scope)
    assert submitted(stage) == []


async def test_an_unknown_content_type_is_refused_when_the_client_is_made() -> None:
    """Not at the first effect."""
    with pytest.raises(ConfigurationError, match="text/plain"):
        EffectClient("memory://", content_type="text/plain")


async def test_a_blocked_broker_is_an_error_at_the_timeout(stage: Stage) -> None:
    """It is tried for as long as the caller allows, and not longer."""
    client = await stage.client()
    stage.broker.block()
    for call in (client.submit(code(), timeout=0.3), client.execute(code(), timeout=0.3)):
        async with within(PATIENCE_S):
            with pytest.raises(BrokerBlockedError):
                await call
    stage.broker.unblock()
    await client.submit(code())


async def test_a_publish_that_is_refused_for_a_while_is_repeated(stage: Stage) -> None:
    """Blocked, lost, full: within the timeout the caller does not notice."""
    settings = TransportSettings(publish_timeout_s=PATIENCE_S)
    client = await stage.client(transport=settings)
    submitting = asyncio.create_task(client.submit(code()))
    await asyncio.sleep(0)
    assert client._transport is not None
    client._transport.lose_connection()  # type: ignore[attr-defined]
    handle = await submitting
    assert client.counters["publish_retries"] == 1
    assert len(submitted(stage)) == 2, "unknown is sent again"
    await work(stage)
    assert await handle.outcome(PATIENCE_S) == DONE


# Waiting -----------------------------------------------------------------------------------------


async def test_waiting_ends_at_the_timeout_and_says_what_to_look_at(stage: Stage) -> None:
    """The effect goes on."""
    client = await stage.client()
    with pytest.raises(EffectTimeoutError, match=r"'1' within 0\.05 s") as late:
        await client.execute(code(), timeout=0.05)
    assert isinstance(late.value, TimeoutError)
    assert (late.value.effect_id, late.value.timeout_s) == ("1", 0.05)
    assert len(submitted(stage)) == 1


async def test_a_timeout_of_nothing_is_a_timeout(stage: Stage) -> None:
    """Asked without patience, answered at once."""
    client = await stage.client()
    handle = await client.submit(code())
    with pytest.raises(EffectTimeoutError):
        await handle.outcome(0)


async def test_a_handle_can_be_waited_on_again(stage: Stage) -> None:
    """After a timeout, and after the answer."""
    client = await stage.client()
    handle = await client.submit(code())
    with pytest.raises(EffectTimeoutError):
        await handle.outcome(0.01)
    await work(stage)
    assert await handle.outcome(PATIENCE_S) == await handle.outcome(0.0) == DONE


async def test_an_outcome_that_comes_after_its_caller_gave_up_is_late(stage: Stage) -> None:
    """Counted, settled, and nobody's."""
    client = await stage.client()
    with pytest.raises(EffectTimeoutError):
        await client.execute(code(), timeout=0.01)
    await work(stage)
    await eventually(lambda: client.counters["late"] == 1)


async def test_a_second_outcome_is_a_duplicate(stage: Stage) -> None:
    """Settled like the first."""
    client = await stage.client()
    handle = await client.submit(code())
    await send(stage, client, answer(code()))
    assert await handle.outcome(PATIENCE_S) == DONE
    await send(stage, client, answer(code()))
    await eventually(lambda: client.counters["duplicate"] == 1)
    queue = stage.broker.queue(NAMES.reply_queue(client.identity))
    assert queue is not None
    assert (len(queue.ready), queue.unsettled) == (0, 0)


async def test_several_outcomes_in_one_message_find_their_callers(stage: Stage) -> None:
    """Replies coalesce; what is nobody's in between disturbs nothing."""
    client = await stage.client()
    handles = [await client.submit(code(effect_id=str(n))) for n in range(3)]
    mixed = [
        code(effect_id="0"),
        code(effect_id="foreign"),
        code(effect_id="1"),
        code(effect_id="2"),
    ]
    await send(stage, client, answer(*mixed))
    replies = await gathered(handles)
    assert [reply.effect_id for reply in replies] == ["0", "1", "2"]
    assert client.counters["unclaimed"] == 1


@pytest.mark.parametrize(
    "message",
    [
        Message(body=b"\xc1", type=OUTCOME_TYPE),
        Message(body=b"{}", content_type="application/json"),
        Message(body=b"[]", content_type="text/plain"),
        Request.seal(code()).message,
        answer(code(), type="effect.outcome.v9"),
    ],
)
async def test_what_is_no_outcome_is_counted_and_settled(
    stage: Stage, message: Message, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody can write to the queue; the client goes on."""
    client = await stage.client()
    handle = await client.submit(code())
    await send(stage, client, message)
    await eventually(lambda: client.counters["unreadable"] == 1)
    assert len(logged(caplog, "reply_unreadable")) == 1
    await send(stage, client, answer(code()))
    assert await handle.outcome(PATIENCE_S) == DONE
    queue = stage.broker.queue(NAMES.reply_queue(client.identity))
    assert queue is not None
    assert queue.unsettled == 0


async def test_waits_that_are_cancelled_leave_nothing_behind(stage: Stage) -> None:
    """Publishing or waiting: no waiter stays, and the client goes on."""
    client = await stage.client()
    stage.broker.block()
    publishing = [asyncio.create_task(client.execute(code(effect_id="p"))) for _ in range(5)]
    await asyncio.sleep(0.01)
    for task in publishing:
        task.cancel()
    await asyncio.gather(*publishing, return_exceptions=True)
    stage.broker.unblock()
    assert submitted(stage) == [], "withdrawn: it was never sent"
    waiting = [asyncio.create_task(client.execute(code(effect_id="w"))) for _ in range(5)]
    await eventually(lambda: len(submitted(stage)) == 5)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    publishing.clear()
    waiting.clear()
    del task
    await asyncio.sleep(0)
    gc.collect()
    assert len(client._book._waiters) == 0
    await work(stage)
    assert await client.execute(code(effect_id="x"), timeout=PATIENCE_S) == DONE


async def test_one_of_two_who_wait_for_an_effect_can_go(stage: Stage) -> None:
    """The other one is answered."""
    client = await stage.client()
    handle = await client.submit(code())
    leaving = asyncio.create_task(handle.outcome())
    staying = asyncio.create_task(client.attach(code()).outcome(PATIENCE_S))
    await asyncio.sleep(0)
    leaving.cancel()
    await send(stage, client, answer(code()))
    assert await staying == DONE
    with pytest.raises(asyncio.CancelledError):
        await leaving


# Coming back -------------------------------------------------------------------------------------


async def test_a_client_that_comes_back_finds_what_arrived_meanwhile(stage: Stage) -> None:
    """Under the same identity: unclaimed, by attaching, and by asking again."""
    async with EffectClient(stage.url, identity="me", topology=stage.topology) as first:
        for number in range(3):
            await first.submit(code(effect_id=str(number)))
    await work(stage)
    await eventually(lambda: len(stage.answers(NAMES.reply_queue("me"))) == 3)
    async with EffectClient(stage.url, identity="me", topology=stage.topology) as second:
        await eventually(lambda: second.counters["unclaimed"] == 3)
        assert [reply.effect_id for reply in second.unclaimed()] == ["0", "1", "2"]
        attached = second.attach(code(effect_id="0"))
        assert attached.done
        assert await attached.outcome() == DONE
        assert await second.execute(code(effect_id="1"), timeout=PATIENCE_S) == DONE
        assert second.counters["submitted"] == 0, "the recorded outcome was enough"
        handle = await second.submit(code(effect_id="2"))
        assert await handle.outcome(PATIENCE_S) == DONE
        assert second.unclaimed() == []


async def test_a_client_may_attach_before_the_outcome_comes(stage: Stage) -> None:
    """It waits for what an earlier process has asked for."""
    async with EffectClient(stage.url, identity="me", topology=stage.topology) as first:
        await first.submit(code())
    async with EffectClient(stage.url, identity="me", topology=stage.topology) as second:
        handle = second.attach(code())
        assert not handle.done
        await work(stage)
        assert await handle.outcome(PATIENCE_S) == DONE


async def test_two_live_clients_of_one_identity_are_refused(stage: Stage) -> None:
    """They would steal each other's replies; the first goes on."""
    first = await stage.client("me")
    with pytest.raises(ReplyQueueInUseError, match="identity"):
        await stage.client("me")
    await work(stage)
    assert await first.execute(code(), timeout=PATIENCE_S) == DONE
    await first.__aexit__()
    await stage.client("me")


async def test_clients_without_an_identity_have_queues_of_their_own(stage: Stage) -> None:
    """Which the broker forgets soon after they are gone."""
    first, second = await stage.client(), await stage.client()
    named = await stage.client("me")
    assert first.identity != second.identity
    assert first.topology.reply_expires_ms < DEFAULT_REPLY_EXPIRES_MS
    assert named.topology.reply_expires_ms == DEFAULT_REPLY_EXPIRES_MS


async def test_a_client_survives_the_loss_of_its_connection(stage: Stage) -> None:
    """It goes on receiving, and what comes twice is counted."""
    client = await stage.client()
    handles = [await client.submit(code(effect_id=str(n))) for n in range(5)]
    await work(stage)
    transport = client._transport
    assert transport is not None
    transport.lose_connection()  # type: ignore[attr-defined]
    replies = await gathered(handles)
    assert len(replies) == 5
    assert client.counters["answered"] == 5


# Open and closed ---------------------------------------------------------------------------------


async def test_a_client_that_is_not_open_says_so(stage: Stage) -> None:
    """Before and after its context, for every call; nothing hangs."""
    client = EffectClient(stage.url, topology=stage.topology)
    with pytest.raises(TransportClosedError, match="async with"):
        await client.submit(code())
    handle = client.attach(code())
    with pytest.raises(TransportClosedError, match="async with"):
        await handle.outcome()
    async with client:
        handle = await client.submit(code())
        waiting = asyncio.create_task(handle.outcome())
        await asyncio.sleep(0)
    with pytest.raises(TransportClosedError, match="async with"):
        await waiting
    with pytest.raises(TransportClosedError, match="async with"):
        await handle.outcome()
    with pytest.raises(TransportClosedError, match="async with"):
        await client.execute(code())


async def forever() -> bool:
    """A look into a journal that does not answer."""
    return await asyncio.Event().wait()


async def test_a_client_that_is_cancelled_while_it_closes_is_closed_and_cancelled(
    stage: Stage,
) -> None:
    """Cancellation is not swallowed, and no connection is left."""
    client = EffectClient(stage.url, identity="me", topology=stage.topology)
    await client.__aenter__()
    transport = client._transport
    # Something that takes a while to end.
    client._asking_again.look(forever())
    closing = asyncio.create_task(client.__aexit__())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert transport is not None
    with pytest.raises(TransportClosedError):
        await transport.stats("q")
    await stage.client("me")


async def test_closing_a_client_that_was_never_opened_is_no_mistake(stage: Stage) -> None:
    """Cleaning up after a start that failed."""
    await EffectClient(stage.url, topology=stage.topology).__aexit__()


async def test_a_client_that_cannot_open_leaves_no_connection(stage: Stage) -> None:
    """It can be tried again."""
    holder = await stage.client("me")
    client = EffectClient(stage.url, identity="me", topology=stage.topology)
    with pytest.raises(ReplyQueueInUseError):
        await client.__aenter__()
    await holder.__aexit__()
    async with client:
        await client.submit(code())


@pytest.mark.parametrize("identity", ["a b", "x" * 250, "#"])
def test_an_identity_that_no_queue_can_have_is_refused(identity: str) -> None:
    """At once, with a sentence."""
    with pytest.raises(ConfigurationError, match=r"identity|255"):
        EffectClient("memory://", identity=identity)


async def test_scopes_of_a_client_execute_on_it(stage: Stage) -> None:
    """Turn and process scope, from one front door."""
    await work(stage)
    client = await stage.client()
    turn = client.turn(session_id="s1", turn_id="t1", turn_index=0)
    assert await turn.exec_code("1", timeout=PATIENCE_S) == DONE
    with pytest.raises(UnroutableError, match="process"):
        await client.process_scope("s1", parent=turn.invocation("exec_code")).wait("p1")
