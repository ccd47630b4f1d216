"""Tracebacks in a log: where it happened, and neither secrets nor what the effect was given."""

from __future__ import annotations

import logging
from functools import partial

import pydantic
import pytest

from effectmq.consumers.logs.tracebacks import log_raised, traceback_of
from effectmq.consumers.logs.withheld import without_values, words_of
from effectmq.protocol.messages.request import Request
from tests.consumers.stage import code, tool


def raised(problem: BaseException, cause: BaseException | None = None) -> BaseException:
    """An exception that has been raised, so that it has a traceback."""
    try:
        raise problem from cause
    except BaseException as caught:
        return caught


def test_it_says_where_and_what_led_to_it() -> None:
    """Each exception with its file and line, the first one first."""
    text = traceback_of(raised(RuntimeError("outer"), raised(KeyError("inner"))))
    assert text.count("Traceback (most recent call last):") == 2
    assert text.index("KeyError: 'inner'") < text.index("direct cause") < text.index("RuntimeError")
    assert text.count(f'File "{__file__}"') == 2
    assert text.endswith("RuntimeError: outer")


def test_a_context_that_its_author_hides_stays_hidden() -> None:
    """``from None`` is kept to."""
    shown = raised(ValueError("shown"))
    shown.__context__ = raised(KeyError("hidden"))
    shown.__suppress_context__ = False
    assert "KeyError" in traceback_of(shown)
    shown.__suppress_context__ = True
    assert "KeyError" not in traceback_of(shown)


def test_a_circle_of_causes_ends() -> None:
    """Two exceptions may name each other."""
    one, two = raised(ValueError("one")), raised(ValueError("two"))
    one.__cause__, two.__cause__ = two, one
    assert traceback_of(one).count("ValueError") == 2


def test_a_group_shows_the_first_of_its_exceptions() -> None:
    """And how many there are."""
    group = raised(ExceptionGroup("tasks", [raised(KeyError("a")), raised(KeyError("b"))]))
    text = traceback_of(group)
    assert "ExceptionGroup: 2 exceptions, the first:" in text
    assert "  KeyError: 'a'" in text


def test_no_secret_and_no_escape_is_in_it() -> None:
    """An address with a password is in the text of many an exception."""
    text = traceback_of(raised(OSError("amqp://user:geheim@host/ \x1b[31m token=geheim")))
    assert "geheim" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("value", ["4111-1111", "a'quoted", "line\nline", 4711_0815, 3.14159])
def test_what_a_tool_was_given_is_masked(value: object) -> None:
    """Wherever it stands in a text, as it is or as Python writes it."""
    request = Request.seal(tool("pay", card={"number": [value]}))
    for text in (f"no such card {value}", f"no such card {value!r}"):
        assert without_values(text, request).strip("'\"") in (
            "no such card ***",
            "no such card '***",
            'no such card "***',
        )


def test_what_stands_everywhere_is_not_masked() -> None:
    """Masking it would spoil the sentence and hide nothing."""
    request = Request.seal(tool("pay", a="a", b=1, c=True, d=None))
    assert without_values("a is 1 and True", request) == "a is 1 and True"


def test_the_command_of_another_kind_is_masked_as_well() -> None:
    """But not the words of the wire format."""
    request = Request.seal(code("secret_plan()"))
    assert without_values("exec_code of secret_plan()", request) == "exec_code of ***"


def test_a_validation_error_names_members_and_no_values() -> None:
    """Its own text has what was refused."""

    class Card(pydantic.BaseModel):
        number: int

    with pytest.raises(pydantic.ValidationError) as caught:
        Card(number="4111-1111")  # type: ignore[arg-type]
    said = words_of(caught.value)
    assert said.startswith("ValidationError: Card: number: Input should be a valid integer")
    assert "4111" not in said


def test_an_exception_that_cannot_be_shown_is_logged_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Groups in groups without end, and a text that raises: the effect goes on."""

    class Odd(Exception):
        def __str__(self) -> str:
            raise KeyError("no text")

    deep: BaseException = Odd()
    for _ in range(5_000):
        deep = BaseExceptionGroup("g", [deep])
    logger = logging.getLogger("effectmq.test")
    log_raised(logger, logging.WARNING, "it raised", deep, str, {})
    log_raised(logger, logging.WARNING, "it raised", Odd(), str, {})
    one, two = (record.exc_text or "" for record in caplog.records)
    assert one == "(its traceback cannot be shown: RecursionError)"
    assert two == "Odd: its text cannot be read"


def test_every_formatter_prints_it_and_none_gets_the_exception(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A handler that got the exception would print its text, or send its variables."""
    request = Request.seal(tool("pay", card="4111-1111"))
    logger = logging.getLogger("effectmq.test")
    clean = partial(without_values, request=request)
    log_raised(logger, logging.WARNING, "50% raised", raised(ValueError("4111-1111")), clean, {})
    (record,) = caplog.records
    assert record.exc_info is None
    written = logging.Formatter().format(record)
    assert written.startswith("50% raised\nTraceback")
    assert written.endswith("ValueError: ***")
