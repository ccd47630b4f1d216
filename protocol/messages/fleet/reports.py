"""
What a worker answers when it is asked: what it did, and how it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from effectmq.protocol.encoding.codec import encode_tree
from effectmq.protocol.encoding.narrowing import is_array, is_object
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.kinds import version_in
from effectmq.protocol.messages.fleet import fields
from effectmq.protocol.messages.fleet.pauses import Pause, optional_pause
from effectmq.protocol.messages.message import Message

__all__ = ["REPLY_TYPE", "Did", "RouteReport", "WorkerReply", "WorkerReport", "read_reply"]

#: The AMQP ``type`` of an answer.
REPLY_TYPE = "effect.fleet-reply.v1"

#: What a worker did. ``unproven``: nothing yet, it wants the proof that comes with this answer;
#: ``not_here``: it does not consume what was named; ``refused``: it does not know how, or may not.
Did = Literal[
    "reported",
    "unproven",
    "paused",
    "resumed",
    "draining",
    "changed",
    "watching",
    "unchanged",
    "not_here",
    "refused",
]
_DID: tuple[Did, ...] = get_args(Did)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteReport:
    """
    One route of a worker.

    Attributes:
        route: A kind, or ``kind.lane``.
        slots: Effects of it that may run at a time.
        in_flight: Effects of it that the worker has at hand.
        consuming: Whether the worker takes from its queue at the moment.
        paused: Why it does not take from it; ``None`` when nobody paused it.
        consumers: The consumers that the worker has there.
        taken: Messages that were delivered to this worker since its process began.
        published_ms: When the message was published that it took last, of those that were new;
            milliseconds since the Unix epoch (a broker keeps whole seconds), 0 for none.
        taken_ms: When it took that message; milliseconds since the Unix epoch, 0 for none.
    """

    route: str
    slots: int
    in_flight: int
    consuming: bool
    paused: Pause | None = None
    consumers: int = 0
    taken: int = 0
    published_ms: int = 0
    taken_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """
    How a worker is.

    Attributes:
        name: Its name; host and process id unless it was given another.
        host: The host that it runs on.
        pid: Its process id there.
        app_version: The version of the application; empty when nobody set it.
        version: The version of effectmq.
        state: ``starting``, ``waiting``, ``ready``, ``paused``, ``draining`` or ``stopping``.
        detail: What it waits for; empty when all is well.
        started_ms: When it was started; milliseconds since the Unix epoch.
        reported_ms: When it said this, by its own clock; milliseconds since the Unix epoch.
        loop_lag_s: How late its event loop is, in seconds.
        routes: The routes that it has handlers for.
    """

    name: str
    host: str
    pid: int
    app_version: str
    version: str
    state: str
    detail: str
    started_ms: int
    reported_ms: int
    loop_lag_s: float
    routes: tuple[RouteReport, ...]

    @property
    def in_flight(self) -> int:
        """Effects that it has at hand, over all routes."""
        return sum(route.in_flight for route in self.routes)

    @property
    def worker_version(self) -> str:
        """The version that effects can be bound to; empty when it takes part in none."""
        return next(filter(None, (version_in(route.route) for route in self.routes)), "")

    @property
    def slots(self) -> int:
        """Effects that it may run at a time, over all routes."""
        return sum(route.slots for route in self.routes)


@dataclass(frozen=True, slots=True)
class WorkerReply:
    """
    The answer of one worker.

    Attributes:
        token: The token of the ask.
        did: What it did.
        detail: A sentence about that; may be empty.
        worker: How it is, after that.
        proof: With ``unproven``, what to ask again with.
    """

    token: str
    did: Did
    detail: str
    worker: WorkerReport
    proof: str = ""

    @property
    def message(self) -> Message:
        """The message with this answer."""
        tree: dict[str, object] = {
            "token": self.token,
            "did": self.did,
            "detail": self.detail,
            "worker": _worker_tree(self.worker),
            "proof": self.proof,
        }
        return Message(
            body=encode_tree(tree, fields.JSON), content_type=fields.JSON, type=REPLY_TYPE
        )


def _worker_tree(worker: WorkerReport) -> dict[str, object]:
    return {
        "name": worker.name,
        "host": worker.host,
        "pid": worker.pid,
        "app_version": worker.app_version,
        "version": worker.version,
        "state": worker.state,
        "detail": worker.detail,
        "started_ms": worker.started_ms,
        "reported_ms": worker.reported_ms,
        "loop_lag_s": worker.loop_lag_s,
        "routes": [_route_tree(route) for route in worker.routes],
    }


def _route_tree(route: RouteReport) -> dict[str, object]:
    return {
        "route": route.route,
        "slots": route.slots,
        "in_flight": route.in_flight,
        "consuming": route.consuming,
        "paused": None if route.paused is None else route.paused.tree,
        "consumers": route.consumers,
        "taken": route.taken,
        "published_ms": route.published_ms,
        "taken_ms": route.taken_ms,
    }


def read_reply(message: Message) -> WorkerReply:
    """
    Read an answer.

    Raises:
        MalformedError: When it is none, or breaks a limit; carries the path.
    """
    members = fields.object_of(message)
    said = fields.text(members, "did", 40)
    did: Did | None = next((word for word in _DID if word == said), None)
    worker = members.get("worker")
    if did is None or not is_object(worker):
        raise MalformedError("", f"expected a worker, and did as one of {', '.join(_DID)}")
    return WorkerReply(
        fields.name(members, "token"),
        did,
        fields.text(members, "detail"),
        _worker(worker),
        fields.name(members, "proof"),
    )


def _worker(members: dict[str, object]) -> WorkerReport:
    routes = members.get("routes", [])
    if not is_array(routes) or len(routes) > fields.MOST_NAMES:
        raise MalformedError("routes", f"expected a list of at most {fields.MOST_NAMES} routes")
    return WorkerReport(
        name=fields.text(members, "name", 200),
        host=fields.text(members, "host", 255),
        pid=fields.whole(members, "pid"),
        app_version=fields.text(members, "app_version", 200),
        version=fields.text(members, "version", 100),
        state=fields.text(members, "state", 40),
        detail=fields.text(members, "detail"),
        started_ms=fields.whole(members, "started_ms"),
        reported_ms=fields.whole(members, "reported_ms"),
        loop_lag_s=fields.number(members, "loop_lag_s"),
        routes=tuple(map(_route, routes)),
    )


def _route(value: object) -> RouteReport:
    if not is_object(value):
        raise MalformedError("routes", "expected objects")
    return RouteReport(
        route=fields.text(value, "route", 255),
        slots=fields.whole(value, "slots"),
        in_flight=fields.whole(value, "in_flight"),
        consuming=fields.flag(value, "consuming"),
        paused=optional_pause(value, "paused"),
        consumers=fields.whole(value, "consumers"),
        taken=fields.whole(value, "taken"),
        published_ms=fields.whole(value, "published_ms"),
        taken_ms=fields.whole(value, "taken_ms"),
    )
