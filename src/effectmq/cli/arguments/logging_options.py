"""The options that say what is logged; logging itself is loaded when a command runs."""

from __future__ import annotations

import argparse

__all__ = ["add_logging_options"]

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def add_logging_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--log-level`` and ``--log-json``; a command's own default level is ``log_level``."""
    group = parser.add_argument_group("logging")
    # Suppressed, so that a command can set its own default and a nested parser resets nothing.
    group.add_argument(
        "--log-level",
        choices=_LEVELS,
        type=str.upper,
        default=argparse.SUPPRESS,
        help="what to log to stderr; default: WARNING, and INFO for a worker",
    )
    group.add_argument(
        "--log-json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="log JSON, one object a line",
    )
