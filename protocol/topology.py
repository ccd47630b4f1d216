"""
Names and arguments of every exchange and queue, as data.

::

    <ns>.work         direct   ── kind ───────▶ <ns>.work.<kind>     quorum, limit 20, ─▶ <ns>.limbo
                               ── kind.lane ──▶ <ns>.work.<kind>.<lane>        the same
                       ── kind#high ──▶ <ns>.work.<kind>#high     the same, when it is used
    <ns>.delay.<ms>   fanout   ───────────────▶ <ns>.delay.<ms>      quorum, TTL ms,   ─▶ <ns>.work
    <ns>.limbo        fanout   ───────────────▶ <ns>.limbo           quorum, limit 20, ─▶ <ns>.dead
    <ns>.dead         topic    ── # ──────────▶ <ns>.dead            quorum, limit 2^31-1
    (default exchange)         ── name ───────▶ <ns>.reply.<producer>  quorum, x-expires
    <ns>.control fanout ───────────────▶ <ns>.control.<worker> exclusive, declared by its worker
    (default exchange)         ── name ───────▶ <ns>.control.paused.<route>  quorum, while paused
    (default exchange)         ── name ───────▶ <ns>.control.ramp.<route>    quorum, while ramped

*limbo* holds what the broker gave up on (its delivery limit), *dead* what a worker gave up on. A
delay level has no dead-letter routing key: the message's own key brings it back to its kind and
lane.

Every argument here is accepted, and means the same, on RabbitMQ 3.10 to 4.3. Arguments are
immutable, so a change is a 406 for every existing installation. What an operator may want to tune
(length limits, consumer timeout) belongs in policies and is deliberately not declared. The
delivery limit is always explicit and positive: -1 means "no limit" on 4.x and "dead-letter at the
first return" on 3.10. There is no alternate exchange on ``<ns>.work``: it would turn "no such
kind" into a silent confirmation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.kinds import PRIORITY_MARK, unprioritized
from effectmq.protocol.numbers import check_number, check_numbers
from effectmq.protocol.text import printable

__all__ = [
    "DEFAULT_DELAY_LEVELS_MS",
    "DEFAULT_DELIVERY_LIMIT",
    "DEFAULT_NAMESPACE",
    "DEFAULT_REPLY_EXPIRES_MS",
    "EVERY_ROUTE",
    "NOTHING",
    "Binding",
    "Exchange",
    "Names",
    "Queue",
    "Topology",
    "TopologySettings",
    "pause_topology",
    "ramp_topology",
    "reply_topology",
    "shared_topology",
    "work_topology",
]

DEFAULT_NAMESPACE = "effects"

#: Twenty returns, then limbo. The default of RabbitMQ 4.x; 3.10 has none unless it is declared.
DEFAULT_DELIVERY_LIMIT = 20

#: The dead queue is browsed by taking messages and giving them back, and some broker versions count
#: every return. The largest limit that all versions accept keeps messages in the queue.
DEAD_DELIVERY_LIMIT = 2**31 - 1

#: Other queues without a dead-letter exchange must not lose a message by a return, either.
_NO_DELIVERY_LIMIT = DEAD_DELIVERY_LIMIT

#: 1 s, 2 s, 5 s, 15 s, 30 s, 1 min, 2 min, 5 min, 15 min, 1 h.
DEFAULT_DELAY_LEVELS_MS = (
    1_000,
    2_000,
    5_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    900_000,
    3_600_000,
)

#: In the place of a route: all of them, also those that a later worker brings.
EVERY_ROUTE = ""

#: Seven days: how long the replies of a producer that is away are kept.
DEFAULT_REPLY_EXPIRES_MS = 7 * 24 * 3_600_000

# The characters that pamqp accepts in a queue name, without the separators of this topology.
_NAME = re.compile(r"[A-Za-z0-9_:@+-][A-Za-z0-9_.:@+-]*")
_MAX_NAME_BYTES = 200
# The limit of AMQP for the whole name.
_MAX_QUEUE_NAME_BYTES = 255
#: The word after the namespace in the name of a queue or exchange. A namespace that contains one of
#: them could have the queues of another: ``shop.reply`` those of a producer in ``shop``.
_ROLES = ("work", "delay", "limbo", "dead", "reply", "control")
# RabbitMQ's longest timer.
_MAX_TIME_MS = 2**32 - 1

ArgumentValue = str | int


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    type: Literal["direct", "fanout", "topic"]


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue with its declared arguments (``x-queue-type`` is always among them)."""

    name: str
    arguments: Mapping[str, ArgumentValue]


@dataclass(frozen=True, slots=True)
class Binding:
    """Brings messages of ``exchange`` with ``routing_key`` to ``queue``."""

    exchange: str
    queue: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Topology:
    """A set of exchanges, queues and bindings, in the order in which to declare them."""

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()

    def __or__(self, other: Topology) -> Topology:
        """Both, each object once, in first-seen order."""
        return Topology(
            tuple(dict.fromkeys(self.exchanges + other.exchanges)),
            _unique_queues(self.queues + other.queues),
            tuple(dict.fromkeys(self.bindings + other.bindings)),
        )

    def without(self, queue: str) -> Topology:
        """All but one queue and its bindings."""
        return Topology(
            self.exchanges,
            tuple(each for each in self.queues if each.name != queue),
            tuple(each for each in self.bindings if each.queue != queue),
        )

    def without_exchange(self, exchange: str) -> Topology:
        """All but one exchange and its bindings."""
        return Topology(
            tuple(each for each in self.exchanges if each.name != exchange),
            self.queues,
            tuple(each for each in self.bindings if each.exchange != exchange),
        )


#: A topology that declares nothing.
NOTHING = Topology()


@dataclass(frozen=True, slots=True)
class TopologySettings:
    """
    The choices of an installation, made once and kept.

    Attributes:
        namespace: Prefix of every name; one RabbitMQ virtual host can hold several.
        delay_levels_ms: The fixed waiting times, ascending, in milliseconds.
        delivery_limit: The number of returns after which the broker moves a message to limbo.
        reply_expires_ms: How long an unused reply queue lives, in milliseconds.
        max_length: How many messages a work queue holds before it refuses more; ``None`` leaves
            this to a policy of the operator, which is better because it can be changed later.
    """

    namespace: str = DEFAULT_NAMESPACE
    delay_levels_ms: tuple[int, ...] = DEFAULT_DELAY_LEVELS_MS
    delivery_limit: int = DEFAULT_DELIVERY_LIMIT
    reply_expires_ms: int = DEFAULT_REPLY_EXPIRES_MS
    max_length: int | None = None

    def __post_init__(self) -> None:
        check_namespace(self.namespace)
        check_numbers(self)
        levels = self.delay_levels_ms
        if not _is_sequence(levels):
            raise ConfigurationError(
                f"delay_levels_ms is {printable(repr(levels), 60)}; expected a tuple of "
                "milliseconds, such as (1_000, 60_000)"
            )
        for level in levels:
            check_number("one of delay_levels_ms", level, whole=True)
        self._check_times()

    def _check_times(self) -> None:
        levels = self.delay_levels_ms
        if not levels or list(levels) != sorted(set(levels)) or not _is_time(levels[0], levels[-1]):
            raise ConfigurationError(
                f"delay_levels_ms is {levels!r}; expected ascending positive milliseconds, at most "
                f"{_MAX_TIME_MS}"
            )
        if not _is_time(self.reply_expires_ms):
            raise ConfigurationError(
                f"reply_expires_ms is {self.reply_expires_ms}; expected 1 to {_MAX_TIME_MS} "
                "milliseconds"
            )
        if self.max_length is not None and self.max_length < 1:
            raise ConfigurationError(
                f"max_length is {self.max_length}; expected 1 or more messages, or None"
            )
        if self.delivery_limit < 1:
            raise ConfigurationError(
                f"delivery_limit is {self.delivery_limit}; expected 1 or more (-1 means different "
                "things on different RabbitMQ releases)"
            )


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the objects of a namespace."""

    namespace: str = DEFAULT_NAMESPACE
    work_exchange: str = field(init=False)
    limbo: str = field(init=False)
    dead: str = field(init=False)
    control: str = field(init=False)

    def __post_init__(self) -> None:
        check_namespace(self.namespace)
        object.__setattr__(self, "work_exchange", f"{self.namespace}.work")
        object.__setattr__(self, "limbo", f"{self.namespace}.limbo")
        object.__setattr__(self, "dead", f"{self.namespace}.dead")
        object.__setattr__(self, "control", f"{self.namespace}.control")

    def work_queue(self, route: str) -> str:
        """The queue of a route: a kind, or ``kind.lane``, perhaps of a version or a priority."""
        return _queue_name(f"{self.work_exchange}.{_check_route(route)}")

    def delay(self, level_ms: int) -> str:
        """The exchange, and the queue, of one delay level."""
        return f"{self.namespace}.delay.{level_ms}"

    def reply_queue(self, producer: str) -> str:
        """The reply queue of a producer identity."""
        return _queue_name(f"{self.namespace}.reply.{check_name('producer identity', producer)}")

    def reply_lock(self, producer: str) -> str:
        """
        The queue that a live producer holds, so that a second one of its identity is refused.

        No identity has a ``#``, so this is never another producer's reply queue.
        """
        return _queue_name(f"{self.reply_queue(producer)}#lock")

    def control_queue(self, worker: str) -> str:
        """
        The queue of one worker for messages to all workers.

        It belongs to the worker's connection, so it is in no topology: only the worker can declare
        it. A quorum queue would outlive its node. When a broker fails, such a queue can stay bound
        to the exchange without a leader, and then no message to all workers would be confirmed.
        """
        return _queue_name(f"{self.control}.{check_name('worker', worker)}")

    def pause_mark(self, route: str) -> str:
        """
        The queue whose existence says that no worker consumes a route, or ``EVERY_ROUTE``.

        A worker's control queue never has such a name, and the permissions of both are the same.
        """
        mark = f"{self.control}.paused"
        return _queue_name(f"{mark}.{_check_route(route)}") if route else mark

    def ramp_mark(self, route: str) -> str:
        """The queue whose message says how the unbound effects of a route are shared out."""
        return _queue_name(f"{self.control}.ramp.{check_name('route', route)}")


def work_topology(settings: TopologySettings, routes: Iterable[str]) -> Topology:
    """The work exchange and one queue for each route (a kind, or ``kind.lane``)."""
    names = Names(settings.namespace)
    exchange = Exchange(names.work_exchange, "direct")
    arguments = _quorum(settings.delivery_limit, dead_letter_exchange=names.limbo)
    if settings.max_length is not None:
        arguments["x-max-length"] = settings.max_length
    queues = tuple(Queue(names.work_queue(route), arguments) for route in routes)
    prefix = len(names.work_exchange) + 1
    bindings = tuple(Binding(exchange.name, queue.name, queue.name[prefix:]) for queue in queues)
    return Topology((exchange,), queues, bindings)


def shared_topology(settings: TopologySettings) -> Topology:
    """
    The objects that all kinds share: the work exchange, the delay levels, limbo, dead, control.
    """
    names = Names(settings.namespace)
    exchanges = [Exchange(names.work_exchange, "direct")]
    exchanges += [Exchange(names.dead, "topic"), Exchange(names.limbo, "fanout")]
    exchanges.append(Exchange(names.control, "fanout"))
    queues = [
        Queue(names.dead, {"x-queue-type": "quorum", "x-delivery-limit": DEAD_DELIVERY_LIMIT}),
        Queue(names.limbo, _quorum(settings.delivery_limit, dead_letter_exchange=names.dead)),
    ]
    bindings = [Binding(names.dead, names.dead, "#"), Binding(names.limbo, names.limbo, "")]
    for level_ms in settings.delay_levels_ms:
        name = names.delay(level_ms)
        arguments = _quorum(settings.delivery_limit, dead_letter_exchange=names.work_exchange)
        exchanges.append(Exchange(name, "fanout"))
        queues.append(Queue(name, {**arguments, "x-message-ttl": level_ms}))
        bindings.append(Binding(name, name, ""))
    return Topology(tuple(exchanges), tuple(queues), tuple(bindings))


def reply_topology(settings: TopologySettings, producer: str) -> Topology:
    """
    The reply queue of one producer identity.

    Quorum, not classic: a classic queue lives on one node of a cluster. When that node is lost, so
    are the outcomes in the queue and those sent meanwhile. A quorum queue has no exclusive
    consumer, so ``Names.reply_lock`` refuses a second producer with the same identity.
    """
    name = Names(settings.namespace).reply_queue(producer)
    return Topology(queues=(_mailbox(name, settings.reply_expires_ms),))


def pause_topology(names: Names, route: str) -> Topology:
    """The mark that a route is paused."""
    return _mark(names.pause_mark(route))


def ramp_topology(names: Names, route: str) -> Topology:
    """The mark that the unbound effects of a route are shared out."""
    return _mark(names.ramp_mark(route))


def _mark(name: str) -> Topology:
    """A queue that says something; quorum, so that the loss of a node does not take it back."""
    arguments: dict[str, ArgumentValue] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": _NO_DELIVERY_LIMIT,
    }
    return Topology(queues=(Queue(name, arguments),))


def check_name(what: str, name: str) -> str:
    """
    Return the name, when the broker's client accepts it.

    Raises:
        ConfigurationError: When it is empty, too long, or has other characters; pamqp would refuse
            it later with a ``ValueError`` that explains nothing.
    """
    if len(name.encode(errors="replace")) > _MAX_NAME_BYTES or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{what} is {name!r}; expected 1 to {_MAX_NAME_BYTES} characters out of letters, "
            "digits and -_.:@+, not starting with a dot"
        )
    return name


def _check_route(route: str) -> str:
    """Return a route, if the name without its priority is accepted, and the priority is a word."""
    own = unprioritized(route)
    check_name("route", own)
    if route != own:
        check_name("priority", route[len(own) + len(PRIORITY_MARK) :])
    return route


def _is_sequence(value: object) -> bool:
    return isinstance(value, tuple | list)


def check_namespace(namespace: str) -> str:
    """
    Return a namespace, if it is valid.

    Raises:
        ConfigurationError: When it is not.
    """
    check_name("namespace", namespace)
    first, *others = namespace.split(".")
    if first == "amq":
        raise ConfigurationError(
            f"namespace is {namespace!r}; RabbitMQ reserves names that begin with 'amq.', so "
            "choose another one"
        )
    for place, part in enumerate(others, 1):
        if part in _ROLES:
            before = ".".join((first, *others)[:place])
            raise ConfigurationError(
                f"namespace is {namespace!r}; expected no {part!r} after a dot, because queues of "
                f"the namespace {before!r} have such names. Choose another one"
            )
    return namespace


def _queue_name(name: str) -> str:
    size = len(name)
    if size > _MAX_QUEUE_NAME_BYTES:
        raise ConfigurationError(
            f"the queue name {name!r} has {size} bytes; AMQP allows {_MAX_QUEUE_NAME_BYTES}. "
            "Choose a shorter namespace, lane, version or identity"
        )
    return name


def _is_time(*values_ms: int) -> bool:
    return all(1 <= value <= _MAX_TIME_MS for value in values_ms)


def _quorum(delivery_limit: int, *, dead_letter_exchange: str) -> dict[str, ArgumentValue]:
    """
    A quorum queue whose dead letters cannot be lost.

    At-least-once dead-lettering is only active together with ``reject-publish``; with the default
    overflow the broker silently uses at-most-once dead-lettering.
    """
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": delivery_limit,
        "x-dead-letter-exchange": dead_letter_exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def _mailbox(name: str, expires_ms: int) -> Queue:
    """A queue for one reader, which survives the loss of a node and expires without a reader."""
    return Queue(
        name,
        {
            "x-queue-type": "quorum",
            "x-delivery-limit": _NO_DELIVERY_LIMIT,
            "x-expires": expires_ms,
        },
    )


def _unique_queues(queues: tuple[Queue, ...]) -> tuple[Queue, ...]:
    return tuple({queue.name: queue for queue in queues}.values())
