"""Every way in which a message of an effect is copied keeps every count of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from effectmq.broker.dead_letters.edit import edit_letter
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.consumers.pipeline.reading.bodies import Postpone, read_stored
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import AttachmentStoreError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.body_reference import BodyReference, with_body, with_reference
from effectmq.protocol.messages.dead_letter import dead_message, read_dead_letter, revived_message
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import COUNTS, Request, read_request
from effectmq.protocol.topology import work_topology
from tests.consumers.stage import NAMES, Stage, code
from tests.waiting import eventually

FAR_MS = 4_000_000_000_000
#: A value for each, that no other has.
MARKS = {name: 11 + number for number, name in enumerate(COUNTS)}
MARKS |= {"deadline": FAR_MS, "first_seen": FAR_MS - 1, "elsewhere_since": FAR_MS - 2, "due": 14}
#: And what else travels with it.
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHERS = {
    names.TRACEPARENT: TRACE,
    names.TRACESTATE: "vendor=1",
    names.LAST_ATTEMPT: TRACE.replace("b7ad6b7169203331", "00f067aa0ba902b7"),
    names.EDITED_FROM: "0" * 64,
    names.UNFETCHED_SINCE: FAR_MS - 3,
    names.OUT_OF_LINE: True,
    names.TENANT: "acme",
    names.VERSION: "2",
    names.PRIORITY: "low",
    names.DEBOUNCE: "k",
    names.DEBOUNCE_AT: 1,
    names.DEBOUNCE_MAX: 5,
}


def worn(**changes: int) -> Request:
    """An effect that has been through everything."""
    request = Request.seal(code(), reply_to="r", traceparent=TRACE).changed({**MARKS, **changes})
    headers = {**request.message.headers, **OTHERS}
    return replace(request, message=replace(request.message, headers=headers))


def all_headers(**changes: int) -> dict[str, object]:
    """What each copy of it must say."""
    counts = {**MARKS, **changes}
    return {header: counts[name] for name, (_, header, _) in COUNTS.items()} | OTHERS


def said(message: Message) -> dict[str, object]:
    return {name: message.headers.get(name) for name in all_headers()}


def dead(message: Message) -> Message:
    return dead_message(
        message,
        kind="exec_code",
        route="exec_code",
        reason="exhausted",
        code="c",
        detail="d",
        parked_ms=1,
        parked_by="w",
    )


def through_the_store(message: Message) -> Message:
    reference = BodyReference("0" * 64, len(message.body))
    return with_body(with_reference(message, reference), message.body)


COPIES: dict[str, Callable[[Message], Message]] = {
    "delay, busy, elsewhere, step aside": lambda message: read_request(message).changed({}).message,
    "dead letter": dead,
    "dead letter of what cannot be read": lambda message: dead(replace(message, body=b"")),
    "kept out of line and fetched": through_the_store,
    "twice": lambda message: dead(read_request(message).changed({}).message),
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_keeps_every_count(way: str) -> None:
    assert said(COPIES[way](worn().message)) == all_headers()


@pytest.mark.parametrize("name", COUNTS)
def test_a_copy_that_moves_one_count_on_keeps_the_others(name: str) -> None:
    moved = worn().changed({name: 77})
    assert said(moved.message) == all_headers(**{name: 77})
    field = COUNTS[name][0]
    assert getattr(moved, field) == getattr(read_request(moved.message), field) == 77


def test_what_is_known_by_now_goes_along() -> None:
    """Not only what the message said: the journal's attempts and deaths, too."""
    known = replace(read_request(worn().message), attempt=5, deaths=2, former_deaths=0)
    copy = known.changed({"crashes": 1})
    expected = all_headers(attempt=5, deaths=2, crashes=1)
    assert said(copy.message) == {**expected, names.FORMER_DEATHS: None}
    assert copy.message.message_id == ""


def test_every_header_of_ours_is_a_count_or_is_known_here() -> None:
    """Whoever adds one has to say what becomes of it."""
    identity = {names.HASH, names.REPLAY_KEY, names.SCOPE, names.BODY}
    assert set(names._CARRIED) == {*all_headers(), *identity}


async def test_a_body_that_cannot_be_fetched_yet_keeps_every_count() -> None:
    class Down:
        limits = staticmethod(lambda limits: limits)

        async def incoming(self, message: Message) -> Message:
            raise AttachmentStoreError("down")

    found = await read_stored(
        cast("LargeBodies", Down()), worn().message, Limits(), now_ms=FAR_MS - 2, levels_ms=(1,)
    )
    assert isinstance(found, Postpone)
    assert said(found.message) == all_headers()


async def test_limbo_keeps_every_count(stage: Stage) -> None:
    """What the broker gave up on is sent home with one crash more, and nothing else changed."""
    app = stage.worker(max_crashes=100)
    await stage.start(app, ["sleep"])
    transport = await stage.transport()
    await transport.declare(work_topology(stage.topology, ["exec_code"]))
    await transport.publish(NAMES.limbo, "exec_code", worn().message)
    await eventually(lambda: app.counters["delayed"] == 1)
    await eventually(lambda: stage.ready(NAMES.work_queue("exec_code")) == 1)
    queue = stage.broker.queue(NAMES.work_queue("exec_code"))
    assert queue is not None
    assert said(queue.ready[0]) == all_headers(crashes=MARKS["crashes"] + 1)


async def test_a_worker_that_leaves_hands_every_count_on(stage: Stage) -> None:
    """Without a journal it sends home what it has not done."""
    app: EffectWorker = stage.worker(max_deaths=100)

    @app.handler("exec_code")
    async def run(command: object) -> object:
        await eventually(lambda: False, 60)
        return None

    await app.start()
    await stage.publish("exec_code", worn().undebounced().message)
    await eventually(lambda: app.counters["started"] == 1)
    await app.stop(0.0)
    await eventually(lambda: stage.ready(NAMES.work_queue("exec_code")) == 1)
    queue = stage.broker.queue(NAMES.work_queue("exec_code"))
    assert queue is not None
    nothing = dict.fromkeys((names.DEBOUNCE, names.DEBOUNCE_AT, names.DEBOUNCE_MAX))
    assert said(queue.ready[0]) == {**all_headers(), **nothing}


@pytest.mark.parametrize("edited", [False, True])
def test_a_replay_begins_anew_and_says_what_was(edited: bool) -> None:
    """Attempts, waits, deaths and deadline are fresh; the former deaths and the parking stay."""
    letter = read_dead_letter(dead(worn().message), "exec_code")
    assert (letter.deaths, letter.former_deaths) == (MARKS["deaths"], MARKS["former_deaths"])
    revived = (
        edit_letter(letter, json.dumps(to_tree(code("new")))).message
        if edited
        else revived_message(letter)
    )
    request = read_request(revived)
    kept = {"former_deaths": MARKS["deaths"] + MARKS["former_deaths"]}
    kept["parked_as"] = MARKS["parked_as"]
    for name, (field, _, nothing) in COUNTS.items():
        assert getattr(request, field) == kept.get(name, nothing), name
    assert revived.headers[names.TRACEPARENT] == TRACE
    assert revived.headers[names.TRACESTATE] == "vendor=1"
    assert revived.headers[names.OUT_OF_LINE] is True
