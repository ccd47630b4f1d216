"""The command line of ``effectmq dead``: its actions and their options."""

from __future__ import annotations

import argparse
from functools import partial

from effectmq.broker.dead_letters.dead_letters import DEFAULT_RATE
from effectmq.cli.arguments.options import (
    add_action,
    add_broker_options,
    add_full_option,
)
from effectmq.cli.dead.choice import add_choice_options, add_ids, rate
from effectmq.cli.terminal.times import seconds

__all__ = ["DESCRIPTION", "add_actions"]

_action = partial(add_action, place=add_broker_options)

_DEFAULT_TIMEOUT_S = 60.0

#: The text of ``effectmq dead --help``.
DESCRIPTION = """\
Dead letters are effects that were given up on, with the reason: list them, look at one, send them
back to their workers, keep a copy, throw them away.

  effectmq dead list --since 1h
  effectmq dead show 3f2a9c
  effectmq dead replay --kind tool_call --since 2h --dry-run
  effectmq dead show 3f2a9c --envelope > e.json
  effectmq dead replay 3f2a9c --edit e.json
  effectmq dead export --redact password > letters.jsonl
  effectmq dead purge --reason expired --yes

Looking changes nothing. One command at a time can look, because RabbitMQ hides from one reader
what another one holds."""

_REPLAY = """\
Publish letters to the queues of their kinds again, with attempts and deadline forgotten. A letter
is taken off only after the broker has confirmed its replay: a crash in between leaves two copies,
never none, and the second copy is the same effect with the same hash.

--edit replaces the envelope: the new document is checked and hashed, and the old hash is kept in
the header effect-edited-from. Effect id and replay key stay as the document says; the outcome goes
to the same producer, under the new hash.

--wait prints the outcome. It comes here first, and is then passed on to the producer that asked;
when you leave before it comes, the producer does not get it."""


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Add a parser for each action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    listing = _action(actions, "list", "one row a letter, and how many for each reason")
    add_choice_options(listing)
    add_full_option(listing)
    show = _action(actions, "show", "everything about one letter")
    show.add_argument("letter", metavar="ID", help="the letter's id, or enough of it")
    show.add_argument("--envelope", action="store_true", help="only the envelope, to edit it")
    add_full_option(show)
    _add_redact(show)
    replay = _action(actions, "replay", "send letters back to their workers", _REPLAY)
    _add_replay_options(replay)
    export = _action(actions, "export", "write letters as JSON, one a line; nothing is changed")
    add_ids(export)
    add_choice_options(export)
    export.add_argument("--output", metavar="FILE", help="default: stdout")
    _add_redact(export)
    purge = _action(actions, "purge", "throw letters away, for ever")
    add_ids(purge)
    add_choice_options(purge)
    purge.add_argument("--all", action="store_true", help="really all, when nothing is chosen")
    purge.add_argument("--dry-run", action="store_true", help="only say how many")
    purge.add_argument("--yes", action="store_true", help="do it")


def _add_redact(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--redact",
        action="append",
        default=[],
        metavar="FIELD",
        help="mask an argument of tool calls: password, user.email, items.*.key; or any part of "
        "the envelope: command.code. What is no envelope is left out. Repeat for more",
    )


def _add_replay_options(parser: argparse.ArgumentParser) -> None:
    add_ids(parser)
    add_choice_options(parser)
    parser.add_argument("--all", action="store_true", help="really all, when nothing is chosen")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument(
        "--rate",
        type=rate,
        default=DEFAULT_RATE,
        metavar="N/s",
        help=f"at most so many, for instance 20/s or 100/m; default: {DEFAULT_RATE:g}/s",
    )
    parser.add_argument(
        "--edit", metavar="FILE", help="the whole envelope as JSON to use instead; - for stdin"
    )
    parser.add_argument("--wait", action="store_true", help="wait for the outcome of one letter")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=_DEFAULT_TIMEOUT_S,
        metavar="S",
        help="how long to wait, in seconds or as 5m; default: 60",
    )
