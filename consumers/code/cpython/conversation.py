"""
The questions of a block while it runs, and its last message. Nothing in them is trusted.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable
from dataclasses import dataclass

from effectmq.consumers.code.cpython.child import Child
from effectmq.consumers.code.cpython.verdicts import FORGED, explained_error, fault
from effectmq.consumers.code.data.values import CodeError
from effectmq.consumers.code.engine import BlockStoppedError, Host
from effectmq.consumers.code.faults import OVER_QUESTIONS
from effectmq.consumers.code.settings import CodeSettings
from effectmq.protocol.encoding.narrowing import is_object, items_of, members_of

__all__ = ["Conversation", "Finished"]

#: The limit of questions beyond calls and sleeps: the time, refused calls, images.
_MOST_QUESTIONS = 2_000


@dataclass(frozen=True, slots=True)
class Finished:
    """
    The last message of a block.

    Attributes:
        value: Its last value as text.
        error: Why it stopped before its end; ``None`` when it did not.
        state: The session's variables, for the next process to read.
    """

    value: str
    error: str | None
    state: bytes


class Conversation:
    """
    Answers the questions of one block, in order.

    Args:
        child: The process of the block.
        host: Answers them.
        settings: The limits.
    """

    def __init__(self, child: Child, host: Host, settings: CodeSettings) -> None:
        self._child = child
        self._host = host
        self._settings = settings
        most_calls = 2 * settings.max_tool_calls
        self._questions_left = _MOST_QUESTIONS + most_calls + settings.max_sleeps
        #: Calls that the code has not awaited yet, by the numbers that the code gave them.
        self._begun: dict[int, Awaitable[object]] = {}

    async def to_the_end(self) -> Finished:
        """
        Answer until the block has finished.

        Raises:
            BlockStoppedError: When it reached a limit.
            EndedError: When its process ended before that.
            Exception: An error of the host that is not for the code.
        """
        answer = b""
        while True:
            document = _document(await self._child.exchange(answer))
            if document.get("type") == "done":
                return await self._finished(document)
            self._questions_left -= 1
            if self._questions_left < 0:
                raise BlockStoppedError(OVER_QUESTIONS)
            answer = await self._answer(document)

    async def _finished(self, document: dict[str, object]) -> Finished:
        sentence = fault(document, self._settings)
        if sentence is not None:
            raise BlockStoppedError(sentence)
        state = await self._child.exchange(b"")
        error = explained_error(document, self._settings)
        return Finished(str(document.get("value", "")), error, state)

    async def _answer(self, question: dict[str, object]) -> bytes:
        answer: dict[str, object]
        try:
            answer = {"return": await self._asked(question)}
        except CodeError as error:
            answer = {"raise": [error.exception, error.message]}
        return json.dumps(answer).encode() + b"\n"

    async def _asked(self, question: dict[str, object]) -> object:
        match question:
            case {"type": "now"}:
                return await self._host.now_ms()
            case {"type": "sleep", "seconds": int() | float() as seconds}:
                await self._host.sleep(float(seconds))
                return None
            case {"type": "call", "name": str() as name, "args": list(), "kwargs": dict()}:
                return await self._called(name, question)
            case {"type": "wait", "call": int() as number} if number in self._begun:
                return await self._begun.pop(number)
            case _:
                raise BlockStoppedError(FORGED)

    async def _called(self, name: str, question: dict[str, object]) -> object:
        if not self._host.knows(name):
            raise CodeError("NameError", f"name '{name}' is not defined")
        args = tuple(_received(item) for item in items_of(question["args"]))
        kwargs = {key: _received(item) for key, item in members_of(question["kwargs"]).items()}
        number = question.get("later")
        if number is None:
            return await self._host.call(name, args, kwargs)
        if not isinstance(number, int) or number in self._begun:
            raise BlockStoppedError(FORGED)
        self._begun[number] = self._host.begin(name, args, kwargs)
        return None


def _document(line: bytes) -> dict[str, object]:
    try:
        document: object = json.loads(line)
    except (ValueError, RecursionError):
        raise BlockStoppedError(FORGED) from None
    if not is_object(document):
        raise BlockStoppedError(FORGED)
    return document


def _received(item: object) -> object:
    match members_of(item):
        case {"json": value}:
            return value
        case {"bytes": str() as text}:
            try:
                return base64.b64decode(text, validate=True)
            except ValueError:
                raise BlockStoppedError(FORGED) from None
        case _:
            raise BlockStoppedError(FORGED)
