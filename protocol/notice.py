"""
A word to all workers: this effect was cancelled, whoever runs it should look.

The journal has decided already; a notice only makes that known before the next renewal of a lease.
So it may get lost, come twice, or be made up by a stranger: whoever hears it asks the journal.
"""

from __future__ import annotations

from typing import cast

from effectmq.protocol.codec import JSON, Limits, decode_tree, encode_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.message import Message
from effectmq.protocol.request import Identity

__all__ = ["NOTICE_TYPE", "cancel_notice", "read_notice"]

#: The AMQP ``type`` of a message that names a cancelled effect.
NOTICE_TYPE = "effect.cancel.v1"


def cancel_notice(identity: Identity) -> Message:
    """The message that names an effect."""
    tree: dict[str, object] = {"scope_id": identity.scope_id, "replay_key": identity.replay_key}
    return Message(body=encode_tree(tree, JSON), content_type=JSON, type=NOTICE_TYPE)


def read_notice(message: Message, limits: Limits | None = None) -> Identity:
    """
    Which effect a notice names.

    Raises:
        MalformedError: When it names none; carries the path.
    """
    tree = decode_tree(message.body, message.content_type or JSON, limits or Limits())
    fields = cast("dict[str, object]", tree) if isinstance(tree, dict) else {}
    scope_id, replay_key = fields.get("scope_id"), fields.get("replay_key")
    if not isinstance(scope_id, str) or not isinstance(replay_key, str):
        raise MalformedError("", "expected an object with scope_id and replay_key")
    return Identity(scope_id, replay_key)
