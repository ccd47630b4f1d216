"""
A message that asks only whether it arrives: workers settle it and do nothing else.

``effectmq doctor`` sends it, because AMQP does not show bindings.
"""

from __future__ import annotations

from effectmq.protocol.messages.message import Message

__all__ = ["PROBE_TYPE", "is_probe", "probe"]

PROBE_TYPE = "effectmq.probe.v1"


def probe(body: bytes) -> Message:
    """A probe; its sender recognises it by the body."""
    return Message(
        body=body,
        content_type="application/octet-stream",
        type=PROBE_TYPE,
        correlation_id="effectmq-probe",
    )


def is_probe(message: Message) -> bool:
    """Whether a message is a probe."""
    return message.type == PROBE_TYPE
