"""Effects that somebody else answers: what each journal keeps of them, and who wins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from effectmq.broker.store.journal.archive.archive import Archive
from effectmq.broker.store.journal.archive.summaries import EffectFilter
from effectmq.broker.store.journal.handed_out.values import HandedOut, HandOut, Question, Settle
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Accepted, Cancel, Cancelled, Lost, Recorded
from effectmq.protocol.errors import ConfigurationError
from tests.conformance.asking import claim_of, effect, granted

OVERDUE = '{"overdue":1}'
ERROR = '{"code":"c","message":"m"}'
HOUR_MS = 3_600_000


@pytest.fixture
async def journal(database_url: str) -> AsyncGenerator[Journal]:
    """An open, empty journal."""
    async with Journal(database_url) as opened:
        yield opened


async def asked(journal: Journal, key: str = "k", due_in_ms: int = HOUR_MS) -> HandOut:
    """Claim an effect and hand it out."""
    held = await granted(journal, effect(key))
    said = HandOut(
        effect(key).identity,
        held.fence,
        held.attempt,
        due_in_ms,
        OVERDUE,
        ERROR,
        Question(f"hash of {key}", f"{key}?", '{"type":"integer"}', ""),
    )
    assert await journal.hand_out(said) == Accepted()
    return said


def settle(said: HandOut, outcome: str = "1", error: str = "") -> Settle:
    """An answer to it."""
    return Settle(said.identity, said.question.token_hash, outcome, error)


async def test_a_question_is_found_by_its_token_and_by_its_effect(journal: Journal) -> None:
    """With all that is needed to answer it."""
    said = await asked(journal)
    found = await journal.asked("hash of k")
    assert found is not None
    assert found == await journal.asked_of(said.identity)
    assert found.question == said.question
    assert found.envelope_json == effect().envelope_json
    assert found.waiting.deadline_ms - found.waiting.asked_ms == HOUR_MS
    assert (found.waiting.effect_id, found.waiting.note) == ("effect-k", "k?")
    assert await journal.asked("another") is None
    assert await journal.asked_of(replace(said.identity, scope_id="x")) is None


async def test_a_claim_waits_until_there_is_an_answer(journal: Journal) -> None:
    """The answer is then what everybody hears."""
    said = await asked(journal)
    answer = await journal.claim(claim_of(effect()))
    assert isinstance(answer, HandedOut)
    assert 0 < answer.wait_ms <= HOUR_MS
    assert await journal.settle(settle(said)) == Accepted()
    assert await journal.claim(claim_of(effect())) == Recorded("completed", 1, "1", "")
    assert await journal.settle(settle(said)) == Accepted()
    assert await journal.settle(settle(said, "2")) == Recorded("completed", 1, "1", "")


async def test_handing_out_twice_is_once_and_only_for_its_holder(journal: Journal) -> None:
    """The answer to the first time may have been lost."""
    said = await asked(journal)
    assert await journal.hand_out(said) == Accepted()
    assert await journal.hand_out(replace(said, fence=said.fence + 1)) == Lost()


async def test_one_of_many_answers_wins(journal: Journal, database_url: str) -> None:
    """From two processes at once."""
    said = await asked(journal)
    async with Journal(database_url) as other:
        answers = await asyncio.gather(
            *(
                each.settle(settle(said, str(number)))
                for number in range(20)
                for each in (journal, other)
            )
        )
    recorded = await journal.claim(claim_of(effect()))
    assert isinstance(recorded, Recorded)
    # Each answer was given twice, and the one that won is accepted both times.
    won = [place for place, answer in enumerate(answers) if answer == Accepted()]
    assert {str(place // 2) for place in won} == {recorded.outcome_json}
    assert len(won) == 2


async def test_the_deadline_gives_the_outcome_that_was_said(journal: Journal) -> None:
    """To whoever comes first afterwards: a message on its round, or an answer that is too late."""
    first, second = await asked(journal, "a", 0), await asked(journal, "b", 0)
    answer = await journal.claim(claim_of(effect("a")))
    assert answer == Recorded("failed", 1, OVERDUE, "", ran_out=True)
    late = await journal.settle(settle(second))
    assert late == Recorded("failed", 1, OVERDUE, "", ran_out=True)
    for said in (first, second):
        assert await journal.settle(settle(said)) == Recorded("failed", 1, OVERDUE, "")


async def test_a_cancel_wins_or_loses(journal: Journal) -> None:
    """And leaves nothing of the outcome that would have counted."""
    said = await asked(journal, "a")
    assert await journal.cancel(Cancel(effect("a"), ERROR)) == Cancelled()
    assert await journal.settle(settle(said)) == Recorded("cancelled", 1, "", ERROR)
    said = await asked(journal, "b")
    assert await journal.settle(settle(said)) == Accepted()
    lost = await journal.cancel(Cancel(effect("b"), ERROR))
    assert lost == Recorded("completed", 1, "1", "")


async def test_who_waits_is_listed_by_deadline(journal: Journal) -> None:
    """What is answered is not; and its own page shows no outcome that does not count yet."""
    archive = Archive(journal.database)
    said = [await asked(journal, key, due) for key, due in (("a", 3 * HOUR_MS), ("b", HOUR_MS))]
    await granted(journal, effect("c"))
    found, count = await archive.waiting()
    assert [each.identity.replay_key for each in found] == ["b", "a"]
    assert count == 2
    assert await archive.waiting(session_id="another") == ([], 0)
    assert await archive.waiting(kinds=("llm_call",)) == ([], 0)
    assert len((await archive.waiting(session_id="session", kinds=("tool_call",), limit=1))[0]) == 1
    shown = await archive.get_exactly(effect("a").identity)
    assert (shown.status, shown.outcome_json, shown.error_json) == ("waiting", "", "")
    assert [each.ended for each in shown.attempt_times] == ["handed_out"]
    listed = await archive.find(EffectFilter(statuses=("waiting",)))
    assert {each.error_json for each in listed} == {""}
    assert len(listed) == 2
    problems = [damage.problem async for damage in archive.verify()]
    assert not [problem for problem in problems if "outcome" in problem]
    await journal.settle(settle(said[0], error=ERROR))
    assert [each.identity.replay_key for each in (await archive.waiting())[0]] == ["b"]
    shown = await archive.get_exactly(effect("a").identity)
    assert (shown.status, shown.outcome_json, shown.error_json) == ("failed", "1", ERROR)


@pytest.mark.parametrize("keep_keys", [True, False])
async def test_a_pruned_effect_takes_its_question_with_it(
    journal: Journal, keep_keys: bool
) -> None:
    """One that still waits is not pruned."""
    archive = Archive(journal.database)
    said = await asked(journal, "a")
    await asked(journal, "b")
    await journal.settle(settle(said))
    detail = await archive.get_exactly(said.identity)
    assert await archive.prune_one(detail, keep_key=keep_keys)
    with pytest.raises(ConfigurationError, match="it is waiting"):
        await archive.prune_one(await archive.get_exactly(effect("b").identity))
    assert await journal.asked("hash of a") is None
    assert await journal.asked("hash of b") is not None
