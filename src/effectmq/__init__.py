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
    from effectmq.broker.client.handle import Handle
    from effectmq.broker.client.stream import Stream
    from effectmq.broker.client.turns.mapping import MapResult
    from effectmq.broker.client.turns.numbers import ReplayOrderWarning
    from effectmq.broker.client.turns.process_scope import ProcessScope
    from effectmq.broker.client.turns.turn import ToolCall, Turn
    from effectmq.broker.place import Place
    from effectmq.broker.transports.settings import TransportSettings
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
        EffectTimeoutError,
        HandlerError,
        HashMismatchError,
        InvalidEnvelopeError,
        MalformedError,
        MissingExtraError,
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
    from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
    from effectmq.protocol.wire.execution import CheckpointDelivery
    from effectmq.wiring import Client, Worker

__all__ = [
    "AccessRefusedError",
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
    "EffectTimeoutError",
    "EffectmqError",
    "FailTurn",
    "FinishTurn",
    "Handle",
    "HandlerError",
    "HashMismatchError",
    "InvalidEnvelopeError",
    "MalformedError",
    "MapResult",
    "MissingExtraError",
    "NotStorableError",
    "OutcomeFailedError",
    "ParentExpiredError",
    "PayloadTooLargeError",
    "Place",
    "ProcessLeaseLostError",
    "ProcessRegistryError",
    "ProcessRunnerSettings",
    "ProcessScope",
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
    "RunningProcess",
    "RuntimeEffectEnvelope",
    "SchemaVersionError",
    "Stream",
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
    "Worker",
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
    "Client": "wiring",
    "CodeSettings": "consumers.code.settings",
    "EffectContext": "consumers.handler",
    "FailTurn": "consumers.tools.results.special",
    "FinishTurn": "consumers.tools.results.special",
    "Handle": "broker.client.handle",
    "MapResult": "broker.client.turns.mapping",
    "Place": "broker.place",
    "ProcessRunnerSettings": "consumers.processes.settings",
    "ProcessScope": "broker.client.turns.process_scope",
    "ReplayOrderWarning": "broker.client.turns.numbers",
    "RetryPolicy": "consumers.decisions.retry",
    "RunningProcess": "consumers.processes.running",
    "RuntimeEffectEnvelope": "protocol.wire.envelope",
    "Stream": "broker.client.stream",
    "SwitchAgentFrame": "consumers.tools.results.special",
    "ToolCall": "broker.client.turns.turn",
    "ToolContext": "consumers.tools.context",
    "ToolReturn": "consumers.tools.results.special",
    "TransportSettings": "broker.transports.settings",
    "Turn": "broker.client.turns.turn",
    "Worker": "wiring",
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
