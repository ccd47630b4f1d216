"""
``--reload``: a child process that is started again when a source file changes.

A child, because Python cannot forget a module that others have imported names from. One that ends
by itself, for instance over a mistake in the code, is started again with the next change.

The child gets a process group of its own: a signal from the keyboard then reaches us alone and is
passed on once, where a second one would mean "leave now".
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from importlib import import_module

from effectmq.cli.terminal.output import note
from effectmq.consumers.runtime.shutdown import stop_signals
from effectmq.protocol.errors import MissingExtraError

__all__ = ["run_reloading"]

#: How long the child may finish what runs, when it is about to be replaced.
_GRACE_S = 5.0
#: How long it may take to leave after the second signal.
_LEAVE_S = 5.0
_DEBOUNCE_MS = 200

_Changes = set[tuple[object, str]]


async def run_reloading(command: Sequence[str], folder: str | None = None) -> int:
    """
    Keep a command running until a signal comes, anew after each change of a ``*.py`` file.

    Args:
        command: The program and its arguments.
        folder: What to watch, with everything below; the current folder by default.

    Returns:
        The exit code of the last child.

    Raises:
        MissingExtraError: When ``watchfiles`` is not installed.
    """
    try:
        watchfiles = import_module("watchfiles")
    except ImportError:
        raise MissingExtraError("effectmq worker --reload", "reload") from None
    # It announces each change; so do we.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    with stop_signals(lambda line: note(f"effectmq: {line}")) as signals:
        # A terminal that is closed must not leave the child behind.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, signals.graceful.set)
        changes: AsyncGenerator[_Changes] = watchfiles.awatch(
            folder or os.getcwd(),
            watch_filter=watchfiles.PythonFilter(),
            stop_event=signals.graceful,
            debounce=_DEBOUNCE_MS,
        )
        async with aclosing(changes):
            return await _keep_running(command, changes, signals.graceful, signals.immediate)


async def _keep_running(
    command: Sequence[str],
    changes: AsyncGenerator[_Changes],
    graceful: asyncio.Event,
    immediate: asyncio.Event,
) -> int:
    loop = asyncio.get_running_loop()
    while True:
        # Watching begins before the child reads its files, so that no change is missed.
        change = loop.create_task(_next(changes))
        child = await asyncio.create_subprocess_exec(*command, process_group=0)
        ended = loop.create_task(child.wait())
        await asyncio.wait({change, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not change.done():
            note(f"effectmq: the worker ended with code {ended.result()}; waiting for a change")
        # A stop ends the watching, too: nothing has changed then.
        changed = await change
        if changed:
            note(f"effectmq: {_named(changed)} changed; starting again")
        code = await _end(child, None if graceful.is_set() else _GRACE_S, immediate)
        if graceful.is_set():
            return code


async def _next(changes: AsyncGenerator[_Changes]) -> _Changes:
    return await anext(changes, set[tuple[object, str]]())


def _named(changes: _Changes) -> str:
    names = sorted({os.path.relpath(path) for _, path in changes})
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


async def _end(
    child: asyncio.subprocess.Process, patience_s: float | None, hurry: asyncio.Event
) -> int:
    """Ask the child to finish, then to leave, then make it; give its exit code."""
    loop = asyncio.get_running_loop()
    ended = loop.create_task(child.wait())
    hurried = loop.create_task(hurry.wait())
    _ask(child)
    await asyncio.wait({ended, hurried}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not ended.done():
        _ask(child)
        await asyncio.wait({ended}, timeout=_LEAVE_S)
    if child.returncode is None:
        child.kill()
    return await ended


def _ask(child: asyncio.subprocess.Process) -> None:
    # A child that has ended is known to asyncio, which then sends nothing.
    if child.returncode is None:
        child.send_signal(signal.SIGTERM)
