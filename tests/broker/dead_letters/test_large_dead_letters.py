"""Dead letters whose bodies are kept out of line: looked at, replayed and mended like others."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from effectmq.broker.dead_letters.content import dead_record
from effectmq.broker.dead_letters.dead_letters import DeadFilter, DeadLetters
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.protocol.encoding.canonical import sha256_hex
from effectmq.protocol.encoding.limits import DEFAULT_LIMITS
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.body_reference import body_reference
from effectmq.protocol.messages.dead_letter import dead_message
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request, read_request
from tests.broker.dead_letters.stage import DeadStage, dead_stage
from tests.consumers.pipeline.broken_store import BreakableObjects, make_bodies

EVERY = DeadFilter()


@pytest.fixture
def made() -> tuple[LargeBodies, BreakableObjects]:
    """A store."""
    return make_bodies(threshold_bytes=1_000)


@pytest.fixture
async def stage(made: tuple[LargeBodies, BreakableObjects]) -> AsyncIterator[DeadStage]:
    """A namespace whose letters are looked at with the store."""
    async with dead_stage(f"memory://{secrets.token_hex(4)}", "t") as opened:
        opened.letters = DeadLetters(opened.transport, opened.topology, bodies=made[0])
        yield opened


async def park(stage: DeadStage, bodies: LargeBodies, size: int = 2_000_000) -> Request:
    """Park an effect as a worker does that fetched its body: the small message."""
    sealed = Request.seal(
        stage.code("x" * size),
        reply_to="me",
        out_of_line=True,
        limits=bodies.limits(DEFAULT_LIMITS),
    )
    letter = dead_message(
        await bodies.outgoing(sealed.message),
        kind="exec_code",
        route="exec_code",
        reason="exhausted",
        code="effectmq_exhausted",
        detail="gave up",
        parked_ms=1,
        parked_by="w",
    )
    await stage.transport.publish(stage.names.dead, "exec_code.exhausted", letter)
    return sealed


async def test_its_envelope_is_shown_with_size_and_hash_of_the_body(
    stage: DeadStage, made: tuple[LargeBodies, BreakableObjects]
) -> None:
    """As if it were in the message, and ready to replay as the small one."""
    sealed = await park(stage, made[0])
    (letter,) = await stage.listed()
    content = await stage.letters.content(letter)
    assert (content.form, content.problem) == ("envelope", "")
    assert content.request is not None
    assert body_reference(content.request.message) is not None
    record, _ = dead_record(letter, content)
    assert record["envelope"] == to_tree(sealed.envelope)
    assert record["body_bytes"] == len(sealed.message.body)
    assert record["body_sha256"] == sha256_hex(sealed.message.body)
    assert record["body_base64"] is None


async def test_a_replay_publishes_the_small_message(
    stage: DeadStage, made: tuple[LargeBodies, BreakableObjects]
) -> None:
    """And its body is still where it was."""
    sealed = await park(stage, made[0])
    report = await stage.letters.replay(EVERY)
    assert (report.done, report.skipped, report.failed) == (1, 0, 0)
    (message,) = await stage.work("exec_code", 1)
    assert message.body == b""
    assert message.headers[names.OUT_OF_LINE] is True
    whole = await made[0].incoming(message)
    assert read_request(whole, made[0].limits(DEFAULT_LIMITS)).hash == sealed.hash


@pytest.mark.parametrize(
    ("trouble", "problem"),
    [
        ("no store", "set EFFECTMQ_ATTACHMENTS"),
        ("gone", "is not in the store"),
        ("damaged", "was damaged or replaced"),
        ("down", "the store is down"),
    ],
)
async def test_a_letter_whose_body_cannot_be_had_stays_where_it_is(
    stage: DeadStage, made: tuple[LargeBodies, BreakableObjects], trouble: str, problem: str
) -> None:
    """With the reason; looking at it says the same."""
    bodies, objects = made
    await park(stage, bodies)
    (name,) = objects.objects
    letters = stage.letters
    if trouble == "no store":
        letters = DeadLetters(stage.transport, stage.topology)
    elif trouble == "gone":
        del objects.objects[name]
    elif trouble == "damaged":
        objects.objects[name] = b"x"
    else:
        objects.broken = True
    report = await letters.replay(EVERY)
    assert (report.done, report.skipped) == (0, 1)
    assert any(problem in note for note in report.problems)
    (letter,) = await stage.listed()
    content = await letters.content(letter)
    assert (content.form, content.tree, content.request) == ("bytes", None, None)
    assert problem in content.problem
    dead_record(letter, content)
    await stage.dead(1)


async def test_an_edited_letter_goes_out_of_line_again_when_it_is_large(
    stage: DeadStage, made: tuple[LargeBodies, BreakableObjects]
) -> None:
    """The reference is that of the new body."""
    sealed = await park(stage, made[0])
    (letter,) = await stage.listed()
    tree = to_tree(sealed.envelope)
    tree["command"]["code"] = "y" * 2_000_000
    await stage.letters.replay_edited(letter.id, json.dumps(tree))
    (message,) = await stage.work("exec_code", 1)
    assert message.body == b""
    assert message.headers[names.EDITED_FROM] == sealed.hash
    assert message.headers[names.OUT_OF_LINE] is True
    whole = await made[0].incoming(message)
    assert to_tree(read_request(whole, made[0].limits(DEFAULT_LIMITS)).envelope) == tree


async def test_an_edited_letter_that_became_small_has_its_body_again(
    stage: DeadStage, made: tuple[LargeBodies, BreakableObjects]
) -> None:
    """Without any reference."""
    sealed = await park(stage, made[0])
    (letter,) = await stage.listed()
    tree = to_tree(sealed.envelope)
    tree["command"]["code"] = "y"
    await stage.letters.replay_edited(letter.id, json.dumps(tree))
    (message,) = await stage.work("exec_code", 1)
    assert to_tree(read_request(message).envelope) == tree


@pytest.mark.parametrize("with_store", [True, False])
async def test_another_receiver_gets_what_it_can_fetch(
    stage: DeadStage, made: tuple[LargeBodies, BreakableObjects], with_store: bool
) -> None:
    """Whoever replays to a queue of its own speaks for itself, not for the first producer."""
    sealed = Request.seal(stage.code("1"), reply_to="me", out_of_line=not with_store)
    letter = replace(sealed.message, headers={**sealed.message.headers, names.ROUTE: "exec_code"})
    await stage.raw(letter, "exec_code")
    letters = stage.letters if with_store else DeadLetters(stage.transport, stage.topology)
    await letters.replay(EVERY, reply_to="other")
    (message,) = await stage.work("exec_code", 1)
    assert message.reply_to == "other"
    assert (names.OUT_OF_LINE in message.headers) is with_store


async def test_a_hostile_reference_is_shown_as_what_it_is(stage: DeadStage) -> None:
    """Nothing is fetched for it."""
    await stage.raw(Message(body=b"x", headers={names.BODY: "sha256:../../etc/passwd;1"}))
    (letter,) = await stage.listed()
    content = await stage.letters.content(letter)
    assert "expected sha256:" in content.problem
    record, _ = dead_record(letter, content)
    assert (record["body_bytes"], record["body_base64"]) == (1, "eA==")
