"""The command line of ``effectmq effects``: its actions and their options."""

from __future__ import annotations

import argparse
from functools import partial

from effectmq.broker.store.journal.archive.summaries import EffectFilter
from effectmq.broker.store.journal.records import STATUSES
from effectmq.cli.arguments.journal_options import add_journal_options
from effectmq.cli.arguments.options import Commands, add_action, add_full_option, positive
from effectmq.cli.terminal.times import moment
from effectmq.consumers.decisions.delivery import PARK_REASONS
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.kinds import EFFECT_KINDS

__all__ = ["DESCRIPTION", "add_actions", "filter_of"]

_action = partial(add_action, place=add_journal_options)

#: What ``effectmq effects --help`` says.
DESCRIPTION = """\
The effects in the journal: list them, show one, follow changes, show which
effect caused which, compare two, cancel one or many, prune one.

  effectmq effects list --status failed --since 1h
  effectmq effects get 2:call-1
  effectmq effects tail --kind tool_call
  effectmq effects tree 41db7793
  effectmq effects diff 41db7793 @envelope.json
  effectmq effects cancel 41db7793 --reason "wrong account"
  effectmq effects prune 41db7793 --yes
  effectmq effects waiting
  effectmq effects complete 41db7793 --value '{"approved": true}'

Name an effect by its replay key, its effect id, or at least four digits from
the beginning of its hash; or by --scope and --key. The scope of an effect is
the id of its turn, or outside of turns that of its session."""

_GET = """\
Show everything that is kept of one effect. Payloads are shown as they are,
with any secrets in them."""

_DIFF = """\
Compare the envelopes, and the outcomes if both have one. A name that begins
with @, or ends with .json, is a file with one envelope; - is stdin. Exit code
0 when they are the same, 1 when not. Values are shown, with any secrets in
them; --paths shows only where they differ."""

_CANCEL = """\
Cancel an effect, unless it is finished: either its outcome or the cancelling
is recorded, never both. An effect that no worker has seen yet is cancelled by
--scope and --key. Exit code 1 when its outcome came first.

With options that choose, and --yes, every effect in progress that fits them is
cancelled, and the audit keeps who did it (effectmq dead audit). Effects that
no worker has seen yet are in no journal, and are not cancelled.

  effectmq effects cancel --session s-7 --kind tool_call --dry-run"""

_PRUNE = """\
Prune one finished effect, for instance one with personal data. It loses its
envelope and its outcome. Its key and hash stay, so that asking for it again is
an error (effectmq_forgotten) and never runs it a second time. Many old ones at
once: effectmq journal prune. Exit code 1 when it changed in this moment."""

_TAIL = """\
Print effects as they change, until interrupted. With --since it begins with
the changes since then. With --chunks it begins with what runs now, and also
prints what effects in progress stream, as workers copy it; that is payload,
with any secrets in it.

  effectmq effects tail --session s-7 --chunks"""

_COMPLETE = """\
Answer an effect that its handler handed out, by its name or by the token that
the handler got. The value of a tool call is what the tool would have returned,
and is checked against its type; that of another kind is its outcome. Exactly
one of answer, deadline and cancel wins. The same answer may be given again.
Exit code 1 when something else came first.

  effectmq effects complete 41db7793 --value '{"approved": true, "by": "ann"}'
  effectmq effects complete --token - --error "not without a receipt"

Write --token - to give the token on stdin: what is on a command line is seen
by everybody on the host."""

_STATUS_HELP = "; ".join(f"{name}: {meaning}" for name, meaning in STATUSES.items())


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Add a parser for each action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    listing = _action(actions, "list", "list effects, the last changed first")
    _add_choice(listing)
    listing.add_argument("--until", type=moment, metavar="TIME", help="changed before then")
    listing.add_argument("--limit", type=positive, metavar="N", help="at most so many")
    add_full_option(listing)
    get = _action(actions, "get", "show everything about one effect", _GET)
    _add_name(get)
    get.add_argument("--lineage", action="store_true", help="also the tree of its causes")
    get.add_argument("--envelope", action="store_true", help="only the envelope")
    get.add_argument("--outcome", action="store_true", help="only the outcome")
    add_full_option(get)
    tail = _action(actions, "tail", "print effects as they change", _TAIL)
    _add_choice(tail)
    tail.add_argument(
        "--chunks", action="store_true", help="also print what effects stream, while they run"
    )
    tail.add_argument(
        "--broker",
        metavar="URL",
        help="with --chunks, the broker of the workers; default: EFFECTMQ_BROKER",
    )
    add_full_option(tail)
    tree = _action(actions, "tree", "show which effect caused which, from the root")
    _add_name(tree)
    tree.add_argument("--limit", type=positive, default=500, metavar="N", help="default: 500")
    add_full_option(tree)
    diff = _action(actions, "diff", "show the differences of two effects", _DIFF)
    for name in ("a", "b"):
        diff.add_argument(name, metavar=name.upper(), help="an effect, or a file with an envelope")
    diff.add_argument("--scope", default="", metavar="ID", help="only effects of this scope")
    diff.add_argument(
        "--paths", action="store_true", help="show where they differ, without the values"
    )
    diff.add_argument("--limit", type=positive, default=50, metavar="N", help="default: 50")
    cancel = _action(
        actions, "cancel", "cancel one effect or many, unless they are finished", _CANCEL
    )
    _add_name(cancel)
    cancel.add_argument(
        "--reason", required=True, metavar="TEXT", help="the reason; recorded in the error"
    )
    _add_many(cancel)
    _add_prune(_action(actions, "prune", "remove what is kept of one finished effect", _PRUNE))
    _add_answers(actions)
    cancel.add_argument(
        "--broker",
        metavar="URL",
        help="the broker through which running workers are told at once; default: EFFECTMQ_BROKER. "
        "Without one they find out when they renew the effect's lease",
    )


def _add_answers(actions: Commands) -> None:
    waiting = _action(actions, "waiting", "list what waits for an answer, by its deadline")
    waiting.add_argument(
        "--kind", action="append", default=[], choices=EFFECT_KINDS, metavar="KIND"
    )
    waiting.add_argument("--session", default="", metavar="ID")
    waiting.add_argument("--limit", type=positive, metavar="N", help="at most so many")
    add_full_option(waiting)
    complete = _action(actions, "complete", "answer an effect that was handed out", _COMPLETE)
    _add_name(complete)
    complete.add_argument("--token", default="", metavar="TOKEN", help="the token; - for stdin")
    complete.add_argument(
        "--value", metavar="JSON", help="the value; @FILE for a file, - for stdin"
    )
    complete.add_argument("--error", metavar="TEXT", help="or the reason why it is refused")
    complete.add_argument("--code", default="", metavar="CODE", help="the code of the refusal")
    complete.add_argument(
        "--broker",
        metavar="URL",
        help="the broker through which its caller is told at once; default: EFFECTMQ_BROKER. "
        "Without one it is told within a minute",
    )


def _add_prune(prune: argparse.ArgumentParser) -> None:
    _add_name(prune)
    prune.add_argument(
        "--forget-key", action="store_true", help="keep neither key nor hash: it may run again"
    )
    prune.add_argument(
        "--parked",
        action="store_true",
        help="also when it is parked; its dead letter cannot be replayed any more",
    )
    prune.add_argument("--yes", action="store_true", help="do it")


def _add_many(cancel: argparse.ArgumentParser) -> None:
    group = cancel.add_argument_group("several effects")
    group.add_argument("--kind", action="append", default=[], choices=EFFECT_KINDS, metavar="KIND")
    group.add_argument("--session", default="", metavar="ID")
    group.add_argument("--turn", default="", metavar="ID")
    group.add_argument(
        "--worker", default="", metavar="NAME", help="the worker that claimed it last"
    )
    group.add_argument("--since", type=moment, metavar="TIME", help="changed since then")
    group.add_argument("--until", type=moment, metavar="TIME", help="changed before then")
    group.add_argument("--limit", type=positive, metavar="N", help="at most so many")
    group.add_argument(
        "--all", action="store_true", help="cancel everything in progress, without another choice"
    )
    group.add_argument("--dry-run", action="store_true", help="only say how many there are")
    group.add_argument("--yes", action="store_true", help="do it")
    group.add_argument(
        "--by",
        default="",
        metavar="NAME",
        help="who does it, for the audit; default: the user and the host",
    )


def filter_of(args: argparse.Namespace) -> EffectFilter:
    """
    The filter of the options.

    Raises:
        ConfigurationError: When --since is not before --until.
    """
    until_ms = getattr(args, "until", None)
    if args.since is not None and until_ms is not None and args.since >= until_ms:
        raise ConfigurationError(
            "--since is not before --until, so no effect fits; correct one of them"
        )
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
    group.add_argument(
        "--worker", default="", metavar="NAME", help="the worker that claimed it last"
    )
    group.add_argument(
        "--since",
        type=moment,
        metavar="TIME",
        help="changed since then: 30m, 1h, 2d ago, or an ISO time (local, unless it has an offset)",
    )
