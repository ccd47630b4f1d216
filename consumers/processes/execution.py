"""
From the input of a process to its output: who runs it, and the output after an error.

No error in here ends a runner; every error becomes the output of its process.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from effectmq.consumers.handler import call
from effectmq.consumers.logs.tracebacks import log_raised
from effectmq.consumers.logs.withheld import masked, words_of
from effectmq.consumers.processes.running import Program, RunningProcess, RunTool
from effectmq.protocol.encoding.rust_text import is_blank
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.processes.outputs import from_tool_output
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.process_events import (
    ProcessAwaitOutput,
    ProcessAwaitOutputCancelled,
    ProcessAwaitOutputFailure,
    ProcessAwaitOutputSuccess,
)
from effectmq.protocol.wire.process_registration import (
    ProcessInputExternal,
    ProcessInputToolCall,
)
from effectmq.protocol.wire.processes import ProcessRecord
from effectmq.protocol.wire.tools import ToolCallOutput, ToolFailureClass

__all__ = ["Executors", "cancelled", "failed", "recovery_failure"]

logger = logging.getLogger("effectmq.processes")

_OUTPUTS = (ProcessAwaitOutputSuccess, ProcessAwaitOutputFailure, ProcessAwaitOutputCancelled)

#: By input: the code of a program that raised.
_RAISED = {
    "session_turn": "process_session_turn_failed",
    "lashlang_process": "process_runtime_error",
}

_CANCELLED = {
    "tool_call": "tool call cancelled",
    "session_turn": "background session turn was cancelled",
    "lashlang_process": "lashlang process was cancelled",
}


@dataclass(frozen=True, slots=True)
class Executors:
    """
    What runs each kind of input.

    Attributes:
        host_profile_id: Which processes may run here.
        run_tool: For ``tool_call``.
        session_turn: For ``session_turn``.
        lashlang_process: For ``lashlang_process``.
    """

    host_profile_id: str
    run_tool: RunTool | None = None
    session_turn: Program | None = None
    lashlang_process: Program | None = None

    def lacks(self, record: ProcessRecord) -> bool:
        """Whether another runner may be able to run a process that this one cannot."""
        if is_blank(record.id):
            return False
        if record.provenance.host_profile_id != self.host_profile_id:
            return True
        input_ = record.input
        if isinstance(input_, ProcessInputExternal):
            return False
        if isinstance(input_, ProcessInputToolCall):
            return self.run_tool is None
        return self._program(input_.type) is None

    async def output(self, process: RunningProcess) -> ProcessAwaitOutput:
        """Run a process to its output; cancel it to stop the process."""
        input_ = process.record.input
        problem = self._setup_problem(process.record)
        if problem is not None:
            return recovery_failure(problem)
        if isinstance(input_, ProcessInputExternal):
            return ProcessAwaitOutputSuccess(value={"metadata": input_.metadata})
        try:
            if isinstance(input_, ProcessInputToolCall):
                run_tool = self.run_tool
                if run_tool is None:
                    return self._nobody("tool_call", "run_tool")
                return from_tool_output(_output(await call(run_tool, (input_.call, process), {})))
            program = self._program(input_.type)
            if program is None:
                return self._nobody(input_.type, input_.type)
            return _checked(input_.type, await call(program, (process,), {}))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except asyncio.CancelledError as problem_:
            if _being_cancelled():
                raise
            # Something that it waited for was cancelled, not the process.
            return _raised(process.record, problem_)
        except BaseException as problem_:
            # Also ``sys.exit`` and groups of exceptions.
            return _raised(process.record, problem_)

    def _program(self, input_type: str) -> Program | None:
        return self.session_turn if input_type == "session_turn" else self.lashlang_process

    def _setup_problem(self, record: ProcessRecord) -> str | None:
        if is_blank(record.id):
            return (
                "missing_process_execution_id: process execution requires a non-empty persisted "
                "process id"
            )
        profile = record.provenance.host_profile_id
        if profile != self.host_profile_id:
            return (
                f"process `{record.id}` was created for host profile `{profile}` but this worker "
                f"is `{self.host_profile_id}`"
            )
        return None

    def _nobody(self, input_type: str, argument: str) -> ProcessAwaitOutput:
        return recovery_failure(
            f"this worker has nothing to run a {input_type} process with; give its ProcessRunner "
            f"one: ProcessRunner(registry, {argument}=...)"
        )


def failed(class_: ToolFailureClass, code: str, message: str) -> ProcessAwaitOutputFailure:
    """A failure as the output of a process."""
    return ProcessAwaitOutputFailure(class_=class_, code=code, message=message)


def recovery_failure(message: str) -> ProcessAwaitOutputFailure:
    """The output of a process that could not be set up to run."""
    return failed("execution", "process_recovery_failed", message)


def cancelled(record: ProcessRecord) -> ProcessAwaitOutput:
    """The output of a process that was asked to stop, and stopped."""
    message = _CANCELLED.get(record.input.type, "process was cancelled")
    return ProcessAwaitOutputCancelled(message=message)


def _output(given: object) -> ToolCallOutput:
    if isinstance(given, ToolCallOutput):
        return given
    raise TypeError(f"run_tool returned {type(given).__name__}; expected a ToolCallOutput")


def _checked(input_type: str, output: object) -> ProcessAwaitOutput:
    if isinstance(output, _OUTPUTS):
        return output
    return failed(
        "execution",
        _RAISED[input_type],
        f"the {input_type} runner returned a {type(output).__name__}; expected "
        "ProcessAwaitOutputSuccess, ProcessAwaitOutputFailure or ProcessAwaitOutputCancelled",
    )


def _raised(record: ProcessRecord, problem: BaseException) -> ProcessAwaitOutput:
    input_type = record.input.type
    clean = partial(masked, tree=to_tree(record.input))
    name = printable(record.id, 200)
    log_raised(
        logger,
        logging.WARNING,
        f"process {name}: its {input_type} raised: {clean(words_of(problem))}",
        problem,
        clean,
        {"action": "raised", "process_id": name},
    )
    if input_type == "tool_call":
        return failed("internal", "process_tool_failed", describe(problem))
    return failed("execution", _RAISED[input_type], describe(problem))


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
