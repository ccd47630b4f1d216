"""What can be chosen for a worker: one frozen value, every default named, units in the names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from effectmq.protocol.encoding.limits import HARD_MAX_BODY_BYTES
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.kinds import EFFECT_KINDS, kind_of, unversioned
from effectmq.protocol.numbers import check_number, check_numbers
from effectmq.protocol.text import printable

__all__ = ["WorkerSettings"]


_TIMES = (
    "time_limit_s",
    "kill_grace_s",
    "shutdown_grace_s",
    "blocked_loop_s",
    "lease_s",
    "reply_keep_s",
)
_LEAST = {"max_crashes": 0, "log_every": 0, "max_deaths": 1, "max_abandoned": 1, "max_waiting": 1}


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """
    The settings of a worker.

    Attributes:
        concurrency: Effects of one route that run at a time. It is also the prefetch: what is
            fetched and not started still counts towards the broker's delivery limit.
        route_concurrency: The same for single routes (a kind, or ``kind.lane``) by name; routes
            that the worker does not consume may be in it.
        time_limit_s: How long one attempt may run, when its handler does not say. It begins with
            the body: waiting for a thread does not count.
        kill_grace_s: How long a handler that was cancelled may take to end before it is abandoned.
        shutdown_grace_s: How long running effects may take after the first stop signal.
        max_crashes: How often an effect may come out of limbo before it is parked.
        elsewhere_s: For how long an effect that this worker cannot carry out (a tool, an argument
            or a model that it does not know) is given back for another worker, before it fails;
            ten times as long while a living worker is known to be able to. 0 answers at once.
        max_deaths: How many workers may die while they run an effect before it is parked; the last
            of them runs it alone.
        max_body_bytes: The largest envelope accepted and the largest answer sent.
        max_reply_bytes: How large a message of several outcomes gets; at most 100 kB, so that any
            reader takes it.
        blocked_loop_s: A handler that blocks the event loop this long is named in the log.
        lease_s: How long the journal's lease of a running effect lasts without being renewed; it is
            renewed three times as often. When a worker dies, another one takes over after it.
        reply_keep_s: How long a reply queue may be full, or leave an outcome unconfirmed, before it
            counts as one that does not exist. And without a journal: how long an outcome without a
            reply queue is sent again before it is parked, with itself inside.
        max_abandoned: How many handlers may run on although they could not be stopped. At this
            number the worker takes no more effects and ``run`` ends with an error, so that a
            supervisor starts a new process.
        log_every: Of how many effects one that succeeds is logged, at INFO: 1 for each, 100 for
            every hundredth, 0 for none. Failures are always logged.
        max_waiting: How many effects of the namespace may wait in the room until a limit admits
            them. What comes beyond goes back to the broker for about half a minute.
    """

    concurrency: int = 16
    route_concurrency: Mapping[str, int] | None = None
    time_limit_s: float = 600.0
    kill_grace_s: float = 5.0
    shutdown_grace_s: float = 30.0
    max_crashes: int = 3
    max_deaths: int = 3
    elsewhere_s: float = 30.0
    max_body_bytes: int = 1024 * 1024
    max_reply_bytes: int = 100_000
    blocked_loop_s: float = 10.0
    lease_s: float = 15.0
    reply_keep_s: float = 60.0
    max_abandoned: int = 16
    log_every: int = 1
    max_waiting: int = 100_000

    def __post_init__(self) -> None:
        check_numbers(self)
        _check_concurrency("concurrency", self.concurrency)
        if self.route_concurrency is not None:
            _check_routes(self.route_concurrency)
        for name in _TIMES:
            if not getattr(self, name) > 0:
                raise ConfigurationError(
                    f"{name} is {getattr(self, name)}; expected seconds above 0"
                )
        for name in ("max_body_bytes", "max_reply_bytes"):
            if not 1 <= getattr(self, name) <= HARD_MAX_BODY_BYTES:
                raise ConfigurationError(
                    f"{name} is {getattr(self, name)}; expected 1 to {HARD_MAX_BODY_BYTES} bytes"
                )
        if not 0 <= self.elsewhere_s < float("inf"):
            raise ConfigurationError(
                f"elsewhere_s is {self.elsewhere_s}; expected seconds, or 0 to answer at once"
            )
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ConfigurationError(
                    f"{name} is {getattr(self, name)}; expected {least} or more"
                )

    def concurrency_of(self, route: str) -> int:
        """Effects of a route that run at a time."""
        own = self.route_concurrency or {}
        return own.get(route, own.get(unversioned(route), self.concurrency))

    def slots(self, routes: Iterable[str]) -> int:
        """Effects of these routes together that run at a time."""
        return sum(self.concurrency_of(route) for route in routes)


def _check_routes(routes: Mapping[str, int]) -> None:
    if not _is_mapping(routes):
        raise ConfigurationError(
            f"route_concurrency is {printable(repr(routes), 60)}; expected numbers by routes, such "
            "as {'tool_call': 8}"
        )
    for route, most in routes.items():
        _check_route(route)
        _check_concurrency(f"route_concurrency of {route}", most)


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _check_route(route: str) -> None:
    if kind_of(route) not in EFFECT_KINDS:
        raise ConfigurationError(
            f"route_concurrency names {printable(route, 100)!r}; expected kinds, or kind.lane, of "
            f"{', '.join(EFFECT_KINDS)}"
        )


def _check_concurrency(name: str, most: int) -> None:
    check_number(name, most, whole=True)
    if not 1 <= most <= 65_535:
        raise ConfigurationError(f"{name} is {most}; expected 1 to 65535 effects at a time")
