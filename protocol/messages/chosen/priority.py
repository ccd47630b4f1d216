"""
The priority of an effect: which of those that wait is taken first.

It is a header beside the envelope and no part of the effect: neither the hash nor the replay key
knows it. It is a wish about order, so a header that says something else is no reason to refuse an
effect: it counts as ``normal``, and is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeGuard

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import HeaderValue
from effectmq.protocol.text import printable

__all__ = ["NORMAL", "PRIORITIES", "PRIORITY_TYPE", "Priority", "checked_priority", "read_priority"]

Priority = Literal["high", "normal", "low"]
"""Which of the effects that wait on a route is taken first."""

#: The AMQP ``type`` of the message that asks workers for the queue of a priority.
PRIORITY_TYPE: Final = "effect.priority.v1"

#: What an effect has when nobody says otherwise; it needs neither a header nor a queue of its own.
NORMAL: Final = "normal"
#: The highest first.
PRIORITIES: tuple[Priority, ...] = ("high", NORMAL, "low")


def checked_priority(priority: object) -> Priority:
    """
    A priority that a program or a person gives.

    Raises:
        ConfigurationError: When it is none.
    """
    if _is_priority(priority):
        return priority
    raise ConfigurationError(
        f"the priority is {printable(repr(priority), 60)}; expected 'high', 'normal' or 'low'"
    )


def read_priority(headers: Mapping[str, HeaderValue]) -> Priority:
    """The priority of a message from a stranger; ``normal`` when it says nothing known."""
    priority = headers.get(names.PRIORITY)
    return priority if _is_priority(priority) else NORMAL


def _is_priority(value: object) -> TypeGuard[Priority]:
    return isinstance(value, str) and value in PRIORITIES
