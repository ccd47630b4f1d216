"""``effectmq api``: serve the HTTP API."""

from __future__ import annotations

import argparse
import json
import secrets
from hashlib import sha256

from effectmq.broker.place import first_said
from effectmq.cli.arguments.options import Commands, add_command, add_json_option, add_quiet_option
from effectmq.cli.arguments.setting_options import add_setting_options, place_of, said_of
from effectmq.cli.terminal.output import note, write_json, write_text
from effectmq.cli.terminal.tables import pairs
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.urls import mask_url
from effectmq.settings.environment import read_environment

__all__ = ["configure", "run"]

_ADDRESS = "127.0.0.1:9480"
_DESCRIPTION = """\
Serve what this command line can look at and do over HTTP, at /api/v1; what
there is stands in /api/v1/openapi.json. Needs: pip install 'effectmq[api]'

  effectmq api --broker amqp://localhost --journal postgresql://…
  effectmq api --new-token alice:operate
  effectmq api --api-address 0.0.0.0:9480 --api-tokens @/etc/effectmq/tokens

Without tokens it listens at addresses of this machine only, and everybody
there may do everything. The role read looks at all, payloads included;
operate also changes. What is away, broker or journal, is said with status
503, and tried again until it is there."""


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = add_command(
        commands, "api", "serve the HTTP API: effects, dead letters, queues", _DESCRIPTION
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--new-token", metavar="NAME:ROLE", help="make a token, print it and its line, and end"
    )
    what.add_argument("--openapi", action="store_true", help="print the OpenAPI document, and end")
    add_json_option(parser)
    add_setting_options(parser, "api", "place", "connection")
    add_quiet_option(parser)
    parser.set_defaults(run=run, default_log_level="INFO")


async def run(args: argparse.Namespace) -> int:
    """
    Serve until a signal comes.

    Raises:
        ConfigurationError: When the address or the tokens cannot be used.
        MissingExtraError: When a package is not installed.
    """
    from effectmq.api.access.tokens import Tokens
    from effectmq.api.app import create_app, openapi_document
    from effectmq.api.serving import hosts_at, refuse_open, serve

    if args.openapi:
        write_text(json.dumps(openapi_document(), indent=2, sort_keys=True))
        return 0
    if args.new_token is not None:
        return _new_token(args)
    said = first_said(said_of(args, "api"), read_environment())
    address = str(said.get("api_address", _ADDRESS))
    tokens = Tokens.read(str(said.get("api_tokens", "")))
    refuse_open(address, tokens)
    place = place_of(args)
    app = create_app(
        place,
        tokens,
        hosts=hosts_at(address, str(said.get("api_hosts", ""))),
        management=str(said.get("management", "")),
    )
    await serve(
        app,
        address,
        lambda where: note(
            f"the API of namespace {place.topology.namespace!r} on {mask_url(place.broker)}: "
            f"http://{where}/api/v1/me",
            quiet=args.quiet or args.log_format == "json",
        ),
    )
    return 0


def _new_token(args: argparse.Namespace) -> int:
    from effectmq.api.access.tokens import Tokens

    secret = secrets.token_urlsafe(32)
    line = f"{args.new_token}:sha256={sha256(secret.encode()).hexdigest()}"
    Tokens.read(line)
    if "," in line:
        raise ConfigurationError("--new-token makes one token: NAME:ROLE")
    if args.json:
        write_json({"token": secret, "line": line})
        return 0
    write_text(pairs([("token", secret), ("line", line)]))
    note(
        "give the token to who asks; keep the line, which does not tell it, in the file that "
        "--api-tokens @FILE names",
        quiet=args.quiet,
    )
    return 0
