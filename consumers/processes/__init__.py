"""
The effect kind ``process``, and the worker that runs processes.

``ProcessHandler`` answers ``process`` effects from the registry. ``ProcessRunner`` sweeps the
registry and runs what has not ended. The two meet in the database only, so they may live in one
program or in many.
"""

from __future__ import annotations

from effectmq.consumers.processes.handler import ProcessHandler
from effectmq.consumers.processes.runner import ProcessRunner
from effectmq.consumers.processes.running import Program, RunningProcess, RunTool
from effectmq.consumers.processes.settings import ProcessRunnerSettings
from effectmq.consumers.processes.tool_effects import tools_as_effects

__all__ = [
    "ProcessHandler",
    "ProcessRunner",
    "ProcessRunnerSettings",
    "Program",
    "RunTool",
    "RunningProcess",
    "tools_as_effects",
]
