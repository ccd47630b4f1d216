"""Numbers in settings, checked before they are compared with others."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["check_number", "check_numbers"]

_LONGEST_SHOWN = 60


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
            f"{name} is {printable(repr(value), _LONGEST_SHOWN)}; expected a "
            f"{'whole number' if whole else 'number'}"
        )
