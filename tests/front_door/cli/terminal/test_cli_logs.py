"""Logging of commands: one line a record, nothing secret, nothing that moves the cursor."""

from __future__ import annotations

import argparse
import json
import logging
import sys

import pytest

from effectmq.cli.terminal.logs import JsonFormatter, LineFormatter, logging_to_stderr

_NASTY = "one\ntwo \x1b[31mred\x1b[0m amqp://user:geheim@host/ password=geheim"


def _args(**values: object) -> argparse.Namespace:
    return argparse.Namespace(**values)


def _log(args: argparse.Namespace, capsys: pytest.CaptureFixture[str]) -> str:
    with logging_to_stderr(args):
        logging.getLogger("effectmq.test").warning(
            "found %s",
            _NASTY,
            extra={"action": "testing", "effect_ids": [_NASTY], "count": 3, "other": object},
        )
    return capsys.readouterr().err


def test_a_line_for_people_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Newlines and escapes are shown as text, passwords as stars."""
    written = _log(_args(), capsys)
    assert len(written.splitlines()) == 1
    assert "WARNING effectmq.test: found one\\ntwo \\x1b[31mred" in written
    assert "geheim" not in written


def test_json_has_the_action_and_whatever_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with stable members first, and everything scrubbed."""
    written = _log(_args(log_format="json"), capsys)
    assert "geheim" not in written
    assert "\x1b" not in written
    (line,) = written.splitlines()
    document = json.loads(line)
    assert list(document)[:4] == ["time", "level", "logger", "message"]
    assert document["level"] == "WARNING"
    assert document["action"] == "testing"
    assert document["count"] == 3
    assert document["effect_ids"][0].startswith("one\\ntwo")
    assert document["time"].endswith("Z")


def test_the_level_decides_what_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """WARNING by default; the command or the user may choose another."""
    for args, expected in ((_args(), False), (_args(log_level="INFO"), True)):
        with logging_to_stderr(args):
            logging.getLogger("effectmq.test").info("hello")
        assert ("hello" in capsys.readouterr().err) is expected


def test_a_traceback_keeps_its_lines_and_loses_its_secrets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In JSON it is one member of one line."""
    for as_json in (False, True):
        with logging_to_stderr(_args(log_format="json" if as_json else "text")):
            try:
                raise ValueError(_NASTY)
            except ValueError:
                logging.getLogger("effectmq.test").exception("failed")
        written = capsys.readouterr().err
        assert "ValueError: one" in written
        assert "geheim" not in written
        assert "\x1b" not in written
        assert (len(written.splitlines()) == 1) is as_json


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()])
def test_a_log_call_with_wrong_arguments_still_says_something(
    formatter: logging.Formatter,
) -> None:
    """A mistake in a log call must not cost the line."""
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "%d things", ("three",), None)
    assert "%d things" in formatter.format(record)
    assert "three" in formatter.format(record)


def test_the_handler_is_gone_afterwards() -> None:
    """A program that calls ``main`` keeps its own logging."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    with logging_to_stderr(_args(log_level="DEBUG")):
        assert len(root.handlers) == len(before[0]) + 1
    assert (list(root.handlers), root.level) == before


def test_it_writes_to_the_stderr_of_the_moment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stream that was replaced meanwhile is not written to."""
    with logging_to_stderr(_args()):
        monkeypatch.setattr(sys, "stderr", sys.stdout)
        logging.getLogger("effectmq.test").warning("here")
    assert "here" in capsys.readouterr().out


_NAMES = {"session_id": "s1", "turn_id": "t1", "effect_id": "e1", "hash": "3f9c01d2a4b6" + "0" * 52}


def test_a_line_about_an_effect_has_the_words_of_the_tables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Session, turn and hash behind the sentence; the effect too, where the sentence has none."""
    for sentence, shown in (
        ("effect e1 failed", "effect e1 failed (session s1, turn t1, hash 3f9c01d2a4b6)"),
        ("it failed", "it failed (session s1, turn t1, effect e1, hash 3f9c01d2a4b6)"),
    ):
        with logging_to_stderr(_args()):
            logging.getLogger("effectmq.test").warning(sentence, extra=_NAMES)
        assert capsys.readouterr().err.endswith(f"{shown}\n")
    with logging_to_stderr(_args(log_format="json")):
        logging.getLogger("effectmq.test").warning("effect e1 failed", extra=_NAMES)
    document = json.loads(capsys.readouterr().err)
    assert document["message"] == "effect e1 failed"
    assert {key: document[key] for key in _NAMES} == _NAMES


def test_names_of_others_cannot_break_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    """They come from whoever publishes."""
    with logging_to_stderr(_args()):
        logging.getLogger("effectmq.test").warning("odd", extra={"session_id": _NASTY * 100})
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 1
    assert len(written) < 400
    assert "geheim" not in written
    assert "\x1b" not in written


def test_a_traceback_without_its_exception_is_shown_in_both_forms() -> None:
    """A worker hands on the text alone, because the exception has more than may be shown."""
    record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "it raised", (), None)
    record.exc_text = "Traceback (most recent call last):\nValueError: ***"
    assert LineFormatter().format(record).splitlines()[1:] == record.exc_text.splitlines()
    assert json.loads(JsonFormatter().format(record))["traceback"] == record.exc_text
