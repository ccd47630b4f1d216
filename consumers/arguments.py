"""The arguments of a worker by name, beside those that say where it works."""

from __future__ import annotations

from collections.abc import Mapping

from effectmq.broker.place import PlaceArguments

__all__ = ["WorkerArguments"]


class WorkerArguments(PlaceArguments, total=False):
    """
    The arguments of a worker; docs/settings.md says what each means.

    Those that are not named here or by a place are the fields of ``WorkerSettings``.
    """

    name: str | None
    http: str | None
    app_version: str | None
    version: str | None
    concurrency: int | None
    route_concurrency: Mapping[str, int] | None
    time_limit_s: float | None
    kill_grace_s: float | None
    shutdown_grace_s: float | None
    max_crashes: int | None
    max_deaths: int | None
    elsewhere_s: float | None
    max_reply_bytes: int | None
    blocked_loop_s: float | None
    lease_s: float | None
    reply_keep_s: float | None
    max_abandoned: int | None
    log_every: int | None
    max_waiting: int | None
