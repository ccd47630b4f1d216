"""What became of each of many effects; one that fails does so alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from effectmq.broker.client.handle import Handle
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.messages.reply import Reply
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome

__all__ = ["EffectResult", "Submitted"]

D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class EffectResult:
    """
    What became of one effect of ``Client.map``; asked like an outcome.

    Attributes:
        index: Its place among the envelopes, from 0.
        envelope: The effect.
        outcome: Its outcome, a failure perhaps; ``None`` when none came.
        error: Why there is no value: the failure as an error, or the error that came instead of an
            outcome (a timeout, a cancelled effect, a broker that is away). ``None`` with a value.
        handle: Waits on for it after a timeout; ``None`` when it could not be submitted.
    """

    index: int
    envelope: RuntimeEffectEnvelope
    outcome: RuntimeEffectOutcome | None
    error: EffectmqError | None
    handle: Handle | None

    @property
    def reply(self) -> Reply | None:
        """The whole answer, with its attempt and whether it was replayed; ``None`` without one."""
        return None if self.handle is None else self.handle.answer

    @property
    def failed(self) -> bool:
        """Whether there is no value, so that ``value`` raises."""
        return self.error is not None

    @property
    def value(self) -> Any:
        """
        What the effect gave.

        Raises:
            EffectmqError: The effect's own ``error``, when there is no value.
        """
        if self.error is not None:
            raise self.error
        assert self.outcome is not None
        return self.outcome.value

    def value_or(self, default: D) -> Any | D:
        """What the effect gave, or the default when there is no value."""
        return default if self.failed else self.value


@dataclass(frozen=True, slots=True)
class Submitted:
    """
    What became of one effect of ``Client.submit_many``.

    Attributes:
        index: Its place among the envelopes, from 0.
        envelope: The effect.
        error: Why it could not be submitted; ``None`` when it is pending or has its outcome.
    """

    index: int
    envelope: RuntimeEffectEnvelope
    error: EffectmqError | None
    _handle: Handle | None

    @property
    def handle(self) -> Handle:
        """
        The handle to wait on.

        Raises:
            EffectmqError: The effect's own ``error``, when it could not be submitted.
        """
        if self._handle is None:
            assert self.error is not None
            raise self.error
        return self._handle
