"""The command line of ``effectmq effects``: its actions and their options."""

from __future__ import annotations

import argparse
from functools import partial

from effectmq.broker.store.journal.archive.summaries import EffectFilter
from effectmq.broker.store.journal.records import STATUSES
from effectmq.cli.arguments.journal_options import add_journal_options
from effectmq.cli.arguments.options import add_action, add_full_option, positive
from effectmq.cli.terminal.times import moment
from effectmq.consumers.decisions.delivery import PARK_REASONS
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.kinds import EFFECT_KINDS

__all__ = ["DESCRIPTION", "add_actions", "filter_of"]

_action = partial(add_action, place=add_journal_options)

#: What ``effectmq effects --help`` says.
DESCRIPTION = """\
Effects as the journal knows them: list them, look at one, follow what
happens, see who led to whom, compare two, cancel one.

  effectmq effects list --status failed --since 1h
  effectmq effects get 2:call-1
  effectmq effects tail --kind tool_call
  effectmq effects tree 41db7793
  effectmq effects diff 41db7793 @envelope.json
  effectmq effects cancel 41db7793 --reason "wrong account"

An effect goes by its replay key, its effect id, or the first four or more
digits of its hash; or by --scope and --key. Its scope is the id of its turn,
or of its session outside of turns."""

_GET = """\
Everything that is kept of one effect. Payloads are shown as they are, secrets
in them included."""

_DIFF = """\
Compare the envelopes, and the outcomes if both have one. A name that begins
with @, or ends with .json, is a file with one envelope; - is stdin. Exit code
0 when they are the same, 1 when not. Values are shown; --paths shows where
they differ only."""

_CANCEL = """\
Let an effect end as cancelled, unless it is finished: exactly one of the two
wins. An effect that is still queued is cancelled by --scope and --key before
any worker has seen it. Exit code 1 when its outcome came first.

With options that choose, and --yes, every effect in progress that is meant is
cancelled, and who did it is kept (effectmq dead audit). What workers have not
seen yet is in no journal, and stays.

  effectmq effects cancel --session s-7 --kind tool_call --dry-run"""

_TAIL = """\
Print effects as they change, until interrupted. What happened before the
start is told with --since."""

_STATUS_HELP = "; ".join(f"{name}: {meaning}" for name, meaning in STATUSES.items())


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Add a parser for each action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    listing = _action(actions, "list", "one row an effect, what changed last first")
    _add_choice(listing)
    listing.add_argument("--until", type=moment, metavar="TIME", help="changed before then")
    listing.add_argument("--limit", type=positive, metavar="N", help="at most so many")
    add_full_option(listing)
    get = _action(actions, "get", "everything about one effect", _GET)
    _add_name(get)
    get.add_argument("--lineage", action="store_true", help="also the tree that it belongs to")
    get.add_argument("--envelope", action="store_true", help="only the envelope")
    get.add_argument("--outcome", action="store_true", help="only the outcome")
    add_full_option(get)
    tail = _action(actions, "tail", "follow what happens", _TAIL)
    _add_choice(tail)
    add_full_option(tail)
    tree = _action(actions, "tree", "who led to whom, from the root")
    _add_name(tree)
    tree.add_argument("--limit", type=positive, default=500, metavar="N", help="default: 500")
    add_full_option(tree)
    diff = _action(actions, "diff", "what differs between two effects", _DIFF)
    for name in ("a", "b"):
        diff.add_argument(name, metavar=name.upper(), help="an effect, or a file with an envelope")
    diff.add_argument("--scope", default="", metavar="ID", help="only effects of this scope")
    diff.add_argument("--paths", action="store_true", help="without the values")
    diff.add_argument("--limit", type=positive, default=50, metavar="N", help="default: 50")
    cancel = _action(actions, "cancel", "cancel one effect, unless it is finished", _CANCEL)
    _add_name(cancel)
    cancel.add_argument("--reason", required=True, metavar="TEXT", help="goes into the error")
    _add_many(cancel)
    cancel.add_argument(
        "--broker",
        metavar="URL",
        help="where running workers are told at once; default: EFFECTMQ_BROKER. Without one they "
        "find out when they renew the effect's lease",
    )


def _add_many(cancel: argparse.ArgumentParser) -> None:
    group = cancel.add_argument_group("several effects")
    group.add_argument("--kind", action="append", default=[], choices=EFFECT_KINDS, metavar="KIND")
    group.add_argument("--session", default="", metavar="ID")
    group.add_argument("--turn", default="", metavar="ID")
    group.add_argument("--worker", default="", metavar="NAME", help="who claimed it last")
    group.add_argument("--since", type=moment, metavar="TIME", help="changed since then")
    group.add_argument("--until", type=moment, metavar="TIME", help="changed before then")
    group.add_argument("--limit", type=positive, metavar="N", help="at most so many")
    group.add_argument("--all", action="store_true", help="really all that is in progress")
    group.add_argument("--dry-run", action="store_true", help="only say how many")
    group.add_argument("--yes", action="store_true", help="do it")
    group.add_argument(
        "--by",
        default="",
        metavar="NAME",
        help="who does it, for the audit; default: the user and the host",
    )


def filter_of(args: argparse.Namespace) -> EffectFilter:
    """
    The filter that the options make.

    Raises:
        ConfigurationError: When the times leave nothing between them.
    """
    until_ms = getattr(args, "until", None)
    if args.since is not None and until_ms is not None and args.since >= until_ms:
        raise ConfigurationError("--since is not before --until, so no effect can be meant")
    return EffectFilter(
        kinds=tuple(args.kind),
        statuses=tuple(args.status),
        scope_id=args.scope,
        session_id=args.session,
        turn_id=args.turn,
        effect_id=args.effect_id,
        key_prefix=args.key,
        park_reasons=tuple(args.parked),
        worker=args.worker,
        since_ms=args.since,
        until_ms=until_ms,
    )


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", default="", metavar="ID", help="replay key, effect id, or part of a hash"
    )
    parser.add_argument("--scope", default="", metavar="ID", help="only in this scope")
    parser.add_argument("--key", default="", metavar="KEY", help="the whole replay key")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "which effects", "Repeat an option for 'any of these'; several options must all be met."
    )
    group.add_argument("--kind", action="append", default=[], choices=EFFECT_KINDS, metavar="KIND")
    group.add_argument(
        "--status",
        action="append",
        default=[],
        choices=tuple(STATUSES),
        metavar="STATUS",
        help=_STATUS_HELP,
    )
    group.add_argument(
        "--parked",
        action="append",
        default=[],
        choices=tuple(PARK_REASONS),
        metavar="REASON",
        help=f"parked for this reason: {', '.join(PARK_REASONS)}",
    )
    group.add_argument("--scope", default="", metavar="ID")
    group.add_argument("--session", default="", metavar="ID")
    group.add_argument("--turn", default="", metavar="ID")
    group.add_argument("--effect-id", default="", metavar="ID", help="the whole effect id")
    group.add_argument("--key", default="", metavar="START", help="how the replay key begins")
    group.add_argument("--worker", default="", metavar="NAME", help="who claimed it last")
    group.add_argument(
        "--since",
        type=moment,
        metavar="TIME",
        help="changed since then: 30m, 1h, 2d ago, or an ISO time (local, unless it has an offset)",
    )
