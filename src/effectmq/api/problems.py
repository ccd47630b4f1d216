"""
What is answered when something is wrong: one shape, problem details as RFC 9457 has them.

::

    {"type": "about:blank", "title": "Service Unavailable", "status": 503,
     "detail": "the broker is away: …", "code": "broker_away"}

``detail`` is a sentence for people, ``code`` a word for programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from effectmq.broker.dead_letters.queue.browser import DeadLettersInUseError
from effectmq.broker.dead_letters.report import DeadLetterIdError
from effectmq.broker.store.journal.archive.summaries import EffectIdError
from effectmq.protocol.errors import (
    AccessRefusedError,
    AnswerMisfitError,
    BrokerBlockedError,
    BrokerError,
    ConfigurationError,
    DatabaseError,
    EffectError,
    EffectmqError,
    EffectTimeoutError,
    NotHandedOutError,
    NotStorableError,
    PayloadTooLargeError,
    ProtocolError,
    PublishError,
    QueueFullError,
    TopologyError,
    UnavailableError,
    UnroutableError,
)
from effectmq.protocol.text import describe, printable

__all__ = ["AwayError", "ProblemError", "problem_of", "respond", "sentence_of"]

_TYPE = "application/problem+json"
#: When to try again what is away, in seconds.
_AGAIN_S = "2"
_MAX_DETAIL = 2_000


class ProblemError(EffectmqError):
    """
    A request that is answered with a problem.

    Args:
        status: The HTTP status.
        code: A word for programs.
        detail: A sentence: what was found, what is expected, what to do.
        more: Further members of the answer.
        headers: Headers of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.more = dict(more or {})
        self.headers = dict(headers or {})
        super().__init__(detail)


class AwayError(ProblemError):
    """
    The broker or the database cannot be reached at the moment.

    Args:
        what: ``broker`` or ``journal``.
        detail: What is away, and why.
    """

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(503, f"{what}_away", detail, headers={"Retry-After": _AGAIN_S})


#: The first that fits counts.
_MEANINGS: tuple[tuple[type[EffectmqError], int, str], ...] = (
    (EffectIdError, 404, "no_such_effect"),
    (DeadLetterIdError, 404, "no_such_letter"),
    (DeadLettersInUseError, 503, "dead_letters_in_use"),
    (PayloadTooLargeError, 413, "too_large"),
    (UnroutableError, 409, "no_queue"),
    (QueueFullError, 503, "queue_full"),
    (BrokerBlockedError, 503, "broker_blocked"),
    (PublishError, 503, "not_confirmed"),
    (EffectTimeoutError, 504, "no_outcome_yet"),
    (AnswerMisfitError, 422, "answer_misfit"),
    (NotHandedOutError, 404, "not_handed_out"),
    (EffectError, 409, "effect_failed"),
    (AccessRefusedError, 502, "broker_refused"),
    (TopologyError, 409, "topology"),
    (BrokerError, 503, "broker_away"),
    (NotStorableError, 422, "not_valid"),
    (DatabaseError, 503, "journal_away"),
    (UnavailableError, 503, "away"),
    (ProtocolError, 422, "not_valid"),
    (ConfigurationError, 400, "not_usable"),
)


def problem_of(error: EffectmqError) -> ProblemError:
    """What to answer for an error of effectmq."""
    if isinstance(error, ProblemError):
        return error
    detail = describe(error)
    for kind, status, code in _MEANINGS:
        if isinstance(error, kind):
            headers = {"Retry-After": _AGAIN_S} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
            return ProblemError(status, code, detail, headers=headers)
    return ProblemError(500, "failed", detail)


def respond(problem: ProblemError) -> JSONResponse:
    """The answer for a problem."""
    status = problem.status
    return JSONResponse(
        {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": printable(problem.detail, _MAX_DETAIL),
            "code": problem.code,
            **problem.more,
        },
        status_code=status,
        media_type=_TYPE,
        headers=problem.headers,
    )


def sentence_of(errors: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """
    What is wrong with a request, in words of ours.

    Args:
        errors: What the validation found: type, place, input and limits of each.
    """
    return [
        {"where": ".".join(str(step) for step in error["loc"]), "problem": _wrong(error)}
        for error in list(errors)[:_MOST_ERRORS]
    ]


_MOST_ERRORS = 20
_OTHER = "a value as the schema at /api/v1/openapi.json has it"
#: Sentences for errors that say enough without the value that was found.
_WHOLE = {
    "missing": "it is missing, and is needed",
    "extra_forbidden": "there is no such member; see the schema at /api/v1/openapi.json",
    "json_invalid": "the body is no JSON document",
    "string_too_long": "it is too long; expected at most {max_length} characters",
    "too_long": "it is too long; expected at most {max_length}",
    "string_too_short": "it is too short; expected at least {min_length} characters",
    "too_short": "it is too short; expected at least {min_length}",
}
_EXPECTED = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "int": "a whole number",
    "float": "a number",
    "finite": "a number that is finite",
    "bool": "true or false",
    "string": "a text",
    "list": "a list",
    "tuple": "a list",
    "dict": "an object",
    "model": "an object",
    "mapping": "an object",
}


def _wrong(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    limits: Mapping[str, Any] = error.get("ctx") or {}
    if kind in _WHOLE:
        return _WHOLE[kind].format_map(_Limits(limits))
    if kind == "value_error":
        return printable(str(limits.get("error", "it cannot be used")), 300)
    expected = _EXPECTED.get(kind) or _EXPECTED.get(kind.partition("_")[0], _OTHER)
    expected = printable(expected.format_map(_Limits(limits)), 400)
    if "token" in error["loc"]:
        return f"expected {expected}"
    return f"found {printable(repr(error.get('input')), 100)}, expected {expected}"


class _Limits(dict[str, Any]):
    """The limits of an error; one that it does not name is said to be another."""

    def __missing__(self, name: str) -> str:
        return "another value"
