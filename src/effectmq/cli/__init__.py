"""
The command line: ``effectmq COMMAND …``.

Each command is a module with two functions: ``configure`` adds its parser, ``run`` carries it out
and returns the exit code. Only the module of the command that was asked for is imported, and what
running one needs is imported when it runs: ``effectmq --help`` waits for neither.

=====  =============================================================================
code   meaning
=====  =============================================================================
0      everything is well
1      a check or an effect failed, or the broker could not be reached
2      a mistake in the command line, a setting, a file, a password or a declaration:
       trying again will not help
70     the worker could not stop its handlers and should be replaced
130    interrupted from the keyboard
141    whoever read the output has gone, as with ``| head``
=====  =============================================================================

An error of effectmq is shown as one sentence on stderr. Any other exception is a defect of
effectmq, and is shown with its traceback.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from effectmq.cli.arguments.logging_options import add_logging_options
from effectmq.cli.arguments.parsers import Parser, VersionAction
from effectmq.cli.terminal.colours import add_colour_option
from effectmq.cli.terminal.output import complain, flush, make_streams_safe
from effectmq.protocol.text import is_group

if TYPE_CHECKING:
    from effectmq.protocol.errors import EffectmqError

__all__ = ["COMMANDS", "EXIT_FAILED", "EXIT_OK", "EXIT_USAGE", "main", "module_of", "parser_of"]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130
_EXIT_BROKEN_PIPE = 141
#: The reader has gone; the disk, a quota or the largest file size is full; the device failed.
_LOST_OUTPUT = (
    errno.EPIPE,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EBADF,
)

#: The commands, each a module here, with the line that ``effectmq --help`` shows.
COMMANDS = {
    "demo": "show effectmq at work, in this process",
    "run": "execute the envelopes in a file and write their outcomes",
    "worker": "carry out effects",
    "submit": "submit one effect, and wait for its outcome if asked to",
    "canonicalize": "print canonical JSON and hashes of documents",
    "schema": "print the JSON Schemas and the AsyncAPI document",
    "ping": "send a probe to a worker of each route, and back",
    "workers": "list, pause, resume and drain workers, and set their concurrency",
    "versions": "show, ramp and drain versions of the workers",
    "queues": "list queues: what waits, how fast it comes and goes, who takes it",
    "dead": "list, show, replay, export and purge dead letters",
    "effects": "list, show, follow, compare and cancel effects of the journal",
    "limits": "limits that hold for all workers: list, set and clear",
    "schedule": "add, list, pause, resume and remove schedules",
    "journal": "statistics, pruning, migration and verification of the journal",
    "spend": "what effects have spent in tokens and money, and ceilings",
    "topology": "plan, apply or remove exchanges and queues on the broker",
    "api": "serve the HTTP API: effects, dead letters, queues and workers",
    "dashboard": "show and steer it in a browser",
    "doctor": "check broker, topology, consumers and delivery",
    "bench": "measure throughput and latency",
    "completion": "print a script that completes in your shell",
}

#: Commands that need more than one file have a folder; the others are modules here.
_MODULES = {
    "dead": "dead.command",
    "demo": "demo.command",
    "dashboard": "dashboard.command",
    "doctor": "doctor.command",
    "effects": "effects.command",
    "journal": "journal.command",
    "limits": "limits.command",
    "queues": "fleet.queues",
    "spend": "spend.command",
    "submit": "submit.command",
    "topology": "topology.command",
    "workers": "fleet.workers",
    "versions": "fleet.versions",
}


def module_of(command: str) -> str:
    """The path of the module that has a command's ``configure`` and ``run``."""
    return f"effectmq.cli.{_MODULES.get(command, command)}"


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Args:
        argv: The words after the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    make_streams_safe()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _main(words)
        flush()
    except (OSError, BaseExceptionGroup) as problem:
        code = _output_lost(problem)
    return code


def _main(words: list[str]) -> int:
    try:
        args = _parse(words)
    except SystemExit as ended:
        # argparse has printed help, or an error, and wants to exit.
        return ended.code if isinstance(ended.code, int) else EXIT_USAGE
    from effectmq.cli.terminal.logs import logging_to_stderr, settle_logging
    from effectmq.protocol.errors import ConfigurationError

    try:
        settle_logging(args)
    except ConfigurationError as problem:
        complain(str(problem))
        return EXIT_USAGE
    with logging_to_stderr(args):
        return _guarded(args)


def _guarded(args: argparse.Namespace) -> int:
    import asyncio

    from effectmq.protocol.errors import EffectmqError

    try:
        code: int = asyncio.run(args.run(args))
        return code
    except EffectmqError as problem:
        complain(str(problem) or type(problem).__name__)
        return EXIT_USAGE if _is_permanent(problem) else EXIT_FAILED
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED


def _is_permanent(problem: EffectmqError) -> bool:
    """Whether trying again is useless; a supervisor should not restart the process."""
    from effectmq.protocol.errors import (
        AccessRefusedError,
        ConfigurationError,
        SchemaVersionError,
        TopologyError,
        UnavailableError,
        VirtualHostError,
    )

    permanent = (
        ConfigurationError,
        AccessRefusedError,
        VirtualHostError,
        TopologyError,
        SchemaVersionError,
    )
    lasting = isinstance(problem, UnavailableError) and problem.lasting
    return lasting or isinstance(problem, permanent)


def _output_lost(problem: BaseException) -> int:
    """
    End the command when its output cannot be written, without a traceback.

    Raises:
        BaseException: The problem itself, when it is another one.
    """
    lost = _write_failure(problem)
    if lost is None:
        raise problem
    _forget_stdout()
    if lost.errno == errno.EPIPE:
        # The reader of the output has enough, as ``head`` does; this is no error.
        return _EXIT_BROKEN_PIPE
    complain(
        f"the output cannot be written: {os.strerror(lost.errno or 0)}; what is there is not the "
        "whole. Make room, or write somewhere else, and run it again"
    )
    return EXIT_FAILED


def _write_failure(problem: BaseException) -> OSError | None:
    if is_group(problem):
        found = (_write_failure(inner) for inner in problem.exceptions)
        return next((each for each in found if each is not None), None)
    if isinstance(problem, OSError) and problem.errno in _LOST_OUTPUT:
        return problem
    return None


def _parse(words: list[str]) -> argparse.Namespace:
    # Logging and colour options may be anywhere, also after the action of a command.
    logging_parser = Parser(prog="effectmq", add_help=False, allow_abbrev=False)
    add_logging_options(logging_parser)
    add_colour_option(logging_parser)
    logging_args, words = logging_parser.parse_known_args(words)
    asked = next((word for word in words if not word.startswith("-")), "")
    parser = parser_of((asked,))
    args = parser.parse_whole(words)
    vars(args).update(vars(logging_args))
    if args.command is None:
        parser.print_help(sys.stderr)
        raise SystemExit(EXIT_USAGE)
    return args


def parser_of(asked: Collection[str]) -> Parser:
    """
    The parser of the whole command line.

    Args:
        asked: The commands whose own options are needed; each costs the import of its module.
    """
    parser = Parser(
        prog="effectmq",
        description="The effect broker for agent runtimes and worker fleets.",
        epilog="exit codes: 0 ok, 1 a check or an effect failed, 2 usage or configuration",
    )
    parser.add_argument("--version", action=VersionAction)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        if name in asked:
            import_module(module_of(name)).configure(commands)
            add_logging_options(commands.choices[name])
            add_colour_option(commands.choices[name])
        else:
            commands.add_parser(name, help=summary)
    return parser


def _forget_stdout() -> None:
    # The reader of the output has gone; the interpreter must not try to flush the rest at exit.
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
