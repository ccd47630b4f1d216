"""
Logging of a command to stderr, as text for people or as JSON for machines.

Both forms are one line per record: control characters are escaped, and what looks like a password
is replaced. In text a traceback keeps its lines.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

from effectmq.broker.progress_line import clear_line
from effectmq.protocol.encoding.narrowing import is_dict, is_sequence, is_set
from effectmq.protocol.text import printable
from effectmq.settings.environment import read_variable
from effectmq.settings.table import settings_of

__all__ = ["JsonFormatter", "LineFormatter", "logging_to_stderr", "settle_logging"]

_DEFAULT_LEVEL = "WARNING"
_MAX_MESSAGE = 8_000

#: What names an effect: the word of the tables, and the key of ``--json`` and of ``extra``.
_NAMES = {
    "session": "session_id",
    "turn": "turn_id",
    "effect": "effect_id",
    "hash": "hash",
    "tool": "tool",
    "model": "model",
}
_HASH_DIGITS = 12
_MAX_NAME = 220

#: The attributes of every record; all others were given as ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def settle_logging(args: argparse.Namespace) -> None:
    """
    Add what the variables say to a command line that does not say what is logged.

    Raises:
        ConfigurationError: When a variable cannot be used.
    """
    for setting in settings_of("log"):
        if getattr(args, setting.name, None) is None:
            setattr(args, setting.name, read_variable(setting))
    if args.log_level is None:
        args.log_level = getattr(args, "default_log_level", _DEFAULT_LEVEL)


@contextmanager
def logging_to_stderr(args: argparse.Namespace) -> Generator[None]:
    """Log to stderr while the body runs, as the command line says."""
    handler = _StderrHandler()
    as_json = getattr(args, "log_format", None) == "json"
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
    """Writes to the present ``sys.stderr``, on a line of its own."""

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
        time = _clock(int(record.created))
        said = _message(record)
        line = f"{time} {record.levelname} {record.name}: {said}{_named(record, said)}"
        return "\n".join([line, *_traceback(record)])


@lru_cache(maxsize=4)
def _clock(second: int) -> str:
    """The time of day here; a worker writes many lines in one second."""
    return datetime.fromtimestamp(second).strftime("%H:%M:%S")


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, and what was given as ``extra``."""

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


def _named(record: logging.LogRecord, sentence: str) -> str:
    """The effect that the line is about, as tables name it; its id when the sentence has none."""
    parts = [
        f"{word} {value[:_HASH_DIGITS] if word == 'hash' else value}"
        for word, key in _NAMES.items()
        if isinstance(value := getattr(record, key, None), str)
        and value
        and not (word == "effect" and f"effect {value}" in sentence)
    ]
    return f" ({', '.join(printable(part, _MAX_NAME) for part in parts)})" if parts else ""


def _traceback(record: logging.LogRecord) -> list[str]:
    # A text that is there already is meant to be shown in place of the exception.
    text = record.exc_text or ""
    if record.exc_info and not text:
        text = logging.Formatter().formatException(record.exc_info)
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
