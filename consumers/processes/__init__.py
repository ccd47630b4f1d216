"""
The effect kind ``process``, and the worker that runs processes.

``ProcessHandler`` answers ``process`` effects from the registry. ``ProcessRunner`` sweeps the
registry and runs what has not ended. The two meet in the database only, so they may live in one
program or in many.

Names are loaded when they are first used: the table of settings wants the settings alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_HOMES = {
    "ProcessHandler": "handler",
    "ProcessRunner": "runner",
    "ProcessRunnerSettings": "settings",
    "Program": "running",
    "RunTool": "running",
    "RunningProcess": "running",
    "tools_as_effects": "tool_effects",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
