"""Numbers of a turn: counted or own, and a warning when tasks take them in an order by chance."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from effectmq.broker.client.turns.numbers import ReplayOrderWarning
from effectmq.broker.client.turns.turn import Turn
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome, RuntimeEffectOutcomeSleep

Work = Callable[[Turn], Coroutine[Any, Any, None]]


class Held:
    """Effects that end when they are told to."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.running: list[asyncio.Event] = []

    async def execute(self, envelope: RuntimeEffectEnvelope, **_: Any) -> RuntimeEffectOutcome:
        self.keys.append(str(envelope.invocation.replay_key()))
        ended = asyncio.Event()
        self.running.append(ended)
        await ended.wait()
        return RuntimeEffectOutcomeSleep()

    async def end_all(self) -> None:
        """End what runs and what that leads to, one after the other."""
        while True:
            for _ in range(20):
                await asyncio.sleep(0)
            if not self.running:
                return
            self.running.pop().set()


@pytest.fixture
def held() -> Held:
    return Held()


@contextmanager
def silence() -> Iterator[None]:
    """No warning of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


async def warned_by(work: Work, held: Held) -> int:
    """How many warnings a program gives."""
    turn = Turn(held.execute, "s", "t")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        running = asyncio.create_task(work(turn))
        await held.end_all()
        await running
    assert {one.category for one in told} <= {ReplayOrderWarning}
    # The line that is named is the user's.
    assert {one.filename for one in told} <= {__file__}
    return len(told)


async def steps(turn: Turn, many: int = 2) -> None:
    for _ in range(many):
        await turn.sleep(duration_s=0.001)


async def late(turn: Turn, awaited: Awaitable[object]) -> None:
    """One step, after something that takes its time."""
    await awaited
    await turn.sleep(duration_s=0.001)


async def passing(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


# In order ----------------------------------------------------------------------------------------


async def one_after_the_other(turn: Turn) -> None:
    await steps(turn, 5)


async def asked_together_by_one_task(turn: Turn) -> None:
    """The numbers are taken by the calls, before anything waits."""
    await asyncio.gather(
        turn.sleep(duration_s=0.001), turn.sleep(duration_s=0.002), turn.sleep(duration_s=0.003)
    )
    await turn.sleep(duration_s=0.004)


async def tasks_of_one_step(turn: Turn) -> None:
    """They start in the order in which they are made."""
    await asyncio.gather(*(steps(turn, 1) for _ in range(50)))
    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(steps(turn, 1))
    await turn.sleep(duration_s=0.001)


async def tasks_in_turn(turn: Turn) -> None:
    """Each is over before the next one begins; none of them made another one."""
    for _ in range(3):
        await asyncio.create_task(steps(turn, 3))
    await turn.sleep(duration_s=0.001)


async def a_task_that_its_maker_waits_for(turn: Turn) -> None:
    await turn.sleep(duration_s=0.001)
    await asyncio.wait_for(asyncio.shield(steps(turn, 3)), 60)
    async with asyncio.timeout(60):
        await turn.sleep(duration_s=0.001)
    await asyncio.create_task(late(turn, asyncio.create_task(steps(turn, 2))))


async def a_call_that_waits_for_the_first(turn: Turn) -> None:
    first = asyncio.create_task(turn.sleep(duration_s=0.001))

    async def second() -> None:
        await first
        await turn.sleep(duration_s=0.002)

    await asyncio.create_task(second())


async def a_branch_each(turn: Turn) -> None:
    await asyncio.gather(*(steps(turn.branch(f"b{number}"), 3) for number in range(5)))
    await turn.sleep(duration_s=0.001)


async def numbers_of_their_own(turn: Turn) -> None:
    async def both(number: int) -> None:
        await turn.sleep(duration_s=0.001, number=number)
        await turn.sleep(duration_s=0.002, number=number + 1)

    await asyncio.gather(*(both(1_000 + 10 * number) for number in range(5)))


async def several_turns_in_one_task(turn: Turn) -> None:
    async def work(other: Turn) -> None:
        for _ in range(3):
            await turn.sleep(duration_s=0.001)
            await other.sleep(duration_s=0.001)

    for number in range(40):
        await asyncio.create_task(work(turn.branch(f"{number}")))


async def helpers_of_tasks_of_one_step(turn: Turn) -> None:
    """Each task waits for its helper, one after the other, when the others have ended."""
    others = [asyncio.create_task(steps(turn, 1)) for _ in range(3)]

    async def last() -> None:
        await turn.sleep(duration_s=0.001)
        await asyncio.wait(others)
        await asyncio.create_task(steps(turn, 2))

    await asyncio.create_task(last())


async def a_generator_beside_its_reader(turn: Turn) -> None:
    async def ask() -> AsyncIterator[int]:
        for number in range(3):
            await turn.sleep(duration_s=number)
            yield number

    async for _ in ask():
        await turn.sleep(duration_s=0.001)


@pytest.mark.parametrize(
    "work",
    [
        one_after_the_other,
        asked_together_by_one_task,
        tasks_of_one_step,
        tasks_in_turn,
        a_task_that_its_maker_waits_for,
        a_call_that_waits_for_the_first,
        a_branch_each,
        numbers_of_their_own,
        several_turns_in_one_task,
        helpers_of_tasks_of_one_step,
        a_generator_beside_its_reader,
    ],
)
async def test_an_order_that_a_second_run_repeats_gives_no_warning(work: Work, held: Held) -> None:
    """No false alarm, and no number that depends on which effect ends first."""
    assert await warned_by(work, held) == 0


# By chance ---------------------------------------------------------------------------------------


async def tasks_of_several_steps(turn: Turn) -> None:
    """The first ones are in order, the second ones come as the first ones end."""
    await asyncio.gather(*(steps(turn) for _ in range(5)))


async def a_group_of_several_steps(turn: Turn) -> None:
    await turn.sleep(duration_s=0.001)
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(steps(turn))


async def tasks_that_wait_before_their_only_step(turn: Turn) -> None:
    await asyncio.gather(*(late(turn, passing(number)) for number in (9, 6, 3)))


async def a_task_beside_its_maker(turn: Turn) -> None:
    beside = asyncio.create_task(late(turn, passing(1)))
    await turn.sleep(duration_s=0.001)
    await turn.sleep(duration_s=0.001)
    await beside


async def a_task_that_was_given_up(turn: Turn) -> None:
    beside = asyncio.create_task(steps(turn, 3))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(beside), 0)
    await turn.sleep(duration_s=0.001)
    await beside


async def a_task_of_a_task(turn: Turn) -> None:
    async def outer() -> None:
        inner = asyncio.create_task(steps(turn))
        await steps(turn)
        await inner

    await outer()


async def maps_in_tasks(turn: Turn) -> None:
    """A batch takes its number like any other call."""

    async def both() -> None:
        await turn.sleep(duration_s=0.001)
        await turn.map("t", [])

    await asyncio.gather(both(), both())


@pytest.mark.parametrize(
    "work",
    [
        tasks_of_several_steps,
        a_group_of_several_steps,
        tasks_that_wait_before_their_only_step,
        a_task_beside_its_maker,
        a_task_that_was_given_up,
        a_task_of_a_task,
        maps_in_tasks,
    ],
)
async def test_an_order_by_chance_gives_one_warning(work: Work, held: Held) -> None:
    """Once for each turn, and at the line of the user's program."""
    assert await warned_by(work, held) == 1


async def test_the_warning_says_what_to_do(held: Held) -> None:
    """Each way out by its name."""
    turn = Turn(held.execute, "s", "t")
    with pytest.warns(ReplayOrderWarning, match=r"turn\.map.*turn\.branch.*number="):
        await asyncio.gather(tasks_of_several_steps(turn), held.end_all())


async def test_many_tasks_cost_no_more_than_they_are(held: Held) -> None:
    """Ten thousand that begin together are not compared with each other."""
    turn = Turn(held.execute, "s", "t")
    with silence():
        tasks = [asyncio.create_task(steps(turn, 1)) for _ in range(10_000)]
        await passing(3)
    assert len(held.keys) == 10_000
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# Numbers of one's own ----------------------------------------------------------------------------


def test_an_own_number_stands_where_a_counted_one_would(held: Held) -> None:
    """In effect id and replay key, and takes none."""
    turn = Turn(held.execute, "s", "t", 2, 1)
    own = turn.invocation("llm_call", number=7)
    assert (own.effect_id(), own.replay_key()) == ("7", "s:t:2:1:llm_call:7")
    assert turn.invocation("llm_call").effect_id() == "1"
    assert turn.invocation("llm_call", number=7) == own


@pytest.mark.parametrize("number", [0, -1, 2**64 - 1, True, 1.0, "1"])
def test_what_is_no_number_is_refused(number: Any, held: Held) -> None:
    """The largest of 64 bits names something else."""
    with pytest.raises(ConfigurationError, match="expected an integer from 1 to"):
        Turn(held.execute, "s", "t").sleep(duration_s=0.001, number=number)


def test_own_and_counted_numbers_may_not_meet(held: Held) -> None:
    """Two effects would have one name."""
    turn = Turn(held.execute, "s", "t")
    turn.invocation("sleep", number=2)
    turn.invocation("sleep")
    with pytest.raises(ConfigurationError, match="next number is 2, which was given as number=2"):
        turn.invocation("llm_call")
    with pytest.raises(ConfigurationError, match="number=1 was counted already"):
        turn.invocation("llm_call", number=1)


def test_a_branch_counts_for_itself_under_an_id_of_its_own(held: Held) -> None:
    """Iteration and index are the turn's."""
    turn = Turn(held.execute, "s", "t", 2, 1)
    turn.invocation("sleep")
    branch = turn.branch("paris")
    assert branch.invocation("sleep").replay_key() == "s:t/paris:2:1:sleep:1"
    assert (
        branch.branch("hotels").invocation("sleep").replay_key() == "s:t/paris/hotels:2:1:sleep:1"
    )
    assert turn.invocation("sleep").replay_key() == "s:t:2:1:sleep:2"


def test_two_branches_of_one_name_are_refused(held: Held) -> None:
    """Both would count from 1 and share their names."""
    turn = Turn(held.execute, "s", "t")
    paris = turn.branch("paris")
    with pytest.raises(ConfigurationError, match="has a branch 'paris' already"):
        turn.branch("paris")
    turn.branch("paris/hotels")
    with pytest.raises(ConfigurationError, match="has a branch 'hotels' already"):
        paris.branch("hotels")
    nothing: Any
    for nothing in ("", " ", None, 5):
        with pytest.raises(ConfigurationError, match="expected text that is not empty"):
            turn.branch(nothing)
