"""
The permissions that each role needs on the broker, as RabbitMQ's three patterns.

``docs/operations.md`` shows the same permissions for people.
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
        configure: What the role may declare and delete.
        write: Where it may publish, and which queues it may bind.
        read: What it may consume, and to which exchanges it may bind.
    """

    configure: str
    write: str
    read: str


def worker_permissions(namespace: str) -> Permissions:
    """For a worker: everything in the namespace, and reply queues over the default exchange."""
    own = re.escape(namespace).replace(r"\-", "-") + r"\..*"
    return Permissions(f"^{own}$", rf"^({own}|amq\.default)$", f"^{own}$")


def operator_permissions(namespace: str) -> Permissions:
    """For ``topology``, ``workers``, ``dead``, ``queues`` and ``doctor``: the same as a worker."""
    return worker_permissions(namespace)


def producer_permissions(namespace: str, identity: str) -> Permissions:
    """
    For a client with an identity, which may also cancel.

    With the permission to write to the work queues it can see and restore a missing binding.
    """
    names = Names(namespace)
    work, control, reply = (
        re.escape(name).replace(r"\-", "-")
        for name in (names.work_exchange, names.control, names.reply_queue(identity))
    )
    # Beside its reply queue there is the lock that refuses a second producer of its identity.
    return Permissions(
        f"^({reply}(#lock.*)?|{work}|{control})$",
        rf"^({work}(\..*)?|{control})$",
        f"^({reply}|{work})$",
    )
