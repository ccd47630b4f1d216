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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, TypeVar

from effectmq.broker.store.attachments.store import AttachmentStore
from effectmq.broker.store.journal.choice import ReplayMode, checked_replay, chosen_journal
from effectmq.broker.transports.addresses import joined_addresses
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.topology import TopologySettings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    D = TypeVar("D", bound=DataclassInstance)

__all__ = [
    "DEFAULT_BROKER",
    "Place",
    "PlaceArguments",
    "Said",
    "first_said",
    "refuse_unknown",
    "settings_from",
    "unfolded",
    "values_of",
]

#: In one process, without a server.
DEFAULT_BROKER = "memory://"

#: Settings that somebody has set, by the names of arguments.
Said: TypeAlias = Mapping[str, object]


class PlaceArguments(TypedDict, total=False):
    """The arguments that ``Client`` and ``Worker`` share; docs/settings.md says what each means."""

    namespace: str | None
    journal: str | None
    attachments: AttachmentStore | str | None
    replay: ReplayMode | None
    delay_levels_ms: Sequence[int] | None
    delivery_limit: int | None
    reply_expires_s: float | None
    connect_timeout_s: float | None
    publish_timeout_s: float | None
    reconnect_max_s: float | None
    heartbeat_s: int | None
    publish_window: int | None
    max_body_bytes: int | None


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
    """

    broker: str = DEFAULT_BROKER
    topology: TopologySettings = field(default_factory=TopologySettings)
    journal: str | None = None
    journal_is_default: bool = False
    attachments: AttachmentStore | str | None = None
    replay: ReplayMode = "execute"
    transport: TransportSettings = field(default_factory=TransportSettings)
    connection: str = ""

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
        if "delay_levels_ms" in given:
            given["delay_levels_ms"] = tuple(given["delay_levels_ms"])
        if "reply_expires_s" in given:
            given["reply_expires_ms"] = round(given["reply_expires_s"] * 1_000)
        connection: str = given.get("connection", "")
        return cls(
            broker=joined_addresses(given.get("broker", DEFAULT_BROKER)),
            topology=settings_from(TopologySettings, given),
            journal=journal,
            journal_is_default=bool(given.get("journal_is_default")),
            attachments=given.get("attachments"),
            replay=checked_replay(given.get("replay", "execute"), journal),
            transport=settings_from(TransportSettings, {**given, "name": connection or None}),
            connection=connection,
        )

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
        }
        return first_said(unfolded(topology=topology, transport=transport), own, inner)
    said: dict[str, object] = {}
    if topology is not None:
        said |= values_of(topology)
        del said["reply_expires_ms"]
        said["reply_expires_s"] = topology.reply_expires_ms / 1_000
    if transport is not None:
        said |= values_of(transport)
        said["connection"] = said.pop("name")
    return said


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
