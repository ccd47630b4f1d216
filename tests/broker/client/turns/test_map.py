"""One tool for many items: keys by the items' order, and each item's end is its own."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.turns.turn import ToolCall, Turn
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import (
    ConfigurationError,
    EffectFailedError,
    EffectTimeoutError,
    MalformedError,
    OutcomeFailedError,
)
from tests.waiting import eventually

PATIENCE_S = 20.0
#: What hangs on purpose is not waited for at the end.
AT_ONCE = WorkerSettings(shutdown_grace_s=0.5)


class Place:
    """A worker with a journal, whose tools take their time by chance."""

    def __init__(self, journal: str) -> None:
        self.url = f"memory://{secrets.token_hex(4)}"
        self.worker = EffectWorker(self.url, settings=AT_ONCE, journal=journal)
        self.ran: list[object] = []
        self.chance = random.Random(1)

    async def pass_time(self, what: object) -> None:
        """Let others by, some of them."""
        self.ran.append(what)
        for _ in range(self.chance.randrange(30)):
            await asyncio.sleep(0)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(f"sqlite:///{tmp_path}/j.db")

    @made.worker.tool
    async def double(number: int) -> int:
        await made.pass_time(number)
        if number < 0:
            raise ValueError(f"no {number}")
        return 2 * number

    @made.worker.tool
    async def add(a: int, b: int) -> int:
        await made.pass_time((a, b))
        return a + b

    @made.worker.tool
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    tools.update({"double": double, "add": add})
    async with made.worker:
        yield made


#: The functions of the test's worker.
tools: dict[str, Any] = {}


async def run(place: Place, program: Any) -> Any:
    """Run a program in a new client, as a second process would, with its turn from the start."""
    async with asyncio.timeout(PATIENCE_S), EffectClient(place.url) as client:
        return await program(client.turn("s", "t"))


# Run twice ---------------------------------------------------------------------------------------


async def mapped(turn: Turn) -> list[Any]:
    return [one.value for one in await turn.map("double", [{"number": n} for n in range(20)])]


async def mapped_by_function(turn: Turn) -> list[Any]:
    sums = await turn.map(tools["add"], range(10), range(10), in_flight=3)
    return [one.value for one in sums]


async def called_together(turn: Turn) -> list[Any]:
    """Several tools."""
    calls = [ToolCall("double", {"number": n}, f"d{n}") for n in range(10)]
    calls += [ToolCall("add", {"a": n, "b": 1}, f"a{n}") for n in range(10)]
    return [one.value for one in await turn.tool_calls(calls, in_flight=4)]


async def own_numbers(turn: Turn) -> list[Any]:
    """Tasks of two steps, all numbers given."""

    async def steps(number: int) -> int:
        once = await turn.with_options(number=2 * number).call(tools["double"], number)
        return await turn.with_options(number=2 * number + 1).call(tools["double"], once)

    return await asyncio.gather(*(steps(number) for number in range(1, 10)))


async def branches(turn: Turn) -> list[Any]:
    """Tasks of two steps, each in a branch."""

    async def steps(number: int, branch: Turn) -> int:
        once = await branch.call(tools["double"], number)
        return await branch.call(tools["double"], once)

    return await asyncio.gather(*(steps(n, turn.branch(f"{n}")) for n in range(10)))


async def maps_in_branches(turn: Turn) -> list[Any]:
    async def steps(number: int, branch: Turn) -> int:
        first = await branch.map("double", [{"number": number + n} for n in range(3)])
        return await branch.call(tools["double"], sum(one.value for one in first))

    return await asyncio.gather(*(steps(10 * n, turn.branch(f"{n}")) for n in range(5)))


@pytest.mark.parametrize(
    "program",
    [mapped, mapped_by_function, called_together, own_numbers, branches, maps_in_branches],
)
async def test_a_second_run_runs_no_tool_whatever_ended_first(program: Any, place: Place) -> None:
    """The order in which the effects end is another one each time; the keys are the same."""
    first = await run(place, program)
    assert place.ran
    for seed in range(3):
        place.ran.clear()
        place.chance.seed(seed)
        assert await run(place, program) == first
        assert place.ran == []


@pytest.mark.filterwarnings("ignore::effectmq.ReplayOrderWarning")
async def test_tasks_of_several_steps_without_them_run_again(place: Place) -> None:
    """What the warning says: the same program, in another order, has other keys."""

    async def program(order: list[int]) -> None:
        done = [asyncio.Event() for _ in order]

        async def steps(turn: Turn, number: int, before: asyncio.Event | None) -> None:
            await turn.tool_call("double", {"number": number}, call_id=f"a{number}")
            if before is not None:
                await before.wait()
            await turn.tool_call("double", {"number": 10 + number}, call_id=f"b{number}")
            done[number].set()

        async def both(turn: Turn) -> None:
            first, second = order
            before: dict[int, asyncio.Event | None] = {first: None, second: done[first]}
            await asyncio.gather(*(steps(turn, n, before[n]) for n in range(2)))

        await run(place, both)

    await program([0, 1])
    assert sorted(place.ran) == [0, 1, 10, 11]
    await program([1, 0])
    assert sorted(place.ran) == [0, 1, 10, 10, 11, 11]


# Results -----------------------------------------------------------------------------------------


async def test_results_have_the_order_of_the_items(place: Place) -> None:
    """And the number after a map is the next one, however many items it had."""

    async def program(turn: Turn) -> None:
        found = await turn.map("double", [{"number": n} for n in range(5)], in_flight=2)
        assert [one.value for one in found] == [0, 2, 4, 6, 8]
        assert [one.call_id for one in found] == [f"double-{n}" for n in range(1, 6)]
        assert await turn.map("double", []) == []
        assert turn.invocation("sleep").effect_id() == "3"

    await run(place, program)


async def test_an_item_that_fails_fails_alone(place: Place) -> None:
    """Asked like an outcome: only its value raises."""

    async def program(turn: Turn) -> None:
        good, bad, wrong = await turn.map(
            "double", [{"number": 1}, {"number": -1}, {"number": "x"}]
        )
        assert (good.failed, good.error, good.value, good.value_or(0)) == (False, None, 2, 2)
        assert (bad.failed, bad.value_or(0)) == (True, 0)
        with pytest.raises(OutcomeFailedError, match="no -1"):
            _ = bad.value
        assert bad.outcome is not None
        assert bad.outcome.failed
        with pytest.raises(OutcomeFailedError, match="invalid arguments"):
            _ = wrong.value

    await run(place, program)


async def test_calls_of_several_tools_are_one_batch(place: Place) -> None:
    """Any iterable of them; each has its own end, and the batch one number."""

    async def program(turn: Turn) -> None:
        calls = [
            ToolCall("double", {"number": -1}, "bad"),
            ToolCall("add", {"a": 1, "b": 2}, "good"),
        ]
        bad, good = await turn.tool_calls(iter(calls))
        assert (bad.call_id, bad.failed, bad.value_or(0)) == ("bad", True, 0)
        assert isinstance(bad.error, OutcomeFailedError)
        assert (good.call_id, good.error, good.value) == ("good", None, 3)
        assert await turn.tool_calls([]) == []
        assert turn.invocation("sleep").effect_id() == "3"

    await run(place, program)


async def test_an_item_without_an_outcome_has_the_error_that_came_instead(place: Place) -> None:
    """A time that is over, for instance."""

    async def program(turn: Turn) -> None:
        (given_up,) = await turn.map("wait_for_ever", [{}], timeout=0.05)
        assert isinstance(given_up.error, EffectTimeoutError)
        assert (given_up.outcome, given_up.value_or("none")) == (None, "none")
        with pytest.raises(EffectTimeoutError):
            _ = given_up.value

    await run(place, program)


async def test_another_argument_under_the_same_key_is_that_items_error(place: Place) -> None:
    """The others are answered from the record."""

    async def program(turn: Turn, *numbers: int) -> list[Any]:
        return await turn.map("double", [{"number": n} for n in numbers])

    await run(place, lambda turn: program(turn, 1, 2, 3))
    first, second, third = await run(place, lambda turn: program(turn, 1, 7, 3))
    assert (first.value, third.value) == (2, 6)
    assert isinstance(second.error, EffectFailedError)
    assert second.error.code == "effectmq_hash_conflict"


async def test_ids_of_the_items_own_do_not_depend_on_their_places(place: Place) -> None:
    """What is put in between later runs alone."""

    async def program(turn: Turn, *names: str) -> list[Any]:
        arguments = [{"number": len(name)} for name in names]
        return [one.value for one in await turn.map("double", arguments, call_ids=names)]

    assert await run(place, lambda turn: program(turn, "a", "ccc")) == [2, 6]
    place.ran.clear()
    assert await run(place, lambda turn: program(turn, "ccc", "bb", "a")) == [6, 4, 2]
    assert place.ran == [2]


async def test_in_flight_bounds_what_is_under_way(place: Place) -> None:
    """And nothing is left of a map that is cancelled."""
    running: list[int] = []
    most = 0
    go_on = asyncio.Event()

    async def execute(envelope: Any, **_: Any) -> Any:
        nonlocal most
        running.append(1)
        most = max(most, len(running))
        try:
            await go_on.wait()
        finally:
            running.pop()
        raise EffectTimeoutError("1", 1.0, None)

    turn = Turn(execute, "s", "t")
    items: list[dict[str, Any]] = [{}] * 50
    async with asyncio.TaskGroup() as group:
        mapped = group.create_task(turn.map("t", items, in_flight=7))
        await eventually(lambda: len(running) == 7)
        go_on.set()
    assert all(one.failed for one in mapped.result())
    assert most == 7

    go_on.clear()
    async with asyncio.TaskGroup() as group:
        mapped = group.create_task(turn.map("t", items, in_flight=None))
        await eventually(lambda: len(running) == 50)
        mapped.cancel()
    assert not running


# Refused -----------------------------------------------------------------------------------------


def turn_of_nobody() -> Turn:
    async def execute(envelope: Any, **_: Any) -> Any:
        raise AssertionError("nothing is asked")

    return Turn(execute, "s", "t")


@pytest.mark.parametrize(
    ("items", "options", "error", "sentence"),
    [
        ([{}, 5], {}, MalformedError, "expected a dict of arguments"),
        ([{}], {"in_flight": 0}, ConfigurationError, "in_flight is 0; expected an integer of 1"),
        ([{}], {"in_flight": True}, ConfigurationError, "in_flight is True"),
        ([{}, {}], {"call_ids": ["a"]}, ConfigurationError, "found 1 call_ids for 2 items"),
        ([{}, {}], {"call_ids": ["a", "a"]}, ConfigurationError, "two calls of a batch"),
        ([{}], {"in_flght": 1}, TypeError, "unexpected keyword argument 'in_flght'"),
        ([{}], {"number": 0}, ConfigurationError, "number is 0"),
    ],
)
def test_what_cannot_be_mapped_is_refused_before_anything_is_asked(
    items: Any, options: Any, error: type[Exception], sentence: str
) -> None:
    """By the call itself, and without taking a number."""
    turn = turn_of_nobody()
    with pytest.raises(error, match=sentence):
        turn.map("t", items, **options)
    assert turn.invocation("sleep").effect_id() == "1"


@pytest.mark.parametrize(
    ("calls", "options", "error", "sentence"),
    [
        (
            [ToolCall("t", {}, "a"), {"t": 1}],
            {},
            MalformedError,
            "expected a ToolCall",
        ),
        ([ToolCall("t", {}, "a")] * 2, {}, ConfigurationError, "two calls of a batch"),
        ([], {"in_flight": 0}, ConfigurationError, "in_flight is 0; expected an integer of 1"),
        ([], {"in_flght": 1}, TypeError, "unexpected keyword argument 'in_flght'"),
    ],
)
def test_calls_that_cannot_be_made_are_refused_before_anything_is_asked(
    calls: Any, options: Any, error: type[Exception], sentence: str
) -> None:
    """As those of ``map``."""
    turn = turn_of_nobody()
    with pytest.raises(error, match=sentence):
        turn.tool_calls(calls, **options)
    assert turn.invocation("sleep").effect_id() == "1"


async def test_items_that_do_not_fit_a_function_are_refused(place: Place) -> None:
    """As Python says it of ``map``."""
    turn: Any = turn_of_nobody()
    with pytest.raises(TypeError, match="missing a required argument: 'b'"):
        turn.map(tools["add"], [1])
    with pytest.raises(ValueError, match="shorter"):
        turn.map(tools["add"], [1, 2], [1])
    with pytest.raises(TypeError, match="as one dict for each"):
        turn.map("add", [1], [2])
    with pytest.raises(ConfigurationError, match="is not registered as a tool"):
        turn.map(print, [1])
