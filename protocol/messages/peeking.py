"""
What must be known of a request that only has to wait: whose it is, and which effect.

It is decoded within the limits and nothing else is checked: neither the hash nor the envelope. That
is done when it is read. What is unusual is not peeked at, and has to be read at once.
"""

from __future__ import annotations

from typing import NamedTuple

from effectmq.protocol.encoding.codec import decode_tree
from effectmq.protocol.encoding.content_types import recognised
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.encoding.narrowing import members_of
from effectmq.protocol.encoding.rust_text import is_blank
from effectmq.protocol.errors import ProtocolError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.chosen.tenant import read_tenant
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import ENVELOPE_TYPE, Identity

__all__ = ["Peeked", "peek"]

#: With any other header more has to be known: it gives another identity, body or time, or is a
#: stranger's.
_USUAL = {
    names.HASH,
    names.REPLAY_KEY,
    names.TENANT,
    names.VERSION,
    names.PRIORITY,
    names.DEADLINE,
    names.OUT_OF_LINE,
    names.TRACEPARENT,
    names.TRACESTATE,
}


class Peeked(NamedTuple):
    """
    What a peek shows.

    Attributes:
        identity: The effect.
        tenant: For whom it is done; empty when nobody said.
        deadline_ms: When its outcome is no longer wanted, Unix milliseconds; 0 for never.
        tree: The envelope.
    """

    identity: Identity
    tenant: str
    deadline_ms: int
    tree: object


def peek(message: Message, limits: Limits) -> Peeked | None:
    """
    Peek at a request that may come from a stranger; ``None`` when it has to be read.

    Args:
        message: What arrived.
        limits: What is accepted.
    """
    headers = message.headers
    if message.type != ENVELOPE_TYPE or not headers.keys() <= _USUAL:
        return None
    try:
        tenant = read_tenant(headers)
        deadline_ms = max(0, names.integer(headers, names.DEADLINE, 0))
        tree = decode_tree(message.body, message.content_type or recognised(message.body), limits)
    except ProtocolError:
        return None
    invocation = members_of(members_of(tree).get("invocation"))
    scope = members_of(invocation.get("scope"))
    session_id, turn_id = scope.get("session_id"), scope.get("turn_id")
    key = members_of(invocation.get("replay")).get("key")
    if not isinstance(key, str) or not isinstance(session_id, str):
        return None
    in_turn = isinstance(turn_id, str) and not is_blank(turn_id)
    return Peeked(Identity(str(turn_id) if in_turn else session_id, key), tenant, deadline_ms, tree)
