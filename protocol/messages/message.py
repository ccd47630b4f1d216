"""
One message as every transport carries it: a body, a few AMQP properties, our own headers.

The names are those of AMQP 0-9-1's ``basic`` properties. Nothing here reads the body;
``protocol.codec`` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from effectmq.protocol.encoding.content_types import JSON, MSGPACK, recognised

__all__ = ["HeaderValue", "Message", "content_type_of"]

#: What a header may hold. RabbitMQ knows more types, but pamqp writes floats in 32 bits and
#: decodes nested tables recursively, so we neither send nor read anything else.
HeaderValue = str | int | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """
    A message to publish, or one that was delivered.

    Attributes:
        body: The payload, as encoded by ``protocol.codec``.
        content_type: ``application/msgpack`` or ``application/json``; empty on a delivery that came
            without one, which is then recognised by the body's first byte.
        type: What the body is and in which version, for instance ``effect.envelope.v1``.
        correlation_id: The effect id; empty on messages that carry several effects.
        reply_to: The queue that wants the outcome; empty when nobody does.
        message_id: Fresh and random for every publish, never derived from the content:
            aiormq maps a returned message to its publish by it. Empty lets the transport choose.
        timestamp: When it was published, seconds since the Unix epoch; 0 when unknown.
        headers: Our own headers only; at most 8 KiB together.
        returns: On a delivery, how often the queue had it back before because whoever held it
            was lost; not published.
    """

    body: bytes
    content_type: str = "application/msgpack"
    type: str = ""
    correlation_id: str = ""
    reply_to: str = ""
    message_id: str = ""
    timestamp: int = 0
    headers: dict[str, HeaderValue] = field(default_factory=dict[str, HeaderValue])
    returns: int = 0


def content_type_of(message: Message) -> str:
    """
    The content type for whatever answers a message or takes its place: the message's own.

    One that is neither of the two cannot be written, and is answered in MessagePack.
    """
    if message.content_type:
        return JSON if message.content_type == JSON else MSGPACK
    return recognised(message.body)
