"""
Of several effects with one debounce key only the last runs; the headers that say so.

They stand beside the envelope and are no part of the effect: neither the hash nor the replay key
knows them. The key comes from strangers and ends up in tables and errors, so it is short and
printable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import HeaderValue
from effectmq.protocol.text import printable

__all__ = ["Debounce", "checked_debounce_key", "read_debounce", "without_debounce"]

_ALL = (names.DEBOUNCE, names.DEBOUNCE_AT, names.DEBOUNCE_MAX)


class Debounce(NamedTuple):
    """
    How an effect is debounced.

    Attributes:
        key: What the effects have in common of which the last runs.
        at_ms: When it was asked for, Unix milliseconds by its producer's clock; the last one is
            the one that was asked for last.
        max_ms: For how long others may take its place, from the first of them on, in milliseconds;
            0 for no limit.
    """

    key: str
    at_ms: int
    max_ms: int


def checked_debounce_key(key: object) -> str:
    """
    A debounce key that a program or a person gives.

    Raises:
        ConfigurationError: When it is no text, empty, too long, or not printable.
    """
    fault = _fault(key)
    if fault:
        raise ConfigurationError(
            f"the debounce key has {fault}; choose a short text, such as the id of the document "
            "that all of these effects are about"
        )
    return str(key)


def read_debounce(headers: Mapping[str, HeaderValue]) -> Debounce:
    """
    How the effect of a message from a stranger is debounced.

    Raises:
        MalformedError: When a header is invalid, or one is missing.
    """
    key = headers.get(names.DEBOUNCE, "")
    fault = _fault(key)
    if fault:
        raise MalformedError(names.DEBOUNCE, f"found {fault}")
    at_ms = names.integer(headers, names.DEBOUNCE_AT, 0)
    begins_ms = names.integer(headers, names.NOT_BEFORE, 0)
    if not 0 < at_ms <= begins_ms:
        raise MalformedError(
            names.DEBOUNCE_AT,
            f"found {at_ms} with {names.NOT_BEFORE} {begins_ms}; expected the moment at which it "
            f"was asked for, and in {names.NOT_BEFORE} that at which it may begin, which is later",
        )
    return Debounce(str(key), at_ms, names.integer(headers, names.DEBOUNCE_MAX, 0))


def without_debounce(headers: Mapping[str, HeaderValue]) -> dict[str, HeaderValue]:
    """The headers of an effect whose place nobody takes any more."""
    return {name: value for name, value in headers.items() if name not in _ALL}


def _fault(key: object) -> str:
    """What is wrong with it, as a phrase; empty when nothing is."""
    if not isinstance(key, str):
        return f"{printable(repr(key), 60)}, expected text"
    if not key:
        return "no characters"
    if len(key.encode(errors="replace")) > names.MAX_DEBOUNCE_BYTES:
        return f"more than {names.MAX_DEBOUNCE_BYTES} bytes"
    if not key.isprintable() or key != key.strip():
        return (
            f"characters that cannot be printed, or blanks at an end: {printable(repr(key), 200)}"
        )
    return ""
