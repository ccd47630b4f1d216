"""Parameters that several paths have."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Query

from effectmq.api.problems import ProblemError

__all__ = ["Age", "Cursor", "Limit", "Text", "Texts", "since_until"]

Text: TypeAlias = Annotated[str, Query(max_length=2_000)]
Texts: TypeAlias = Annotated[list[str], Query(max_length=100, description="Any of these.")]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=500, description="At most so many.")]
Cursor: TypeAlias = Annotated[
    str | None, Query(max_length=10_000, description="'next' of the page before.")
]
Age: TypeAlias = Annotated[float | None, Query(ge=0, le=1e10, description="Seconds.")]


def since_until(
    now_ms: int, newer_than_s: float | None, older_than_s: float | None
) -> tuple[int | None, int | None]:
    """
    The times between which something is meant.

    Raises:
        ProblemError: When they leave nothing.
    """
    since = None if newer_than_s is None else now_ms - round(newer_than_s * 1_000)
    until = None if older_than_s is None else now_ms - round(older_than_s * 1_000)
    if since is not None and until is not None and since >= until:
        raise ProblemError(
            422,
            "not_valid",
            "newer_than_s is not more than older_than_s, so nothing can be meant",
        )
    return since, until
