"""The envelope: an invocation, and the command to carry out."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field

from effectmq.protocol.encoding.jsontext import Members
from effectmq.protocol.encoding.rust_text import is_blank
from effectmq.protocol.encoding.serde.model import U64, Err, Ok, WireModel, stable_hash
from effectmq.protocol.errors import InvalidEnvelopeError, MalformedError
from effectmq.protocol.wire.by_kind import CheckpointKind, LlmRequestSpec, ProcessCommand
from effectmq.protocol.wire.invocation import (
    OfAKind,
    RuntimeInvocation,
    RuntimeReplay,
    RuntimeScope,
    RuntimeSubjectEffect,
)
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError
from effectmq.protocol.wire.tools import PreparedToolCall

__all__ = [
    "ENVELOPE_MEMBERS",
    "RuntimeEffectCommand",
    "RuntimeEffectCommandCheckpoint",
    "RuntimeEffectCommandDirect",
    "RuntimeEffectCommandExecCode",
    "RuntimeEffectCommandLlmCall",
    "RuntimeEffectCommandProcess",
    "RuntimeEffectCommandSleep",
    "RuntimeEffectCommandSyncExecutionSurface",
    "RuntimeEffectCommandToolCall",
    "RuntimeEffectEnvelope",
    "envelope_problem",
]

_SUBJECT = "runtime_effect_invocation_subject"
_KIND = "runtime_effect_invocation_kind"
_REPLAY = "runtime_effect_replay_required"


class RuntimeEffectCommandLlmCall(OfAKind):
    """Ask the model of a turn, with streaming."""

    type: Literal["llm_call"] = "llm_call"
    request: LlmRequestSpec


class RuntimeEffectCommandDirect(OfAKind):
    """
    Ask a model outside of the turn's own conversation.

    Attributes:
        usage_source: The name under which its tokens are counted.
    """

    type: Literal["direct"] = "direct"
    request: LlmRequestSpec
    usage_source: str


class RuntimeEffectCommandToolCall(OfAKind):
    """Run one tool call."""

    type: Literal["tool_call"] = "tool_call"
    call: PreparedToolCall


class RuntimeEffectCommandProcess(OfAKind):
    """Operate on background processes."""

    type: Literal["process"] = "process"
    command: ProcessCommand


class RuntimeEffectCommandExecCode(OfAKind):
    """Run a block of code."""

    type: Literal["exec_code"] = "exec_code"
    code: str


class RuntimeEffectCommandCheckpoint(OfAKind):
    """Deliver what has arrived for the session meanwhile."""

    type: Literal["checkpoint"] = "checkpoint"
    checkpoint: CheckpointKind


class RuntimeEffectCommandSyncExecutionSurface(OfAKind):
    """
    Bring prompt and tools up to date.

    Attributes:
        update_machine_config: ``False`` asks for nothing.
    """

    type: Literal["sync_execution_surface"] = "sync_execution_surface"
    update_machine_config: bool


class RuntimeEffectCommandSleep(OfAKind):
    """
    Wait.

    Attributes:
        duration_ms: The length of the wait in milliseconds.
    """

    type: Literal["sleep"] = "sleep"
    duration_ms: U64


RuntimeEffectCommand = Annotated[
    RuntimeEffectCommandLlmCall
    | RuntimeEffectCommandDirect
    | RuntimeEffectCommandToolCall
    | RuntimeEffectCommandProcess
    | RuntimeEffectCommandExecCode
    | RuntimeEffectCommandCheckpoint
    | RuntimeEffectCommandSyncExecutionSurface
    | RuntimeEffectCommandSleep,
    Field(discriminator="type"),
]


class RuntimeEffectEnvelope(WireModel):
    """
    One effect, ready to be carried out.

    Decoding does not check the rules between the two halves, nor does the class itself when it is
    called: ``new`` and ``try_new`` do, and ``validation.validate_envelope`` does it later.
    """

    invocation: RuntimeInvocation
    command: RuntimeEffectCommand

    @classmethod
    def new(cls, invocation: RuntimeInvocation, command: RuntimeEffectCommand) -> Self:
        """
        Build an envelope that keeps the rules.

        Raises:
            InvalidEnvelopeError: With the code and message of the first rule that is broken.
        """
        envelope = cls(invocation=invocation, command=command)
        problem = envelope_problem(envelope)
        if problem is not None:
            raise InvalidEnvelopeError(*problem)
        return envelope

    @classmethod
    def try_new(
        cls, invocation: RuntimeInvocation, command: RuntimeEffectCommand
    ) -> Ok[Self] | Err[RuntimeEffectControllerError]:
        """Build an envelope, or return the first rule that is broken as a controller error."""
        envelope = cls(invocation=invocation, command=command)
        problem = envelope_problem(envelope)
        if problem is None:
            return Ok(envelope)
        code, message = problem
        return Err(RuntimeEffectControllerError(code=code, message=message))

    def stable_hash(self) -> str:
        """
        Return the SHA-256 of the envelope's canonical JSON, 64 lowercase hex digits.

        Raises:
            InvalidEnvelopeError: When it has no wire form, with ``runtime_effect_envelope_hash``.
        """
        try:
            return stable_hash(self)
        except MalformedError as problem:
            raise InvalidEnvelopeError(
                "runtime_effect_envelope_hash",
                f"failed to serialize runtime effect envelope: {problem}",
            ) from None


def envelope_problem(envelope: RuntimeEffectEnvelope) -> tuple[str, str] | None:
    """
    Find the first rule that an envelope breaks.

    Returns:
        Code and message as the wire format fixes them, or None when all rules are kept.
    """
    subject = envelope.invocation.subject
    if not isinstance(subject, RuntimeSubjectEffect):
        return _SUBJECT, "runtime effect envelope subject must be an effect"
    if is_blank(subject.effect_id):
        return _SUBJECT, "runtime effect envelope effect id must be non-empty"
    kind = envelope.command.type
    if subject.kind != kind:
        return _KIND, (
            f"runtime effect invocation kind {subject.kind} does not match command kind {kind}"
        )
    # Only the empty key is refused; a blank one is a key like any other.
    if envelope.invocation.replay is None or not envelope.invocation.replay.key:
        return _REPLAY, "runtime effect envelope requires replay.key"
    return None


#: The members of an envelope that serde reads without buffering; it skips others here.
ENVELOPE_MEMBERS: Final[Members] = {
    "invocation": {
        "scope": dict.fromkeys(RuntimeScope.model_fields),
        "subject": None,
        "caused_by": None,
        "replay": dict.fromkeys(RuntimeReplay.model_fields),
    },
    "command": None,
}
