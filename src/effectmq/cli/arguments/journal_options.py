"""The options with which commands find a journal."""

from __future__ import annotations

import argparse

from effectmq.cli.arguments.setting_options import add_named_options, place_of
from effectmq.protocol.errors import ConfigurationError

__all__ = ["add_journal_options", "journal_of", "namespace_of"]


def add_journal_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--journal`` and ``--namespace``."""
    add_named_options(
        parser, "journal", ("journal", "namespace"), namespace="whose effects are meant"
    )


def namespace_of(args: argparse.Namespace) -> str:
    """The namespace of the effects, from the option or the environment."""
    return place_of(args).topology.namespace


def journal_of(args: argparse.Namespace) -> str:
    """
    The journal's address, from the option, the environment, or the default.

    Raises:
        ConfigurationError: When it is set to ``none``.
    """
    url = place_of(args).journal
    if url is None:
        raise ConfigurationError(
            "the journal is set to 'none', so there is nothing to look at; give --journal URL"
        )
    return url
