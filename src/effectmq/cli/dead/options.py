"""The command line of ``effectmq dead``: its actions and their options."""

from __future__ import annotations

import argparse
from functools import partial

from effectmq.broker.dead_letters.dead_letters import DEFAULT_RATE
from effectmq.cli.arguments.options import (
    add_action,
    add_broker_options,
    add_full_option,
    add_journal_option,
    positive,
)
from effectmq.cli.dead.choice import add_choice_options, add_ids, cursor, rate
from effectmq.cli.terminal.times import seconds

__all__ = ["DESCRIPTION", "add_actions"]

_DEFAULT_TIMEOUT_S = 60.0

#: The text of ``effectmq dead --help``.
DESCRIPTION = """\
Dead letters are effects that were given up on, with the reason: list them,
look at one, send them back to their workers, keep a copy, throw them away.

  effectmq dead list --since 1h
  effectmq dead show 3f2a9c
  effectmq dead replay --kind tool_call --since 2h --dry-run
  effectmq dead show 3f2a9c --envelope > e.json
  effectmq dead replay 3f2a9c --edit e.json
  effectmq dead export --redact password > letters.jsonl
  effectmq dead purge --reason expired --yes

Looking takes nothing away. With the workers' journal (--journal) any number
may look at once, and the first page of 100,000 letters comes at once; without
one each look waits for its turn, because RabbitMQ hides from one reader what
another one holds."""

_FACETS = """\
Count the letters that are meant by reason, kind, route, tool, model, code and
error. Errors that differ in numbers and quoted values only are counted as
one."""

_EDIT = """\
Apply a JSON Patch (RFC 6902) to the envelope of each letter, and send it back
to its workers.

  effectmq dead edit 3f2a9c --patch patch.json --dry-run
  [{"op": "replace", "path": "/command/call/args/amount", "value": 5}]

What it makes of every letter is checked before anything moves: when one
cannot take it, none is sent. The hash is made again, and the old one is kept
in the header effect-edited-from. Effect id and replay key stay, unless the
patch changes them: under the same key the edited effect takes the place of
the one that was parked, under another one it is another effect."""

_AUDIT = """\
Who replayed, edited, purged or cancelled what, and what became of it, the
newest first. A line without an end is that of somebody who was interrupted,
or goes on."""

_REPLAY = """\
Publish letters to the queues of their kinds again, with attempts and deadline
forgotten. A letter is taken off only after the broker has confirmed its
replay: a crash in between leaves two copies, never none, and the second copy
is the same effect with the same hash.

--edit replaces the envelope: the new document is checked and hashed, and the
old hash is kept in the header effect-edited-from. Effect id and replay key
stay as the document says; the outcome goes to the same producer, under the
new hash.

--wait prints the outcome. It comes here first, and is then passed on to the
producer that asked; when you leave before it comes, the producer does not get
it."""


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Add a parser for each action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    listing = _action(actions, "list", "one row a letter, and how many for each reason")
    add_choice_options(listing)
    listing.add_argument("--newest", action="store_true", help="the newest first")
    listing.add_argument(
        "--after", type=cursor, metavar="PLACE", help="go on behind this place, as the list says"
    )
    add_full_option(listing)
    facets = _action(actions, "facets", "how many letters there are, by what", _FACETS)
    add_choice_options(facets)
    facets.add_argument(
        "--most", type=positive, default=10, metavar="N", help="of each, the first N; default: 10"
    )
    add_full_option(facets)
    show = _action(actions, "show", "everything about one letter")
    show.add_argument("letter", metavar="ID", help="the letter's id, or enough of it")
    show.add_argument("--envelope", action="store_true", help="only the envelope, to edit it")
    add_full_option(show)
    _add_redact(show)
    replay = _action(actions, "replay", "send letters back to their workers", _REPLAY)
    _add_replay_options(replay)
    edit = _action(actions, "edit", "change letters by JSON Patch and send them back", _EDIT)
    add_ids(edit)
    add_choice_options(edit)
    edit.add_argument("--patch", required=True, metavar="FILE", help="the JSON Patch; - for stdin")
    edit.add_argument("--all", action="store_true", help="really all, when nothing is chosen")
    edit.add_argument(
        "--dry-run", action="store_true", help="only say what would become of each letter"
    )
    _add_rate(edit)
    _add_who(edit)
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
    _add_who(purge)
    audit = _action(actions, "audit", "who did what", _AUDIT)
    audit.add_argument("--limit", type=positive, default=50, metavar="N", help="default: 50")
    add_full_option(audit)


def _add_place(parser: argparse.ArgumentParser) -> None:
    add_broker_options(parser)
    add_journal_option(parser)


def _add_who(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--by",
        default="",
        metavar="NAME",
        help="who does it, for the audit; default: the user and the host",
    )


def _add_rate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate",
        type=rate,
        default=DEFAULT_RATE,
        metavar="N/s",
        help=f"at most so many, for instance 20/s or 100/m; default: {DEFAULT_RATE:g}/s",
    )


_action = partial(add_action, place=_add_place)


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
    _add_rate(parser)
    _add_who(parser)
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
