"""Bytes or values that break the wire contract."""

from __future__ import annotations

from effectmq.protocol.errors.base import CodedError, EffectmqError

__all__ = [
    "HashMismatchError",
    "InvalidEnvelopeError",
    "MalformedError",
    "ProtocolError",
    "UnsupportedVersionError",
    "WrongOutcomeError",
]


class ProtocolError(EffectmqError):
    """Bytes or values that break the wire contract."""


class MalformedError(ProtocolError):
    """
    A document that is not what it claims to be.

    Args:
        path: Where in the document, as ``a.b[0]``; empty for the document itself.
        problem: What was found there and what was expected.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}" if path else problem)


class InvalidEnvelopeError(ProtocolError, CodedError):
    """
    An envelope that decodes but breaks a rule of the contract.

    Args:
        code: The wire format's code, for instance ``runtime_effect_replay_required``.
        message: The wire format's fixed message for it.
    """


class WrongOutcomeError(ProtocolError, CodedError):
    """
    An outcome of another kind than was expected.

    Args:
        code: The wire format's code, ``runtime_effect_wrong_outcome``.
        message: The wire format's message for it; names both kinds.
    """


class HashMismatchError(ProtocolError):
    """
    The hash sent with an envelope is not the hash of that envelope.

    Args:
        claimed: The hash that was sent.
        actual: The hash of the canonical form of what was sent.
        unknown: The members that this version does not know, as text; empty when there are none.
    """

    def __init__(self, claimed: str, actual: str, unknown: str = "") -> None:
        self.claimed = claimed
        self.actual = actual
        self.unknown = unknown
        why = "it was changed on the way, or the producer's encoder differs"
        if unknown:
            why = (
                f"members that this version does not know are not part of the hash ({unknown}); "
                "the producer may be newer: upgrade the workers"
            )
        super().__init__(
            f"the envelope hashes to {actual} but was sent with {claimed}: {why} (check it with: "
            "effectmq canonicalize)"
        )


class UnsupportedVersionError(ProtocolError):
    """
    A message type of another version of the protocol.

    Args:
        found: The ``type`` property of the message.
        expected: The ``type`` that this version speaks.
    """

    def __init__(self, found: str, expected: str) -> None:
        self.found = found
        self.expected = expected
        super().__init__(
            f"the message has type {found!r} and this version speaks {expected!r}; "
            "upgrade the older of producer and worker"
        )
