"""
One message of any transport: a body, a few AMQP properties, and headers.

The names are those of AMQP 0-9-1's ``basic`` properties. This module does not read the body;
``protocol.encoding.codec`` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from effectmq.protocol.encoding.content_types import JSON, MSGPACK, recognised

__all__ = ["HeaderValue", "Message", "content_type_of"]

#: The types of a header's value. RabbitMQ knows more types, but pamqp writes floats in 32 bits and
#: decodes nested tables recursively, so no other type is sent or read.
HeaderValue = str | int | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """
    A message to publish, or a delivered one.

    Attributes:
        body: The payload, as encoded by ``protocol.encoding.codec``.
        content_type: ``application/msgpack`` or ``application/json``; empty on a delivery that came
            without one, which is then recognised by the body's first byte.
        type: The kind of body and its version, for instance ``effect.envelope.v1``.
        correlation_id: The effect id; empty on messages that carry several effects.
        reply_to: The queue for the outcome; empty when none is wanted.
        message_id: Random and new for every publish, never derived from the content: aiormq finds
            the publish of a returned message by it. When empty, the transport makes one.
        timestamp: When it was published, seconds since the Unix epoch; 0 when unknown.
        headers: Headers of effectmq only; at most 8 KiB together.
        returns: On a delivery, how often it came back to the queue before because its consumer was
            lost; not published.
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
    The content type for an answer to a message, or for its copy: that of the message.

    When it is neither of the two, the answer is in MessagePack.
    """
    if message.content_type:
        return JSON if message.content_type == JSON else MSGPACK
    return recognised(message.body)
