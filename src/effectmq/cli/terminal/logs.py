"""
Logging of a command: to stderr, for people or as JSON for machines.

Both forms are one line a record, whatever is in it: control characters are escaped, and what looks
like a password is replaced. Tracebacks, which are a defect's own, keep their lines.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TextIO

from effectmq.cli.terminal.progress import clear_line
from effectmq.protocol.encoding.narrowing import is_dict, is_sequence, is_set
from effectmq.protocol.text import printable

__all__ = ["JsonFormatter", "LineFormatter", "logging_to_stderr"]

_DEFAULT_LEVEL = "WARNING"
_MAX_MESSAGE = 8_000

#: What names an effect: the word of the tables, and the key of ``--json`` and of ``extra``.
_NAMES = {"session": "session_id", "turn": "turn_id", "effect": "effect_id", "hash": "hash"}
_HASH_DIGITS = 12
_MAX_NAME = 220

#: What every record has; the rest was given as ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextmanager
def logging_to_stderr(args: argparse.Namespace) -> Generator[None]:
    """Log to stderr while the body runs, as the command line says."""
    handler = _StderrHandler()
    as_json: bool = getattr(args, "log_json", False)
    handler.setFormatter(JsonFormatter() if as_json else LineFormatter())
    root = logging.getLogger()
    previous = root.level
    root.addHandler(handler)
    root.setLevel(getattr(args, "log_level", _DEFAULT_LEVEL))
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(previous)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stderr`` is at the moment, on a line of its own."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        clear_line()
        super().emit(record)


class LineFormatter(logging.Formatter):
    """``14:03:22 WARNING effectmq.worker: sentence (session s1, turn t1, hash 3f9c01d2a4b6)``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback under it when there is one."""
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{time} {record.levelname} {record.name}: {_message(record)}{_named(record)}"
        return "\n".join([line, *_traceback(record)])


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, and whatever was given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        time = datetime.fromtimestamp(record.created, UTC)
        document: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in document:
                document[name] = _plain(value)
        traceback = _traceback(record)
        if traceback:
            document["traceback"] = "\n".join(traceback)
        return json.dumps(document, ensure_ascii=False)


def _message(record: logging.LogRecord) -> str:
    try:
        return printable(record.getMessage(), _MAX_MESSAGE)
    except Exception as problem:
        # A log call with the wrong arguments must not hide what it wanted to say.
        return printable(f"{record.msg!r} {record.args!r} ({type(problem).__name__})")


def _named(record: logging.LogRecord) -> str:
    """The effect that the line is about, as tables name it; its id when the sentence has none."""
    sentence = _message(record)
    parts = [
        f"{word} {value[:_HASH_DIGITS] if word == 'hash' else value}"
        for word, key in _NAMES.items()
        if isinstance(value := getattr(record, key, None), str)
        and value
        and not (word == "effect" and f"effect {value}" in sentence)
    ]
    return f" ({', '.join(printable(part, _MAX_NAME) for part in parts)})" if parts else ""


def _traceback(record: logging.LogRecord) -> list[str]:
    text = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
    if record.stack_info:
        text = f"{text}\n{record.stack_info}"
    return [printable(line) for line in text.splitlines() if line]


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if is_dict(value):
        return {printable(str(name)): _plain(item) for name, item in value.items()}
    if is_sequence(value) or is_set(value):
        return [_plain(item) for item in value]
    return printable(str(value), _MAX_MESSAGE)
