"""The options that choose dead letters, and the parsers of their values."""

from __future__ import annotations

import argparse
import math
import re

from effectmq.broker.dead_letters.dead_letters import DeadFilter
from effectmq.broker.store.letters.selecting import Cursor
from effectmq.cli.arguments.options import positive
from effectmq.cli.terminal.times import moment
from effectmq.consumers.decisions.delivery import PARK_REASONS
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.text import printable
from effectmq.settings.durations import UNIT_S

__all__ = [
    "REASONS",
    "add_choice_options",
    "add_ids",
    "chosen_by",
    "cursor",
    "cursor_text",
    "rate",
]

#: The reasons of dead letters, and what each means.
REASONS = {
    **PARK_REASONS,
    "raw": "the broker moved it here by itself, or somebody else put it here",
}

_CURSOR = re.compile(r"(\d{1,18})-([0-9a-f]{12})")
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|m|h))?")


def add_ids(parser: argparse.ArgumentParser) -> None:
    """Add ids as plain words."""
    parser.add_argument(
        "letters", nargs="*", metavar="ID", help="letter ids, or enough of them to be unique"
    )


def add_choice_options(parser: argparse.ArgumentParser) -> None:
    """Add the filters."""
    group = parser.add_argument_group(
        "which letters", "Repeat an option for 'any of these'; several options must all be met."
    )
    group.add_argument("--id", action="append", default=[], metavar="ID", help="the letter's id")
    group.add_argument("--kind", action="append", default=[], choices=EFFECT_KINDS, metavar="KIND")
    group.add_argument(
        "--reason",
        action="append",
        default=[],
        choices=tuple(REASONS),
        metavar="REASON",
        help=", ".join(REASONS),
    )
    group.add_argument(
        "--route", action="append", default=[], metavar="KIND[.LANE]", help="where a replay goes"
    )
    group.add_argument("--tool", action="append", default=[], metavar="NAME", help="the tool")
    group.add_argument("--model", action="append", default=[], metavar="NAME", help="the model")
    group.add_argument(
        "--session", action="append", default=[], metavar="ID", help="the whole session id"
    )
    group.add_argument(
        "--error",
        default="",
        metavar="TEXT",
        help="a piece of the error's code or message, capitals as they are",
    )
    group.add_argument("--code", action="append", default=[], help="the error's code")
    group.add_argument(
        "--effect-id", action="append", default=[], metavar="ID", help="the whole effect id"
    )
    group.add_argument(
        "--since",
        type=moment,
        metavar="TIME",
        help="parked since then: 30m, 1h, 2d ago, or an ISO time (local, unless it has an offset)",
    )
    group.add_argument("--until", type=moment, metavar="TIME", help="parked before then")
    group.add_argument(
        "--edited", action="store_true", help="only what was edited and replayed before"
    )
    group.add_argument("--limit", type=positive, metavar="N", help="at most so many, oldest first")


def chosen_by(args: argparse.Namespace) -> DeadFilter:
    """
    The filter that the options make.

    Raises:
        ConfigurationError: When ``--since`` is not before ``--until``.
    """
    since, until = args.since, args.until
    if since is not None and until is not None and since >= until:
        raise ConfigurationError("--since is not before --until, so no letter can be meant")
    ids = [*getattr(args, "letters", []), *args.id]
    return DeadFilter(
        ids=tuple(dict.fromkeys(letter_id.lower() for letter_id in ids)),
        kinds=tuple(args.kind),
        reasons=tuple(args.reason),
        codes=tuple(args.code),
        effect_ids=tuple(args.effect_id),
        since_ms=since,
        until_ms=until,
        edited=True if args.edited else None,
        routes=tuple(args.route),
        tools=tuple(args.tool),
        models=tuple(args.model),
        sessions=tuple(args.session),
        text=args.error,
    )


def cursor(text: str) -> Cursor:
    """The place of a letter, as ``dead list`` prints it."""
    found = _CURSOR.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(
            f"found {printable(text)!r}, expected a place as 'effectmq dead list' prints it"
        )
    return Cursor(int(found[1]), found[2])


def cursor_text(place: Cursor) -> str:
    """A place on the command line."""
    return f"{place.parked_ms}-{place.letter_id}"


def rate(text: str) -> float:
    """A rate as a number a second: ``20/s``, ``100/m``, or ``20``."""
    found = _RATE.fullmatch(text.strip())
    value = float(found[1]) / UNIT_S[found[2] or "s"] if found else 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(
            f"found {printable(text)!r}, expected a rate above 0, for instance 20/s or 100/m"
        )
    return value
