"""Tools that a turn calls by their functions: names, arguments and results of the signature."""

from __future__ import annotations

import datetime
import gc
import secrets
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.turns.turn import Turn
from effectmq.consumers.tools.context import ToolContext
from effectmq.consumers.tools.results.special import Attachment
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError, MalformedError, OutcomeFailedError
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandToolCall,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from tests.protocol.documents import example

app = EffectWorker()


class Point(BaseModel):
    x: int
    when: datetime.date


@app.tool
async def add(a: int, b: int = 5) -> int:
    return a + b


@app.tool(name="geo.move", lane="far")
def move(point: Point, by: int) -> Point:
    return Point(x=point.x + by, when=point.when)


@app.tool
def fail(why: str) -> str:
    raise ValueError(why)


@app.tool
def named(who: str, context: ToolContext | None = None) -> str:
    assert context is not None
    return f"{who} by {context.call.call_id}"


@app.tool
def liar(value: Any) -> int:
    return value


@app.tool
def untold(value: object) -> Any:
    return value


@app.tool
def draw() -> Attachment:
    return Attachment(b"", "image/png")


@app.tool
def count() -> Iterator[int]:
    return iter([1])


@app.tool
def mix(tags: set[str], members: dict[str, list[set[int]]]) -> list[str]:
    return sorted(tags)


@app.tool
class Note(BaseModel):
    text: str


class Asked:
    """What is asked for, answered with a failure of a tool."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.lanes: list[str | None] = []
        self.timeouts: list[float | None] = []

    async def __call__(
        self, envelope: RuntimeEffectEnvelope, *, timeout: Any = -1, lane: Any = "", **others: Any
    ) -> RuntimeEffectOutcome:
        assert isinstance(envelope.command, RuntimeEffectCommandToolCall)
        call = envelope.command.call
        self.calls.append((call.tool_name, call.args, call.call_id))
        self.lanes.append(lane)
        self.timeouts.append(timeout)
        outcome: RuntimeEffectOutcome = example("O5")
        return outcome


async def test_a_function_gives_what_it_gives_when_it_is_called_here() -> None:
    """A result has the type that the signature says, not that of its JSON."""
    broker = f"memory://{secrets.token_hex(4)}"
    worker = EffectWorker(broker)
    for function in (add, named, Note):
        worker.tool(function)
    worker.tool(name="geo.move", lane="far")(move)
    async with worker, EffectClient(broker) as client:
        turn = client.turn("s", "t")
        assert await turn.call(add, a=1, b=2) == 3
        assert await turn.call(add, 1) == 6
        point = Point(x=1, when=datetime.date(2026, 1, 2))
        assert await turn.call(move, point, by=2) == Point(x=3, when=point.when)
        assert await turn.call(named, "x") == "x by named"
        assert await turn.with_options(call_id="c9").call(named, who="y") == "y by c9"
        assert await turn.call(Note, text="a") == Note(text="a")


async def test_a_failure_of_the_tool_is_the_error_of_every_value() -> None:
    asked = Asked()
    with pytest.raises(OutcomeFailedError, match="slow") as failed:
        await Turn(asked, "s", "t").call(fail, "x")
    assert failed.value.code == "timeout"
    assert asked.calls == [("fail", {"why": "x"}, "fail")]


async def test_name_and_lane_are_those_of_the_registration() -> None:
    """How to wait is said beside the call, so that no argument of the function is hidden."""
    asked = Asked()
    turn = Turn(asked, "s", "t")
    point = Point(x=1, when=datetime.date(2026, 1, 2))
    for made in (turn, turn.with_options(lane="near", timeout=7)):
        with pytest.raises(OutcomeFailedError):
            await made.call(move, point, 2)
    args = {"point": {"x": 1, "when": "2026-01-02"}, "by": 2}
    assert asked.calls == [("geo.move", args, "geo.move")] * 2
    assert asked.lanes == ["far", "near"]
    assert asked.timeouts == [30.0, 7]


async def test_sets_have_one_order_in_every_program() -> None:
    """The order of a set is by chance, and another order would be another effect."""
    asked = Asked()
    with pytest.raises(OutcomeFailedError):
        await Turn(asked, "s", "t").call(mix, {"b", "c", "a"}, {"x": [{3, 1}]})
    assert asked.calls[0][1] == {"tags": ["a", "b", "c"], "members": {"x": [[1, 3]]}}


async def test_a_value_that_the_function_does_not_promise_is_an_error_with_its_tool() -> None:
    broker = f"memory://{secrets.token_hex(4)}"
    worker = EffectWorker(broker)
    worker.tool(liar)
    worker.tool(untold)
    async with worker, EffectClient(broker) as client:
        turn = client.turn("s", "t")
        with pytest.raises(MalformedError, match="'liar' returned a value that is not of"):
            await turn.call(liar, "text")
        assert await turn.call(untold, {"a": 1}) == {"a": 1}


def test_what_cannot_be_called_by_its_function_takes_no_number() -> None:
    """Each with a sentence that says what to do."""
    turn = Turn(Asked(), "s", "t")
    call: Any = turn.call

    def stranger() -> None: ...

    with pytest.raises(
        ConfigurationError, match=r"stranger is not registered as a tool .* @app.tool"
    ):
        call(stranger)
    with pytest.raises(ConfigurationError, match="not registered as a tool"):
        call([])
    with pytest.raises(ConfigurationError, match=r"returns Attachment.*turn.tool_call\('draw'"):
        call(draw)
    with pytest.raises(ConfigurationError, match="another type"):
        call(count)
    with pytest.raises(TypeError, match="tool 'add': missing a required argument: 'a'"):
        call(add)
    with pytest.raises(TypeError, match="unexpected keyword argument 'context'"):
        call(named, "x", context=None)
    with pytest.raises(MalformedError, match="value: found a Python object"):
        call(liar, object())
    assert turn.invocation("sleep") == Turn(Asked(), "s", "t").invocation("sleep")


def test_a_function_with_two_names_must_be_called_by_one() -> None:
    def both() -> int:
        return 1

    worker = EffectWorker()
    worker.tool(name="one")(both)
    worker.tool(name="two")(both)
    with pytest.raises(ConfigurationError, match=r"several tools \(one, two\)"):
        Turn(Asked(), "s", "t").call(both).close()


def test_a_function_is_not_kept_by_having_been_a_tool() -> None:
    """A program may make workers and tools without end."""

    def passing() -> int:
        return 1

    EffectWorker().tool(passing)
    gone = weakref.ref(passing)
    del passing
    gc.collect()
    assert gone() is None
