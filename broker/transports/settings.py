"""What can be chosen about a connection to a broker, with units in the names."""

from __future__ import annotations

from dataclasses import dataclass

from effectmq.protocol.encoding.limits import HARD_MAX_BODY_BYTES
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.numbers import check_numbers

__all__ = ["DEFAULT_SETTINGS", "TransportSettings"]

_LONGEST_HEARTBEAT_S = 65_535
_POSITIVE = (
    "connect_timeout_s",
    "publish_timeout_s",
    "reconnect_max_s",
    "heartbeat_s",
    "publish_window",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """
    How a transport connects, and how long it waits.

    Attributes:
        connect_timeout_s: Seconds to connect and log in, at start.
        publish_timeout_s: Seconds that a publish waits when the caller gives no timeout of its
            own, waiting for a connection included.
        reconnect_max_s: Longest wait, in seconds, between two tries to connect again; the first
            ones are shorter.
        heartbeat_s: A line that is dead, in either direction, is noticed within twice this many
            seconds, by us or by the broker.
        publish_window: Publishes that may be unconfirmed at a time; more wait for their turn.
            A hundred is as fast as any number, because the Python side is the limit.
        max_body_bytes: Largest body, in bytes; 8 MiB at most. RabbitMQ 4 answers 16 MiB with a
            closed channel, which makes every other publish in flight unknown.
        name: How the connection is called in RabbitMQ's own lists.
    """

    connect_timeout_s: float = 10.0
    publish_timeout_s: float = 15.0
    reconnect_max_s: float = 30.0
    heartbeat_s: int = 10
    publish_window: int = 100
    max_body_bytes: int = 1024 * 1024
    name: str = "effectmq"

    def __post_init__(self) -> None:
        check_numbers(self)
        for setting in _POSITIVE:
            if getattr(self, setting) <= 0:
                raise ConfigurationError(
                    f"{setting} is {getattr(self, setting)!r}; expected more than 0"
                )
        if self.heartbeat_s > _LONGEST_HEARTBEAT_S:
            raise ConfigurationError(
                f"heartbeat_s is {self.heartbeat_s}; expected {_LONGEST_HEARTBEAT_S} at most, "
                "because AMQP writes it in two bytes"
            )
        if not 0 < self.max_body_bytes <= HARD_MAX_BODY_BYTES:
            raise ConfigurationError(
                f"max_body_bytes is {self.max_body_bytes}; expected 1 to {HARD_MAX_BODY_BYTES}"
            )


DEFAULT_SETTINGS = TransportSettings()
