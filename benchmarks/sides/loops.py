"""The event loop of a process: asyncio's own, or uvloop where it is asked for and installed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from importlib import import_module
from typing import Any

__all__ = ["run"]


def run(main: Coroutine[Any, Any, None], *, uvloop: bool) -> None:
    """
    Run a program to its end.

    Raises:
        ModuleNotFoundError: When uvloop is asked for and not installed.
    """
    factory = import_module("uvloop").new_event_loop if uvloop else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)
