"""
The handler of ``checkpoint``: what tools left, what was queued, and what the host's hooks add.

The wire format requires this order. A failure is an outcome, not a parked effect: the turn that
asked gets an error that it can handle. Only a database that cannot be reached is tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from effectmq.broker.store.sessions.inbox import SessionInbox
from effectmq.consumers.decisions.retry import DEFAULT_RETRY, RetryPolicy
from effectmq.consumers.handler import EffectContext, RepeatableHandler, call, cannot_execute
from effectmq.consumers.logs.lines import note_raised
from effectmq.protocol.encoding.serde.tagging import Err, Ok
from effectmq.protocol.errors import HandlerError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.envelope import RuntimeEffectCommandCheckpoint
from effectmq.protocol.wire.execution import CheckpointDelivery, CheckpointKind
from effectmq.protocol.wire.outcome import (
    RuntimeEffectControllerError,
    RuntimeEffectOutcomeCheckpoint,
)

__all__ = [
    "CheckpointAbortError",
    "CheckpointContext",
    "CheckpointHandler",
    "CheckpointHook",
]

logger = logging.getLogger("effectmq.sessions")


class CheckpointAbortError(HandlerError):
    """
    A hook raises this to stop the turn here.

    Args:
        code: For programs; becomes the code of the outcome's error.
        message: A sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class CheckpointContext:
    """
    What a hook may need to know.

    Attributes:
        session_id: The session.
        turn_id: The turn, or empty.
        checkpoint: ``after_work`` or ``before_completion``.
        delivered: What the inbox delivers; a hook returns what it adds.
        effect: Everything else about the effect.
    """

    session_id: str
    turn_id: str
    checkpoint: CheckpointKind
    delivered: CheckpointDelivery
    effect: EffectContext


#: Adds to a checkpoint, or adds nothing; a function that is not ``async`` runs in a thread.
CheckpointHook = Callable[
    [CheckpointContext], Awaitable[CheckpointDelivery | None] | CheckpointDelivery | None
]


class CheckpointHandler(RepeatableHandler):
    """
    Carries out ``checkpoint`` effects; register it with ``worker.add``.

    Args:
        inbox: What waits for sessions; without one only hooks deliver.
        hooks: Called in order at every run, also when a checkpoint runs again after a crash.
        retry: What to do when the inbox cannot be reached.
    """

    kind = "checkpoint"

    def __init__(
        self,
        inbox: SessionInbox | None = None,
        hooks: tuple[CheckpointHook, ...] = (),
        *,
        retry: RetryPolicy = DEFAULT_RETRY,
    ) -> None:
        self.retry = retry
        self._inbox = inbox
        self._hooks = [*hooks]

    def hook(self, function: CheckpointHook) -> CheckpointHook:
        """Add a hook; for use as a decorator."""
        self._hooks.append(function)
        return function

    async def run(self, request: Request, context: EffectContext) -> RuntimeEffectOutcomeCheckpoint:
        """
        Carry out one checkpoint.

        Raises:
            RejectEffectError: When the effect is of another kind.
            DatabaseUnavailableError: When the inbox cannot be reached.
        """
        command = request.envelope.command
        if not isinstance(command, RuntimeEffectCommandCheckpoint):
            raise cannot_execute("the checkpoint", command)
        scope = context.invocation.scope
        delivered = await self._claimed(request, scope.session_id)
        facts = CheckpointContext(
            scope.session_id, scope.turn_id or "", command.checkpoint, delivered, context
        )
        try:
            for hook in self._hooks:
                _extend(delivered, await call(hook, (facts,), {}))
        except CheckpointAbortError as abort:
            return _failed(abort.code, abort.message)
        except Exception as problem:
            note_raised(request, problem, "a checkpoint hook")
            return _failed("plugin_checkpoint", describe(problem))
        return RuntimeEffectOutcomeCheckpoint(result=Ok(delivered))

    async def _claimed(self, request: Request, session_id: str) -> CheckpointDelivery:
        if self._inbox is None:
            return CheckpointDelivery(messages=[], transient_messages=[], turn_causes=[])
        # The permanent name of the effect, so that a second run takes the same entries.
        identity = request.identity
        claimant = f"{identity.scope_id}\n{identity.replay_key}"
        return await self._inbox.claim(session_id, claimant)


def _extend(delivered: CheckpointDelivery, added: object) -> None:
    if added is None:
        return
    if not isinstance(added, CheckpointDelivery):
        raise TypeError(
            f"a checkpoint hook returned {type(added).__name__}; expected a CheckpointDelivery or "
            "None"
        )
    delivered.messages.extend(added.messages)
    delivered.transient_messages.extend(added.transient_messages)
    delivered.turn_causes.extend(added.turn_causes)


def _failed(code: str, message: str) -> RuntimeEffectOutcomeCheckpoint:
    error = RuntimeEffectControllerError(code=printable(code, 200), message=printable(message))
    return RuntimeEffectOutcomeCheckpoint(result=Err(error))
