"""
Who asked for a handed-out effect: enough to ask a worker for it again, on the caller's behalf.

The worker then answers from the record, with all that answers need: encoding, size, a reply queue
that is away. Whoever completes an effect may publish effects, and need not be allowed to publish to
the reply queues of others.
"""

from __future__ import annotations

from typing import NamedTuple

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.codec import JSON, encode_plain
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.encoding.narrowing import members_of
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import HeaderValue, Message, content_type_of

__all__ = ["Again", "asked_again", "asker_json"]


class Again(NamedTuple):
    """
    The effect asked for once more.

    Attributes:
        route: The routing key.
        message: The message.
    """

    route: str
    message: Message


def asker_json(route: str, message: Message) -> str:
    """
    What is kept of the message of a handed-out effect; the envelope is in the journal.

    Returns:
        Canonical JSON; empty when nobody is to be answered, or the body is kept out of line.
    """
    if not message.reply_to or names.BODY in message.headers:
        return ""
    kept = {
        "route": route,
        "type": message.type,
        "reply_to": message.reply_to,
        "content_type": content_type_of(message),
        "correlation_id": message.correlation_id,
        "headers": dict(message.headers),
    }
    return canonical_json(kept).decode()


def asked_again(kept: str, envelope_json: str, limits: Limits) -> Again | None:
    """
    The message that asks for the effect again; ``None`` when nobody is to be answered.

    Args:
        kept: From ``asker_json``.
        envelope_json: The canonical envelope.
        limits: Those of a body.

    Raises:
        MalformedError: When the envelope does not fit them.
    """
    if not kept or not envelope_json:
        return None
    found = members_of(parse_json(kept))
    content_type = str(found.get("content_type"))
    if content_type == JSON:
        body = envelope_json.encode()
    else:
        body = encode_plain(parse_json(envelope_json), content_type, limits)
    headers: dict[str, HeaderValue] = {
        name: value
        for name, value in members_of(found.get("headers")).items()
        if isinstance(value, str | int)
    }
    message = Message(
        body=body,
        content_type=content_type,
        type=str(found.get("type")),
        correlation_id=str(found.get("correlation_id")),
        reply_to=str(found.get("reply_to")),
        headers=headers,
    )
    return Again(str(found.get("route")), message)
