"""
Errors of ours for what the broker and its client library report.

Each function takes what was being done and the text of the failure, and returns an error. The
library's own classes are handled elsewhere in ``driver``; here are the rules that read the broker's
words, so that they can be tested with plain text.
"""

from __future__ import annotations

import errno
import os
import re
import socket

from effectmq.broker.transports.rabbitmq.driver.address import Address
from effectmq.broker.transports.rabbitmq.driver.refused import Operation, access_error
from effectmq.protocol.errors import (
    AccessRefusedError,
    BrokerError,
    BrokerUnreachableError,
    ConfigurationError,
    ReplyQueueInUseError,
    TopologyError,
    VirtualHostError,
)

__all__ = [
    "SilentError",
    "channel_error",
    "credentials_error",
    "in_use_error",
    "lost_error",
    "mechanism_error",
    "name_error",
    "one_line",
    "refused_error",
    "silent_error",
    "unreachable_error",
]

_INEQUIVALENT = re.compile(
    r"inequivalent arg '([^']+)' for (\w+) '([^']+)' in vhost '([^']*)':? ?(.*)"
)
_DIFFERENCE = re.compile(r"received (.+) but current is (.+)")
# "the value '17' of type 'signedint'", "'topic'", "none"
_VALUE = re.compile(r"(?:the value )?('[^']*'|\w+)(?: of type '\w+')?")
_URL_SECRET = re.compile(r"://\S*@")

#: AMQP's own reply codes, as far as RabbitMQ uses them here.
_ACCESS_REFUSED = 403
_NOT_FOUND = 404
_RESOURCE_LOCKED = 405
_PRECONDITION_FAILED = 406
_NOT_ALLOWED = 530
_NOT_IMPLEMENTED = 540


class SilentError(BrokerUnreachableError):
    """A request had no answer in time; the connection itself may be healthy."""


def channel_error(code: int, text: str, doing: str, operation: Operation = "") -> BrokerError:
    """
    The error for a channel that the broker closed.

    Args:
        code: The AMQP reply code.
        text: The broker's own text, which names the object and the argument.
        doing: What we were doing, as a gerund phrase.
        operation: The kind of it, which says what permission it needs.
    """
    text = one_line(text)
    if code == _RESOURCE_LOCKED or (code == _ACCESS_REFUSED and "exclusive use" in text):
        return in_use_error(doing, text)
    if code == _ACCESS_REFUSED:
        return access_error(text, doing, operation)
    if code == _NOT_FOUND and "down or inaccessible" in text:
        return BrokerUnreachableError(f"{doing}: {text}. Start that node of the broker again")
    if code == _NOT_FOUND:
        return TopologyError(
            f"{doing}: it does not exist ({text}). Start a worker that declares it, or run: "
            "effectmq topology apply"
        )
    if code == _PRECONDITION_FAILED:
        return TopologyError(f"{doing}: {_precondition(text)}")
    if code == _NOT_ALLOWED:
        return BrokerError(
            f"{doing}: the broker does not allow it ({text}). Look at its policies and limits: "
            "rabbitmqctl list_policies, list_vhost_limits, list_user_limits"
        )
    if code == _NOT_IMPLEMENTED:
        return BrokerError(
            f"{doing}: the broker cannot do this ({text}); effectmq needs RabbitMQ 3.10 or later"
        )
    return BrokerError(f"{doing}: the broker closed the channel with {code} ({text})")


def in_use_error(doing: str, text: str) -> ReplyQueueInUseError:
    """The error for a queue with an exclusive consumer; ``text`` is the broker's own."""
    return ReplyQueueInUseError(
        f"{doing}: another live consumer holds the queue exclusively ({text}). Two producers may "
        "not share one identity: give each its own, or stop the other one"
    )


def credentials_error(address: Address, text: str) -> AccessRefusedError:
    """The error for a user name or password that the broker refused."""
    return AccessRefusedError(
        f"the broker at {address} refused the user name or password ({one_line(text)}). Check the "
        "address in EFFECTMQ_BROKER; the user guest may only connect from the broker's own host"
    )


def mechanism_error(address: Address, offered: str) -> AccessRefusedError:
    """The error for a login mechanism that the broker does not offer."""
    return AccessRefusedError(
        f"the broker at {address} offers the login mechanisms {one_line(offered)}, and the address "
        "asks for another one. Correct or remove its auth=..., or enable the mechanism on the "
        "broker"
    )


def refused_error(address: Address, code: int, text: str) -> BrokerError:
    """
    The error for a connection that the broker closed right after the login.

    Args:
        address: The broker.
        code: The AMQP reply code of its ``connection.close``; 0 when it was not understood.
        text: The broker's own text.
    """
    said = f" ({one_line(text)})" if text else ""
    lowered = text.lower()
    where = f"the virtual host {address.vhost!r} on the broker at {address}"
    if "limit" in lowered:
        return BrokerUnreachableError(
            f"{where} takes no more connections{said}. Close some, or raise the limit with "
            "'rabbitmqctl set_vhost_limits' or 'rabbitmqctl set_user_limits'"
        )
    if "is down" in lowered:
        return BrokerUnreachableError(
            f"{where} is down{said}. Restart it with 'rabbitmqctl restart_vhost'"
        )
    if "not found" in lowered:
        return VirtualHostError(
            f"{where} does not exist{said}. Create it with 'rabbitmqctl add_vhost' and "
            "'rabbitmqctl set_permissions', or correct the address: amqp://host/VHOST, where the "
            "default one is %2F or nothing at all"
        )
    if code in (0, _ACCESS_REFUSED, _NOT_ALLOWED):
        return VirtualHostError(
            f"the user may not use {where}{said}. Give access with 'rabbitmqctl set_permissions "
            "-p VHOST USER ...', or correct the address: amqp://host/VHOST"
        )
    return BrokerUnreachableError(f"the broker at {address} hung up with {code}{said}")


def unreachable_error(address: Address, failure: BaseException) -> BrokerUnreachableError:
    """The error for a connection that could not be made; one sentence for each usual cause."""
    text = one_line(str(failure)) or type(failure).__name__
    name = type(failure).__name__
    lowered = text.lower()
    # EAI_NONAME: the name does not exist. Other numbers mean that asking again may help.
    lasting = getattr(failure, "errno", None) == socket.EAI_NONAME
    if name == "gaierror" or "name or service" in lowered or "name resolution" in lowered:
        cause = "the host name does not resolve. Check its spelling and the DNS"
    elif name in {"TimeoutError", "CancelledError"} or "timed out" in lowered:
        cause = "no answer in time. A firewall may drop the packets, or the broker is overloaded"
    elif name == "ConnectionRefusedError" or f"errno {errno.ECONNREFUSED}]" in lowered:
        cause = "nothing listens there. Start the broker, or correct host and port"
    elif name.startswith("SSL") or "certificate" in lowered or "ssl" in lowered:
        lasting = True
        cause = (
            f"TLS failed ({text}). Name the authority with ?cafile=PATH, and check that host name "
            "and certificate agree and that this port speaks TLS"
        )
    elif "reset" in lowered or "closed" in lowered or name == "IncompleteReadError":
        other = "amqp://" if address.tls else "amqps://"
        cause = (
            f"it hung up during the greeting ({text}). Either the port expects {other}, or it asks "
            "for a client certificate (?certfile=PATH&keyfile=PATH), or it is just starting"
        )
    else:
        # asyncio writes "Connect call failed" only; the number has the system's own words.
        number = failure.errno if isinstance(failure, OSError) else None
        cause = f"{os.strerror(number) + ' ' if number else ''}({text}). "
        cause += "Check that a RabbitMQ listens there, and that this host can reach it"
    return BrokerUnreachableError(
        f"no connection to the broker at {address}: {cause}", lasting=lasting
    )


def silent_error(address: Address, doing: str, waited_s: float) -> SilentError:
    """The error for a request on an open connection that had no answer in time."""
    return SilentError(
        f"{doing}: the broker at {address} did not answer within {waited_s:g} s; it may be "
        "overloaded or have raised an alarm"
    )


def lost_error(address: Address, doing: str, reason: str) -> BrokerUnreachableError:
    """The error for a connection that was lost while a request was under way."""
    said = f" ({one_line(reason)})" if reason else ""
    return BrokerUnreachableError(f"{doing}: the connection to {address} was lost{said}")


def name_error(doing: str, problem: str) -> ConfigurationError:
    """The error for a request that the client library could not write."""
    return ConfigurationError(
        f"{doing}: AMQP cannot express this ({one_line(problem)}). Names are at most 255 "
        "letters, digits and -_.:@#,/+ or blanks"
    )


def _precondition(text: str) -> str:
    found = _INEQUIVALENT.search(text)
    if found is None:
        return f"the broker refused it ({text})"
    argument, kind, name, vhost, difference = found.groups()
    delete = (
        f"once it is empty, delete it (rabbitmqctl delete_queue --vhost {vhost} {name})"
        if kind == "queue"
        else f"delete it (rabbitmqadmin delete {kind} name={name})"
    )
    return (
        f"{kind} {name!r} exists with another {argument!r}: {_difference(difference)}. Arguments "
        f"cannot be changed: use the same setting as the one that declared it, or {delete} and "
        "run: effectmq topology apply"
    )


def _difference(text: str) -> str:
    found = _DIFFERENCE.search(text)
    if found is None:
        return text
    expected, has = (_VALUE.sub(r"\1", part) for part in found.groups())
    return f"it has {has}, expected {expected}"


def one_line(text: str) -> str:
    """The text as one printable line without passwords; it may hold names that strangers gave."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return _URL_SECRET.sub("://***@", " ".join(line.split()))[:300]
