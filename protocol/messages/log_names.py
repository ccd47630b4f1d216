"""
How a log line names an effect: by session, turn, effect and hash, and by its tool or model.

They are the words of the tables and the keys of ``--json``, so that what a log says is found with
``effectmq effects list --session …`` and ``effectmq dead show …``.
"""

from __future__ import annotations

from effectmq.protocol.messages import headers
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import printable
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandDirect,
    RuntimeEffectCommandLlmCall,
    RuntimeEffectCommandToolCall,
)

__all__ = ["log_names", "names_of_message"]

#: Ids come from outside, and a line has several.
_MOST = 200


def log_names(request: Request) -> dict[str, str]:
    """The names of an effect that was read, for ``extra`` of a log call; all printable."""
    scope = request.envelope.invocation.scope
    names = {
        "session_id": scope.session_id,
        "turn_id": scope.turn_id or "",
        "effect_id": request.effect_id,
        "hash": request.hash,
    }
    command = request.envelope.command
    if isinstance(command, RuntimeEffectCommandToolCall):
        names["tool"] = command.call.tool_name
    elif isinstance(command, RuntimeEffectCommandLlmCall | RuntimeEffectCommandDirect):
        names["model"] = command.request.model
    return _printable(names)


def names_of_message(message: Message) -> dict[str, str]:
    """What a message that could not be read says of itself: effect and hash, unchecked."""
    names = {
        "effect_id": message.correlation_id,
        "hash": str(message.headers.get(headers.HASH, "")),
    }
    return _printable(names)


def _printable(names: dict[str, str]) -> dict[str, str]:
    return {key: printable(name, _MOST) for key, name in names.items() if name}
