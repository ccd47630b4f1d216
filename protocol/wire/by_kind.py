"""
The types that only some kinds of effects have: those of models, code, checkpoints and processes.

They are most of the wire types, with those of sessions and prompts that come with them, and a
program mostly sees one or two kinds. Envelopes and outcomes have all of them as fields, so there
each is loaded when a reader or a writer needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from effectmq.protocol.encoding.serde.late import Late

if TYPE_CHECKING:
    from effectmq.protocol.wire.execution import (
        CheckpointDelivery,
        CheckpointKind,
        ExecResponse,
        ExecutionSurfaceSync,
    )
    from effectmq.protocol.wire.llm_request import LlmRequestSpec
    from effectmq.protocol.wire.process_commands import ProcessCommand, ProcessEffectOutcome
else:
    _EXECUTION = "effectmq.protocol.wire.execution"
    _PROCESSES = "effectmq.protocol.wire.process_commands"
    CheckpointDelivery = Annotated[Any, Late(_EXECUTION, "CheckpointDelivery")]
    CheckpointKind = Annotated[Any, Late(_EXECUTION, "CheckpointKind")]
    ExecResponse = Annotated[Any, Late(_EXECUTION, "ExecResponse")]
    ExecutionSurfaceSync = Annotated[Any, Late(_EXECUTION, "ExecutionSurfaceSync")]
    LlmRequestSpec = Annotated[Any, Late("effectmq.protocol.wire.llm_request", "LlmRequestSpec")]
    ProcessCommand = Annotated[Any, Late(_PROCESSES, "ProcessCommand")]
    ProcessEffectOutcome = Annotated[Any, Late(_PROCESSES, "ProcessEffectOutcome")]

__all__ = [
    "CheckpointDelivery",
    "CheckpointKind",
    "ExecResponse",
    "ExecutionSurfaceSync",
    "LlmRequestSpec",
    "ProcessCommand",
    "ProcessEffectOutcome",
]
