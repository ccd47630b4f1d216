"""Looks at the journal for pages, on both databases: by what is inside, by session, lately."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.journal.archive.archive import Archive
from effectmq.broker.store.journal.archive.browsing.inside import TokenCounts
from effectmq.broker.store.journal.archive.summaries import EffectFilter, Place
from effectmq.broker.store.journal.journal import Journal
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.identity.invocations import turn_effect
from effectmq.protocol.messages.request import Request
from tests.broker.store.journal.effects import Writer, sealed, sleep, tool

_USAGE = {
    "input_tokens": 7,
    "output_tokens": 3,
    "cached_input_tokens": 2,
    "reasoning_tokens": 1,
}


@pytest.fixture
async def journal(database_url: str) -> AsyncIterator[Journal]:
    """An open journal."""
    async with Journal(database_url) as opened:
        yield opened


@pytest.fixture
def archive(journal: Journal) -> Archive:
    """Its archive."""
    return Archive(journal.database)


async def _execute(journal: Journal, sql: str, *parameters: str | int) -> None:
    def work(tx: Transaction) -> None:
        tx.execute(sql, parameters)

    await journal.database.write(work)


def _of_session(session: str, number: int) -> Request:
    invocation = turn_effect(
        "sleep", str(number), session_id=session, turn_id="t", turn_index=0, protocol_iteration=0
    )
    return sealed(invocation, {"type": "sleep", "duration_ms": 1})


def _call(number: int) -> Request:
    batch = turn_effect(
        "tool_call",
        str(number),
        session_id="s",
        turn_id="t",
        turn_index=0,
        protocol_iteration=0,
    )
    return tool(batch, f"call-{number}")


async def test_effects_are_found_by_their_tool_a_part_at_a_time(
    archive: Archive, journal: Journal
) -> None:
    """One search looks at so many, and says where the next one goes on."""
    writer = Writer(journal)
    for number in range(3):
        await writer.complete(_call(number))
        await writer.complete(sleep(str(number)))
    everything = await archive.search(EffectFilter(), limit=10)
    assert sorted(inside.tool for _, inside in everything.effects) == [
        "",
        "",
        "",
        "add",
        "add",
        "add",
    ]
    assert everything.after is None
    found: list[str] = []
    after: Place | None = None
    for _ in range(4):
        part = await archive.search(EffectFilter(), limit=1, after=after, tools=["add"])
        found += [effect.effect_id for effect, _ in part.effects]
        after = part.after
        if after is None:
            break
    assert len(found) == len(set(found)) == 3
    nothing = await archive.search(EffectFilter(), limit=10, models=["add"])
    assert (nothing.effects, nothing.after) == ([], None)


async def test_tokens_and_models_are_read_out_of_payloads(
    archive: Archive, journal: Journal
) -> None:
    """What is damaged, or is of another shape, says nothing."""
    outcome = canonical_json(
        {"type": "llm_call", "result": {"Ok": {"full_text": "", "usage": _USAGE}}}
    ).decode()
    envelope = '{"command":{"request":{"model":"m-1"},"type":"llm_call"}}'
    for number, (sent, answered) in enumerate(
        [(envelope, outcome), ("{", "["), ('{"command":[]}', '{"result":{"Ok":3}}'), ("", "")]
    ):
        await Writer(journal).complete(_of_session("s", number))
        await _execute(
            journal,
            "UPDATE effectmq_effects SET kind = 'llm_call', envelope_json = ?, outcome_json = ? "
            "WHERE effect_id = ?",
            sent,
            answered,
            str(number),
        )
    effects = sorted(await archive.find(), key=lambda each: each.effect_id)
    first, *others = await archive.insides(effects)
    assert (first.model, first.tokens) == ("m-1", TokenCounts(7, 3, 2, 1))
    assert {(each.model, each.tokens) for each in others} == {("", None)}


async def test_sessions_are_listed_where_their_newest_effect_is(
    archive: Archive, journal: Journal
) -> None:
    """Each once, also when its effects lie on several pages."""
    writer = Writer(journal)
    for number in range(12):
        await writer.complete(_of_session(f"s-{number % 3}", number))
        await _execute(
            journal,
            "UPDATE effectmq_effects SET updated_at_ms = ? WHERE effect_id = ?",
            1_000 + number,
            str(number),
        )
    await writer.claim(_of_session("s-open", 99))
    listed: list[tuple[str, int, int]] = []
    after: Place | None = None
    while True:
        page = await archive.sessions(limit=1, after=after)
        listed += [(each.session_id, each.effects, each.in_progress) for each in page.sessions]
        after = page.after
        if after is None:
            break
    assert listed == [("s-open", 1, 1), ("s-2", 4, 0), ("s-1", 4, 0), ("s-0", 4, 0)]
    newest = await archive.session("s-1", limit=3)
    assert [each.effect_id for each in newest] == ["4", "7", "10"]


async def test_what_was_settled_lately_is_counted_in_buckets(
    archive: Archive, journal: Journal
) -> None:
    """With those that failed apart, and what goes on beside it."""
    writer = Writer(journal)
    for number in range(4):
        await writer.complete(_of_session("s", number))
    await writer.fail(_of_session("s", 4))
    await writer.claim(_of_session("s", 5))
    times = ((0, 500), (1, 1_000), (2, 1_999), (3, 2_000), (4, 2_500), (5, 700))
    for number, moment in times:
        await _execute(
            journal,
            "UPDATE effectmq_effects SET updated_at_ms = ? WHERE effect_id = ?",
            moment,
            str(number),
        )
    before = await archive.newest_change()
    found = await archive.activity(since_ms=1_000, bucket_ms=1_000)
    assert found.settled == {
        ("sleep", 0, False): 2,
        ("sleep", 1, False): 1,
        ("sleep", 1, True): 1,
    }
    assert found.running == {"sleep": (1, 700)}
    await writer.complete(_of_session("s", 6))
    assert await archive.newest_change() != before
