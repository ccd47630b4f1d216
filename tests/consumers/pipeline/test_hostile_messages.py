"""What strangers put on the queues: each has its reason, its answer, and never a second life."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from effectmq.broker.dead_letters.content import read_content
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.codec import JSON, MSGPACK, encode_tree
from effectmq.protocol.encoding.limits import HARD_MAX_BODY_BYTES
from effectmq.protocol.encoding.serde.model import stable_hash, to_tree
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import EffectFailedError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.dead_letter import read_dead_letter
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import Reply
from effectmq.protocol.messages.request import Request
from effectmq.protocol.topology import Queue, Topology
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import (
    RuntimeInvocation,
    RuntimeReplay,
    RuntimeScope,
    RuntimeSubjectEffect,
    RuntimeSubjectProcess,
)
from effectmq.protocol.wire.outcome import (
    RuntimeEffectControllerError,
    RuntimeEffectOutcomeExecCode,
)
from tests.consumers.stage import AT_ONCE, NAMES, PATIENCE_S, Stage, code, logged, nap
from tests.waiting import eventually

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))
GOOD = Request.seal(code("good"), reply_to="answers").message


@pytest.fixture
async def app(stage: Stage) -> EffectWorker:
    """A worker of exec_code that counts what it ran, and a reply queue that nobody reads."""
    worker = stage.worker(concurrency=2, max_body_bytes=64 * 1024)

    @worker.handler("exec_code", retry=AT_ONCE)
    async def run(command: object) -> object:
        return DONE

    await stage.start(worker)
    transport = await stage.transport()
    await transport.declare(Topology(queues=(Queue("answers", {"x-queue-type": "classic"}),)))
    return worker


async def answered(stage: Stage, count: int = 1) -> list[Reply]:
    """The answers, when so many have come, and exactly so many."""
    await eventually(lambda: len(stage.answers("answers")) >= count)
    found = stage.answers("answers")
    assert len(found) == count
    return found


def envelope(**changes: Any) -> RuntimeEffectEnvelope:
    """An envelope whose invocation breaks a rule."""
    invocation = RuntimeInvocation(
        **{
            "scope": RuntimeScope(session_id="s1"),
            "subject": RuntimeSubjectEffect(effect_id="1", kind="exec_code"),
            "replay": RuntimeReplay(key="k"),
            **changes,
        }
    )
    return RuntimeEffectEnvelope(invocation=invocation, command=code().command)


def raw(made: RuntimeEffectEnvelope, content_type: str = MSGPACK, **properties: Any) -> Message:
    """An envelope as a producer without our library would publish it."""
    return Message(
        body=encode_tree(to_tree(made), content_type),
        content_type=content_type,
        **{"reply_to": "answers", "correlation_id": "1", **properties},
    )


async def test_a_json_producer_without_any_header_is_served_in_json(
    stage: Stage, app: EffectWorker
) -> None:
    """Any language can produce; the answer comes in the content type of the question."""
    await stage.publish("exec_code", raw(code("hi"), JSON))
    (reply,) = await answered(stage)
    assert reply.result == DONE
    assert reply.hash == stable_hash(code("hi"))
    assert reply.replay_key == "s1:t1:0:0:exec_code:1"
    queue = stage.broker.queue("answers")
    assert queue is not None
    assert queue.ready[0].content_type == JSON
    assert queue.ready[0].body.startswith(b'[{"effect_id":"1"')


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
async def test_a_producer_that_names_no_content_type_is_served_in_the_one_it_sent(
    stage: Stage, app: EffectWorker, content_type: str
) -> None:
    """The body says by its first byte what it is, whatever becomes of it."""
    await stage.publish("exec_code", replace(raw(code("hi"), content_type), content_type=""))
    await answered(stage)
    await stage.publish(
        "exec_code", replace(raw(envelope(replay=None), content_type), content_type="")
    )
    await answered(stage, 2)
    queue = stage.broker.queue("answers")
    assert queue is not None
    assert [message.content_type for message in queue.ready] == [content_type] * 2


@pytest.mark.parametrize(
    ("message", "reason", "park_code"),
    [
        (replace(GOOD, body=b""), "malformed", "effectmq_malformed"),
        (replace(GOOD, body=b"\xc1"), "malformed", "effectmq_malformed"),
        (replace(GOOD, body=GOOD.body[:-3]), "malformed", "effectmq_malformed"),
        (replace(GOOD, body=GOOD.body + b"x"), "malformed", "effectmq_malformed"),
        (replace(GOOD, content_type=JSON), "malformed", "effectmq_malformed"),
        (replace(GOOD, content_type="text/plain"), "malformed", "effectmq_malformed"),
        (replace(GOOD, content_type="application/x-pickle"), "malformed", "effectmq_malformed"),
        (
            replace(GOOD, headers={**GOOD.headers, names.ATTEMPT: "two"}),
            "malformed",
            "effectmq_malformed",
        ),
        (
            replace(GOOD, headers={**GOOD.headers, names.SCOPE: "{"}),
            "malformed",
            "effectmq_malformed",
        ),
        (
            replace(GOOD, headers={**GOOD.headers, names.HASH: "0" * 64}),
            "tampered",
            "effectmq_tampered",
        ),
        (replace(GOOD, type="effect.envelope.v2"), "unsupported", "effectmq_unsupported"),
        (replace(GOOD, type="effect.outcome.v1"), "unsupported", "effectmq_unsupported"),
        (Request.seal(nap(1), reply_to="answers").message, "tampered", "effectmq_tampered"),
        (
            raw(envelope(subject=RuntimeSubjectProcess(process_id="p"))),
            "rejected",
            "runtime_effect_invocation_subject",
        ),
        (
            raw(envelope(subject=RuntimeSubjectEffect(effect_id=" ", kind="exec_code"))),
            "rejected",
            "runtime_effect_invocation_subject",
        ),
        (
            raw(envelope(subject=RuntimeSubjectEffect(effect_id="1", kind="sleep"))),
            "rejected",
            "runtime_effect_invocation_kind",
        ),
        (raw(envelope(replay=None)), "rejected", "runtime_effect_replay_required"),
        (
            raw(envelope(replay=RuntimeReplay(key=""))),
            "rejected",
            "runtime_effect_replay_required",
        ),
        (
            raw(envelope(), headers={names.SCOPE: '{"type":"process","process_id":""}'}),
            "rejected",
            "missing_effect_scope_id",
        ),
    ],
)
async def test_what_cannot_be_carried_out_is_parked_once_and_answered_once(
    stage: Stage, app: EffectWorker, message: Message, reason: str, park_code: str
) -> None:
    """The body stays as it came, the caller learns why, and the worker goes on."""
    await stage.publish("exec_code", message)
    (reply,) = await answered(stage)
    assert isinstance(reply.result, RuntimeEffectControllerError)
    assert reply.result.code == park_code
    assert reply.result.message
    assert reply.effect_id == "1"
    await stage.idle(app, "exec_code")
    (letter,) = await stage.parked()
    assert (letter.reason, letter.code) == (reason, park_code)
    assert letter.detail == reply.result.message
    assert letter.message.body == message.body
    assert letter.route == "exec_code"
    assert app.counters["started"] == 0
    assert app.counters[f"parked_{reason}"] == 1
    await stage.publish("exec_code", GOOD)
    await answered(stage, 2)
    assert app.counters["completed"] == 1


async def test_the_caller_of_a_damaged_envelope_is_told_under_its_own_key(
    stage: Stage, app: EffectWorker
) -> None:
    """The headers name the effect when the body cannot."""
    await stage.publish("exec_code", replace(GOOD, body=b"\xc1"))
    (reply,) = await answered(stage)
    assert reply.replay_key == GOOD.headers[names.REPLAY_KEY]
    assert reply.hash == GOOD.headers[names.HASH]


async def test_a_thousand_malformed_among_good_ones_disturb_nobody(
    stage: Stage, app: EffectWorker
) -> None:
    """Poison is parked with its reason, and everything else is done."""
    settings = TransportSettings(max_body_bytes=1024 * 1024)
    transport = await stage.transport(settings)
    for number in range(300):
        body = bytes([number % 256]) * (number % 17)
        poison = Message(body=body, content_type=(MSGPACK, JSON, "?")[number % 3])
        await transport.publish(NAMES.work_exchange, "exec_code", poison)
        if number % 10 == 0:
            good = Request.seal(code(effect_id=str(number)), reply_to="answers").message
            await transport.publish(NAMES.work_exchange, "exec_code", good)
    await answered(stage, 30)
    letters = await stage.parked(300)
    assert {letter.reason for letter in letters} == {"malformed"}
    await stage.idle(app, "exec_code")


def newer(effect_id: str = "1", **members: Any) -> Message:
    """An effect of a producer that knows more than we do, and sends no hash."""
    tree = {**to_tree(code("hi", effect_id)), **members}
    return Message(body=encode_tree(tree, JSON), content_type=JSON, reply_to="answers")


async def test_members_that_we_do_not_know_are_counted_and_told_once(
    stage: Stage, app: EffectWorker, caplog: pytest.LogCaptureFixture
) -> None:
    """The effect is carried out as it is understood, and somebody can see that it was not all."""
    for count in range(1, 4):
        await stage.publish("exec_code", newer(str(count), group="a"))
    await stage.publish("exec_code", raw(code("hi", "4")))
    await answered(stage, 4)
    assert app.counters["members_ignored"] == 3
    assert [record.getMessage().count("group") for record in logged(caplog, "members_ignored")] == [
        1
    ]
    for count in range(5, 250):
        await stage.publish("exec_code", newer(str(count), **{f"\x1b{count}": 1}))
    await eventually(lambda: app.counters["members_ignored"] == 248)
    told = logged(caplog, "members_ignored")
    assert len(told) <= 100
    assert all(record.getMessage().isprintable() for record in told)


async def test_headers_at_their_limit_do_not_keep_an_effect_from_being_parked(
    stage: Stage, app: EffectWorker
) -> None:
    """8 KiB of a stranger's headers, and ours on top, are still one message."""
    headers: dict[str, Any] = {
        names.HASH: "0" * 64,
        names.REPLAY_KEY: "é" * 1_500,
        names.TRACEPARENT: "🙂" * 700,
        "effect-something": "x" * 1_500,
    }
    await stage.publish("exec_code", replace(GOOD, headers=headers))
    (letter,) = await stage.parked()
    assert letter.reason == "tampered"


async def test_headers_at_their_limit_do_not_keep_an_effect_from_being_delayed(
    stage: Stage, app: EffectWorker
) -> None:
    """Nor from being tried again."""
    message = Request.seal(nap(1_500), reply_to="answers").message
    headers = {**message.headers, "effect-something": "x" * 7_900}
    await stage.publish("sleep", replace(message, headers=headers))
    await eventually(lambda: app.counters["delayed"] >= 2)


async def test_a_body_over_the_workers_limit_is_parked_with_the_reason_and_answered(
    stage: Stage, app: EffectWorker
) -> None:
    """The dead letter and the caller have the same sentence, with both sizes."""
    client = await stage.client(transport=TransportSettings(max_body_bytes=1024 * 1024))
    with pytest.raises(EffectFailedError, match="65536") as failed:
        await client.execute(code("x" * 70_000), timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_malformed"
    (letter,) = await stage.parked()
    assert (letter.reason, letter.kind) == ("malformed", "exec_code")
    assert "the limit of this worker is 65536; give the worker the max_body_bytes" in letter.detail
    assert app.counters["rejected_oversize"] == 1
    await stage.idle(app, "exec_code")
    assert client.counters["duplicate"] == 0


async def test_an_oversize_body_that_nobody_waits_for_is_parked_whole(
    stage: Stage, app: EffectWorker
) -> None:
    """Nothing to answer, and nothing lost: a reader with the limit of its client has the effect."""
    message = Request.seal(code("x" * 70_000)).message
    await stage.publish("exec_code", message)
    (letter,) = await stage.parked()
    assert letter.message.body == message.body
    assert read_content(letter).request is not None
    assert app.counters["replies"] == 0


async def test_what_no_worker_can_publish_again_is_left_to_the_broker(
    stage: Stage, app: EffectWorker, caplog: pytest.LogCaptureFixture
) -> None:
    """It reaches the dead letters raw, and the log has the reason."""
    # No connection of ours sends that much.
    body = b"x" * (HARD_MAX_BODY_BYTES + 1)
    stage.broker.publish(NAMES.work_exchange, "exec_code", Message(body=body))
    await eventually(lambda: stage.ready(NAMES.dead) == 1)
    queue = stage.broker.queue(NAMES.dead)
    assert queue is not None
    assert read_dead_letter(queue.ready[0], "exec_code").reason == "raw"
    assert len(logged(caplog, "oversize")) == 2, "once on its queue and once in limbo"
    await stage.idle(app, "exec_code")


async def test_an_error_that_does_not_fit_an_answer_is_parked_and_settled(
    stage: Stage, app: EffectWorker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    An envelope may be all key: then the answer, which repeats the key, is over the limit, and so
    is the error that says so. It ends there, once.
    """
    limit = 64 * 1024
    size = len(Request.seal(envelope(replay=RuntimeReplay(key="k" * 60_000))).message.body)
    made = envelope(replay=RuntimeReplay(key="k" * (60_000 + limit - size)))
    message = Request.seal(made, reply_to="answers").message
    assert len(message.body) == limit
    await stage.publish("exec_code", message)
    await stage.idle(app, "exec_code")
    (letter,) = await stage.parked()
    assert letter.code == "effectmq_outcome_too_large"
    assert len(logged(caplog, "reply_unsendable")) == 1
    assert app.counters["replies_unsendable"] == 1
    assert stage.answers("answers") == []


async def test_a_message_that_was_moved_to_a_queue_by_hand_is_an_effect_like_another(
    stage: Stage, app: EffectWorker
) -> None:
    """An operator's tool publishes to the queue by its name; the kind is not in that key."""
    transport = await stage.transport()
    await transport.publish("", NAMES.work_queue("exec_code"), GOOD)
    assert (await answered(stage))[0].result == DONE
    await transport.publish("", NAMES.work_queue("exec_code"), replace(GOOD, body=b"\xc1"))
    (letter,) = await stage.parked()
    assert letter.route == "exec_code"


async def test_an_effect_on_the_lane_of_another_kind_is_tampered_with(stage: Stage) -> None:
    """A lane is of one kind."""
    app = stage.worker()

    @app.handler("exec_code")
    async def run(command: object) -> object:
        return DONE

    await stage.start(app, ["exec_code.gpu", "sleep"])
    await stage.publish("exec_code.gpu", Request.seal(nap(1)).message)
    (letter,) = await stage.parked()
    assert (letter.reason, letter.route) == ("tampered", "exec_code.gpu")


@pytest.mark.parametrize("reply_to", ["t.work.exec_code", "t.limbo", "t.dead", "nowhere"])
async def test_an_answer_to_a_queue_of_ours_goes_round_once_and_ends(
    stage: Stage, app: EffectWorker, reply_to: str
) -> None:
    """A hostile ``reply_to`` must not make a circle."""
    await stage.publish("exec_code", replace(GOOD, reply_to=reply_to))
    await eventually(lambda: app.counters["completed"] == 1)
    if reply_to == "nowhere":
        await eventually(lambda: app.counters["replies_unroutable"] == 1)
    else:
        await eventually(lambda: stage.ready(NAMES.dead) == 1)
    await stage.idle(app, "exec_code")
    assert app.counters["replies"] <= 1
    assert app.counters["started"] == 1
