"""
A message that asks only whether it arrives: workers settle it, and no handler sees it.

``effectmq doctor`` sends one because AMQP does not show bindings. One that says where to answer is
answered by the worker that took it, which proves the way to it and back.
"""

from __future__ import annotations

from typing import NamedTuple

from effectmq.protocol.messages.message import Message
from effectmq.protocol.text import printable

__all__ = ["PROBE_ANSWER_TYPE", "PROBE_TYPE", "ProbeAnswer", "is_probe", "probe", "probe_answer"]

PROBE_TYPE = "effectmq.probe.v1"
PROBE_ANSWER_TYPE = "effectmq.probe_answer.v1"

_OCTETS = "application/octet-stream"
#: Of the body of a probe; a longer one comes from somebody else.
_MAX_TOKEN_BYTES = 64
_MAX_NAME = 200


class ProbeAnswer(NamedTuple):
    """
    Who took a probe.

    Attributes:
        token: The body of the probe.
        worker: The name of the worker.
    """

    token: bytes
    worker: str

    @classmethod
    def read(cls, message: Message) -> ProbeAnswer | None:
        """The answer in a message; ``None`` when it has none."""
        if message.type != PROBE_ANSWER_TYPE:
            return None
        try:
            token = bytes.fromhex(message.correlation_id)
        except ValueError:
            return None
        return cls(token, printable(message.body.decode(errors="replace"), _MAX_NAME))


def probe(token: bytes, *, reply_to: str = "") -> Message:
    """
    A probe.

    Args:
        token: To know it by, for whoever takes it off again or reads its answer.
        reply_to: The queue for the answer; without one it is not answered.
    """
    return Message(
        body=token,
        content_type=_OCTETS,
        type=PROBE_TYPE,
        correlation_id="effectmq-probe",
        reply_to=reply_to,
    )


def probe_answer(asked: Message, worker: str) -> Message:
    """
    The answer to a probe.

    Args:
        asked: The probe.
        worker: The name of the worker that has it.
    """
    return Message(
        body=printable(worker, _MAX_NAME).encode(),
        content_type=_OCTETS,
        type=PROBE_ANSWER_TYPE,
        correlation_id=asked.body[:_MAX_TOKEN_BYTES].hex(),
    )


def is_probe(message: Message) -> bool:
    """Whether a message is a probe."""
    return message.type == PROBE_TYPE
