"""The options by which commands find a journal."""

from __future__ import annotations

import argparse

from effectmq.cli.options import topology_of
from effectmq.environment import Environment
from effectmq.protocol.errors import ConfigurationError

__all__ = ["add_journal_options", "journal_of", "namespace_of"]


def add_journal_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--journal`` and ``--namespace``."""
    group = parser.add_argument_group("journal")
    group.add_argument(
        "--journal",
        metavar="URL",
        help="sqlite:///path/to/file or postgresql://user:password@host/database; "
        "default: EFFECTMQ_JOURNAL, else this user's file for the namespace",
    )
    group.add_argument(
        "--namespace",
        metavar="NS",
        help="whose effects are meant, and whose default file; default: EFFECTMQ_NAMESPACE, else "
        "effects",
    )


def namespace_of(args: argparse.Namespace) -> str:
    """Whose effects are meant, from the option or the environment."""
    return topology_of(args).namespace


def journal_of(args: argparse.Namespace) -> str:
    """
    The journal's address, from the option, the environment, or the default.

    Raises:
        ConfigurationError: When it says that there is to be none.
    """
    url: str = args.journal or Environment.read().journal_in(namespace_of(args))
    if url.lower() == "none":
        raise ConfigurationError(
            "the journal is set to 'none', so there is nothing to look at; give --journal URL"
        )
    return url
