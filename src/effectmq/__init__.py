"""
effectmq: the effect broker for agent runtimes and worker fleets.

Producers submit hashed envelopes to per-kind queues, workers carry them out with retry, outcomes
come back by effect id, and effects that cannot be carried out are parked with a reason. Start with
``Client`` and ``Worker``; the wire types are in ``effectmq.protocol``.

Names are loaded at their first use, so that ``import effectmq`` and ``effectmq --help`` need not
load every type of the wire format.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from effectmq import moved

if TYPE_CHECKING:
    from effectmq.boundary import whole_boundary
    from effectmq.broker.client.fleet.answers import Heard, Roster, WorkerSeen
    from effectmq.broker.client.fleet.fleet import Fleet
    from effectmq.broker.client.handle import Handle
    from effectmq.broker.client.many.results import EffectResult, Submitted
    from effectmq.broker.client.stream import Stream
    from effectmq.broker.client.turns.numbers import ReplayOrderWarning
    from effectmq.broker.client.turns.process_scope import ProcessScope
    from effectmq.broker.client.turns.tool_calls.mapping import MapResult
    from effectmq.broker.client.turns.turn import ToolCall, Turn
    from effectmq.broker.place import Place
    from effectmq.broker.transports.settings import TransportSettings
    from effectmq.consumers.answering import WaitForAnswer
    from effectmq.consumers.code.settings import CodeSettings
    from effectmq.consumers.decisions.retry import RetryPolicy
    from effectmq.consumers.handler import EffectContext
    from effectmq.consumers.processes import ProcessRunnerSettings, RunningProcess
    from effectmq.consumers.sessions import CheckpointAbortError, CheckpointContext
    from effectmq.consumers.settings import WorkerSettings
    from effectmq.consumers.tools.context import ToolContext
    from effectmq.consumers.tools.results.special import (
        Attachment,
        FailTurn,
        FinishTurn,
        SwitchAgentFrame,
        ToolReturn,
    )
    from effectmq.consumers.worker import WorkerStuckError
    from effectmq.protocol.errors import (
        AccessRefusedError,
        AnswerMisfitError,
        AttachmentCorruptError,
        AttachmentError,
        AttachmentMissingError,
        AttachmentReferenceError,
        AttachmentStoreError,
        BrokerBlockedError,
        BrokerError,
        BrokerUnreachableError,
        CodedError,
        ConfigurationError,
        DatabaseError,
        DatabaseReadOnlyError,
        DatabaseUnavailableError,
        EffectCancelledError,
        EffectError,
        EffectFailedError,
        EffectMismatchError,
        EffectmqError,
        EffectSupersededError,
        EffectTimeoutError,
        HandlerError,
        HashMismatchError,
        InvalidEnvelopeError,
        MalformedError,
        MissingExtraError,
        NotHandedOutError,
        NotStorableError,
        OutcomeFailedError,
        ParentExpiredError,
        PayloadTooLargeError,
        ProcessLeaseLostError,
        ProcessRegistryError,
        ProtocolError,
        PublishError,
        PublishUnknownError,
        QueueFullError,
        RecordMissingError,
        RejectEffectError,
        ReplyQueueInUseError,
        RetryEffectError,
        SchemaVersionError,
        ToolCallError,
        TopologyError,
        TransportClosedError,
        UnavailableError,
        UnknownProcessError,
        UnroutableError,
        UnsupportedVersionError,
        VirtualHostError,
        WrongOutcomeError,
    )
    from effectmq.protocol.messages.chunk import Chunk
    from effectmq.protocol.messages.fleet.pauses import Pause
    from effectmq.protocol.messages.fleet.reports import RouteReport, WorkerReply, WorkerReport
    from effectmq.protocol.messages.progress import Progress
    from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
    from effectmq.protocol.wire.execution import CheckpointDelivery
    from effectmq.wiring.client import Client
    from effectmq.wiring.worker import Worker

__all__ = [
    "AccessRefusedError",
    "AnswerMisfitError",
    "Attachment",
    "AttachmentCorruptError",
    "AttachmentError",
    "AttachmentMissingError",
    "AttachmentReferenceError",
    "AttachmentStoreError",
    "BrokerBlockedError",
    "BrokerError",
    "BrokerUnreachableError",
    "CheckpointAbortError",
    "CheckpointContext",
    "CheckpointDelivery",
    "Chunk",
    "Client",
    "CodeSettings",
    "CodedError",
    "ConfigurationError",
    "DatabaseError",
    "DatabaseReadOnlyError",
    "DatabaseUnavailableError",
    "EffectCancelledError",
    "EffectContext",
    "EffectError",
    "EffectFailedError",
    "EffectMismatchError",
    "EffectResult",
    "EffectSupersededError",
    "EffectTimeoutError",
    "EffectmqError",
    "FailTurn",
    "FinishTurn",
    "Fleet",
    "Handle",
    "HandlerError",
    "HashMismatchError",
    "Heard",
    "InvalidEnvelopeError",
    "MalformedError",
    "MapResult",
    "MissingExtraError",
    "NotHandedOutError",
    "NotStorableError",
    "OutcomeFailedError",
    "ParentExpiredError",
    "Pause",
    "PayloadTooLargeError",
    "Place",
    "ProcessLeaseLostError",
    "ProcessRegistryError",
    "ProcessRunnerSettings",
    "ProcessScope",
    "Progress",
    "ProtocolError",
    "PublishError",
    "PublishUnknownError",
    "QueueFullError",
    "RecordMissingError",
    "RejectEffectError",
    "ReplayOrderWarning",
    "ReplyQueueInUseError",
    "RetryEffectError",
    "RetryPolicy",
    "Roster",
    "RouteReport",
    "RunningProcess",
    "RuntimeEffectEnvelope",
    "SchemaVersionError",
    "Stream",
    "Submitted",
    "SwitchAgentFrame",
    "ToolCall",
    "ToolCallError",
    "ToolContext",
    "ToolReturn",
    "TopologyError",
    "TransportClosedError",
    "TransportSettings",
    "Turn",
    "UnavailableError",
    "UnknownProcessError",
    "UnroutableError",
    "UnsupportedVersionError",
    "VirtualHostError",
    "WaitForAnswer",
    "Worker",
    "WorkerReply",
    "WorkerReport",
    "WorkerSeen",
    "WorkerSettings",
    "WorkerStuckError",
    "WrongOutcomeError",
    "whole_boundary",
]

_HOMES = {
    "Attachment": "consumers.tools.results.special",
    "CheckpointAbortError": "consumers.sessions",
    "CheckpointContext": "consumers.sessions",
    "CheckpointDelivery": "protocol.wire.execution",
    "Chunk": "protocol.messages.chunk",
    "Client": "wiring.client",
    "CodeSettings": "consumers.code.settings",
    "EffectContext": "consumers.handler",
    "EffectResult": "broker.client.many.results",
    "FailTurn": "consumers.tools.results.special",
    "FinishTurn": "consumers.tools.results.special",
    "Fleet": "broker.client.fleet.fleet",
    "Handle": "broker.client.handle",
    "Heard": "broker.client.fleet.answers",
    "MapResult": "broker.client.turns.tool_calls.mapping",
    "Pause": "protocol.messages.fleet.pauses",
    "Place": "broker.place",
    "ProcessRunnerSettings": "consumers.processes.settings",
    "ProcessScope": "broker.client.turns.process_scope",
    "Progress": "protocol.messages.progress",
    "ReplayOrderWarning": "broker.client.turns.numbers",
    "RetryPolicy": "consumers.decisions.retry",
    "Roster": "broker.client.fleet.answers",
    "RouteReport": "protocol.messages.fleet.reports",
    "RunningProcess": "consumers.processes.running",
    "RuntimeEffectEnvelope": "protocol.wire.envelope",
    "Stream": "broker.client.stream",
    "Submitted": "broker.client.many.results",
    "SwitchAgentFrame": "consumers.tools.results.special",
    "ToolCall": "broker.client.turns.turn",
    "ToolContext": "consumers.tools.context",
    "ToolReturn": "consumers.tools.results.special",
    "TransportSettings": "broker.transports.settings",
    "Turn": "broker.client.turns.turn",
    "WaitForAnswer": "consumers.answering",
    "Worker": "wiring.worker",
    "WorkerReply": "protocol.messages.fleet.reports",
    "WorkerReport": "protocol.messages.fleet.reports",
    "WorkerSeen": "broker.client.fleet.answers",
    "WorkerSettings": "consumers.settings",
    "WorkerStuckError": "consumers.worker",
    "whole_boundary": "boundary",
}

moved.install()


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'effectmq' has no attribute {name!r}")
    home = _HOMES.get(name, "protocol.errors")
    value: object = getattr(import_module(f"effectmq.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
