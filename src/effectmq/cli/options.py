"""The options that commands share, and how their values are read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from effectmq.broker.store.attachments import open_attachments
from effectmq.broker.store.attachments.large_bodies import ClaimCheck
from effectmq.environment import Environment
from effectmq.protocol.kinds import EFFECT_KINDS, kind_of
from effectmq.protocol.text import printable
from effectmq.protocol.topology import TopologySettings

#: What ``configure`` gets; argparse has the type and keeps its name to itself.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # pyright: ignore[reportPrivateUsage]

__all__ = [
    "Commands",
    "add_action",
    "add_broker_options",
    "add_journal_option",
    "add_json_option",
    "add_quiet_option",
    "broker_of",
    "claims_of",
    "is_memory",
    "positive",
    "route",
    "topology_of",
]

_MOST_DIGITS = 18


def add_broker_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--broker`` and ``--namespace``."""
    group = parser.add_argument_group("broker")
    group.add_argument(
        "--broker",
        metavar="URL",
        help="amqp://user:password@host/vhost, or memory:// for one inside this process; "
        "default: EFFECTMQ_BROKER, else memory://",
    )
    group.add_argument(
        "--namespace",
        metavar="NS",
        help="prefix of all queue names; default: EFFECTMQ_NAMESPACE, else effects",
    )


def add_journal_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--journal`` to a command that works without one, too."""
    parser.add_argument(
        "--journal",
        metavar="URL",
        help="sqlite:///path/to/file, postgresql://user:password@host/database, or none; default: "
        "EFFECTMQ_JOURNAL, else this user's file for the namespace",
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line, for scripts; keys are stable"
    )


def add_quiet_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet``."""
    parser.add_argument(
        "--quiet", action="store_true", help="nothing on stderr but warnings and errors"
    )


def add_action(
    actions: Commands,
    name: str,
    summary: str,
    description: str = "",
    *,
    place: Callable[[argparse.ArgumentParser], None],
) -> argparse.ArgumentParser:
    """
    Add the parser of one action of a command, with the options that every action has.

    Args:
        actions: The actions of the command.
        name: The word that is typed.
        summary: A phrase for the list of actions.
        description: For the action's own help; the summary as a sentence by default.
        place: Adds the options that say which broker or journal is meant.
    """
    parser = actions.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    place(parser)
    add_json_option(parser)
    add_quiet_option(parser)
    return parser


def broker_of(args: argparse.Namespace) -> str:
    """The broker's address, from the option or the environment."""
    return args.broker or Environment.read().broker


def topology_of(args: argparse.Namespace) -> TopologySettings:
    """The topology's settings, from the option and the environment."""
    settings = Environment.read().topology
    return replace(settings, namespace=args.namespace) if args.namespace else settings


def claims_of(args: argparse.Namespace) -> ClaimCheck | None:
    """What fetches bodies out of line, from the environment; ``None`` without a store."""
    namespace = topology_of(args).namespace
    store = open_attachments(Environment.read().attachments, namespace=namespace)
    return None if store is None else ClaimCheck(store)


def is_memory(broker: str) -> bool:
    """Whether an address means a broker inside this process."""
    return broker.lower().startswith("memory:")


def positive(text: str) -> int:
    """A whole number above 0."""
    digits = text.strip()
    value = int(digits) if digits.isdecimal() and len(digits) <= _MOST_DIGITS else 0
    if value < 1:
        raise argparse.ArgumentTypeError(
            f"found {printable(text, 40)!r}, expected a whole number above 0 of at most "
            f"{_MOST_DIGITS} digits"
        )
    return value


def route(text: str) -> str:
    """A kind, or ``kind.lane``."""
    if kind_of(text) not in EFFECT_KINDS:
        raise argparse.ArgumentTypeError(
            f"there is no effect kind {kind_of(text)!r}; expected one of "
            f"{', '.join(EFFECT_KINDS)}, or kind.lane"
        )
    return text
