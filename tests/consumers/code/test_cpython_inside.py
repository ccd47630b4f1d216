"""The parts of the sandbox's program that need no sandbox, and what its process came to."""

from __future__ import annotations

import json
import random
import signal
from typing import Any

import pytest

from effectmq.consumers.code.cpython.inside.block import evaluate, explained
from effectmq.consumers.code.cpython.inside.kept import (
    NotPlainError,
    TooLargeError,
    plain,
    remember,
    restore,
)
from effectmq.consumers.code.cpython.verdicts import FORGED, ended, explained_error, fault
from effectmq.consumers.code.engine import BlockStoppedError, EngineCrashedError
from effectmq.consumers.code.settings import CodeSettings

SETTINGS = CodeSettings()


def nested(depth: int) -> object:
    """A list in a list in a list."""
    return [nested(depth - 1)] if depth else 0


def endless() -> list[object]:
    """A list that holds itself."""
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [0, -(10**400), 1.5, "ü", True, None, [], {"a": [{}]}])
def test_plain_data_is_plain(value: object) -> None:
    """What JSON gives back as it was."""
    plain(value, 1_000)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1}, "a set"),
        ([b"x"], "a bytes"),
        ((1,), "a tuple"),
        ({1: 2}, "a int as a key"),
        (1 << 20_000, "a whole number of 20001 bits"),
        (nested(101), "more than 100 levels"),
        (endless(), "more than 100 levels"),
    ],
    ids=["set", "bytes", "tuple", "key", "number", "nested", "endless"],
)
def test_anything_else_is_not(value: object, words: str) -> None:
    """It says what was found."""
    with pytest.raises(NotPlainError, match=words):
        plain(value, 1_000_000)


@pytest.mark.parametrize("value", ["x" * 100, [0] * 100, {"x" * 100: 0}, 10**100, [[]] * 100])
def test_what_is_large_is_noticed_while_counting(value: object) -> None:
    """Whatever makes it large."""
    with pytest.raises(TooLargeError):
        plain(value, 30)


def test_variables_are_remembered_and_restored() -> None:
    """With the random numbers where they were, and the kinds of what is forgotten."""
    state = random.Random("x").getstate()
    line = remember({"a": [1], "f": print, "g": "\n\ud800"}, state, 100_000)
    assert "\n" not in line
    kept, forgotten, randomness = restore(line)
    assert kept == {"a": [1], "g": "\n\ud800"}
    assert forgotten == {"f": "builtin_function_or_method"}
    assert randomness == state


def test_what_is_over_the_limit_only_in_writing_is_too_large() -> None:
    """Names and brackets count, too."""
    with pytest.raises(TooLargeError):
        remember({"x" * 90: 1}, None, 100)


@pytest.mark.parametrize("line", ["", "[]", "{}", json.dumps({"random": [3, 1, None]}), "[" * 9999])
def test_what_is_no_state_is_refused(line: str) -> None:
    """As one kind of error."""
    with pytest.raises(ValueError, match="not the state of a session"):
        restore(line)


def test_the_last_expression_is_the_value() -> None:
    """And leaves no name behind."""
    variables: dict[str, Any] = {}
    assert evaluate("x = 1\nx + 1", variables, ()) == 2
    assert evaluate("for x in (5, 6): x", variables, ()) is None
    assert variables["x"] == 6
    assert set(variables) == {"x", "__builtins__"}


def test_awaiting_a_function_of_the_worker_changes_nothing() -> None:
    """Its result is there at once, also inside of another call."""
    assert evaluate("await f(await f(1)) + 1", {"f": lambda n: n * 2}, {"f"}) == 5


def test_a_traceback_begins_in_the_block() -> None:
    """And its middle is left out when it is long."""
    with pytest.raises(ZeroDivisionError) as raised:
        evaluate("def f():\n    1 / 0\nf()", {}, ())
    text, last = explained(raised.value, 10_000)
    assert text.startswith('Traceback (most recent call last):\n  File "<block>", line 3, in')
    assert last == "ZeroDivisionError: division by zero"
    short, _ = explained(ValueError("x" * 1_000), 100)
    assert len(short) < 110
    assert "\n…\n" in short


@pytest.mark.parametrize("status", [-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGKILL])
def test_a_process_that_was_killed_fails_the_attempt(status: int) -> None:
    """Trying again may help."""
    assert isinstance(ended(status, SETTINGS), EngineCrashedError)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit status 0"),
        (128 + signal.SIGSEGV, "exit status 139"),
        (128 + signal.SIGXCPU, "time_limit_s"),
    ],
)
def test_a_process_that_ended_by_itself_is_the_blocks_doing(status: int, words: str) -> None:
    """Trying again would do the same."""
    problem = ended(status, SETTINGS)
    assert isinstance(problem, BlockStoppedError)
    assert words in problem.sentence


def test_limits_that_code_can_catch_are_named_in_its_error() -> None:
    """An error of the same type for another reason is left as it is."""
    waiting = {"error": "sock.recv", "exception": "BlockingIOError: [Errno 11] unavailable"}
    assert explained_error(waiting, SETTINGS) == "sock.recv"
    forking = {"error": "os.fork()", "exception": "BlockingIOError: [Errno 11] unavailable"}
    assert (explained_error(forking, SETTINGS) or "").startswith("a block is one process")
    assert explained_error({"value": "1"}, SETTINGS) is None


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"fault": "memory"}, "memory_bytes"),
        ({"fault": "state", "size_bytes": 7}, "take 7 bytes"),
        ({"fault": "state", "size_bytes": "x"}, "state_bytes"),
        ({"fault": ["?"]}, FORGED),
    ],
)
def test_a_limit_that_ends_a_block_is_named(document: dict[str, object], words: str) -> None:
    """What the process says of it is not trusted."""
    assert words in (fault(document, SETTINGS) or "")
