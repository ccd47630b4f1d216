"""
From what a provider's library raised to the failure on the wire.

=====================================  ==========================  =========  ===================
what happened                          code                        try again  terminal reason
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

A provider that says itself whether to try again (``x-should-retry``) is believed. What it says is
kept in ``raw``, without the API key: some echo the key that they refuse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

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

from effectmq.consumers.llm.port import CallFailure
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.llm_response import LlmTerminalReason

__all__ = ["failure_from"]

_MAX_RAW = 4_000
_MASK = "***"


@dataclass(frozen=True, slots=True)
class _Sort:
    code: str
    retryable: bool
    terminal_reason: LlmTerminalReason = "provider_error"


_RATE_LIMITED = _Sort("rate_limited", True)
_SERVER_ERROR = _Sort("server_error", True)
_REFUSED = _Sort("invalid_request", False)
_UNREADABLE = _Sort("unreadable_response", True)
_DIED = _Sort("task_join_failed", False)

#: The first class that fits counts, so that a class comes before the one it is derived from.
_SORTS: tuple[tuple[type[Exception], _Sort], ...] = (
    (ModelQuotaExceededError, _Sort("quota_exceeded", False)),
    (ModelRateLimitError, _RATE_LIMITED),
    (ModelOverloadedError, _Sort("overloaded", True)),
    (ModelUnavailableError, _Sort("unavailable", True)),
    (ModelServerError, _SERVER_ERROR),
    (ModelTimeoutError, _Sort("timeout", True)),
    (ModelRequestTimeout, _Sort("timeout", True)),
    (ModelConnectionError, _Sort("connection_failed", True)),
    (ModelContextWindowExceededError, _Sort("context_overflow", False, "context_overflow")),
    (ModelAuthenticationError, _Sort("authentication_failed", False)),
    (ModelNotFoundError, _Sort("model_not_found", False)),
    (ModelRequestRejectedError, _REFUSED),
    (ContentFilterError, _Sort("content_filter", False, "content_filter")),
    (UnexpectedModelBehavior, _UNREADABLE),
    (UserError, _REFUSED),
)

#: What a person should know before the library's own words, which can be as short as "error".
_PREFIXES: Mapping[str, str] = {
    "connection_failed": "the connection to the provider failed",
    "timeout": "the provider did not answer in time",
    "unreadable_response": "the provider's answer cannot be read",
    "invalid_request": "the request cannot be put to this model",
    "task_join_failed": "internal task failed",
}

#: Statuses that ask for another try and have no class of their own.
_PASSING_STATUSES = frozenset({408, 409, 425})


def failure_from(error: Exception, key: str | None = None) -> CallFailure:
    """
    The failure for an exception.

    Args:
        error: What was raised.
        key: The API key, to be taken out of every text.
    """
    sort = _sort(error)
    retryable, after_s, raw = sort.retryable, None, None
    if isinstance(error, ModelAPIError):
        after_s = error.retry_after
        raw = _raw(error.body)
    if isinstance(error, ModelHTTPError) and error.provider_retry_hint is not None:
        retryable = error.provider_retry_hint
    return CallFailure(
        code=sort.code,
        message=_without(key, _message(error, sort)),
        retryable=retryable,
        after_s=after_s if retryable else None,
        raw=None if raw is None else printable(_without(key, raw), _MAX_RAW),
        terminal_reason=sort.terminal_reason,
    )


def _sort(error: Exception) -> _Sort:
    found = next((sort for class_, sort in _SORTS if isinstance(error, class_)), None)
    if found is not None:
        return found
    if isinstance(error, ModelHTTPError):
        return _by_status(error.status_code)
    # Without a status and without a class, the library could not make sense of what came back.
    return _UNREADABLE if isinstance(error, ModelAPIError) else _DIED


def _by_status(status: int) -> _Sort:
    if status == 429:
        return _RATE_LIMITED
    if status >= 500:
        return _SERVER_ERROR
    return _Sort("invalid_request", status in _PASSING_STATUSES)


def _message(error: Exception, sort: _Sort) -> str:
    if isinstance(error, ModelHTTPError):
        said = _said(error.body)
        return f"the provider answered {error.status_code}" + (f": {said}" if said else "")
    prefix = _PREFIXES.get(sort.code, "the provider failed")
    said = describe(error) if sort is _DIED else printable(str(error)).rstrip(".")
    cause = _cause(error) if sort.code == "connection_failed" else ""
    return ": ".join(part for part in (prefix, said, cause) if part)


def _cause(error: BaseException) -> str:
    """What lies at the bottom: the libraries above it only say that there was an error."""
    found = error
    while found.__cause__ is not None:
        found = found.__cause__
    return "" if found is error else describe(found)


def _said(body: object) -> str:
    """The sentence in an error body, where providers put it."""
    if isinstance(body, dict):
        members = cast("dict[str, object]", body)
        inner = members.get("error", members)
        if isinstance(inner, dict):
            inner = cast("dict[str, object]", inner).get("message")
        return printable(inner) if isinstance(inner, str) else ""
    return printable(body) if isinstance(body, str) else ""


def _raw(body: object) -> str | None:
    if body is None or isinstance(body, str):
        return body or None
    return json.dumps(body, ensure_ascii=False, default=str)


def _without(key: str | None, text: str) -> str:
    return text.replace(key, _MASK) if key else text
