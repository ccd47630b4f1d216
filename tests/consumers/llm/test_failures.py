"""The error table: what a library raised, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
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

from effectmq.consumers.llm.reading.failures import failure_from
from effectmq.protocol.wire.llm_response import LlmCallError
from tests.consumers.llm.asking import KEY


def http(category: Any, status: int, **more: Any) -> ModelHTTPError:
    """An error with a status."""
    return ModelHTTPError.for_category(category, status_code=status, model_name="m", **more)


@pytest.mark.parametrize(
    ("error", "code", "retryable", "reason"),
    [
        (http(ModelRateLimitError, 429), "rate_limited", True, "provider_error"),
        (http(None, 429), "rate_limited", True, "provider_error"),
        (http(ModelQuotaExceededError, 429), "quota_exceeded", False, "provider_error"),
        (http(ModelOverloadedError, 529), "overloaded", True, "provider_error"),
        (http(ModelUnavailableError, 503), "unavailable", True, "provider_error"),
        (http(ModelServerError, 500), "server_error", True, "provider_error"),
        (http(None, 502), "server_error", True, "provider_error"),
        (http(None, 408), "invalid_request", True, "provider_error"),
        (http(None, 409), "invalid_request", True, "provider_error"),
        (http(None, 425), "invalid_request", True, "provider_error"),
        (http(None, 418), "invalid_request", False, "provider_error"),
        (ModelTimeoutError("m", "slow"), "timeout", True, "provider_error"),
        (ModelRequestTimeout("m", 1.0), "timeout", True, "provider_error"),
        (ModelConnectionError("m", "gone"), "connection_failed", True, "provider_error"),
        (
            http(ModelContextWindowExceededError, 400),
            "context_overflow",
            False,
            "context_overflow",
        ),
        (http(ModelAuthenticationError, 401), "authentication_failed", False, "provider_error"),
        (http(ModelNotFoundError, 404), "model_not_found", False, "provider_error"),
        (http(ModelRequestRejectedError, 400), "invalid_request", False, "provider_error"),
        (ContentFilterError("no"), "content_filter", False, "content_filter"),
        (UnexpectedModelBehavior("odd"), "unreadable_response", True, "provider_error"),
        (ModelAPIError("m", "no JSON"), "unreadable_response", True, "provider_error"),
        (UserError("cannot"), "invalid_request", False, "provider_error"),
        (KeyError("oops"), "task_join_failed", False, "provider_error"),
    ],
)
def test_every_error_has_its_row(error: Exception, code: str, retryable: bool, reason: str) -> None:
    """Code, whether asking again may help, and how the answer ended."""
    failure = failure_from(error)
    assert (failure.code, failure.retryable, failure.terminal_reason) == (code, retryable, reason)
    assert failure.message


@pytest.mark.parametrize(("hint", "retryable"), [("true", True), ("false", False)])
def test_a_provider_that_says_whether_to_try_again_is_believed(hint: str, retryable: bool) -> None:
    """Against its own status, in both directions."""
    headers = {"X-Should-Retry": hint, "Retry-After": "3"}
    status, category = (400, ModelRequestRejectedError) if retryable else (503, None)
    failure = failure_from(http(category, status, headers=headers))
    assert (failure.retryable, failure.after_s) == (retryable, 3.0 if retryable else None)


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_a_provider_asks_for_is_kept(headers: Any, after_s: float | None) -> None:
    """Seconds, milliseconds or a date; what is none of them is nothing."""
    assert failure_from(http(ModelRateLimitError, 429, headers=headers)).after_s == after_s


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "slow down"}}, "the provider answered 429: slow down"),
        ({"message": "slow down"}, "the provider answered 429: slow down"),
        ({"error": "slow down"}, "the provider answered 429: slow down"),
        ("slow down", "the provider answered 429: slow down"),
        ({"detail": []}, "the provider answered 429"),
        (None, "the provider answered 429"),
        ([1], "the provider answered 429"),
    ],
)
def test_the_message_is_the_status_and_the_providers_sentence(body: Any, words: str) -> None:
    """Found where providers put it."""
    assert failure_from(http(ModelRateLimitError, 429, body=body)).message == words


def test_what_the_provider_said_is_kept_whole_but_not_for_ever() -> None:
    """On one line, as JSON, with an end."""
    failure = failure_from(http(None, 400, body={"error": {"message": "a\nb", "param": None}}))
    assert failure.raw == '{"error": {"message": "a\\nb", "param": null}}'
    long = failure_from(http(None, 400, body="x" * 100_000))
    assert long.raw is not None
    assert len(long.raw) < 5_000


def test_the_key_is_taken_out_of_everything_that_is_said() -> None:
    """Some providers echo the key that they refuse."""
    body = {"error": {"message": f"Incorrect API key provided: {KEY}"}, "headers": [KEY]}
    failure = failure_from(http(ModelAuthenticationError, 401, body=body), KEY)
    assert KEY not in repr(failure)
    assert "***" in failure.message
    assert KEY not in failure_from(ValueError(f"bad header {KEY}"), KEY).message


def test_a_broken_connection_says_what_lay_at_the_bottom() -> None:
    """The libraries above only say that there was an error."""
    error = ModelConnectionError("m", "Connection error.")
    error.__cause__ = OSError("no route to host")
    message = failure_from(error).message
    assert message == (
        "the connection to the provider failed: Connection error: OSError: no route to host"
    )


def test_a_failure_has_the_fields_of_the_wire() -> None:
    """And nothing of the wait, which is for the worker."""
    body = {"error": {"message": "busy"}}
    failure = failure_from(http(ModelRateLimitError, 429, body=body, retry_after=2.0))
    assert failure.on_the_wire() == LlmCallError(
        message="the provider answered 429: busy",
        retryable=True,
        raw='{"error": {"message": "busy"}}',
        code="rate_limited",
        terminal_reason="provider_error",
    )
