"""
``--reload``: a child process that is restarted when a source file changes.

It is a process, because Python cannot unload a module from which others have imported names. A
child that ends by itself, for instance because of a mistake in the code, is started again with the
next change.

The child has a process group of its own: a signal from the keyboard reaches this process only, and
is passed on once. A second one would tell the child to end at once.
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

#: How long the child may finish running effects before it is replaced, in seconds.
_GRACE_S = 5.0
#: How long it may take to end after the second signal, in seconds.
_LEAVE_S = 5.0
_DEBOUNCE_MS = 200

_Changes = set[tuple[object, str]]


async def run_reloading(command: Sequence[str], folder: str | None = None) -> int:
    """
    Run a command until a signal comes, and restart it after each change of a ``*.py`` file.

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
    # It logs each change, which is shown here already.
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
        # After a stop the watcher reports no change.
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
    """Ask the child to finish, then to end at once, then kill it; returns its exit code."""
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
    # asyncio knows when the child has ended, and then sends no signal.
    if child.returncode is None:
        child.send_signal(signal.SIGTERM)
