"""The result of an operation on processes, by the rule of ``outcome_values``. Pure."""

from __future__ import annotations

from typing import Any

from effectmq.protocol.encoding.serde.model import Err, Ok
from effectmq.protocol.wire.outcome_values import OutcomeFailure
from effectmq.protocol.wire.process_commands import (
    ProcessEffectOutcome,
    ProcessEffectOutcomeAwait,
    ProcessEffectOutcomeCancel,
    ProcessEffectOutcomeDeleteSession,
    ProcessEffectOutcomeList,
    ProcessEffectOutcomeSignal,
    ProcessEffectOutcomeStart,
)
from effectmq.protocol.wire.process_events import (
    ProcessAwaitOutput,
    ProcessAwaitOutputFailure,
    ProcessAwaitOutputSuccess,
)

__all__ = ["operation_value"]


def operation_value(outcome: ProcessEffectOutcome) -> Ok[Any] | Err[OutcomeFailure]:
    """The result of an operation on processes: a record, entries, a report, an event, an output."""
    match outcome:
        case ProcessEffectOutcomeAwait():
            return _awaited(outcome.output)
        case ProcessEffectOutcomeStart() | ProcessEffectOutcomeCancel():
            return Ok(outcome.record)
        case ProcessEffectOutcomeList():
            return Ok(outcome.entries)
        case ProcessEffectOutcomeDeleteSession():
            return Ok(outcome.report)
        case ProcessEffectOutcomeSignal():
            return Ok(outcome.event)
        case _:
            return Ok(None)


def _awaited(output: ProcessAwaitOutput) -> Ok[Any] | Err[OutcomeFailure]:
    if isinstance(output, ProcessAwaitOutputSuccess):
        return Ok(output.value)
    if isinstance(output, ProcessAwaitOutputFailure):
        return Err(OutcomeFailure("the process", output.class_, output.code, output.message))
    return Err(OutcomeFailure("the process", "cancelled", "cancelled", output.message))
