"""A handler hands its effect out, and somebody else gives the outcome."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.handle import Handle
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.consumers.answering import WaitForAnswer
from effectmq.consumers.decisions import delivery as lifecycle
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.tools.context import ToolContext
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import (
    AnswerMisfitError,
    ConfigurationError,
    EffectCancelledError,
    EffectFailedError,
    NotHandedOutError,
)
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import PATIENCE_S, Stage, code, hurry, logged, outcome, payload, tool
from tests.waiting import eventually

LONG_S = 3_600.0


@dataclass
class Decision:
    """What is asked for."""

    approved: bool
    by: str


YES: dict[str, Any] = {"approved": True, "by": "ann"}


class Asking:
    """A worker whose tool asks, and whose kind of code asks as well; and the tokens it gave out."""

    def __init__(self, stage: Stage, url: str | None, deadline_s: float = LONG_S) -> None:
        self.stage = stage
        self.url = url
        self.tokens: list[str] = []
        self.app: EffectWorker = stage.worker(journal=url)

        @self.app.tool
        async def approve(amount: int, context: ToolContext) -> Decision | WaitForAnswer:
            self.tokens.append(context.answer_token)
            assert context.answer_token == self.tokens[-1]
            return context.wait_for_answer(note=f"Pay {amount}?", deadline_s=deadline_s)

        @self.app.handler("exec_code")
        def run(command: object, context: EffectContext) -> object:
            self.tokens.append(context.answer_token)
            return context.wait_for_answer(note="By hand, please", deadline_s=deadline_s)

    async def begin(self) -> EffectClient:
        """Start it, with a client that has its journal."""
        await self.stage.start(self.app)
        return await self.stage.client(journal=self.url)

    async def waiting(self, count: int = 1) -> None:
        """Wait until so many effects are handed out."""
        url = self.url
        assert url is not None

        async def counted() -> bool:
            async with open_archive(url, namespace="t") as archive:
                return (await archive.waiting())[1] == count

        await eventually(counted)


@pytest.fixture
def asking(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asking:
    """With looks that are soon: what is lost is found again at once."""
    hurry(monkeypatch)
    monkeypatch.setattr(lifecycle, "_SOONEST_LOOK_MS", 30)
    monkeypatch.setattr(lifecycle, "_LONGEST_LOOK_MS", 30)
    return Asking(stage, f"sqlite:///{tmp_path}/journal.db")


async def handed(asking: Asking, client: EffectClient, number: int = 1) -> Handle:
    """An effect that was submitted, and handed out."""
    handle = await client.submit(tool("approve", str(number), amount=number))
    await asking.waiting(number)
    return handle


async def test_an_answer_is_the_outcome_and_the_tool_ran_once(asking: Asking) -> None:
    """The caller waits meanwhile, and nothing of it is in the worker."""
    client = await asking.begin()
    handle = await handed(asking, client)
    await asking.stage.idle(asking.app, "tool_call")
    assert await client.complete(asking.tokens[0], YES)
    assert payload(await outcome(handle)) == YES
    assert len(asking.tokens) == 1
    # Asked for again, it is a record like any other.
    again = await client.submit(tool("approve", "1", amount=1))
    assert payload(await outcome(again)) == YES


async def test_the_first_answer_counts(asking: Asking) -> None:
    """The same one may be given again."""
    client = await asking.begin()
    handle = await handed(asking, client)
    token = asking.tokens[0]
    assert await client.complete(token, YES)
    assert await client.complete(handle, YES)
    assert not await client.complete(token, {**YES, "approved": False})
    assert not await client.complete(token, error="no")
    assert payload(await outcome(handle)) == YES
    assert client.counters["completed"] == 2
    assert client.counters["completed_late"] == 2


async def test_an_answer_is_checked_against_the_type_of_the_tool(asking: Asking) -> None:
    """And the effect waits on."""
    client = await asking.begin()
    handle = await handed(asking, client)
    for wrong, why in (
        ({"approved": "yes", "by": "ann"}, "approved is 'yes', expected boolean"),
        ({"approved": True}, "lacks the member 'by'"),
        (None, "expected object"),
    ):
        with pytest.raises(AnswerMisfitError, match=why):
            await client.complete(handle, wrong)
    await asking.waiting()
    assert await client.complete(handle, YES)


async def test_a_refusal_fails_the_call(asking: Asking) -> None:
    """With the words of whoever refused."""
    client = await asking.begin()
    handle = await handed(asking, client)
    assert await client.complete(asking.tokens[0], error="not without a receipt", code="no_receipt")
    failure = payload(await outcome(handle))
    assert (failure.code, failure.message) == ("no_receipt", "not without a receipt")


async def test_nobody_answers_until_the_deadline(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The call has failed, says so, and no answer is heard any more."""
    asking = Asking(stage, f"sqlite:///{tmp_path}/journal.db", deadline_s=0.05)
    client = await asking.begin()
    handle = await client.submit(tool("approve", amount=1))
    failure = payload(await outcome(handle))
    assert (failure.class_, failure.code) == ("timeout", "effectmq_unanswered")
    assert not await client.complete(asking.tokens[0], YES)
    assert len(asking.tokens) == 1
    assert len(logged(caplog, "unanswered")) == 1
    broken = await client.submit(code("x"))
    with pytest.raises(EffectFailedError) as told:
        await outcome(broken)
    assert told.value.code == "effectmq_unanswered"
    assert not stage.letters()


async def test_the_deadline_of_the_effect_is_one_of_the_answer(asking: Asking) -> None:
    """Nobody is asked for longer than anybody waits."""
    client = await asking.begin()
    handle = await client.submit(tool("approve", amount=1), deadline_s=0.5)
    assert payload(await outcome(handle)).code == "effectmq_unanswered"


async def test_another_kind_is_answered_with_its_outcome(asking: Asking) -> None:
    """Or with a controller error."""
    client = await asking.begin()
    first, second = await client.submit(code("a")), await client.submit(code("b", "2"))
    await asking.waiting(2)
    with pytest.raises(AnswerMisfitError, match="no outcome of exec_code"):
        await client.complete(first, 3)
    assert await client.complete(first, {"type": "exec_code", "result": {"Err": "by hand"}})
    assert isinstance(await outcome(first), RuntimeEffectOutcomeExecCode)
    assert await client.complete(second, error="not today")
    with pytest.raises(EffectFailedError, match="not today"):
        await outcome(second)


async def test_everybody_who_asks_meanwhile_is_answered(asking: Asking) -> None:
    """From other clients as well; the tool runs once."""
    client = await asking.begin()
    first = await handed(asking, client)
    others = [await asking.stage.client(f"other-{number}") for number in range(3)]
    handles = [await other.submit(tool("approve", "1", amount=1)) for other in others]
    await asking.stage.idle(asking.app, "tool_call")
    assert await client.complete(first, YES)
    for handle in (first, *handles):
        assert payload(await outcome(handle)) == YES
    assert len(asking.tokens) == 1


async def test_the_answer_arrives_when_nobody_could_be_asked_to_tell_it(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the process that answered had died between the record and the message."""
    client = await asking.begin()
    handle = await handed(asking, client)

    async def away() -> None:
        return None

    monkeypatch.setattr(client, "_broker_now", away)
    assert await client.complete(asking.tokens[0], YES)
    assert payload(await outcome(handle)) == YES


async def test_a_cancel_ends_the_waiting(asking: Asking) -> None:
    """Exactly one of the two wins."""
    client = await asking.begin()
    handle = await handed(asking, client)
    assert await client.cancel(handle, reason="no longer needed")
    with pytest.raises(EffectCancelledError):
        await outcome(handle)
    assert not await client.complete(asking.tokens[0], YES)


async def test_what_does_not_wait_is_not_answered(asking: Asking) -> None:
    """A token that nobody gave out, an effect that never asked, and no token at all."""
    client = await asking.begin()
    await handed(asking, client)
    with pytest.raises(NotHandedOutError, match="no handed-out effect has this token"):
        await client.complete(f"eqa_{'0' * 64}", YES)
    with pytest.raises(NotHandedOutError, match="does not wait for an answer"):
        await client.complete(tool("approve", "9", amount=9), YES)
    with pytest.raises(ConfigurationError, match="is no token"):
        await client.complete("approve", YES)
    with pytest.raises(ConfigurationError, match="one of the two"):
        await client.complete(asking.tokens[0], YES, error="no")
    blind = await asking.stage.client()
    with pytest.raises(ConfigurationError, match="decided in the journal"):
        await blind.complete(asking.tokens[0], YES)


async def test_without_a_journal_it_is_parked_with_what_to_do(stage: Stage) -> None:
    """The question could be kept nowhere."""
    asking = Asking(stage, None)
    await stage.start(asking.app)
    client = await stage.client()
    handle = await client.submit(tool("approve", amount=1))
    with pytest.raises(EffectFailedError, match="--journal"):
        await outcome(handle)
    (letter,) = await stage.parked()
    assert letter.reason == "rejected"


async def test_the_token_is_nowhere(asking: Asking, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the journal, the queues or the log."""
    caplog.set_level("DEBUG")
    client = await asking.begin()
    await handed(asking, client)
    assert await client.complete(asking.tokens[0], YES)
    secret = asking.tokens[0]
    files = Path(str(asking.url).removeprefix("sqlite:///")).parent
    assert all(secret.encode() not in path.read_bytes() for path in files.iterdir())
    assert secret not in caplog.text
    assert secret not in repr(WaitForAnswer("note", 1.0, secret))


@pytest.mark.parametrize(("note", "deadline_s"), [(3, 1.0), ("x", 0), ("x", -1), ("x", "soon")])
async def test_a_question_that_makes_no_sense_fails_the_tool(
    stage: Stage, tmp_path: Path, note: Any, deadline_s: Any
) -> None:
    """Its author reads why."""
    app = stage.worker(journal=f"sqlite:///{tmp_path}/journal.db")

    @app.tool
    async def ask(context: ToolContext) -> object:
        return context.wait_for_answer(note=note, deadline_s=deadline_s)

    await stage.start(app)
    client = await stage.client()
    failure = payload(await client.execute(tool("ask"), timeout=PATIENCE_S))
    assert "wait_for_answer" in failure.message


async def test_ten_at_once_are_answered_in_any_order(asking: Asking) -> None:
    """Each with its own."""
    client = await asking.begin()
    handles = [await client.submit(tool("approve", str(n), amount=n)) for n in range(10)]
    await asking.waiting(10)
    answers = {n: {"approved": bool(n % 2), "by": f"p{n}"} for n in range(10)}
    await asyncio.gather(*(client.complete(handles[n], answers[n]) for n in reversed(range(10))))
    found = [payload(await outcome(handle)) for handle in handles]
    assert found == list(answers.values())


async def test_what_is_handed_out_takes_no_place_of_a_limit(asking: Asking) -> None:
    """One runs at a time, and three wait for their answers."""
    asking.app.limit("tool_call", concurrency=1)
    client = await asking.begin()
    handles = [await client.submit(tool("approve", str(n), amount=n)) for n in range(3)]
    await asking.waiting(3)
    for handle in handles:
        assert await client.complete(handle, YES)
        assert payload(await outcome(handle)) == YES
