"""``effectmq dashboard``: serve the pages, and the HTTP API that they are over."""

from __future__ import annotations

import argparse
import logging
import secrets
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from effectmq.broker.place import Place, first_said
from effectmq.cli.arguments.options import Commands, add_command, add_quiet_option
from effectmq.cli.arguments.setting_options import add_setting_options, place_of, said_of
from effectmq.cli.terminal.output import note
from effectmq.protocol.urls import mask_url
from effectmq.settings.environment import read_environment

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["configure", "run"]

_ADDRESS = "127.0.0.1:9480"
_DESCRIPTION = """\
Serve pages that show an installation while it works, and steer it: routes,
dead letters, effects, sessions, workers, queues. Needs:
pip install 'effectmq[dashboard]'

  effectmq dashboard --demo
  effectmq dashboard --broker amqp://localhost --journal postgresql://…

The HTTP API is served beside them, at /api/v1; address, tokens and names are
those of effectmq api. Without tokens it listens at addresses of this machine
only, and everybody there may do everything.

With --demo everything is in this process: a broker, a journal in a temporary
folder, two workers, and agents that keep them busy. No server is needed, and
other options for a place are ignored."""


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = add_command(commands, "dashboard", "show and steer it in a browser", _DESCRIPTION)
    parser.add_argument(
        "--demo", action="store_true", help="show a small world in this process, without a server"
    )
    add_setting_options(parser, "api", "place", "connection")
    add_quiet_option(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Serve until a signal comes.

    Raises:
        ConfigurationError: When the address or the tokens cannot be used.
        MissingExtraError: When a package is not installed.
    """
    # Before the API's, so that the extra is named which has both.
    from effectmq.dashboard.app import create_dashboard

    return await _served(args, create_dashboard)


async def _served(args: argparse.Namespace, create: Callable[..., FastAPI]) -> int:
    from effectmq.api.access.tokens import Tokens
    from effectmq.api.serving import hosts_at, refuse_open, serve

    said = first_said(said_of(args, "api"), read_environment())
    address = str(said.get("api_address", _ADDRESS))
    tokens = Tokens.read(str(said.get("api_tokens", "")))
    refuse_open(address, tokens)
    hosts = hosts_at(address, str(said.get("api_hosts", "")))
    async with _demo() if args.demo else _given(args) as place:
        await serve(
            create(place, tokens, hosts=hosts),
            address,
            lambda where: note(
                f"the dashboard of namespace {place.topology.namespace!r} on "
                f"{mask_url(place.broker)}: open http://{where}/",
                quiet=args.quiet or args.log_format == "json",
            ),
        )
    return 0


@asynccontextmanager
async def _given(args: argparse.Namespace) -> AsyncGenerator[Place]:
    yield place_of(args)


@asynccontextmanager
async def _demo() -> AsyncGenerator[Place]:
    from effectmq.cli.dashboard.life import world

    # Failures are a part of the show, and are seen in it.
    logger = logging.getLogger("effectmq.worker")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="effectmq-demo-") as folder:
        place = Place.of(
            {
                "broker": f"memory://demo-{secrets.token_hex(4)}",
                "namespace": "demo",
                "journal": f"sqlite:///{folder}/journal.db",
            }
        )
        try:
            async with world(place):
                yield place
        finally:
            logger.setLevel(level)
