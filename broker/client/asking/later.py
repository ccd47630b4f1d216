"""When an effect may begin, as its caller says it."""

from __future__ import annotations

import time
from datetime import datetime

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

__all__ = ["check_in_time", "no_sooner"]

_LONGEST_S = 100 * 365 * 86_400
_MOST_BITS = 1_024


def no_sooner(delay_s: object, not_before: object, timeout: float | None = None) -> int:
    """
    The moment before which no worker begins an effect.

    Args:
        delay_s: Seconds from now; ``None`` when it was not said.
        not_before: Or the moment, a datetime with its time zone.
        timeout: How long the caller waits for the outcome, in seconds; ``None`` for no limit.

    Returns:
        Unix milliseconds; 0 for at once.

    Raises:
        ConfigurationError: When it is no time, or the caller would certainly wait in vain.
    """
    if delay_s is not None and not_before is not None:
        raise ConfigurationError("delay_s and not_before are both given; expected one of them")
    if delay_s is None and not_before is None:
        return 0
    now_ms = time.time_ns() // 1_000_000
    if not_before is not None:
        begins_ms = _moment(not_before)
    else:
        begins_ms = now_ms + round(_seconds(delay_s) * 1_000)
    left_s = (begins_ms - now_ms) / 1_000
    if left_s <= 0:
        return 0
    if timeout is not None and left_s >= timeout:
        raise ConfigurationError(
            f"the effect may begin in {left_s:g} s and its caller waits for {timeout:g} s; give a "
            "longer timeout, or None, or submit it and ask for its outcome later"
        )
    return begins_ms


def check_in_time(begins_ms: int, deadline_ms: int) -> None:
    """
    Refuse an effect that may only begin when its outcome is no longer wanted.

    Raises:
        ConfigurationError: With what to do.
    """
    if deadline_ms and begins_ms >= deadline_ms:
        raise ConfigurationError(
            f"the effect may begin {(begins_ms - deadline_ms) / 1_000:g} s after its deadline, "
            "which is deadline_s, or that of the effect that is carried out here; give it a later "
            "deadline, or a shorter delay"
        )


def _seconds(delay_s: object) -> float:
    if (
        isinstance(delay_s, int | float)
        and not isinstance(delay_s, bool)
        # What is not a number is not in between, and a float does not hold each int.
        and 0 <= delay_s <= _LONGEST_S
    ):
        return float(delay_s)
    # Nor does Python write each int.
    huge = isinstance(delay_s, int) and delay_s.bit_length() > _MOST_BITS
    found = "a huge integer" if huge else printable(repr(delay_s), 60)
    raise ConfigurationError(
        f"delay_s is {found}; expected seconds from 0 to {_LONGEST_S} (100 years)"
    )


def _moment(not_before: object) -> int:
    if not isinstance(not_before, datetime) or not_before.tzinfo is None:
        raise ConfigurationError(
            f"not_before is {printable(repr(not_before), 60)}; expected a datetime with a time "
            "zone, for instance datetime.now(UTC) + timedelta(hours=1)"
        )
    return round(not_before.timestamp() * 1_000)
