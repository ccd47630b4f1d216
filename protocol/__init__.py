"""
The wire protocol: the exact bytes of effects, outcomes and their keys. No I/O.

The names that programs use most are exported here. The others are in their rooms:
``identity.invocations`` builds invocations and replay keys, ``identity.digests`` ids and hashes,
``wire`` holds the types of sessions, prompts and tool definitions. A name is loaded at its first
use, so that importing one module of the package does not import all of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from effectmq.protocol.encoding.canonical import *
    from effectmq.protocol.encoding.jsontext import *
    from effectmq.protocol.encoding.opaque import *
    from effectmq.protocol.encoding.serde.model import *
    from effectmq.protocol.encoding.serde.tagging import *
    from effectmq.protocol.identity.canonicalize import *
    from effectmq.protocol.identity.digests import *
    from effectmq.protocol.identity.validation import *
    from effectmq.protocol.tool_calls.from_model import *
    from effectmq.protocol.wire.attachments import *
    from effectmq.protocol.wire.envelope import *
    from effectmq.protocol.wire.execution import *
    from effectmq.protocol.wire.invocation import *
    from effectmq.protocol.wire.live_attachments import *
    from effectmq.protocol.wire.llm_events import *
    from effectmq.protocol.wire.llm_request import *
    from effectmq.protocol.wire.llm_response import *
    from effectmq.protocol.wire.messages import *
    from effectmq.protocol.wire.outcome import *
    from effectmq.protocol.wire.process_commands import *
    from effectmq.protocol.wire.process_events import *
    from effectmq.protocol.wire.process_registration import *
    from effectmq.protocol.wire.processes import *
    from effectmq.protocol.wire.provider_meta import *
    from effectmq.protocol.wire.scopes import *
    from effectmq.protocol.wire.tool_value import *
    from effectmq.protocol.wire.tools import *

__all__ = [
    "OUTCOME_CLASSES", "RESERVED_KEY", "AttachmentCreateMeta", "AttachmentId", "AttachmentMeta",
    "AttachmentRef", "CausalRef", "CausalRefEffect", "CausalRefProcess",
    "CausalRefProcessEvent", "CausalRefSessionNode", "CausalRefToolCall", "CausalRefTurn",
    "CheckpointDelivery", "CheckpointKind", "CompletedToolCall", "ContentHash", "EffectScope",
    "EffectScopeCron", "EffectScopeHostEvent", "EffectScopeProcess", "EffectScopeQueueDrain",
    "EffectScopeRuntimeOperation", "EffectScopeSessionDelete", "EffectScopeTurn", "Err",
    "ExecImage", "ExecResponse", "ExecutionSurfaceSync", "GenerationOptions", "ImageMediaType",
    "Json", "JsonValue", "LashlangProcessRef", "LiveAttachment", "LlmAttachmentSpec",
    "LlmCallError",
    "LlmContentBlock", "LlmContentBlockImage", "LlmContentBlockReasoning",
    "LlmContentBlockText", "LlmContentBlockToolCall", "LlmContentBlockToolResult", "LlmEventSender",
    "LlmJsonSchema", "LlmMessage", "LlmOutputPart", "LlmOutputPartReasoning",
    "LlmOutputPartText", "LlmOutputPartToolCall", "LlmOutputSpec", "LlmOutputSpecJsonSchema",
    "LlmProviderTraceEvent", "LlmProviderTraceSender", "LlmRequest",
    "LlmRequestSpec", "LlmResponse", "LlmRole", "LlmStreamEvent", "LlmStreamEventDelta",
    "LlmStreamEventPart", "LlmStreamEventReasoningDelta", "LlmStreamEventRetryStatus",
    "LlmStreamEventUsage", "LlmTerminalReason", "LlmToolChoice",
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

#: The modules of the names; the first module that has a name provides it.
_MODULES = (
    "encoding.canonical",
    "identity.canonicalize",
    "identity.digests",
    "encoding.jsontext",
    "encoding.serde.model",
    "tool_calls.from_model",
    "encoding.opaque",
    "encoding.serde.tagging",
    "identity.validation",
    "wire.attachments",
    "wire.envelope",
    "wire.execution",
    "wire.invocation",
    "wire.live_attachments",
    "wire.llm_events",
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
