"""The envelope: who asks, and the command that says what to do."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from effectmq.protocol.encoding.jsontext import Members
from effectmq.protocol.encoding.model import U64, WireModel
from effectmq.protocol.wire.execution import CheckpointKind
from effectmq.protocol.wire.invocation import RuntimeInvocation, RuntimeReplay, RuntimeScope
from effectmq.protocol.wire.llm_request import LlmRequestSpec
from effectmq.protocol.wire.process_commands import ProcessCommand
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
]


class RuntimeEffectCommandLlmCall(WireModel):
    """Ask the model of a turn, with streaming."""

    type: Literal["llm_call"] = "llm_call"
    request: LlmRequestSpec


class RuntimeEffectCommandDirect(WireModel):
    """
    Ask a model outside of the turn's own conversation.

    Attributes:
        usage_source: Under which name its tokens are booked.
    """

    type: Literal["direct"] = "direct"
    request: LlmRequestSpec
    usage_source: str


class RuntimeEffectCommandToolCall(WireModel):
    """Run one tool call."""

    type: Literal["tool_call"] = "tool_call"
    call: PreparedToolCall


class RuntimeEffectCommandProcess(WireModel):
    """Operate on background processes."""

    type: Literal["process"] = "process"
    command: ProcessCommand


class RuntimeEffectCommandExecCode(WireModel):
    """Run a block of code."""

    type: Literal["exec_code"] = "exec_code"
    code: str


class RuntimeEffectCommandCheckpoint(WireModel):
    """Deliver what has come in for the session meanwhile."""

    type: Literal["checkpoint"] = "checkpoint"
    checkpoint: CheckpointKind


class RuntimeEffectCommandSyncExecutionSurface(WireModel):
    """
    Bring prompt and tools up to date.

    Attributes:
        update_machine_config: False asks for nothing.
    """

    type: Literal["sync_execution_surface"] = "sync_execution_surface"
    update_machine_config: bool


class RuntimeEffectCommandSleep(WireModel):
    """
    Wait.

    Attributes:
        duration_ms: In milliseconds.
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

    Decoding and building do not check the rules between the two halves:
    ``validation.validate_envelope`` does.
    """

    invocation: RuntimeInvocation
    command: RuntimeEffectCommand


#: What serde reads of an envelope without buffering it: other members here are skipped.
ENVELOPE_MEMBERS: Final[Members] = {
    "invocation": {
        "scope": dict.fromkeys(RuntimeScope.model_fields),
        "subject": None,
        "caused_by": None,
        "replay": dict.fromkeys(RuntimeReplay.model_fields),
    },
    "command": None,
}
