"""
The wire protocol: what effects, outcomes and their keys look like, byte for byte. No I/O.

The names that programs meet first are here; the rest are in their rooms: ``identity.invocations``
builds invocations and replay keys, ``identity.digests`` ids and hashes, ``wire`` holds the types of
sessions, prompts and tool definitions. Names are loaded when they are first asked for, so that
importing one module of the package does not import all of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from effectmq.protocol.encoding.canonical import canonical_json, digest, sha256_hex
    from effectmq.protocol.encoding.jsontext import parse_json
    from effectmq.protocol.encoding.model import (
        WireModel,
        canonical_bytes,
        from_tree,
        stable_hash,
        to_tree,
    )
    from effectmq.protocol.encoding.opaque import Json, JsonValue, canonical_value
    from effectmq.protocol.encoding.tagging import Err, Ok, Result
    from effectmq.protocol.identity.canonicalize import canonicalize_line
    from effectmq.protocol.identity.digests import effect_scope_of, scope_id
    from effectmq.protocol.identity.validation import (
        envelope_problem,
        scope_problem,
        validate_envelope,
        validate_scope,
        wrong_outcome,
    )
    from effectmq.protocol.tool_calls.from_model import (
        ModelToolCall,
        arguments_from_model,
        calls_from_model,
    )
    from effectmq.protocol.wire.attachments import (
        AttachmentCreateMeta,
        AttachmentId,
        AttachmentMeta,
        AttachmentRef,
        ImageMediaType,
        MediaType,
        MediaTypeImage,
    )
    from effectmq.protocol.wire.envelope import (
        RuntimeEffectCommand,
        RuntimeEffectCommandCheckpoint,
        RuntimeEffectCommandDirect,
        RuntimeEffectCommandExecCode,
        RuntimeEffectCommandLlmCall,
        RuntimeEffectCommandProcess,
        RuntimeEffectCommandSleep,
        RuntimeEffectCommandSyncExecutionSurface,
        RuntimeEffectCommandToolCall,
        RuntimeEffectEnvelope,
    )
    from effectmq.protocol.wire.execution import (
        CheckpointDelivery,
        CheckpointKind,
        ExecImage,
        ExecResponse,
        ExecutionSurfaceSync,
        TextProjectionMetadata,
    )
    from effectmq.protocol.wire.invocation import (
        CausalRef,
        CausalRefEffect,
        CausalRefProcess,
        CausalRefProcessEvent,
        CausalRefSessionNode,
        CausalRefToolCall,
        CausalRefTurn,
        RuntimeEffectKind,
        RuntimeInvocation,
        RuntimeReplay,
        RuntimeScope,
        RuntimeSubject,
        RuntimeSubjectEffect,
        RuntimeSubjectProcess,
        RuntimeSubjectProcessEvent,
        RuntimeSubjectSessionNode,
    )
    from effectmq.protocol.wire.llm_request import (
        GenerationOptions,
        LlmAttachmentSpec,
        LlmContentBlock,
        LlmContentBlockImage,
        LlmContentBlockReasoning,
        LlmContentBlockText,
        LlmContentBlockToolCall,
        LlmContentBlockToolResult,
        LlmJsonSchema,
        LlmMessage,
        LlmOutputSpec,
        LlmOutputSpecJsonSchema,
        LlmRequestSpec,
        LlmRole,
        LlmToolChoice,
        LlmToolSpec,
    )
    from effectmq.protocol.wire.llm_response import (
        LlmCallError,
        LlmOutputPart,
        LlmOutputPartReasoning,
        LlmOutputPartText,
        LlmOutputPartToolCall,
        LlmResponse,
        LlmTerminalReason,
        LlmUsage,
    )
    from effectmq.protocol.wire.messages import (
        MessageOrigin,
        MessageOriginPlugin,
        MessageOriginProcess,
        MessageRole,
        Part,
        PartAttachment,
        PartKind,
        PluginMessage,
        PruneState,
        PruneStateDeleted,
        PruneStateSummarized,
        TurnCause,
    )
    from effectmq.protocol.wire.outcome import (
        OUTCOME_CLASSES,
        RecordedRuntimeEffect,
        RuntimeEffectControllerError,
        RuntimeEffectOutcome,
        RuntimeEffectOutcomeCheckpoint,
        RuntimeEffectOutcomeDirect,
        RuntimeEffectOutcomeExecCode,
        RuntimeEffectOutcomeLlmCall,
        RuntimeEffectOutcomeProcess,
        RuntimeEffectOutcomeSleep,
        RuntimeEffectOutcomeSyncExecutionSurface,
        RuntimeEffectOutcomeToolCall,
        ToolCallEffectOutcome,
    )
    from effectmq.protocol.wire.process_commands import (
        ProcessCommand,
        ProcessCommandAwait,
        ProcessCommandCancel,
        ProcessCommandDeleteSession,
        ProcessCommandList,
        ProcessCommandSignal,
        ProcessCommandStart,
        ProcessCommandTransfer,
        ProcessEffectOutcome,
        ProcessEffectOutcomeAwait,
        ProcessEffectOutcomeCancel,
        ProcessEffectOutcomeDeleteSession,
        ProcessEffectOutcomeList,
        ProcessEffectOutcomeSignal,
        ProcessEffectOutcomeStart,
        ProcessEffectOutcomeTransfer,
    )
    from effectmq.protocol.wire.process_events import (
        ProcessAwaitOutput,
        ProcessAwaitOutputCancelled,
        ProcessAwaitOutputFailure,
        ProcessAwaitOutputSuccess,
        ProcessEvent,
        ProcessEventAppendRequest,
        ProcessEventAppendResult,
        ProcessEventSemantics,
        ProcessTerminalSemantics,
        ProcessWake,
        ProcessWakeDelivery,
        SystemTime,
    )
    from effectmq.protocol.wire.process_registration import (
        ContentHash,
        LashlangProcessRef,
        ModuleRef,
        ProcessInput,
        ProcessInputExternal,
        ProcessInputLashlangProcess,
        ProcessInputSessionTurn,
        ProcessInputToolCall,
        ProcessProvenance,
        ProcessRegistration,
        ProcessScope,
        ProcessScopeId,
        RequiredSurfaceRef,
    )
    from effectmq.protocol.wire.processes import (
        ProcessCancelSummary,
        ProcessDefinitionSummary,
        ProcessExecutionContext,
        ProcessExternalRef,
        ProcessHandleDescriptor,
        ProcessHandleGrant,
        ProcessHandleGrantEntry,
        ProcessHandleSummary,
        ProcessLease,
        ProcessLeaseCompletion,
        ProcessLifecycleStatus,
        ProcessListMode,
        ProcessRecord,
        ProcessSessionDeleteReport,
        ProcessStartGrant,
        ProcessStartRequest,
        ProcessStatus,
        ProcessStatusCancelled,
        ProcessStatusCompleted,
        ProcessStatusFailed,
        ProcessStatusRunning,
    )
    from effectmq.protocol.wire.provider_meta import (
        ProviderReasoningReplay,
        ProviderReplayMeta,
        ResponseTextMeta,
    )
    from effectmq.protocol.wire.scopes import (
        EffectScope,
        EffectScopeCron,
        EffectScopeHostEvent,
        EffectScopeProcess,
        EffectScopeQueueDrain,
        EffectScopeRuntimeOperation,
        EffectScopeSessionDelete,
        EffectScopeTurn,
    )
    from effectmq.protocol.wire.tool_value import (
        RESERVED_KEY,
        ToolValue,
        decode_tool_value,
        encode_tool_value,
    )
    from effectmq.protocol.wire.tools import (
        CompletedToolCall,
        ModelToolReturn,
        ModelToolReturnPart,
        ModelToolReturnPartAttachment,
        ModelToolReturnPartText,
        PendingToolCall,
        PreparedToolCall,
        ToolCallOutcome,
        ToolCallOutcomeCancelled,
        ToolCallOutcomeFailure,
        ToolCallOutcomeSuccess,
        ToolCallOutput,
        ToolCallRecord,
        ToolCancellation,
        ToolControl,
        ToolControlFail,
        ToolControlFinish,
        ToolControlSwitchAgentFrame,
        ToolFailure,
        ToolFailureClass,
        ToolFailureSource,
        ToolHostEventEffectOutcome,
        ToolRetryDisposition,
        ToolRetryDispositionExhausted,
        ToolRetryDispositionNever,
        ToolRetryDispositionSafe,
    )

__all__ = [
    "OUTCOME_CLASSES", "RESERVED_KEY", "AttachmentCreateMeta", "AttachmentId", "AttachmentMeta",
    "AttachmentRef", "CausalRef", "CausalRefEffect", "CausalRefProcess",
    "CausalRefProcessEvent", "CausalRefSessionNode", "CausalRefToolCall", "CausalRefTurn",
    "CheckpointDelivery", "CheckpointKind", "CompletedToolCall", "ContentHash", "EffectScope",
    "EffectScopeCron", "EffectScopeHostEvent", "EffectScopeProcess", "EffectScopeQueueDrain",
    "EffectScopeRuntimeOperation", "EffectScopeSessionDelete", "EffectScopeTurn", "Err",
    "ExecImage", "ExecResponse", "ExecutionSurfaceSync", "GenerationOptions", "ImageMediaType",
    "Json", "JsonValue", "LashlangProcessRef", "LlmAttachmentSpec", "LlmCallError",
    "LlmContentBlock", "LlmContentBlockImage", "LlmContentBlockReasoning",
    "LlmContentBlockText", "LlmContentBlockToolCall", "LlmContentBlockToolResult",
    "LlmJsonSchema", "LlmMessage", "LlmOutputPart", "LlmOutputPartReasoning",
    "LlmOutputPartText", "LlmOutputPartToolCall", "LlmOutputSpec", "LlmOutputSpecJsonSchema",
    "LlmRequestSpec", "LlmResponse", "LlmRole", "LlmTerminalReason", "LlmToolChoice",
    "LlmToolSpec", "LlmUsage", "MediaType", "MediaTypeImage", "MessageOrigin",
    "MessageOriginPlugin", "MessageOriginProcess", "MessageRole", "ModelToolCall",
    "ModelToolReturn",
    "ModelToolReturnPart", "ModelToolReturnPartAttachment", "ModelToolReturnPartText",
    "ModuleRef", "Ok", "Part", "PartAttachment", "PartKind", "PendingToolCall", "PluginMessage",
    "PreparedToolCall", "ProcessAwaitOutput", "ProcessAwaitOutputCancelled",
    "ProcessAwaitOutputFailure", "ProcessAwaitOutputSuccess", "ProcessCancelSummary",
    "ProcessCommand", "ProcessCommandAwait", "ProcessCommandCancel",
    "ProcessCommandDeleteSession", "ProcessCommandList", "ProcessCommandSignal",
    "ProcessCommandStart", "ProcessCommandTransfer", "ProcessDefinitionSummary",
    "ProcessEffectOutcome", "ProcessEffectOutcomeAwait", "ProcessEffectOutcomeCancel",
    "ProcessEffectOutcomeDeleteSession", "ProcessEffectOutcomeList",
    "ProcessEffectOutcomeSignal", "ProcessEffectOutcomeStart", "ProcessEffectOutcomeTransfer",
    "ProcessEvent", "ProcessEventAppendRequest", "ProcessEventAppendResult",
    "ProcessEventSemantics", "ProcessExecutionContext", "ProcessExternalRef",
    "ProcessHandleDescriptor", "ProcessHandleGrant", "ProcessHandleGrantEntry",
    "ProcessHandleSummary", "ProcessInput", "ProcessInputExternal",
    "ProcessInputLashlangProcess", "ProcessInputSessionTurn", "ProcessInputToolCall",
    "ProcessLease", "ProcessLeaseCompletion", "ProcessLifecycleStatus", "ProcessListMode",
    "ProcessProvenance", "ProcessRecord", "ProcessRegistration", "ProcessScope",
    "ProcessScopeId", "ProcessSessionDeleteReport", "ProcessStartGrant", "ProcessStartRequest",
    "ProcessStatus", "ProcessStatusCancelled", "ProcessStatusCompleted", "ProcessStatusFailed",
    "ProcessStatusRunning", "ProcessTerminalSemantics", "ProcessWake", "ProcessWakeDelivery",
    "ProviderReasoningReplay", "ProviderReplayMeta", "PruneState", "PruneStateDeleted",
    "PruneStateSummarized", "RecordedRuntimeEffect", "RequiredSurfaceRef", "ResponseTextMeta",
    "Result", "RuntimeEffectCommand", "RuntimeEffectCommandCheckpoint",
    "RuntimeEffectCommandDirect", "RuntimeEffectCommandExecCode", "RuntimeEffectCommandLlmCall",
    "RuntimeEffectCommandProcess", "RuntimeEffectCommandSleep",
    "RuntimeEffectCommandSyncExecutionSurface", "RuntimeEffectCommandToolCall",
    "RuntimeEffectControllerError", "RuntimeEffectEnvelope", "RuntimeEffectKind",
    "RuntimeEffectOutcome", "RuntimeEffectOutcomeCheckpoint", "RuntimeEffectOutcomeDirect",
    "RuntimeEffectOutcomeExecCode", "RuntimeEffectOutcomeLlmCall",
    "RuntimeEffectOutcomeProcess", "RuntimeEffectOutcomeSleep",
    "RuntimeEffectOutcomeSyncExecutionSurface", "RuntimeEffectOutcomeToolCall",
    "RuntimeInvocation", "RuntimeReplay", "RuntimeScope", "RuntimeSubject",
    "RuntimeSubjectEffect", "RuntimeSubjectProcess", "RuntimeSubjectProcessEvent",
    "RuntimeSubjectSessionNode", "SystemTime", "TextProjectionMetadata",
    "ToolCallEffectOutcome", "ToolCallOutcome", "ToolCallOutcomeCancelled",
    "ToolCallOutcomeFailure", "ToolCallOutcomeSuccess", "ToolCallOutput", "ToolCallRecord",
    "ToolCancellation", "ToolControl", "ToolControlFail", "ToolControlFinish",
    "ToolControlSwitchAgentFrame", "ToolFailure", "ToolFailureClass", "ToolFailureSource",
    "ToolHostEventEffectOutcome", "ToolRetryDisposition", "ToolRetryDispositionExhausted",
    "ToolRetryDispositionNever", "ToolRetryDispositionSafe", "ToolValue", "TurnCause",
    "WireModel", "arguments_from_model", "calls_from_model", "canonical_bytes", "canonical_json",
    "canonical_value", "canonicalize_line",
    "decode_tool_value", "digest", "effect_scope_of", "encode_tool_value", "envelope_problem",
    "from_tree", "parse_json", "scope_id", "scope_problem", "sha256_hex", "stable_hash",
    "to_tree", "validate_envelope", "validate_scope", "wrong_outcome",
]  # fmt: skip

#: Where the names live; the first module that offers a name has it.
_MODULES = (
    "encoding.canonical",
    "identity.canonicalize",
    "identity.digests",
    "encoding.jsontext",
    "encoding.model",
    "tool_calls.from_model",
    "encoding.opaque",
    "encoding.tagging",
    "identity.validation",
    "wire.attachments",
    "wire.envelope",
    "wire.execution",
    "wire.invocation",
    "wire.llm_request",
    "wire.llm_response",
    "wire.messages",
    "wire.outcome",
    "wire.process_commands",
    "wire.process_events",
    "wire.process_registration",
    "wire.processes",
    "wire.provider_meta",
    "wire.scopes",
    "wire.tool_value",
    "wire.tools",
)


def __getattr__(name: str) -> object:
    if name in __all__:
        for module_name in _MODULES:
            module = import_module(f"effectmq.protocol.{module_name}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
