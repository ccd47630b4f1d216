"""
The options of an address: the part after its question mark.

An unknown option would be a setting without an effect, so it is refused, and so is an invalid
value. Values are shown only where they cannot be secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

__all__ = ["one_of", "read_options", "whole_number"]

#: Says what a value should be; empty when the value is valid.
Check = Callable[[str], str]

_MOST_SHOWN = 60


def read_options(query: str, known: Mapping[str, Check], what: str) -> dict[str, str]:
    """
    Read the options of an address.

    Args:
        query: The text after the question mark.
        known: The check of each known option, by name.
        what: The address in words, for errors: ``the broker's address``.

    Raises:
        ConfigurationError: When one is unknown, given twice, or has an invalid value.
    """
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        shown = printable(name, _MOST_SHOWN)
        if name not in known:
            raise ConfigurationError(
                f"{what} has the option {shown!r}, which is unknown; known are: "
                f"{', '.join(known) or 'none'}"
            )
        if name in found:
            raise ConfigurationError(f"{what} gives the option {shown!r} twice; give it once")
        expected = known[name](value)
        if expected:
            raise ConfigurationError(
                f"{what} says {shown}={printable(value, _MOST_SHOWN)}; expected {expected}"
            )
        found[name] = value
    return found


def whole_number(low: int, high: int, unit: str = "") -> Check:
    """Expect a whole number in a range."""

    def check(value: str) -> str:
        # No signs, blanks or digits of other scripts; and not more digits than fit.
        digits = re.fullmatch("[0-9]{1,18}", value)
        if digits and low <= int(value) <= high:
            return ""
        return f"a whole number from {low} to {high}{unit}"

    return check


def one_of(*words: str) -> Check:
    """Expect one of these words."""
    return lambda value: "" if value in words else f"one of {', '.join(words)}"
