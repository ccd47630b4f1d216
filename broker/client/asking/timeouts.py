"""Time limits of public methods: seconds, or ``None`` for no limit."""

from __future__ import annotations

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

__all__ = ["DEFAULT_TIMEOUT_S", "FOREVER_S", "checked_timeout"]

#: How long an outcome is waited for when the caller does not say.
DEFAULT_TIMEOUT_S = 30.0

#: Stands for no limit where a number is needed: a year.
FOREVER_S = 365 * 86_400.0


def checked_timeout(value: object, name: str = "timeout") -> float | None:
    """
    Check a time limit of a caller.

    Args:
        value: Seconds; 0 means to look without waiting, ``None`` is no limit.
        name: The name of the argument.

    Returns:
        The seconds, or None for no limit.

    Raises:
        ConfigurationError: When it is not a time.
    """
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = min(value, FOREVER_S)
        if seconds >= 0:  # NaN is not
            return float(seconds)
    shown = printable(repr(value), 60)
    raise ConfigurationError(
        f"{name} is {shown}; expected seconds as a number of 0 or more, or None for no limit"
    )
