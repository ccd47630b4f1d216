"""
Refusals of the broker, as the permission that is missing.

RabbitMQ names the object and the user; from 3.11 on also which of the three permissions it needed.
Before that the operation shows it: a queue is declared with *configure*, bound with *write* on the
queue and *read* on the exchange, consumed with *read*. A publish needs *write* on the exchange, and
so does a queue on the exchange to which it dead-letters.
"""

from __future__ import annotations

import re
import shlex
from typing import Literal

from effectmq.protocol.errors import AccessRefusedError

__all__ = ["Operation", "access_error", "names_exchange", "names_topic"]

#: The operation that the broker refused.
Operation = Literal["declare", "bind", "consume", "publish", ""]

_REFUSED = re.compile(
    r"(?:(configure|write|read) )?access to (?:topic '(.*)' in )?(exchange|queue) '(.*)' "
    r"in vhost '(.*)' refused for user '(.*)'"
)
_NO_EXCHANGE = re.compile(r"no exchange '(.*)' in vhost")
_DEFAULT = "amq.default"

#: The permission, by operation and kind of object.
_NEEDS = {
    ("declare", "queue"): "configure",
    ("declare", "exchange"): "configure",
    ("bind", "queue"): "write",
    ("bind", "exchange"): "read",
    ("consume", "queue"): "read",
    ("publish", "exchange"): "write",
}


def access_error(text: str, doing: str, operation: Operation = "") -> AccessRefusedError:
    """
    The error for a refused operation, with the command that grants it.

    Args:
        text: The broker's text, as one line.
        doing: The operation, as a gerund phrase.
        operation: The kind of operation.
    """
    found = _REFUSED.search(text)
    if found is None:
        return AccessRefusedError(
            f"{doing} was refused ({text}). Give the user permission on this object: rabbitmqctl "
            "set_permissions"
        )
    said, topic, kind, name, vhost, user = found.groups()
    needed: str = said or _NEEDS.get((operation, kind), "")
    if operation == "declare" and kind == "exchange" and f"'{name}'" not in doing and not said:
        # The exchange to which a queue dead-letters.
        needed = "write"
    what = "the default exchange 'amq.default'" if name == _DEFAULT else f"{kind} '{name}'"
    if topic is not None:
        grant = (
            f"rabbitmqctl set_topic_permissions -p {shlex.quote(vhost)} {shlex.quote(user)} "
            f"{shlex.quote(name)} WRITE READ, with a {(needed or 'write').upper()} that matches "
            f"'{topic}'"
        )
        what = f"topic '{topic}' of {what}"
    else:
        grant = (
            f"rabbitmqctl set_permissions -p {shlex.quote(vhost)} {shlex.quote(user)} CONFIGURE "
            f"WRITE READ, with a {(needed or 'pattern').upper()} that matches '{name}' "
            "(docs/operations.md has the three patterns for each role)"
        )
    declare = (
        ", or let an operator declare it first: effectmq topology apply"
        if needed == "configure"
        else ""
    )
    return AccessRefusedError(
        f"{doing} was refused: user '{user}' has no {needed + ' ' if needed else ''}permission on "
        f"{what} in the virtual host '{vhost}' ({text}). Grant it with {grant}{declare}",
        permission=needed,
        resource=what,
        user=user,
        vhost=vhost,
    )


def names_exchange(text: str) -> str | None:
    """The exchange that a close of the channel is about, by the name that a publisher uses."""
    refused, missing = _REFUSED.search(text), _NO_EXCHANGE.search(text)
    if refused is not None and refused[3] == "exchange":
        return "" if refused[4] == _DEFAULT else str(refused[4])
    return None if missing is None else str(missing[1])


def names_topic(text: str) -> str | None:
    """The refused routing key, when only that was refused."""
    found = _REFUSED.search(text)
    return None if found is None else found[2]
