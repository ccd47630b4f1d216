"""
What each role needs on the broker, as RabbitMQ's three patterns.

``docs/operations.md`` shows the same for people.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from effectmq.protocol.topology import Names

__all__ = [
    "Permissions",
    "operator_permissions",
    "producer_permissions",
    "worker_permissions",
]


class Permissions(NamedTuple):
    """
    Three regular expressions over names of exchanges and queues.

    Attributes:
        configure: What may be declared and deleted.
        write: What may be published to, and which queues may be bound.
        read: What may be consumed, and which exchanges may be bound to.
    """

    configure: str
    write: str
    read: str


def worker_permissions(namespace: str) -> Permissions:
    """For a worker: everything in the namespace, and reply queues over the default exchange."""
    own = re.escape(namespace).replace(r"\-", "-") + r"\..*"
    return Permissions(f"^{own}$", rf"^({own}|amq\.default)$", f"^{own}$")


def operator_permissions(namespace: str) -> Permissions:
    """For ``topology``, ``dead``, ``queues`` and ``doctor``: the same as a worker."""
    return worker_permissions(namespace)


def producer_permissions(namespace: str, identity: str) -> Permissions:
    """
    For a client with an identity of its own, which may cancel as well.

    With the work queues among what it may write, it sees and mends a binding that is missing.
    """
    names = Names(namespace)
    work, control, reply = (
        re.escape(name).replace(r"\-", "-")
        for name in (names.work_exchange, names.control, names.reply_queue(identity))
    )
    # Beside its reply queue there is the lock that keeps a second one of its name away.
    return Permissions(
        f"^({reply}(#lock.*)?|{work}|{control})$",
        rf"^({work}(\..*)?|{control})$",
        f"^({reply}|{work})$",
    )
