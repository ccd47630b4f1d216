"""Requests whose bodies are elsewhere, as a worker reads them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from effectmq.consumers.decisions.delivery import Park
from effectmq.consumers.pipeline.reading.bodies import (
    PATIENCE_MS,
    Postpone,
    answer_limits,
    is_out_of_line,
    read_stored,
)
from effectmq.protocol.encoding.canonical import sha256_hex
from effectmq.protocol.encoding.limits import DEFAULT_LIMITS
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.body_reference import body_reference
from effectmq.protocol.messages.message import HeaderValue, Message
from effectmq.protocol.messages.request import Request, read_request
from tests.consumers.pipeline.broken_store import BreakableObjects, make_bodies
from tests.consumers.stage import code

NOW_MS = 1_790_000_000_000
LEVELS_MS = (1_000, 5_000, 15_000, 60_000)
SMALL_LIMITS = replace(DEFAULT_LIMITS, max_body_bytes=1_000)


async def claimed(size: int = 5_000, **options: int) -> tuple[Message, Request]:
    """A request of some size as it is published, and as it was sealed."""
    sealed = Request.seal(code("x" * size), reply_to="me", out_of_line=True, **options)
    return await BODIES.outgoing(sealed.message), sealed


BODIES, OBJECTS = make_bodies()


@pytest.fixture(autouse=True)
def objects() -> BreakableObjects:
    """The store, empty and whole."""
    OBJECTS.objects.clear()
    OBJECTS.broken = False
    return OBJECTS


async def read(message: Message, now_ms: int = NOW_MS) -> Request | Postpone | Park:
    """Read it with small limits of the worker's own."""
    return await read_stored(BODIES, message, SMALL_LIMITS, now_ms=now_ms, levels_ms=LEVELS_MS)


async def test_it_is_the_request_that_was_sealed_with_the_small_message() -> None:
    """So that a retry, a delay and a dead letter publish the small one; over the inline limit."""
    message, sealed = await claimed()
    assert is_out_of_line(message)
    assert not is_out_of_line(sealed.message)
    found = await read(message)
    assert isinstance(found, Request)
    assert (found.envelope, found.hash) == (sealed.envelope, sealed.hash)
    assert found.identity == sealed.identity
    assert found.message == message
    again = found.changed({"attempt": 2}).message
    assert body_reference(again) == body_reference(message)
    assert isinstance(await read(again), Request)


async def test_a_body_that_is_gone_is_parked_with_its_own_sentence(
    objects: BreakableObjects,
) -> None:
    """A replay finds it once somebody has put it back."""
    message, _ = await claimed()
    objects.objects.clear()
    found = await read(message)
    assert isinstance(found, Park)
    assert (found.reason, found.code) == ("malformed", "effectmq_body_missing")
    assert "is not in the store memory://" in found.message


async def test_a_body_that_is_another_is_parked_as_tampered(objects: BreakableObjects) -> None:
    """Even when it is an envelope: it is checked before anybody decodes it."""
    message, _ = await claimed()
    (name,) = objects.objects
    objects.objects[name] = Request.seal(code("y" * 5_000)).message.body
    found = await read(message)
    assert isinstance(found, Park)
    assert (found.reason, found.code) == ("tampered", "effectmq_body_corrupt")


async def test_what_was_put_in_place_of_the_envelope_is_parked() -> None:
    """The hash of the body is right and the envelope is not: the usual checks follow."""
    _, sealed = await claimed()
    other = replace(sealed.message, body=Request.seal(code("y" * 5_000)).message.body)
    found = await read(await BODIES.outgoing(other))
    assert isinstance(found, Park)
    assert (found.reason, found.code) == ("tampered", "effectmq_tampered")
    text = Request.seal(code("y" * 5_000), stored_above=1).message
    other = replace(sealed.message, body=text.body, content_type=text.content_type)
    found = await read(await BODIES.outgoing(other))
    assert isinstance(found, Park)
    assert (found.reason, found.code) == ("tampered", "effectmq_tampered")
    nothing = await BODIES.outgoing(replace(sealed.message, body=b"\xc1" * 5_000))
    found = await read(nothing)
    assert isinstance(found, Park)
    assert found.reason == "malformed"


@pytest.mark.parametrize(
    "headers",
    [
        {names.BODY: "x"},
        {names.BODY: 1},
        {names.BODY: f"sha256:{'0' * 64};5000000"},
        {names.BODY: f"sha256:{'0' * 64};5", names.UNFETCHED_SINCE: "x"},
        {names.BODY: f"sha256:{'0' * 64};5", names.DEADLINE: True},
    ],
)
async def test_a_hostile_reference_is_parked(
    objects: BreakableObjects, headers: dict[str, HeaderValue]
) -> None:
    """Also when the store is down, so that nothing is waited for."""
    objects.broken = True
    found = await read(Message(body=b"", headers=headers))
    assert isinstance(found, Park)
    assert (found.reason, found.code) == ("malformed", "effectmq_malformed")


async def test_a_store_that_is_down_is_waited_for_without_a_slot(
    objects: BreakableObjects,
) -> None:
    """On a delay level, for an hour since it was first seen down; its own counters stay."""
    message, _ = await claimed()
    objects.broken = True
    first = await read(message)
    assert isinstance(first, Postpone)
    assert (first.level_ms, first.problem) == (15_000, "the store is down")
    assert body_reference(first.message) == body_reference(message)
    second = await read(first.message, NOW_MS + 15_000)
    assert isinstance(second, Postpone)
    assert second.message == first.message
    last = await read(second.message, NOW_MS + PATIENCE_MS)
    assert isinstance(last, Park)
    assert (last.reason, last.code) == ("exhausted", "effectmq_body_unavailable")
    objects.broken = False
    found = await read(second.message, NOW_MS + 30_000)
    assert isinstance(found, Request)
    assert found.message == message
    assert (found.attempt, found.first_seen_ms) == (1, 0)


async def test_a_deadline_is_not_waited_over(objects: BreakableObjects) -> None:
    """Whoever has one hears of it then."""
    message, _ = await claimed(deadline_ms=NOW_MS + 1)
    objects.broken = True
    assert isinstance(await read(message), Postpone)
    assert isinstance(await read(message, NOW_MS + 1), Park)


async def test_long_levels_only_are_better_than_none(objects: BreakableObjects) -> None:
    """The shortest there is."""
    message, _ = await claimed()
    objects.broken = True
    found = await read_stored(
        BODIES, message, DEFAULT_LIMITS, now_ms=NOW_MS, levels_ms=(60_000, 90_000)
    )
    assert isinstance(found, Postpone)
    assert found.level_ms == 60_000


async def test_answers_may_be_large_for_those_who_can_fetch_them() -> None:
    """And with a store only."""
    message, _ = await claimed()
    plain = Request.seal(code()).message
    hostile = replace(message, headers={names.OUT_OF_LINE: "x"})
    assert answer_limits(BODIES, message, SMALL_LIMITS).max_body_bytes == 4_000_000
    for bodies, request in ((None, message), (BODIES, plain), (BODIES, hostile)):
        assert answer_limits(bodies, request, SMALL_LIMITS) == SMALL_LIMITS


async def test_a_small_body_stays_in_its_message(objects: BreakableObjects) -> None:
    """And without a reference nothing is fetched."""
    sealed = Request.seal(code("x"))
    small = replace(sealed.message, body=b"x" * 200)
    assert await BODIES.outgoing(small) is small
    assert await BODIES.incoming(small) is small
    assert objects.objects == {}
    message, _ = await claimed()
    assert await BODIES.outgoing(message) is message
    (name,) = objects.objects
    assert name.endswith(sha256_hex(objects.objects[name]))
    assert read_request(await BODIES.incoming(message)).envelope == code("x" * 5_000)
