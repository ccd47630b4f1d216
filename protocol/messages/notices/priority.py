"""
The message to all workers that asks for the queue of a priority.

It may get lost, arrive twice, or be forged: it names a route, and the workers that take from it
open at most one more queue for each priority that there is.
"""

from __future__ import annotations

from effectmq.protocol.encoding.codec import JSON, Limits, decode_tree, encode_tree
from effectmq.protocol.encoding.narrowing import members_of
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.kinds import prioritized, priority_in, unprioritized
from effectmq.protocol.messages.chosen.priority import NORMAL, PRIORITIES, PRIORITY_TYPE
from effectmq.protocol.messages.message import Message

__all__ = ["priority_notice", "read_priority_notice"]


def priority_notice(route: str) -> Message:
    """The message that asks for the queue of a route with its priority."""
    tree: dict[str, object] = {"route": unprioritized(route), "priority": priority_in(route)}
    return Message(body=encode_tree(tree, JSON), content_type=JSON, type=PRIORITY_TYPE)


def read_priority_notice(message: Message) -> str:
    """
    The route that is asked for, with its priority.

    Raises:
        MalformedError: When it names none.
    """
    members = members_of(decode_tree(message.body, JSON, Limits()))
    match members:
        case {"route": str(route), "priority": str(priority)} if (
            priority in PRIORITIES and priority != NORMAL and unprioritized(route) == route
        ):
            return prioritized(route, priority)
        case _:
            raise MalformedError("", "expected an object with a route, and high or low as priority")
