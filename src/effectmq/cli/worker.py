"""``effectmq worker``: carry out effects until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
import time
from contextlib import nullcontext

from effectmq.broker.version import version
from effectmq.cli.arguments.options import Commands, add_command, add_quiet_option, is_memory, route
from effectmq.cli.arguments.setting_options import add_setting_options, said_of, words_of
from effectmq.cli.program.garbage import collecting_seldom, is_seldom
from effectmq.cli.program.heap import allocator, keeping_freed_memory
from effectmq.cli.program.loading import load_worker
from effectmq.cli.program.reloading import run_reloading
from effectmq.cli.terminal.output import complain, note
from effectmq.cli.terminal.tables import pairs
from effectmq.consumers.worker import EffectWorker, WorkerStuckError
from effectmq.protocol.urls import mask_url
from effectmq.settings.table import Owner

__all__ = ["configure", "run"]

#: Whose settings the command line says.
_OWNERS: tuple[Owner, ...] = ("place", "worker", "connection", "code", "process")
#: And those of its process.
_ALL: tuple[Owner, ...] = (*_OWNERS, "program")
_EXIT_STUCK = 70
_EXIT_INTERRUPTED = 130
_LEAVE_S = 3.0
_NO_JOURNAL = "none: bodies may run again after a crash, outcomes are not remembered"

_DESCRIPTION = """\
Carry out effects: import module:object, connect, and consume.

The first SIGINT or SIGTERM lets running effects finish, the second one leaves
at once; nothing is lost either way. The signal is raised again at the end, so
that the parent sees why we left."""


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = add_command(commands, "worker", "carry out effects", _DESCRIPTION)
    parser.add_argument("app", metavar="module:object", help="the Worker, for instance worker:app")
    parser.add_argument(
        "--kind",
        action="append",
        type=route,
        metavar="KIND",
        help="a kind, or kind.lane, to consume; may be repeated; default: all with a handler, and "
        "the lanes of tools",
    )
    parser.add_argument(
        "--reload", action="store_true", help="start again when a *.py file here changes"
    )
    add_setting_options(parser, *_ALL)
    add_quiet_option(parser)
    parser.set_defaults(run=run, default_log_level="INFO")


async def run(args: argparse.Namespace) -> int:
    """
    Work until a signal comes.

    Raises:
        ConfigurationError: When the worker cannot be loaded or set up.
        BrokerError: When the broker cannot be used at the start.
    """
    if args.reload:
        return await run_reloading(_child(args))
    app = load_worker(args.app, said_of(args, *_OWNERS))
    # Machines get the same from the log line of the start.
    note(_banner(app, args), quiet=args.quiet or args.log_format == "json")
    collecting = collecting_seldom() if is_seldom(args.gc) else nullcontext()
    async with keeping_freed_memory(allocator()), collecting:
        return await _work(app, args.kind)


async def _work(app: EffectWorker, routes: list[str] | None) -> int:
    loop = asyncio.get_running_loop()
    code = 0
    try:
        await app.run(routes)
    except WorkerStuckError as problem:
        complain(str(problem))
        code = _EXIT_STUCK
    finally:
        task = asyncio.current_task()
        interrupted = task is not None and task.cancelling() > 0
        _leave_even_if_stuck(loop, _EXIT_INTERRUPTED if interrupted else code)
    return code


def _leave_even_if_stuck(loop: asyncio.AbstractEventLoop, code: int) -> None:
    """
    Bound the way out: a thread that never ends would keep the loop from closing for ever.

    The effects of such threads were not settled, so other workers have them.
    """

    def watch() -> None:
        end = time.monotonic() + _LEAVE_S
        while time.monotonic() < end:
            if loop.is_closed():
                return
            time.sleep(0.05)
        sys.stderr.flush()
        os._exit(code)

    threading.Thread(target=watch, name="effectmq exit", daemon=True).start()


def _banner(app: EffectWorker, args: argparse.Namespace) -> str:
    routes = args.kind or app.routes
    values: list[tuple[str, object]] = [
        ("  worker", f"{args.app} as {app.name}"),
        ("  broker", mask_url(app.broker)),
        ("  namespace", app.topology.namespace),
        ("  routes", ", ".join(routes)),
        ("  tools", ", ".join((*app.tools, *app.mcp_servers)) or "none"),
        ("  concurrency", _concurrency(app)),
        ("  journal", _journal(app.journal)),
    ]
    if app.http:
        values.append(("  http", app.http))
    lines = [f"effectmq {version()}", pairs(values)]
    if is_memory(app.broker):
        lines.append(
            "  memory:// is a broker inside this process, so no other program can reach this "
            "worker; use --broker amqp://host or EFFECTMQ_BROKER for one that they can"
        )
    return "\n".join(lines)


def _journal(url: str | None) -> str:
    if url is None:
        return _NO_JOURNAL
    return f"{mask_url(url)}, which ends with this process" if is_memory(url) else mask_url(url)


def _concurrency(app: EffectWorker) -> str:
    settings = app.settings
    own = [f"{settings.concurrency_of(one)} of {one}" for one in settings.route_concurrency or ()]
    return ", ".join((f"{settings.concurrency} of each route", *own))


def _child(args: argparse.Namespace) -> list[str]:
    """The same command line without ``--reload``."""
    words = [sys.executable, "-m", "effectmq", "worker", args.app]
    for kind in args.kind or ():
        words += ["--kind", kind]
    words += words_of(args, *_ALL)
    words += words_of(args, "log")
    return [*words, "--quiet"] if args.quiet else words
