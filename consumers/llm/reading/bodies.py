"""
Errors that providers put into answers with status 200, and the meaning of error bodies. Pure.

A gateway may answer before the provider behind it does, so that the status is in the body. Other
servers answer 200 to everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from effectmq.protocol.encoding.narrowing import is_array, is_object, members_of, objects_of

__all__ = ["error_in", "says_quota", "says_too_long", "status_of"]

#: The HTTP status of a code, a type or a status in the body; in small letters.
_STATUSES: Mapping[str, int] = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "rate_limited": 429,
    "rate_limit_reached_error": 429,
    "too_many_requests": 429,
    "resource_exhausted": 429,
    "throttlingexception": 429,
    "overloaded_error": 529,
    "overloaded": 529,
    "server_is_overloaded": 503,
    "service_unavailable": 503,
    "service_unavailable_error": 503,
    "unavailable": 503,
    "context_length_exceeded": 400,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "badrequesterror": 400,
    "failed_precondition": 400,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "unauthenticated": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "not_found": 404,
    "timeout_error": 504,
    "deadline_exceeded": 504,
    "server_error": 500,
    "api_error": 500,
    "internal": 500,
    "internal_server_error": 500,
}
#: Words that say that waiting does not help.
_QUOTA = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "credit_balance_exhausted",
        "insufficient_balance",
        "insufficient_credits",
        "insufficient_funds",
        "exceeded_current_quota_error",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "payment_required",
        "quota_exceeded",
        "402",
    }
)
_TOO_LONG = frozenset({"context_length_exceeded"})
_BAD_GATEWAY = 502
_MAX_DEPTH = 4


def error_in(body: object) -> dict[str, Any] | None:
    """
    The error in the body of an answer with status 200, as ``{"error": …}``; ``None`` without one.

    Args:
        body: The body as plain data.
    """
    if is_array(body):
        return error_in(body[0]) if body else None
    if not is_object(body):
        return None
    if body.get("object") == "error" and not body.get("error"):
        return {"error": body}
    if body.get("error") and not any(
        body.get(name) for name in ("choices", "candidates", "content", "output")
    ):
        return _as_object(body)
    for choice in objects_of(body.get("choices")):
        if choice.get("error"):
            return _as_object(choice)
        if choice.get("finish_reason") == "error":
            # The error is beside the choices, or there is none.
            reason = choice.get("native_finish_reason")
            words = "the provider ended the answer with an error" + (
                f": {reason}" if reason else ""
            )
            return _as_object(body if body.get("error") else {"error": words})
    return None


def _as_object(members: Mapping[str, Any]) -> dict[str, Any]:
    error = members["error"]
    return {**members, "error": error if isinstance(error, dict) else {"message": str(error)}}


def status_of(body: Mapping[str, Any]) -> int:
    """The HTTP status that an error stands for; 502 when it is unknown."""
    error = members_of(body["error"])
    words = [error.get(name) for name in ("code", "status", "status_code", "type")]
    for word in words:
        if isinstance(word, bool) or not isinstance(word, str | int):
            continue
        if str(word).isdigit() and 400 <= int(word) < 600:
            return int(word)
    if says_quota(body):
        return 429
    for word in words:
        if isinstance(word, str) and word.lower() in _STATUSES:
            return _STATUSES[word.lower()]
    return _BAD_GATEWAY


def says_quota(body: object) -> bool:
    """Whether an error body says that credits or quota are used up, so that waiting is useless."""
    return _says(body, _QUOTA) or any(map(_is_of_a_day, _objects(body, _MAX_DEPTH)))


def _is_of_a_day(members: Mapping[str, Any]) -> bool:
    """Whether a quota that Google names is one of a day; only those of a minute reset soon."""
    violations = objects_of(members.get("violations"))
    return any("PerDay" in str(one.get("quotaId")) for one in violations)


def says_too_long(body: object) -> bool:
    """Whether the code of an error body says that the conversation is too long for the model."""
    return _says(body, _TOO_LONG)


def _says(body: object, words: frozenset[str]) -> bool:
    for members in _objects(body, _MAX_DEPTH):
        for name in ("code", "type", "error_type", "reason"):
            word = members.get(name)
            if isinstance(word, str | int) and str(word).lower() in words:
                return True
    return False


def _objects(value: object, depth: int) -> Iterable[Mapping[str, Any]]:
    if isinstance(value, str) and value.lstrip()[:1] == "{" and depth:
        # A gateway passes the provider's body on as a text.
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return
    if is_array(value):
        for item in value[:20]:
            yield from _objects(item, depth - 1)
    elif is_object(value) and depth:
        yield value
        for name in ("error", "metadata", "raw", "details", "body"):
            yield from _objects(value.get(name), depth - 1)
