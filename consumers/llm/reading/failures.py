"""
From an exception of a provider's library to the failure on the wire.

=====================================  ==========================  =========  ===================
error                                  code                        retry      terminal reason
=====================================  ==========================  =========  ===================
429                                    ``rate_limited``            yes        provider_error
quota, credits or billing used up      ``quota_exceeded``          no         provider_error
overloaded (529)                       ``overloaded``              yes        provider_error
503                                    ``unavailable``             yes        provider_error
other 5xx                              ``server_error``            yes        provider_error
no answer in time                      ``timeout``                 yes        provider_error
no connection, or it broke             ``connection_failed``       yes        provider_error
an answer that cannot be read          ``unreadable_response``     yes        provider_error
401, 403                               ``authentication_failed``   no         provider_error
404                                    ``model_not_found``         no         provider_error
the conversation is too long           ``context_overflow``        no         context_overflow
content filter                         ``content_filter``          no         content_filter
other 4xx                              ``invalid_request``         no         provider_error
something the model cannot do          ``invalid_request``         no         provider_error
anything else                          ``task_join_failed``        no         provider_error
=====================================  ==========================  =========  ===================

A provider that says whether to try again (``x-should-retry``) is believed. Its words are kept in
``raw``, without the API key: some providers repeat the key that they refuse.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelOverloadedError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    ModelServerError,
    ModelTimeoutError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
    UserError,
)

from effectmq.consumers.decisions.retry_after import wait_asked_for
from effectmq.consumers.llm.port import CallFailure
from effectmq.consumers.llm.reading.bodies import says_quota, says_too_long, status_of
from effectmq.consumers.llm.reading.forms import title_of
from effectmq.protocol.encoding.narrowing import is_object, members_of
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.llm_response import LlmTerminalReason, LlmUsage

__all__ = ["failure_from", "failure_in_stream", "paid_for", "without_key"]

_MAX_RAW = 4_000
#: More in one call is a mistake.
_MOST_TOKENS = 10**10
_MASK = "***"
_NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class _Sort:
    code: str
    retryable: bool
    terminal_reason: LlmTerminalReason = "provider_error"


_QUOTA = _Sort("quota_exceeded", False)
_RATE_LIMITED = _Sort("rate_limited", True)
_OVERLOADED = _Sort("overloaded", True)
_UNAVAILABLE = _Sort("unavailable", True)
_SERVER_ERROR = _Sort("server_error", True)
_OVERFLOW = _Sort("context_overflow", False, "context_overflow")
_NO_ACCESS = _Sort("authentication_failed", False)
_NO_MODEL = _Sort("model_not_found", False)
_REFUSED = _Sort("invalid_request", False)
_UNREADABLE = _Sort("unreadable_response", True)
_DIED = _Sort("task_join_failed", False)

#: The first class that fits is used, so a class is listed before its base class.
_SORTS: tuple[tuple[type[Exception], _Sort], ...] = (
    (ModelQuotaExceededError, _QUOTA),
    (ModelRateLimitError, _RATE_LIMITED),
    (ModelOverloadedError, _OVERLOADED),
    (ModelUnavailableError, _UNAVAILABLE),
    (ModelServerError, _SERVER_ERROR),
    (ModelTimeoutError, _Sort("timeout", True)),
    (ModelRequestTimeout, _Sort("timeout", True)),
    (ModelConnectionError, _Sort("connection_failed", True)),
    (ModelContextWindowExceededError, _OVERFLOW),
    (ModelAuthenticationError, _NO_ACCESS),
    (ModelNotFoundError, _NO_MODEL),
    (ModelRequestRejectedError, _REFUSED),
    (ContentFilterError, _Sort("content_filter", False, "content_filter")),
    (UnexpectedModelBehavior, _UNREADABLE),
    (UserError, _REFUSED),
)

#: An explanation before the library's own words, which can be as short as "error".
_PREFIXES: Mapping[str, str] = {
    "connection_failed": "the connection to the provider failed",
    "timeout": "the provider did not answer in time",
    "unreadable_response": "the provider's answer cannot be read",
    "invalid_request": "the request cannot be put to this model",
    "task_join_failed": "internal task failed",
}

#: Failures for which headers count that tell when a limit is reset.
_LIMITED = frozenset({"rate_limited", "overloaded", "unavailable"})

#: For an error whose class is not listed.
_BY_STATUS: Mapping[int, _Sort] = {
    401: _NO_ACCESS,
    402: _QUOTA,
    403: _NO_ACCESS,
    404: _NO_MODEL,
    429: _RATE_LIMITED,
    503: _UNAVAILABLE,
    529: _OVERLOADED,
}
#: Statuses that ask for another attempt and have no class of their own.
_PASSING_STATUSES = frozenset({408, 409, 425})


def failure_from(
    error: Exception,
    key: str | None = None,
    *,
    headers: Mapping[str, str] = _NO_HEADERS,
    answered: bool = False,
    usage: object = None,
    now_s: float | None = None,
) -> CallFailure:
    """
    The failure of an exception.

    Args:
        error: The exception.
        key: The API key, to be removed from every text.
        headers: The headers of the answer, if there was one.
        answered: Whether there was an answer with status 200; an error after it means that the
            answer cannot be read.
        usage: The usage that the provider named; kept with its words.
        now_s: The time of day, Unix seconds.
    """
    sort = _sort(error)
    if answered and sort is _DIED:
        sort = _UNREADABLE
    retryable, after_s, raw = sort.retryable, None, None
    if isinstance(error, ModelAPIError):
        raw = _raw(error.body)
        if sort is not _QUOTA and says_quota(error.body):
            sort, retryable = _QUOTA, False
        after_s = wait_asked_for(
            error.headers or headers if isinstance(error, ModelHTTPError) else headers,
            error.body,
            now_s=time.time() if now_s is None else now_s,
            limited=sort.code in _LIMITED and not error.in_stream,
        )
    if isinstance(error, ModelHTTPError) and error.provider_retry_hint is not None:
        # Not for a quota: a caller that is told to come back would do so for ever.
        retryable = error.provider_retry_hint and sort is not _QUOTA
    if usage:
        raw = f"{raw or ''} usage: {json.dumps(usage, default=str)}".strip()
    return CallFailure(
        code=sort.code,
        message=_without(key, _message(error, sort)),
        retryable=retryable,
        after_s=after_s if retryable else None,
        raw=None if raw is None else printable(_without(key, raw), _MAX_RAW),
        terminal_reason=sort.terminal_reason,
        usage=paid_for(usage),
    )


def paid_for(usage: object) -> LlmUsage | None:
    """What a failed call has used, where its provider said it as Chat Completions do."""
    counts = members_of(usage)
    prompt, completion = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    cached = members_of(counts.get("prompt_tokens_details")).get("cached_tokens")
    return LlmUsage(
        input_tokens=max(0, min(prompt, _MOST_TOKENS)),
        output_tokens=max(0, min(completion, _MOST_TOKENS)),
        cached_input_tokens=max(0, min(cached, prompt)) if isinstance(cached, int) else 0,
        reasoning_tokens=0,
    )


def failure_in_stream(body: Mapping[str, object], headers: Mapping[str, str]) -> CallFailure:
    """
    The failure of an error that a provider, or a gateway before it, puts into an open stream.

    Args:
        body: The error, from ``bodies.error_in``.
        headers: The headers of the answer.
    """
    error = ModelHTTPError(status_of(body), "", body, in_stream=True)
    return failure_from(error, headers=headers)


def without_key(failure: CallFailure, key: str | None) -> CallFailure:
    """A failure without the API key, which the provider's words may contain."""
    raw = None if failure.raw is None else printable(_without(key, failure.raw), _MAX_RAW)
    return replace(failure, message=_without(key, failure.message), raw=raw)


def _sort(error: Exception) -> _Sort:
    found = next((sort for class_, sort in _SORTS if isinstance(error, class_)), None)
    if found is not None:
        return found
    if isinstance(error, ModelHTTPError):
        return _OVERFLOW if says_too_long(error.body) else _by_status(error.status_code)
    # Without a status and a class, the library could not read the answer.
    return _UNREADABLE if isinstance(error, ModelAPIError) else _DIED


def _by_status(status: int) -> _Sort:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return _SERVER_ERROR
    return _Sort("invalid_request", status in _PASSING_STATUSES)


def _message(error: Exception, sort: _Sort) -> str:
    if isinstance(error, ModelHTTPError):
        said = _said(error.body)
        return f"the provider answered {error.status_code}" + (f": {said}" if said else "")
    prefix = _PREFIXES.get(sort.code, "the provider failed")
    said = describe(error) if sort is _DIED or not str(error) else printable(str(error)).rstrip(".")
    cause = _cause(error) if sort.code == "connection_failed" else ""
    return ": ".join(part for part in (prefix, said, cause) if part)


def _cause(error: BaseException) -> str:
    """The first cause of an exception: the libraries above it only say that there was an error."""
    found = error
    while found.__cause__ is not None:
        found = found.__cause__
    return "" if found is error else describe(found)


def _said(body: object) -> str:
    """The sentence in an error body, in the places where providers put it."""
    inner = body
    if is_object(body):
        inner = body.get("error", body)
        if is_object(inner):
            inner = inner.get("message")
    if not isinstance(inner, str):
        return ""
    if inner.lstrip()[:1] == "<":
        # From a proxy; ``raw`` has all of it.
        title = title_of(inner[:_MAX_RAW])
        return f"a page with the title {title!r}" if title else "a page"
    return printable(inner)


def _raw(body: object) -> str | None:
    if body is None or isinstance(body, str):
        return body or None
    return json.dumps(body, ensure_ascii=False, default=str)


def _without(key: str | None, text: str) -> str:
    return text.replace(key, _MASK) if key else text
