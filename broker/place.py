"""
The place of an installation: where effects travel and what is kept of them.

::

    layers of settings, each a mapping by the names of arguments      {"journal": "sqlite:///…"}
        │  the first layer that has a setting counts
        ▼
    Place                        complete and frozen

A layer has only what somebody has set: ``None`` and a missing name are the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeVar

from effectmq.broker.store.journal.choice import ReplayMode, checked_replay, chosen_journal
from effectmq.broker.transports.addresses import joined_addresses
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.encoding.narrowing import is_sequence
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.numbers import milliseconds_of
from effectmq.protocol.text import printable
from effectmq.protocol.topology import TopologySettings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from effectmq.broker.store.attachments.store import AttachmentStore
    from effectmq.protocol.encoding.limits import Limits

    D = TypeVar("D", bound=DataclassInstance)

__all__ = [
    "DEFAULT_BROKER",
    "Place",
    "PlaceArguments",
    "Said",
    "Traced",
    "checked_arguments",
    "first_said",
    "refuse_unknown",
    "settings_from",
    "unfolded",
    "values_of",
]

#: In one process, without a server.
DEFAULT_BROKER = "memory://"

#: Whether spans are made: not at all, without payloads, or with them.
Traced: TypeAlias = Literal["off", "on", "payloads"]

#: Settings that somebody has set, by the names of arguments.
Said: TypeAlias = Mapping[str, object]


class PlaceArguments(TypedDict, total=False):
    """
    The arguments that ``Client`` and ``Worker`` share; docs/settings.md says what each means.

    ``delay_levels_ms`` is the former spelling of ``delay_levels_s``, and deprecated.
    """

    namespace: str | None
    journal: str | None
    attachments: AttachmentStore | str | None
    replay: ReplayMode | None
    delay_levels_s: Sequence[float] | None
    delay_levels_ms: Sequence[int] | None
    delivery_limit: int | None
    reply_expires_s: float | None
    connect_timeout_s: float | None
    publish_timeout_s: float | None
    reconnect_max_s: float | None
    heartbeat_s: int | None
    publish_window: int | None
    max_body_bytes: int | None
    traces: Traced | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    The place of an installation: where effects travel and what is kept of them, resolved.

    Attributes:
        broker: The broker's address; several of a cluster are separated by commas.
        topology: Namespace, delay levels, delivery limit.
        journal: The journal's address; ``None`` for no journal.
        journal_is_default: Whether nobody named a journal.
        attachments: The attachment store or its address; ``None`` for none.
        replay: ``strict`` answers from the journal only.
        transport: Timeouts and limits of connections.
        connection: The name of connections in RabbitMQ's own lists; empty when nobody set it.
        traces: Whether spans are made, and whether payloads stand in them.
    """

    broker: str = DEFAULT_BROKER
    topology: TopologySettings = field(default_factory=TopologySettings)
    journal: str | None = None
    journal_is_default: bool = False
    attachments: AttachmentStore | str | None = None
    replay: ReplayMode = "execute"
    transport: TransportSettings = field(default_factory=TransportSettings)
    connection: str = ""
    traces: Traced = "off"

    def __post_init__(self) -> None:
        if self.traces not in ("off", "on", "payloads"):
            raise ConfigurationError(
                f"traces is {printable(repr(self.traces), 60)}; expected 'off', 'on' or 'payloads'"
            )

    @classmethod
    def of(cls, said: Said) -> Place:
        """
        The place with these settings, and the defaults for all others.

        Raises:
            ConfigurationError: When a setting cannot be used.
        """
        # Names of our own arguments: what has a type checker in front of it has been checked there.
        given: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        journal = chosen_journal(given.get("journal"))
        if "delay_levels_s" in given:
            given["delay_levels_ms"] = _levels_ms(given["delay_levels_s"])
        if "reply_expires_s" in given:
            given["reply_expires_ms"] = round(given["reply_expires_s"] * 1_000)
        connection: str = given.get("connection", "")
        store: AttachmentStore | str | None = given.get("attachments")
        return cls(
            broker=joined_addresses(given.get("broker", DEFAULT_BROKER)),
            topology=settings_from(TopologySettings, given),
            journal=journal,
            journal_is_default=bool(given.get("journal_is_default")),
            attachments=None if store in ("", "none") else store,
            replay=checked_replay(given.get("replay", "execute"), journal),
            transport=settings_from(TransportSettings, {**given, "name": connection or None}),
            connection=connection,
            traces=given.get("traces", "off"),
        )

    @property
    def limits(self) -> Limits:
        """The limits of a body, the same for all who work here."""
        from effectmq.protocol.encoding.limits import Limits

        return Limits(max_body_bytes=self.transport.max_body_bytes)

    def connection_of(self, name: str) -> TransportSettings:
        """The settings of a connection with this name, unless another name was set."""
        return self.transport if self.connection else replace(self.transport, name=name)


def settings_from(kind: type[D], said: Said) -> D:
    """
    A frozen value with these settings; names that it does not have are ignored.

    Raises:
        ConfigurationError: When a value cannot be used.
    """
    values: dict[str, Any] = {
        each.name: said[each.name] for each in fields(kind) if said.get(each.name) is not None
    }
    return kind(**values)


def first_said(*layers: Said) -> dict[str, object]:
    """The settings that count: of each, the value of the first layer that has it."""
    merged: dict[str, object] = {}
    for layer in layers:
        for name, value in layer.items():
            if value is not None:
                merged.setdefault(name, value)
    return merged


def unfolded(
    *,
    place: Place | None = None,
    topology: TopologySettings | None = None,
    transport: TransportSettings | None = None,
) -> dict[str, object]:
    """
    The settings inside whole values, one by one.

    A whole value sets all of its fields, its defaults included.
    """
    if place is not None:
        inner = unfolded(topology=place.topology, transport=place.transport)
        own = {
            "broker": place.broker,
            "journal": place.journal or "none",
            "journal_is_default": place.journal_is_default,
            "attachments": place.attachments or "none",
            "replay": place.replay,
            "connection": place.connection,
            "traces": place.traces,
        }
        return first_said(unfolded(topology=topology, transport=transport), own, inner)
    said: dict[str, object] = {}
    if topology is not None:
        said |= values_of(topology)
        del said["delay_levels_ms"], said["reply_expires_ms"]
        said["delay_levels_s"] = tuple(level / 1_000 for level in topology.delay_levels_ms)
        said["reply_expires_s"] = topology.reply_expires_ms / 1_000
    if transport is not None:
        said |= values_of(transport)
        said["connection"] = said.pop("name")
    return said


def _levels_ms(levels_s: Sequence[float]) -> tuple[int, ...]:
    given: object = levels_s
    if not is_sequence(given):
        raise ConfigurationError(
            f"delay_levels_s is {printable(repr(levels_s), 60)}; expected seconds in a list or a "
            "tuple, such as [1, 5, 60]"
        )
    return tuple(milliseconds_of("one of delay_levels_s", level) for level in levels_s)


def checked_arguments(what: str, said: Said, known: frozenset[str]) -> dict[str, object]:
    """
    The arguments of a call by their names of today; warns the caller's caller of a former one.

    Raises:
        TypeError: Names the first argument that does not exist, or both names of one.
    """
    refuse_unknown(what, said, known)
    given = dict(said)
    former = given.pop("delay_levels_ms", None)
    if former is None:
        return given
    if given.get("delay_levels_s") is not None:
        raise TypeError(f"{what}() takes one of delay_levels_s and delay_levels_ms")
    levels_ms: Any = tuple(former) if is_sequence(former) else former
    levels = TopologySettings(delay_levels_ms=levels_ms).delay_levels_ms
    given["delay_levels_s"] = seconds = [level / 1_000 for level in levels]
    warnings.warn(
        f"delay_levels_ms goes with the next release; write {what}(delay_levels_s={seconds})",
        DeprecationWarning,
        stacklevel=3,
    )
    return given


def values_of(settings: DataclassInstance) -> dict[str, object]:
    """The fields of a whole value."""
    return {each.name: getattr(settings, each.name) for each in fields(settings)}


def refuse_unknown(what: str, said: Said, known: frozenset[str]) -> None:
    """
    Refuse a misspelt argument, as Python does.

    Raises:
        TypeError: Names the first argument that does not exist.
    """
    for name in said:
        if name not in known:
            raise TypeError(f"{what}() got an unexpected keyword argument {name!r}")
