"""Of several effects with one debounce key only the last runs: what a client says of each."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages.chosen.debounce import Debounce, checked_debounce_key
from effectmq.protocol.text import printable

__all__ = ["Debouncing"]

#: The longest time for which others may take a place, as a multiple of the delay, when nothing else
#: is said.
_TIMES_THE_DELAY = 10
_LONGEST_MS = 100 * 365 * 86_400_000
_MOST_KEYS = 1_000


class Debouncing:
    """
    Says of each effect with a debounce key when it was asked for.

    Of two that one client asks for in the same millisecond the second is later. The last thousand
    keys are remembered for that.
    """

    def __init__(self) -> None:
        self._last_ms: OrderedDict[str, int] = OrderedDict()

    def said(self, key: object, max_s: object, begins_ms: int) -> tuple[Debounce, int]:
        """
        What the headers of an effect say, and the moment before which it does not begin.

        That moment is moved as far as the effect counts as later than it is, so that its delay
        stays what was asked for.

        Args:
            key: The debounce key.
            max_s: For how long others may take its place, from the first of them on, in seconds;
                ``None`` for ten times the delay.
            begins_ms: The moment before which it does not begin, Unix milliseconds; 0 for at once.

        Raises:
            ConfigurationError: When an argument cannot be used, or there is no delay.
        """
        key = checked_debounce_key(key)
        if not begins_ms:
            raise ConfigurationError(
                "debounce needs the time for which a later effect may take the place of this one; "
                "give delay_s, or not_before, in the future"
            )
        now_ms = time.time_ns() // 1_000_000
        at_ms = max(now_ms, self._last_ms.get(key, 0) + 1)
        # The moment was computed a little earlier.
        wait_ms = max(1, begins_ms - now_ms)
        max_ms = wait_ms * _TIMES_THE_DELAY if max_s is None else _checked(max_s, wait_ms)
        self._last_ms[key] = at_ms
        self._last_ms.move_to_end(key)
        if len(self._last_ms) > _MOST_KEYS:
            self._last_ms.popitem(last=False)
        return Debounce(key, at_ms, min(max_ms, _LONGEST_MS)), at_ms + wait_ms


def _checked(max_s: object, wait_ms: int) -> int:
    if (
        isinstance(max_s, int | float)
        and not isinstance(max_s, bool)
        and 0 < max_s <= _LONGEST_MS / 1_000
        and math.ceil(max_s * 1_000) >= wait_ms
    ):
        return math.ceil(max_s * 1_000)
    raise ConfigurationError(
        f"debounce_max_s is {printable(repr(max_s), 60)}; expected seconds, not less than the "
        "delay, and at most 100 years"
    )
