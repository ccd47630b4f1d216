"""
The lines about single effects.

Nothing of a payload is in them; ``effectmq effects get`` has that.
"""

from __future__ import annotations

import logging
from functools import partial

from effectmq.broker.store.journal.records import Granted
from effectmq.consumers.logs.tracebacks import log_raised
from effectmq.consumers.logs.withheld import without_values, words_of
from effectmq.protocol.messages.log_names import log_names
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import printable
from effectmq.protocol.wire.outcome_values import OutcomeFailure

__all__ = ["note_failure", "note_raised", "note_success", "note_takeover"]

logger = logging.getLogger("effectmq.worker")


def note_success(request: Request, duration_s: float) -> None:
    """
    One line about an effect that succeeded.

    Args:
        request: The effect.
        duration_s: The time that its last attempt took, in seconds.
    """
    # For each effect, so nothing is made printable twice.
    names_of_effect = log_names(request)
    logger.info(
        "effect %s is done in %.3f s",
        names_of_effect.get("effect_id", ""),
        duration_s,
        extra={"action": "done", **names_of_effect, **_facts(request, duration_s)},
    )


def note_failure(request: Request, failure: OutcomeFailure, duration_s: float) -> None:
    """One line about an effect whose outcome is a failure; nothing was given up, and it stays."""
    said = without_values(printable(f"{failure.code}: {failure.message}"), request)
    logger.warning(
        "effect %s has failed in attempt %d: %s",
        printable(request.effect_id, 200),
        request.attempt,
        said,
        extra={
            "action": "failed",
            **log_names(request),
            **_facts(request, duration_s),
            "code": printable(failure.code, 200),
        },
    )


def note_raised(request: Request, problem: BaseException, what: str = "its handler") -> None:
    """
    A line and the traceback of what was raised while an effect was carried out.

    Args:
        request: The attempt.
        problem: The exception.
        what: What raised it.
    """
    clean = partial(without_values, request=request)
    name = printable(request.effect_id, 200)
    log_raised(
        logger,
        logging.WARNING,
        f"effect {name}: {what} raised in attempt {request.attempt}: {clean(words_of(problem))}",
        problem,
        clean,
        {"action": "raised", **log_names(request), "attempt": request.attempt},
    )


def note_takeover(request: Request, granted: Granted) -> None:
    """A line about an effect that another worker held before and did not finish."""
    logger.warning(
        "effect %s is taken over from worker %s, which holds its lease no more",
        printable(request.effect_id, 200),
        printable(granted.taken_from, 200),
        extra={
            "action": "taken_over",
            **log_names(request),
            "attempt": granted.attempt,
            "from_worker": printable(granted.taken_from, 200),
            "deaths": granted.deaths,
        },
    )


def _facts(request: Request, duration_s: float) -> dict[str, object]:
    return {"attempt": request.attempt, "duration_s": round(duration_s, 6)}
