"""
All eight effect kinds on one worker, with one call.

::

    worker.models()     llm_call, direct                     models out of a table
    worker.tool()       tool_call, sleep                     the worker's own
    worker.code()       exec_code                            Monty or CPython
    worker.processes()  process                              registry and runner
    worker.sessions()   checkpoint, sync_execution_surface   inbox and hooks; tools and prompt

Processes, code sessions and inboxes are kept in the journal's database. A worker that is started
for some kinds opens only what these need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from effectmq.broker.store.database.port import Database
from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.broker.store.sessions import SessionInbox
from effectmq.consumers.processes import ProcessRunnerSettings, Program, RunningProcess
from effectmq.consumers.sessions import CheckpointHandler, CheckpointHook, PromptProvider
from effectmq.parts import OwnClient, Parts
from effectmq.protocol.wire.tools import PreparedToolCall, ToolCallOutput
from effectmq.wiring.worker import Worker

if TYPE_CHECKING:
    from effectmq.consumers.code.handler import CodeHandler
    from effectmq.consumers.code.settings import CodeSettings

__all__ = ["Boundary", "BoundaryCalls", "whole_boundary"]

BoundaryCalls = OwnClient


def whole_boundary(
    worker: Worker,
    *,
    models: Mapping[str, Any] | None = None,
    prompt: PromptProvider | str = "",
    hooks: tuple[CheckpointHook, ...] = (),
    code: CodeSettings | None = None,
    session_turn: Program | None = None,
    lashlang_process: Program | None = None,
    processes: ProcessRunnerSettings | None = None,
    tools_use_inbox: bool = False,
) -> Boundary:
    """
    Let a worker carry out every effect kind.

    Args:
        worker: A worker that is not started yet; tools may be registered before and after.
        models: The table of language models, see ``Worker.models``; without one, ``llm_call`` and
            ``direct`` are left to other workers.
        prompt: The system prompt of surfaces, or a function that returns it.
        hooks: Functions that add to checkpoints, after the inbox.
        code: Turns ``exec_code`` on, with these limits; the backend Monty needs the extra ``code``.
        session_turn: Runs ``session_turn`` processes.
        lashlang_process: Runs ``lashlang_process`` processes.
        processes: Times and limits of the process runner.
        tools_use_inbox: Whether the worker's tools use the parts, so that ``tool_call`` opens them
            too.

    Returns:
        The parts, to put messages into the inbox or to look at processes.

    Raises:
        ConfigurationError: When a kind has a handler already, or a setting cannot be used.
        MissingExtraError: When an extra is needed and not installed.
    """
    if models is not None:
        worker.models(models)
    if code is not None:
        worker.code(code)
    worker.processes(
        processes,
        session_turn=session_turn,
        lashlang_process=lashlang_process,
        tools_use_registry=tools_use_inbox,
    )
    sessions = worker.sessions(prompt, hooks=hooks, tools_use_inbox=tools_use_inbox)
    return Boundary(worker.parts, sessions.checkpoints)


@dataclass(frozen=True, slots=True)
class Boundary:
    """
    The parts that the handlers share; opened and closed with the worker.

    Attributes:
        checkpoints: The handler, to which hooks can be added.
    """

    _parts: Parts
    checkpoints: CheckpointHandler

    @property
    def database(self) -> Database:
        """A separate connection to the journal's database."""
        return self._parts.database

    @property
    def inbox(self) -> SessionInbox:
        """The inbox of sessions."""
        return self._parts.inbox

    @property
    def registry(self) -> ProcessRegistry:
        """The processes."""
        return self._parts.registry

    @property
    def calls(self) -> OwnClient:
        """The client that submits the effects of code and processes."""
        return self._parts.calls

    async def run_tool(self, call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        """Run a tool for a process, as an effect; programs may use it too."""
        return await self._parts.run_tool(call, process)

    def code_handler(self, settings: CodeSettings) -> CodeHandler:
        """The handler of ``exec_code``."""
        return self._parts.code_handler(settings)

    def lane_of(self, tool: str) -> str | None:
        """The lane of calls of a tool; ``None`` when this worker does not know the tool."""
        return self._parts.lane_of(tool)
