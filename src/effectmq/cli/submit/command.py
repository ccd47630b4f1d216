"""``effectmq submit``: submit one effect by hand."""

from __future__ import annotations

import argparse
import secrets
import sys
from contextlib import suppress

from effectmq.broker.client.asking.by_hand import ByHand
from effectmq.broker.progress_line import waiting
from effectmq.broker.transports import open_transport
from effectmq.cli.arguments.options import Commands, add_command, add_json_option, is_memory
from effectmq.cli.arguments.setting_options import add_setting_options, place_of, said_of
from effectmq.cli.arguments.suggestions import did_you_mean
from effectmq.cli.submit.tool_names import tools_of_workers
from effectmq.cli.terminal.lines import whole
from effectmq.cli.terminal.output import json_line, note, stdout_bytes, write_json, write_text
from effectmq.cli.terminal.tables import pairs
from effectmq.cli.terminal.times import seconds, time_at
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from effectmq.protocol.errors import (
    ConfigurationError,
    EffectFailedError,
    EffectmqError,
    MalformedError,
)
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError
from effectmq.wiring.client import Client

__all__ = ["configure", "run"]

_DEFAULT_TIMEOUT_S = 30.0

_DESCRIPTION = """\
Submit one effect: an envelope from a file or stdin, or one that is made from
the options.

  effectmq submit envelope.json --wait
  effectmq submit --tool add --args '{"a": 1, "b": 2}' --wait
  effectmq submit --kind sleep --args '{"duration_ms": 500}' --wait

Prints effect id, replay key and hash once the broker has the effect; with
--wait also the outcome. With --json one object:
{"effect_id","replay_key","hash"}, and with --wait "attempt","replayed",
"result" as in effectmq run. Without --turn every call is a new effect; with
the same --session, --turn and --call-id it is the same one. When no running
worker has the tool, a note says so and names similar tools; the effect is
submitted all the same.

Exit code: 0 when it was submitted (with --wait: when it has an outcome), 1
when not."""


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = add_command(
        commands, "submit", "submit one effect, and wait for its outcome if asked to", _DESCRIPTION
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "file", nargs="?", metavar="FILE", help="an envelope; - for stdin, the default"
    )
    what.add_argument("--tool", metavar="NAME", help="call a tool")
    what.add_argument(
        "--kind", choices=EFFECT_KINDS, metavar="KIND", help="make an effect of this kind"
    )
    parser.add_argument(
        "--args",
        metavar="JSON",
        help="the tool's arguments, or the members of the command; default: {}",
    )
    parser.add_argument("--session", default="cli", metavar="S", help="session id; default: cli")
    parser.add_argument("--turn", metavar="T", help="turn id; default: a new one")
    parser.add_argument("--call-id", default="call-1", metavar="C", help="default: call-1")
    parser.add_argument(
        "--lane", metavar="LANE", help="the lane of its kind, when the kind is split into lanes"
    )
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        "--delay",
        type=seconds,
        metavar="S",
        help="no worker begins it before so many seconds from now; also as 5m",
    )
    when.add_argument(
        "--not-before",
        type=time_at,
        metavar="T",
        help="no worker begins it before this time, such as 2026-12-31T08:00:00+01:00",
    )
    parser.add_argument(
        "--debounce",
        metavar="KEY",
        help="with --delay: of the effects with this key that are submitted within the delay of "
        "the one before, only the last runs",
    )
    parser.add_argument(
        "--debounce-max",
        type=seconds,
        metavar="S",
        help="for how long that may go on since the first of them; default: ten times the delay",
    )
    parser.add_argument("--wait", action="store_true", help="wait for the outcome and print it")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=_DEFAULT_TIMEOUT_S,
        metavar="S",
        help="how long submitting may take, and again waiting, in seconds or as 5m; default: 30",
    )
    add_json_option(parser)
    add_setting_options(parser, "place", "client", "connection")
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Submit, and wait when asked to.

    Raises:
        ConfigurationError: When the command line makes no envelope, or the broker is in memory.
        ProtocolError: When the document is no valid envelope.
        PublishError: When it could not be submitted.
        EffectTimeoutError: When there was no outcome in time.
    """
    if is_memory(place_of(args).broker):
        raise ConfigurationError(
            "memory:// is a broker inside one process, so no worker can get what this one submits; "
            "name another with --broker amqp://host or EFFECTMQ_BROKER, or use: effectmq run"
        )
    envelope = _envelope(args)
    async with Client(**said_of(args, "place", "client", "connection")) as client:
        handle = await client.submit(
            envelope,
            lane=args.lane,
            delay_s=args.delay,
            not_before=args.not_before,
            debounce=args.debounce,
            debounce_max_s=args.debounce_max,
            timeout=args.timeout,
        )
        identity = {
            "effect_id": handle.effect_id,
            "replay_key": handle.replay_key,
            "hash": handle.hash,
        }
        if not args.json:
            write_text(pairs([(name.replace("_", " "), text) for name, text in identity.items()]))
            sys.stdout.flush()
        elif not args.wait:
            write_json(identity)
        if not args.wait:
            await _hint_at_tool(args)
            return 0
        async with waiting("waiting for the outcome", quiet=args.json):
            reply = await handle.reply(args.timeout)
    result = reply.result
    if args.json:
        write_json(reply.tree())
    elif isinstance(result, RuntimeEffectControllerError):
        raise EffectFailedError(reply.effect_id, result.code, result.message)
    else:
        stdout_bytes().write(b"outcome     " + json_line(to_tree(result)))
    return 1 if isinstance(result, RuntimeEffectControllerError) else 0


async def _hint_at_tool(args: argparse.Namespace) -> None:
    """
    Say when no worker has the tool: without --wait nothing shows the outcome, which would say so.

    The effect is submitted all the same, because a worker with the tool may be about to start.
    """
    if args.tool is None or args.json:
        return
    place = place_of(args)
    # Without the permission to listen there is no hint, and nothing else is lost.
    with suppress(EffectmqError):
        connection = place.connection_of("effectmq submit")
        async with open_transport(place.broker, connection) as transport:
            known = await tools_of_workers(transport, place.topology.namespace, args.tool)
        if known and args.tool not in known:
            note(
                f"no running worker has said that it has a tool {printable(args.tool, 100)!r}"
                f"{did_you_mean(args.tool, known) or '.'} They have: "
                f"{printable(', '.join(sorted(known)), 300)}"
            )


def _envelope(args: argparse.Namespace) -> RuntimeEffectEnvelope:
    if args.tool is None and args.kind is None:
        if args.args is not None:
            raise ConfigurationError("--args needs --tool NAME or --kind KIND to go with it")
        return from_tree(RuntimeEffectEnvelope, parse_json(whole(args.file or "-")))
    made = ByHand(
        session_id=args.session,
        turn_id=args.turn or f"cli-{secrets.token_hex(6)}",
        call_id=args.call_id,
    )
    members = _members(args.args or "{}")
    try:
        if args.tool is not None:
            return made.tool_call(args.tool, members)
        return made.command(args.kind, members)
    except MalformedError as problem:
        raise ConfigurationError(
            f"--args does not make a {args.kind or 'tool_call'} command: {describe(problem)}"
        ) from None


def _members(text: str) -> dict[str, JsonValue]:
    try:
        members = parse_json(text)
    except MalformedError as problem:
        raise ConfigurationError(f"--args is {describe(problem)}") from None
    if not isinstance(members, dict):
        raise ConfigurationError(
            "--args is not a JSON object; expected named members, for instance '{\"a\": 1}'"
        )
    return members
