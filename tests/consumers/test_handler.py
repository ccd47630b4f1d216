"""Functions as handlers: what they may take, and what becomes of what they return."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from effectmq.consumers.decisions.retry import DEFAULT_RETRY, NO_RETRY
from effectmq.consumers.handler import (
    EffectContext,
    HandlerTimeoutError,
    call,
    checked_outcome,
    function_handler,
    with_tried,
)
from effectmq.consumers.pipeline.collector import LIMBO_HANDLER
from effectmq.consumers.sleep import SleepHandler
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import ConfigurationError, RejectEffectError
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSleep
from tests.consumers.stage import PATIENCE_S, code, nap
from tests.protocol.documents import example, examples
from tests.waiting import eventually

REQUEST = Request.seal(code("x"))
CONTEXT = EffectContext(REQUEST.envelope, "1", 1, 0, "")
OUTCOMES = sorted(
    label for label, found in examples().items() if found["type"] == "RuntimeEffectOutcome"
)


def one(command: object) -> None: ...
def two(command: object, context: EffectContext) -> None: ...
def with_default(command: object, *, verbose: bool = False) -> None: ...


class Bound:
    """A handler may be a method."""

    def handle(self, command: object, context: EffectContext) -> None: ...


@pytest.mark.parametrize(
    ("function", "wants_context"),
    [(one, False), (two, True), (with_default, False), (Bound().handle, True)],
)
def test_a_handler_takes_the_command_and_perhaps_the_context(
    function: Any, wants_context: bool
) -> None:
    """Seen from its signature."""
    made = function_handler("exec_code", function, NO_RETRY, 2.5)
    assert made.wants_context is wants_context
    assert (made.kind, made.retry, made.limit_s(REQUEST)) == ("exec_code", NO_RETRY, 2.5)


def none() -> None: ...
def three(a: object, b: object, c: object) -> None: ...
def keyword(command: object, *, needed: int) -> None: ...


@pytest.mark.parametrize("function", [none, three, keyword])
def test_a_function_that_cannot_be_called_so_is_refused(function: Any) -> None:
    """At registration, with its name."""
    with pytest.raises(ConfigurationError, match=function.__name__):
        function_handler("exec_code", function, DEFAULT_RETRY, None)


def test_a_time_limit_in_which_nothing_can_run_is_refused() -> None:
    """Zero is not the default."""
    with pytest.raises(ConfigurationError, match="time_limit_s=0"):
        function_handler("exec_code", one, DEFAULT_RETRY, 0)


@pytest.mark.parametrize("label", OUTCOMES)
def test_an_outcome_of_its_kind_is_taken_as_model_and_as_plain_data(label: str) -> None:
    """Every outcome of the contract."""
    outcome = example(label)
    assert checked_outcome(outcome.type, outcome) is outcome
    assert checked_outcome(outcome.type, to_tree(outcome)) == outcome


@pytest.mark.parametrize("kind", EFFECT_KINDS)
def test_an_outcome_of_another_kind_is_refused_with_the_contracts_words(kind: str) -> None:
    """``expected {kind} outcome, got {kind}``."""
    if kind == "sleep":
        return
    with pytest.raises(RejectEffectError) as refused:
        checked_outcome(kind, RuntimeEffectOutcomeSleep())
    assert refused.value.code == "runtime_effect_wrong_outcome"
    assert refused.value.message == f"expected {kind} outcome, got sleep"


@pytest.mark.parametrize("result", [None, 1, "sleep", [], {}, {"type": "nap"}, {1: 1}, object])
def test_anything_else_is_refused_and_says_what_it_was(result: object) -> None:
    """Not tried again: it would give the same."""
    with pytest.raises(RejectEffectError) as refused:
        checked_outcome("sleep", result)
    assert refused.value.code == "runtime_effect_wrong_outcome"
    assert refused.value.message.startswith("expected a sleep outcome, got ")


async def test_what_is_awaitable_is_awaited_and_the_rest_runs_in_a_thread() -> None:
    """Callables of every kind, with the caller's context variables."""
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(7)
    here = threading.get_ident()

    async def on_the_loop(a: int) -> tuple[int, bool]:
        return a, threading.get_ident() == here

    def in_a_thread(a: int) -> tuple[int, bool, int]:
        return a, threading.get_ident() != here, variable.get()

    def lazily(a: int) -> Any:
        return on_the_loop(a)

    assert await call(on_the_loop, (1,), {}) == (1, True)
    assert await call(in_a_thread, (), {"a": 2}) == (2, True, 7)
    assert await call(lazily, (3,), {}) == (3, True)


async def test_stop_iteration_in_a_thread_does_not_hang_its_caller() -> None:
    """A bare ``next()`` is a common mistake, and a future cannot carry what it raises."""

    def careless() -> object:
        return next(iter([]))

    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await call(careless, (), {})


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_call_waits_for_its_thread(fails: bool) -> None:
    """A thread cannot be stopped; whoever cancelled must see that it goes on."""
    began, let_go, ended = threading.Event(), threading.Event(), threading.Event()

    def stubborn() -> None:
        began.set()
        let_go.wait(PATIENCE_S)
        ended.set()
        if fails:
            raise OSError("nobody hears")

    task = asyncio.create_task(call(stubborn, (), {}))
    await eventually(began.is_set)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=0.05)
    assert not done
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_cancelling_twice_does_not_wait() -> None:
    """A worker that leaves now leaves now."""
    let_go = threading.Event()
    task = asyncio.create_task(call(let_go.wait, (PATIENCE_S,), {}))
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    let_go.set()


async def test_nothing_runs_in_limbo() -> None:
    """Its lane has a handler because every lane has one."""
    with pytest.raises(RejectEffectError, match="limbo"):
        await LIMBO_HANDLER.run(REQUEST, CONTEXT)


async def test_a_sleep_that_is_run_is_over() -> None:
    """All of its waiting was done elsewhere."""
    handler, request = SleepHandler(), Request.seal(nap(5))
    assert await handler.run(request, CONTEXT) == RuntimeEffectOutcomeSleep()
    assert handler.limit_s(request) is None
    assert isinstance(handler.timed_out(request, 1.0), HandlerTimeoutError)


def test_a_timeout_says_what_to_do() -> None:
    """Raise the limit, or be faster."""
    assert "time_limit_s" in str(HandlerTimeoutError(0.5))
    assert "0.5 s" in str(HandlerTimeoutError(0.5))


@pytest.mark.parametrize("sentence", ["no such tool", "no such tool."])
def test_what_was_tried_is_a_sentence_of_its_own(sentence: str) -> None:
    """And nothing is added where nothing was tried."""
    assert with_tried(sentence, " It was given back.") == "no such tool. It was given back."
    assert with_tried(sentence, "") == sentence
