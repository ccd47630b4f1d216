"""Numbers that a program gives, checked before anything is done with them."""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import TYPE_CHECKING

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "check_number",
    "check_numbers",
    "former_milliseconds",
    "milliseconds_of",
    "one_time",
]

_LONGEST_SHOWN = 60
#: A century: more is a slip, and databases and other languages can count to it.
_LONGEST_S = 100 * 365 * 86_400


def check_numbers(settings: DataclassInstance) -> None:
    """
    Check that the number fields of a dataclass hold numbers; call it first in ``__post_init__``.

    Args:
        settings: A dataclass whose annotations are text: ``int``, ``float``, or one of them
            ``| None``.

    Raises:
        ConfigurationError: When such a field holds something else, or NaN.
    """
    for field in fields(settings):
        kind, _, rest = str(field.type).partition(" | ")
        value: object = getattr(settings, field.name)
        if kind in ("int", "float") and not (rest == "None" and value is None):
            check_number(field.name, value, whole=kind == "int")


def check_number(name: str, value: object, *, whole: bool) -> None:
    """
    Check one value.

    Raises:
        ConfigurationError: When it is not a number, or not a whole one where that is needed.
    """
    found = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    # NaN is not equal to itself.
    if not found or value != value:
        raise ConfigurationError(
            f"{name} is {_shown(value)}; expected a {'whole number' if whole else 'number'}"
        )


def milliseconds_of(name: str, seconds: float) -> int:
    """
    A time that a program gives in seconds, rounded to whole milliseconds.

    Raises:
        ConfigurationError: When it is not a number, negative, or longer than 100 years.
    """
    check_number(name, seconds, whole=False)
    if not 0 <= seconds <= _LONGEST_S:
        raise ConfigurationError(
            f"{name} is {_shown(seconds)}; expected seconds from 0 to {_LONGEST_S} (100 years)"
        )
    return round(seconds * 1_000)


def one_time(call: str, name: str, seconds: float | None, former: int | None) -> int:
    """
    The milliseconds of a time that is given in seconds, or still in milliseconds.

    Args:
        call: What is called, for sentences.
        name: The parameter that takes seconds.
        seconds: The time in seconds.
        former: The same in milliseconds; the caller's caller is warned of it.

    Raises:
        ConfigurationError: When it is no time, or a longer one than 100 years.
        TypeError: When neither is given, or both.
    """
    if seconds is not None and former is None:
        return milliseconds_of(name, seconds)
    if former is not None and seconds is None:
        return former_milliseconds(call, name, former, stacklevel=4)
    raise TypeError(f"{call}() takes one time: write {call}({name}=…)")


def former_milliseconds(call: str, name: str, value: object, *, stacklevel: int = 3) -> int:
    """
    A time that a program still gives in milliseconds; warns the caller's caller.

    Args:
        call: What is called, for the sentence.
        name: The parameter that takes seconds.
        value: The milliseconds.
        stacklevel: Whom the warning is for, as ``warnings.warn`` counts.

    Raises:
        ConfigurationError: When it is not a whole number: most likely seconds are meant.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigurationError(
            f"{call} was given {_shown(value)} as milliseconds, which are whole numbers; write "
            f"{call}({name}=…), in seconds"
        )
    warnings.warn(
        f"{call} takes seconds: {value} without {name}= is read as milliseconds until the next "
        f"release; write {call}({name}={value / 1_000})",
        DeprecationWarning,
        stacklevel=stacklevel,
    )
    return value


def _shown(value: object) -> str:
    # Python does not write integers of thousands of digits.
    huge = isinstance(value, int) and value.bit_length() > 1_024
    return "a huge integer" if huge else printable(repr(value), _LONGEST_SHOWN)
