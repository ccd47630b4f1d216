"""
The sandbox's end of the two pipes to the worker: one JSON document a line, never a pickle.

The pipes take over standard input and output, out of reach of ``print``: whatever the code writes
to either output arrives at the worker as printed text.
"""

from __future__ import annotations

import base64
import builtins
import io
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn, TypedDict

from effectmq.consumers.code.cpython.inside.kept import NotPlainError, TooLargeError, plain

__all__ = ["Instructions", "Wire"]


class Instructions(TypedDict):
    """The worker's instructions to the sandbox before a block, in one document."""

    code: str
    seed: str
    has_state: bool
    functions: list[str]
    user: int | None
    limits: dict[str, int]
    depth: int
    value_chars: int
    state_bytes: int
    argument_bytes: int


class Wire:
    """
    The connection of this process to the worker; it takes over the standard streams.
    """

    def __init__(self) -> None:
        self._from_worker = os.fdopen(os.dup(0), "rb")
        self._to_worker = os.fdopen(os.dup(1), "wb", buffering=0)
        nothing, write_end = os.pipe()
        os.close(write_end)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        sys.stdin = os.fdopen(0, "r", closefd=False)
        # One object for both, which keeps the order of output and errors.
        sys.stdout = sys.stderr = self._printed = io.TextIOWrapper(
            os.fdopen(1, "wb", closefd=False),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )

    def instructions(self) -> Instructions:
        """The first document of the worker, which the sandbox trusts."""
        told: Instructions = self._read()
        return told

    def _read(self) -> Any:
        line = self._from_worker.readline()
        if not line:
            os._exit(0)
        return json.loads(line)

    def read_text(self) -> str:
        """The next line of the worker, unchanged."""
        return self._from_worker.readline().decode()

    def write(self, document: Mapping[str, object], *more: str) -> None:
        """Send a document, and lines that are JSON already."""
        lines = "\n".join((json.dumps(document), *more, ""))
        left = memoryview(lines.encode())
        while left:
            left = left[self._to_worker.write(left) :]

    def flush(self) -> None:
        """Send the printed text."""
        # The code may have closed the stream.
        with suppress(OSError, ValueError):
            self._printed.flush()

    def ask(self, document: Mapping[str, object]) -> Any:
        """
        Ask the worker, and wait for the answer.

        Raises:
            Exception: The built-in exception that the worker answers with.
        """
        self.flush()
        self.write(document)
        answer: dict[str, Any] = self._read()
        if "raise" in answer:
            _raise(*answer["raise"])
        return answer.get("return")

    def call(
        self,
        name: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        limit_bytes: int,
        later: int | None = None,
    ) -> object:
        """
        Call a function of the worker.

        Args:
            name: The function.
            args: The positional arguments.
            kwargs: The keyword arguments.
            limit_bytes: The limit of all arguments together.
            later: A number under which the result is awaited later; else ``None``.

        Raises:
            TypeError: When the arguments cannot be sent.
            Exception: The exception of the call.
        """
        try:
            document: dict[str, object] = {
                "type": "call",
                "name": name,
                "args": [_sent(item, limit_bytes) for item in args],
                "kwargs": {key: _sent(item, limit_bytes) for key, item in kwargs.items()},
            }
        except NotPlainError as problem:
            raise TypeError(f"the arguments of {name}() cannot be sent: {problem}") from None
        except TooLargeError:
            raise TypeError(
                f"the arguments of {name}() cannot be sent: they are over the limit of "
                f"{limit_bytes} bytes"
            ) from None
        if later is not None:
            document["later"] = later
        return self.ask(document)


def _sent(value: object, limit_bytes: int) -> dict[str, object]:
    if isinstance(value, bytes):
        if len(value) > limit_bytes:
            raise TooLargeError(len(value))
        return {"bytes": base64.b64encode(value).decode()}
    plain(value, limit_bytes, tuples=True)
    return {"json": value}


def _raise(exception: str, message: str) -> NoReturn:
    kind = getattr(builtins, exception, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        kind = RuntimeError
    try:
        error = kind(message)
    except TypeError:
        error = RuntimeError(f"{exception}: {message}")
    raise error
