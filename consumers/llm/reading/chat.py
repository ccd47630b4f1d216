"""
Turns Chat Completions, as servers send them, into a form that its library can read. No I/O.

A whole answer and a stream are read with the same checks: errors, choices, tool calls, and the
usage, which is passed on once.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from typing import Any

from effectmq.consumers.llm.port import CallFailure, ModelCallError
from effectmq.consumers.llm.reading.bodies import error_in, says_quota, status_of
from effectmq.consumers.llm.reading.forms import not_json, unreadable
from effectmq.consumers.llm.reading.tool_calls import Gathering, GluedCallsError, whole_calls
from effectmq.protocol.encoding.narrowing import is_object, items_of, members_of, objects_of

__all__ = ["DONE", "ChatStream", "glued", "read_whole"]

#: The data of the event that ends a stream.
DONE = "[DONE]"

_Chunk = dict[str, Any]


def glued(found: str) -> ModelCallError:
    """The failure of an answer whose tool calls cannot be separated."""
    return ModelCallError(
        CallFailure(
            "unreadable_response",
            f"the provider joined several tool calls: found {found}; expected for each call its "
            "own id, name and one JSON value",
            retryable=True,
        )
    )


def read_whole(body: dict[str, Any], offered: Collection[str]) -> object:
    """
    Correct a whole answer, in place.

    Args:
        body: The answer as plain data.
        offered: The names of the tools that the request offers.

    Returns:
        The usage.

    Raises:
        ModelCallError: When it is not an answer.
    """
    _check_choices(body)
    for choice in _choices_of(body):
        message = members_of(choice.get("message"))
        if message.get("tool_calls"):
            try:
                calls = whole_calls(message["tool_calls"], offered)
            except GluedCallsError as problem:
                raise glued(problem.found) from None
            message["tool_calls"] = _with_ids(calls)
    body["usage"] = _counts(body.get("usage"))
    return body["usage"]


def _check_choices(body: dict[str, Any]) -> None:
    choices = items_of(body.get("choices"))
    if choices and is_object(choices[0]):
        if is_object(choices[0].get("message")):
            return
        found = "its first choice holds no message"
    else:
        found = "it holds no choice"
    raise ModelCallError(_no_choice(body, found))


def _no_choice(body: dict[str, Any], found: str) -> CallFailure:
    raw = json.dumps(body, ensure_ascii=False)
    if _filtered(body):
        return CallFailure(
            "content_filter",
            "the provider's content filter refused the request before there was an answer",
            raw=raw,
            terminal_reason="content_filter",
        )
    return CallFailure(
        "unreadable_response",
        f"the provider's answer cannot be read: {found}",
        retryable=True,
        raw=raw,
    )


def _filtered(body: dict[str, Any]) -> bool:
    """Whether an answer without a choice says that a filter removed it."""
    feedback = body.get("promptFeedback") or body.get("prompt_feedback")
    if isinstance(feedback, dict):
        return True
    results = body.get("prompt_filter_results") or body.get("prompt_annotations")
    return '"filtered": true' in json.dumps(results)


def _counts(usage: object) -> dict[str, Any] | None:
    """The counts in the usage; an answer is not refused for a usage that cannot be read."""
    if not is_object(usage):
        return None
    found = _numbers(usage)
    for name in ("prompt_tokens", "completion_tokens"):
        if not isinstance(found.get(name), int):
            return None
    return {"total_tokens": found["prompt_tokens"] + found["completion_tokens"], **found}


def _numbers(members: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members.items():
        if is_object(value):
            found[name] = _numbers(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
    return found


def _with_ids(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls, each with an id, which results refer to."""
    return [{"id": f"call_{secrets.token_hex(12)}", **call} for call in calls]


class ChatStream:
    """
    Reads the events of one stream.

    Args:
        offered: The names of the tools that the request offers.
    """

    def __init__(self, offered: Collection[str]) -> None:
        self._gathered = Gathering(offered)
        self._gathers = False
        self._like: _Chunk = {}
        self._choices = False
        #: The last usage of the stream.
        self.usage: dict[str, Any] | None = None

    def read(self, data: str) -> list[str]:
        """
        The data of the events to pass on in place of one event.

        Raises:
            ModelCallError: When there will be no answer.
        """
        try:
            found: object = json.loads(data)
        except (ValueError, RecursionError):
            raise not_json(data) from None
        if not is_object(found):
            raise unreadable("an event of its stream is no object", data)
        chunk: _Chunk = found
        error = _error_of(chunk)
        if error is not None:
            return [json.dumps(_with_status(error))]
        self.usage = _counts(chunk.pop("usage", None)) or self.usage
        choices = _choices_of(chunk)
        self._choices = self._choices or bool(choices)
        if choices:
            self._like = {name: value for name, value in chunk.items() if name != "choices"}
        told = self._gather(choices)
        if choices:
            told.append(json.dumps(chunk))
        elif _filtered(chunk):
            raise ModelCallError(_no_choice(chunk, ""))
        return told

    def _gather(self, choices: list[_Chunk]) -> list[str]:
        """Take the tool calls out of the choices; returns those that are complete."""
        told: list[str] = []
        for choice in choices:
            delta = choice.get("delta")
            if is_object(delta):
                if delta.get("tool_calls"):
                    self._gathers = True
                    self._gathered.add(delta["tool_calls"])
                delta.pop("tool_calls", None)
            elif "delta" in choice:
                choice["delta"] = {}
            if choice.get("finish_reason") and self._gathers:
                told.append(self._calls())
        return told

    def _calls(self) -> str:
        """All calls in one chunk, at the end of the answer."""
        self._gathers = False
        try:
            calls = self._gathered.calls()
        except GluedCallsError as problem:
            raise glued(problem.found) from None
        delta = {"role": "assistant", "content": None, "tool_calls": _with_ids(calls)}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return json.dumps({**self._like, "choices": [choice]})

    def end(self) -> list[str]:
        """
        The data of the events to add at the end.

        Raises:
            ModelCallError: When there was no answer.
        """
        if not self._choices:
            raise ModelCallError(_no_choice({"usage": self.usage}, "it holds no choice"))
        if self.usage is None:
            return []
        return [json.dumps({**self._like, "choices": [], "usage": self.usage})]


def _error_of(chunk: _Chunk) -> dict[str, Any] | None:
    """The error of an event; any that is not empty counts, also beside other members."""
    error = error_in(chunk)
    if error is None and chunk.get("error"):
        return error_in({"error": chunk["error"]})
    return error


def _choices_of(chunk: _Chunk) -> list[_Chunk]:
    return objects_of(chunk.get("choices"))


def _with_status(body: dict[str, Any]) -> dict[str, Any]:
    """An error in a stream, with a code by which the library can classify it."""
    error = members_of(body["error"])
    code = error.get("code")
    if says_quota(body):
        return {"error": {**error, "code": "insufficient_quota"}}
    if isinstance(code, int) or (isinstance(code, str) and code == "context_length_exceeded"):
        return {"error": error}
    return {"error": {**error, "code": str(status_of(body)), "original_code": code}}
