"""``effectmq doctor``: checks an installation, and whether a message gets through."""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from effectmq.broker.inventory import all_routes
from effectmq.broker.store.attachments import open_attachments
from effectmq.broker.transports import open_transport
from effectmq.cli.arguments.options import (
    Commands,
    add_command,
    add_json_option,
    add_quiet_option,
    is_memory,
    route,
)
from effectmq.cli.arguments.setting_options import add_setting_options, place_of, said_of
from effectmq.cli.doctor.checks import Checkup, Finding
from effectmq.cli.doctor.nodes import node_findings
from effectmq.cli.doctor.permitted import permission_findings
from effectmq.cli.doctor.stores import check_attachments, check_journal
from effectmq.cli.program.loading import load_worker
from effectmq.cli.terminal.colours import Colour, painted, wants_colours
from effectmq.cli.terminal.output import flush, write_json, write_text
from effectmq.cli.terminal.times import seconds
from effectmq.consumers.settings import WorkerSettings
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.text import printable
from effectmq.protocol.urls import mask_url

__all__ = ["configure", "run"]

#: The default of RabbitMQ in every release, in seconds.
_CONSUMER_TIMEOUT_S = 1_800.0
#: A person waits for the answer, so a broker that is away is not waited for long, in seconds.
_CONNECT_S = 5.0
_NAME_WIDTH = 32
_MAX_DETAIL = 1_000

_DESCRIPTION = """\
Check the broker, what its user may do, the topology, the consumers, the dead
letters, delivery, the journal and the attachment store: one line a check,
with OK, WARN (works, but look at it) or FAIL. Nothing is mended; what is
missing is declared by: effectmq topology apply. With --json:
{"check","status","detail"}, one object a line.

Exit code: 0 without a FAIL, 1 with one."""


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = add_command(
        commands, "doctor", "check broker, topology, consumers and delivery", _DESCRIPTION
    )
    parser.add_argument(
        "--worker",
        metavar="module:app",
        help="a Worker whose broker, namespace, journal, store and time limits to check",
    )
    parser.add_argument(
        "--kind",
        action="append",
        type=route,
        metavar="KIND",
        help="also look at this lane (kind.lane); may be repeated",
    )
    parser.add_argument(
        "--consumer-timeout",
        type=seconds,
        default=_CONSUMER_TIMEOUT_S,
        metavar="S",
        help="the broker's consumer_timeout, when it was changed; default: 1800",
    )
    add_json_option(parser)
    add_setting_options(parser, "place")
    add_quiet_option(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Check everything.

    Raises:
        ConfigurationError: When the command line cannot be used.
    """
    failed, coloured = False, wants_colours(args)
    # Closed at once when the output cannot be written, or connections would end with the loop.
    async with aclosing(_findings(args)) as findings:
        async for finding in findings:
            failed = failed or finding.status == "FAIL"
            if args.json:
                write_json(_document(finding))
            elif finding.status != "OK" or not args.quiet:
                write_text(_line(finding, coloured=coloured))
            flush()
    return 1 if failed else 0


async def _findings(args: argparse.Namespace) -> AsyncGenerator[Finding]:
    app = load_worker(args.worker, said_of(args, "place", "connection")) if args.worker else None
    place = app.place if app else place_of(args)
    broker, settings = place.broker, place.topology
    longest_s = app.longest_time_limit_s if app else WorkerSettings().time_limit_s
    connection = replace(place.connection_of("effectmq doctor"), connect_timeout_s=_CONNECT_S)
    transport = open_transport(broker, connection)
    for finding in await node_findings(broker, connection):
        yield finding
    started = time.monotonic()
    try:
        async with transport:
            took_ms = (time.monotonic() - started) * 1_000
            yield Finding("connection", "OK", f"{mask_url(broker)} in {took_ms:.0f} ms")
            routes = all_routes(args.kind)
            if not is_memory(broker):
                async for finding in permission_findings(transport, settings, routes):
                    yield finding
            checkup = Checkup(transport, broker, settings, routes, longest_s, args.consumer_timeout)
            async for finding in checkup.findings():
                yield finding
    except EffectmqError as problem:
        yield Finding("connection", "FAIL", str(problem))
    # Also without a broker: each of them has its own problems.
    yield await check_journal(
        place.journal, settings.namespace, chosen=not place.journal_is_default
    )
    store = app.attachments if app else place.attachments
    yield await check_attachments(open_attachments(store) if isinstance(store, str) else store)


def _document(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "status": finding.status,
        "detail": printable(finding.detail, _MAX_DETAIL),
    }


_COLOURS = {"OK": Colour.GREEN, "WARN": Colour.YELLOW, "FAIL": Colour.RED}


def _line(finding: Finding, *, coloured: bool) -> str:
    detail = printable(finding.detail, _MAX_DETAIL)
    status = painted(f"{finding.status:<4}", _COLOURS.get(finding.status) if coloured else None)
    return f"{status}  {finding.check:<{_NAME_WIDTH}}  {detail}"
