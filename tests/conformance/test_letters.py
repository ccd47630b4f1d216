"""The index of dead letters on every database: the same letters as a look through the queue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Database
from effectmq.broker.store.letters.audit import AuditLog, choice_of
from effectmq.broker.store.letters.facts import row_of
from effectmq.broker.store.letters.filter import EVERY_LETTER, DeadFilter
from effectmq.broker.store.letters.index import Counts, LetterIndex, NotedLetter
from effectmq.broker.store.letters.selecting import Cursor
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.dead_letter import DeadLetter, read_dead_letter
from effectmq.protocol.messages.message import HeaderValue, Message
from tests.waiting import eventually


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    """An open, empty database."""
    async with open_database(database_url, namespace="letters") as opened:
        yield opened


@pytest.fixture
async def index(database: Database) -> LetterIndex:
    """An index without letters."""
    made = LetterIndex(database)
    await made.ensure()
    return made


def letter(number: int, body: bytes = b"", **headers: HeaderValue) -> DeadLetter:
    """A letter that was parked at this second."""
    known: dict[str, HeaderValue] = {
        names.PARK_REASON: "exhausted",
        names.KIND: "tool_call",
        names.ROUTE: "tool_call",
        names.PARK_CODE: "bank_closed",
        names.PARK_MESSAGE: f"account {number} of 'somebody' is closed",
        names.PARKED_AT: number * 1_000,
    }
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    message = Message(
        body=body or envelope(),
        content_type="application/json",
        correlation_id=f"effect-{number}",
        message_id=f"message-{number}",
        headers={**known, **given},
    )
    return read_dead_letter(message, "tool_call")


def envelope(tool: object = "pay", session: object = "s-1") -> bytes:
    """The body of a tool call, as far as it is looked at."""
    invocation = {"scope": {"session_id": session, "turn_id": "t"}}
    command = {"type": "tool_call", "call": {"tool_name": tool}}
    return json.dumps({"invocation": invocation, "command": command}).encode()


def asking(model: str) -> bytes:
    """The body of a model call, as far as it is looked at."""
    command = {"type": "llm_call", "request": {"model": model}}
    return json.dumps({"invocation": {}, "command": command}).encode()


def noted(one: DeadLetter) -> NotedLetter:
    """As a worker notes it."""
    return NotedLetter(row_of(one), one.message, one.route)


async def ids(index: LetterIndex, chosen: DeadFilter = EVERY_LETTER) -> list[str]:
    """What is meant, the oldest first."""
    return [each.id for each in (await index.page(chosen, limit=1_000)).letters]


#: One of each sort that a filter can tell apart.
LETTERS = (
    letter(1),
    letter(2, envelope(tool="mail", session="s-2")),
    letter(3, asking("large"), effect_kind="llm_call", effect_route="llm_call.gpu"),
    letter(4, effect_park_reason="expired", effect_park_code="effectmq_expired"),
    letter(5, effect_park_message="Größe: 5 µm", effect_edited_from="abc"),
    letter(6, b"\xc1 no data at all", effect_park_reason="malformed"),
    letter(0, envelope(tool=["no", "name"], session=7)),
)

CHOICES = (
    DeadFilter(),
    DeadFilter(kinds=("llm_call",)),
    DeadFilter(reasons=("expired", "malformed")),
    DeadFilter(routes=("llm_call.gpu",)),
    DeadFilter(tools=("pay",)),
    DeadFilter(tools=("pay", "mail"), sessions=("s-2",)),
    DeadFilter(models=("large",)),
    DeadFilter(sessions=("s-1",)),
    DeadFilter(sessions=("s-1", "s-2")),
    DeadFilter(codes=("effectmq_expired",)),
    DeadFilter(effect_ids=("effect-5",)),
    DeadFilter(edited=True),
    DeadFilter(edited=False, kinds=("tool_call",)),
    DeadFilter(text="closed"),
    DeadFilter(text="Closed"),
    DeadFilter(text="Größe"),
    DeadFilter(text="größe"),
    DeadFilter(text="100%_"),
    DeadFilter(errors=("bank_closed: account … of … is closed",)),
    DeadFilter(since_ms=2_000, until_ms=5_000),
    DeadFilter(until_ms=5_000),
    DeadFilter(since_ms=0),
    DeadFilter(ids=(LETTERS[0].id[:6], LETTERS[3].id)),
    DeadFilter(ids=("zzz",)),
    DeadFilter(tools=("'; DROP TABLE effectmq_letters; --",)),
)


@pytest.mark.parametrize("chosen", CHOICES, ids=lambda chosen: str(choice_of(chosen)))
async def test_the_index_chooses_what_a_look_through_the_queue_chooses(
    index: LetterIndex, chosen: DeadFilter
) -> None:
    """One filter means the same letters, wherever it is asked."""
    await index.note([noted(each) for each in LETTERS])
    meant = sorted(
        (each for each in LETTERS if chosen.matches(each)), key=lambda each: each.parked_ms
    )
    assert await ids(index, chosen) == [each.id for each in meant]
    assert (await index.facets(chosen)).letters == len(meant)
    found = await index.chosen(chosen, limit=100)
    assert [place.letter_id for place, _, _ in found] == [each.id for each in meant]


async def test_pages_follow_each_other_in_both_directions(index: LetterIndex) -> None:
    """Letters of one moment are told apart, and none is given twice."""
    await index.note([noted(letter(number // 3, str(number).encode())) for number in range(20)])
    everything = await ids(index)
    assert len(everything) == 20
    for newest_first in (False, True):
        found: list[str] = []
        after: Cursor | None = None
        while True:
            page = await index.page(limit=6, after=after, newest_first=newest_first)
            found += [each.id for each in page.letters]
            after = page.after
            if after is None:
                break
        assert found == (everything[::-1] if newest_first else everything)


async def test_a_page_that_is_exactly_full_is_the_last(index: LetterIndex) -> None:
    """Nobody is sent to an empty page."""
    await index.note([noted(letter(number)) for number in range(3)])
    assert (await index.page(limit=3)).after is None


async def test_facets_count_what_letters_have(index: LetterIndex) -> None:
    """The most common first; errors that differ in numbers and quotes are one."""
    await index.note([noted(each) for each in LETTERS])
    facets = await index.facets()
    assert (facets.letters, facets.oldest_ms) == (7, 1_000)
    assert facets.counts["reason"] == {"exhausted": 5, "expired": 1, "malformed": 1}
    assert facets.counts["tool"] == {"pay": 3, "": 3, "mail": 1}
    assert facets.counts["model"] == {"": 6, "large": 1}
    assert facets.counts["error"]["bank_closed: account … of … is closed"] == 5
    assert next(iter(facets.counts["error"])).startswith("bank_closed")


async def test_a_message_comes_back_as_it_was(index: LetterIndex) -> None:
    """What a stranger put into it included."""
    hostile = replace(
        letter(1, b"\x00\xff" * 100).message,
        correlation_id="zero \x00 and \u202e",
        headers={"effect-park-reason": "raw \x00", "effect-attempt": True, "n": 2**63 - 1},
    )
    one = read_dead_letter(hostile, "tool_call")
    await index.note([noted(one)])
    found = await index.message(one.id)
    assert found == (hostile, "tool_call")
    assert read_dead_letter(*found).id == one.id
    assert await index.message("000000000000") is None


async def test_names_of_strangers_fit_into_every_index(index: LetterIndex) -> None:
    """However long they are, whatever is in them."""
    long = "\U0001f600" * 3_000
    one = letter(
        2**62,
        envelope(tool=long, session=long),
        effect_park_reason=long,
        effect_kind=long,
        effect_route=long,
        effect_park_code=long,
        effect_park_message=long + "\x00",
        effect_attempt=2**70,
        effect_deaths=-5,
    )
    await index.note([noted(one)])
    assert await ids(index, DeadFilter(sessions=(long,), tools=(long,))) == [one.id]


async def test_a_walk_makes_the_index_agree_with_the_queue(index: LetterIndex) -> None:
    """What was not seen is dropped, with its message; copies are counted as they are."""
    await index.note([noted(letter(number)) for number in range(3)])
    await index.note([noted(letter(1))])
    assert await index.counts() == Counts(3, 4)
    # What is noted in the millisecond in which a walk begins is kept, too.
    await until_later(index, (await index.begin_walk()).began_ms)
    walk = await index.begin_walk()
    seen = [letter(0).id, letter(1).id]
    assert await index.unknown([*seen, letter(7).id]) == {letter(7).id}
    await index.see(walk, [*seen, letter(0).id], [noted(letter(7)), noted(letter(7))])
    await until_later(index, walk.began_ms)
    # Posted since the walk began, and so perhaps behind it.
    await index.note([noted(letter(8))])
    assert await index.end_walk(walk) == 1
    assert await ids(index) == [letter(number).id for number in (0, 1, 7, 8)]
    assert await index.counts() == Counts(4, 6)
    assert await index.message(letter(2).id) is None


async def until_later(index: LetterIndex, moment_ms: int) -> None:
    """Wait until the database's clock has moved on."""

    async def moved_on() -> bool:
        return (await index.begin_walk()).began_ms > moment_ms

    await eventually(moved_on)


async def test_a_note_that_comes_behind_a_walk_counts_nothing_twice(index: LetterIndex) -> None:
    """A worker notes what it has posted; a walk may have been there in between."""
    walk = await index.begin_walk()
    await index.see(walk, [], [noted(letter(1))])
    await index.note([noted(letter(1))])
    assert await index.counts() == Counts(1, 1)


async def test_what_is_settled_is_dropped_with_its_last_copy(index: LetterIndex) -> None:
    """And what nobody knows is no error."""
    await index.note([noted(letter(1)), noted(letter(2))])
    await index.note([noted(letter(1))])
    await index.settled([letter(1).id, letter(9).id])
    assert await index.counts() == Counts(2, 2)
    await index.settled([letter(1).id, letter(2).id])
    assert await index.counts() == Counts(0, 0)
    assert await index.message(letter(1).id) is None


async def test_many_who_write_at_once_wait_for_each_other(
    index: LetterIndex, database_url: str
) -> None:
    """In no circle: settling, noting and walking, from several connections."""
    async with open_database(database_url, namespace="letters") as second:
        other = LetterIndex(second)
        letters = [letter(number) for number in range(60)]
        await index.note([noted(each) for each in letters])

        async def settle(part: LetterIndex, start: int) -> None:
            for each in letters[start::2]:
                await part.settled([each.id, letters[(start + 1) % 60].id])

        async def walk(part: LetterIndex) -> None:
            for _ in range(5):
                begun = await part.begin_walk()
                await part.see(begun, [each.id for each in reversed(letters)])

        await asyncio.gather(settle(index, 0), settle(other, 1), walk(index), walk(other))
        begun = await index.begin_walk()
        await until_later(index, begun.began_ms)
        await index.end_walk(await index.begin_walk())
        assert await other.counts() == Counts(0, 0)


async def test_namespaces_do_not_see_each_other(index: LetterIndex, database_url: str) -> None:
    """Neither letters nor what was done to them."""
    await index.note([noted(letter(1))])
    async with open_database(database_url, namespace="letters.test") as second:
        other = LetterIndex(second)
        await other.ensure()
        assert await other.counts() == Counts(0, 0)
        await other.note([noted(letter(1))])
        await other.clear()
        await other.end_walk(await other.begin_walk())
        assert await other.message(letter(1).id) is None
        assert await AuditLog(second, "x").lines(10) == []
    assert await index.counts() == Counts(1, 1)


async def test_who_did_what_is_kept_from_before_it_begins(
    database: Database, index: LetterIndex
) -> None:
    """A line without an end is that of somebody who was interrupted."""
    log = AuditLog(database, "ada\x00@host \x1b[31m")
    first = await log.begin("purge", choice_of(DeadFilter(kinds=("sleep",), text="\x00")))
    [line] = await log.lines(10)
    assert (line.id, line.action, line.ended_ms, line.report_json) == (first, "purge", 0, "")
    assert line.who == r"ada\x00@host \x1b[31m"
    assert json.loads(line.choice_json) == {"kinds": ["sleep"], "text": "\x00"}
    await log.end(first, "purge", {"done": 3})
    [line] = await log.lines(10)
    assert line.ended_ms >= line.began_ms > 0
    assert json.loads(line.report_json) == {"done": 3}
