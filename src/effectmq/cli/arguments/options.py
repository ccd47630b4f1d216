"""The options that commands share, and the parsers of their values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

from effectmq.broker.place import Place
from effectmq.broker.store.attachments import open_attachments
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.cli.arguments.setting_options import add_named_options, place_of
from effectmq.cli.arguments.suggestions import did_you_mean
from effectmq.protocol.kinds import EFFECT_KINDS, kind_of
from effectmq.protocol.text import printable

#: The type of the argument of ``configure``, which is private in argparse.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # pyright: ignore[reportPrivateUsage]

__all__ = [
    "Commands",
    "add_action",
    "add_broker_options",
    "add_command",
    "add_full_option",
    "add_journal_option",
    "add_json_option",
    "add_quiet_option",
    "bodies_of",
    "is_memory",
    "positive",
    "route",
]

_MOST_DIGITS = 18


def add_broker_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--broker`` and ``--namespace``."""
    add_named_options(parser, "broker", ("broker", "namespace"))


def add_journal_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--journal`` to a command that also works without one."""
    add_named_options(parser, "journal", ("journal",))


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line, for scripts; keys are stable"
    )


def add_full_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--full``."""
    parser.add_argument(
        "--full", action="store_true", help="values as long as they are, and every column"
    )


def add_quiet_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet``."""
    parser.add_argument(
        "--quiet", action="store_true", help="nothing on stderr but warnings and errors"
    )


def add_command(
    commands: Commands, name: str, summary: str, description: str
) -> argparse.ArgumentParser:
    """
    Add the parser of one command.

    Args:
        commands: The argument of ``configure``.
        name: The name of the command.
        summary: A phrase for the list of commands.
        description: For the command's own help; its lines are kept.
    """
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
        name: The name of the action.
        summary: A phrase for the list of actions.
        description: For the action's own help; the summary as a sentence by default.
        place: Adds the options that name the broker or journal.
    """
    description = description or f"{summary[0].upper()}{summary[1:]}."
    parser = add_command(actions, name, summary, description)
    place(parser)
    add_json_option(parser)
    add_quiet_option(parser)
    return parser


def bodies_of(args: argparse.Namespace) -> LargeBodies | None:
    """The fetcher of bodies out of line; ``None`` without an attachment store."""
    place = place_of(args)
    store = place.attachments
    if isinstance(store, str):
        store = open_attachments(store, namespace=place.topology.namespace)
    return None if store is None else LargeBodies(store)


def is_memory(broker: str) -> bool:
    """Whether an address means a broker inside this process."""
    return broker.lower().startswith("memory:")


def no_worker(place: Place) -> str:
    """The sentence for a command that asks workers where no worker ever was."""
    if is_memory(place.broker):
        return (
            "memory:// is a broker inside one process, so the workers of another one cannot be "
            "asked; name theirs with --broker amqp://host or EFFECTMQ_BROKER"
        )
    return (
        f"no worker was ever started in namespace {place.topology.namespace!r} on this broker; "
        "start one, or check --namespace and --broker"
    )


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
            f"there is no effect kind {kind_of(text)!r}, expected one of "
            f"{', '.join(EFFECT_KINDS)}, or kind.lane{did_you_mean(kind_of(text), EFFECT_KINDS)}"
        )
    return text
