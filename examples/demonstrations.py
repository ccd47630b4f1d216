"""
What stands behind the demonstration kinds of ``examples/worker.py``.

None of it is for use: ``answer`` is no model, ``calculate`` no interpreter, and ``Processes`` is
forgotten with its process.
"""

from __future__ import annotations

import ast
import operator
import time
from collections.abc import Callable

from effectmq import RejectEffectError
from effectmq.protocol import (
    ExecResponse,
    LlmContentBlockText,
    LlmOutputPartText,
    LlmRequestSpec,
    LlmResponse,
    LlmUsage,
    ProcessAwaitOutputCancelled,
    ProcessCommand,
    ProcessCommandAwait,
    ProcessCommandCancel,
    ProcessCommandList,
    ProcessCommandStart,
    ProcessEffectOutcome,
    ProcessEffectOutcomeAwait,
    ProcessEffectOutcomeCancel,
    ProcessEffectOutcomeList,
    ProcessEffectOutcomeStart,
    ProcessHandleDescriptor,
    ProcessHandleGrant,
    ProcessRecord,
    ProcessStatusCancelled,
    ProcessStatusRunning,
)
from effectmq.protocol.digests import prepared_registration, registration_hash

# A model that is none ---------------------------------------------------------------------------


def answer(request: LlmRequestSpec) -> LlmResponse:
    """Answer a request from its own words, so that the same request gets the same answer."""
    texts = [
        block.text
        for message in request.messages
        for block in message.blocks
        if isinstance(block, LlmContentBlockText)
    ]
    said = f"You said: {texts[-1]}" if texts else "You said nothing."
    if request.output_spec is not None:
        said = "{}"
    words = sum(len(text.split()) for text in texts)
    return LlmResponse(
        full_text=said,
        parts=[LlmOutputPartText(text=said)],
        usage=LlmUsage(
            input_tokens=words,
            output_tokens=len(said.split()),
            cached_input_tokens=0,
            reasoning_tokens=0,
        ),
        terminal_reason="stop",
    )


# Code without running any -----------------------------------------------------------------------

Value = int | float | str

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b,
}
#: Numbers stay small, so that a short program cannot make a long calculation.
_LARGEST = 1e15
_ONLY = "this demonstration knows assignments, + - * / and print, and runs nothing else"


def calculate(code: str) -> ExecResponse:
    """Carry out assignments, arithmetic and print; an error ends it, as it would end a program."""
    started = time.monotonic()
    observations: list[str] = []
    names: dict[str, Value] = {}
    error: str | None = None
    try:
        for statement in ast.parse(code).body:
            _carry_out(statement, names, observations)
    except SyntaxError as problem:
        error = f"SyntaxError: {problem.msg} (line {problem.lineno})"
    except (ArithmeticError, ValueError, RecursionError, MemoryError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    return ExecResponse(
        observations=observations,
        observation_truncation=[],
        tool_calls=[],
        images=[],
        printed_images=[],
        error=error,
        duration_ms=round((time.monotonic() - started) * 1_000),
    )


def _carry_out(statement: ast.stmt, names: dict[str, Value], observations: list[str]) -> None:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=expression):
            names[name] = _value(expression, names)
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=arguments, keywords=[])):
            observations.append(" ".join(str(_value(one, names)) for one in arguments))
        case _:
            raise ValueError(f"line {statement.lineno}: {_ONLY}")


def _value(expression: ast.expr, names: dict[str, Value]) -> Value:
    match expression:
        case ast.Constant(value=int() | float() | str() as value):
            return value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _OPERATORS:
            first, second = _value(left, names), _value(right, names)
            if isinstance(first, str) or isinstance(second, str):
                raise ValueError("this demonstration calculates with numbers only")
            result = _OPERATORS[type(operation)](first, second)
            if abs(result) > _LARGEST:
                raise ValueError(f"the result is larger than {_LARGEST:g}")
            return result
        case _:
            raise ValueError(f"line {expression.lineno}: {_ONLY}")


# Processes in memory ----------------------------------------------------------------------------


class Processes:
    """Registered processes; somebody else would have to run them."""

    def __init__(self) -> None:
        self._records: dict[str, ProcessRecord] = {}
        self._owners: dict[str, str] = {}

    def carry_out(self, command: ProcessCommand) -> ProcessEffectOutcome:
        """
        One operation.

        Raises:
            RejectEffectError: When it is none of the four, or there is no such process.
        """
        match command:
            case ProcessCommandStart():
                return ProcessEffectOutcomeStart(record=self._start(command))
            case ProcessCommandList():
                return self._list(command)
            case ProcessCommandCancel():
                return ProcessEffectOutcomeCancel(record=self._cancel(command))
            case ProcessCommandAwait():
                status = self._record(command.process_id).status
                if isinstance(status, ProcessStatusRunning):
                    raise RejectEffectError(
                        "process_running", "nobody runs it here, so it ends by a cancel only"
                    )
                return ProcessEffectOutcomeAwait(output=status.await_output)
            case _:
                raise RejectEffectError(
                    "process_op_unknown", f"this demonstration does not know {command.op}"
                )

    def _start(self, command: ProcessCommandStart) -> ProcessRecord:
        registration = prepared_registration(command.registration)
        known = self._records.get(registration.id)
        hash_ = registration_hash(command.registration)
        if known is not None:
            if known.registration_hash != hash_:
                raise RejectEffectError(
                    "process_registration_conflict",
                    f"process {registration.id!r} is registered with other content",
                )
            return known
        now_ms = time.time_ns() // 1_000_000
        record = ProcessRecord(
            id=registration.id,
            registration_hash=hash_,
            input=registration.input,
            event_types=registration.event_types,
            provenance=registration.provenance,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
        self._records[record.id] = record
        if command.grant is not None:
            self._owners[record.id] = command.grant.owner_scope.session_id
        return record

    def _list(self, command: ProcessCommandList) -> ProcessEffectOutcomeList:
        session_id = command.owner_scope.session_id
        return ProcessEffectOutcomeList(
            entries=[
                (
                    ProcessHandleGrant(
                        session_id=session_id,
                        process_id=process_id,
                        descriptor=ProcessHandleDescriptor(),
                    ),
                    self._records[process_id],
                )
                for process_id, owner in sorted(self._owners.items())
                if owner == session_id
            ]
        )

    def _cancel(self, command: ProcessCommandCancel) -> ProcessRecord:
        record = self._record(command.process_id)
        if isinstance(record.status, ProcessStatusRunning):
            output = ProcessAwaitOutputCancelled(message=command.reason or "cancelled")
            status = ProcessStatusCancelled(await_output=output)
            record = record.model_copy(update={"status": status})
            self._records[record.id] = record
        return record

    def _record(self, process_id: str) -> ProcessRecord:
        record = self._records.get(process_id)
        if record is None:
            raise RejectEffectError("process_unknown", f"there is no process {process_id!r}")
        return record
