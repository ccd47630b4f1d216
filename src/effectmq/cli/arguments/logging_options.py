"""The options that say what is logged; logging itself is loaded when a command runs."""

from __future__ import annotations

import argparse

__all__ = ["add_logging_options"]

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def add_logging_options(parser: argparse.ArgumentParser) -> None:
    """Add the options; a command's own default level is ``default_log_level``."""
    group = parser.add_argument_group("logging")
    # Suppressed, so that a nested parser resets nothing, and a variable can say it instead.
    group.add_argument(
        "--log-level",
        choices=_LEVELS,
        type=str.upper,
        default=argparse.SUPPRESS,
        help="what to log to stderr; default: EFFECTMQ_LOG_LEVEL, else WARNING, and INFO for a "
        "worker",
    )
    group.add_argument(
        "--log-format",
        choices=("text", "json"),
        default=argparse.SUPPRESS,
        help="lines for people, or one JSON object a line; default: EFFECTMQ_LOG_FORMAT, else text",
    )
    group.add_argument(
        "--log-json",
        dest="log_format",
        action="store_const",
        const="json",
        default=argparse.SUPPRESS,
        help="the same as --log-format json",
    )
