"""What a client says of effects of which only the last of several runs."""

from __future__ import annotations

import time

from effectmq.broker.client.asking.debouncing import Debouncing

_DELAY_MS = 500
_BURST = 2_000


def test_a_burst_keeps_its_order_and_each_its_delay() -> None:
    """More than one in a millisecond: each counts as later than the one before."""
    debouncing, said = Debouncing(), []
    for _ in range(_BURST):
        begins_ms = time.time_ns() // 1_000_000 + _DELAY_MS
        said.append(debouncing.said("document-7", None, begins_ms))
    asked = [debounce.at_ms for debounce, _ in said]
    assert asked == sorted(set(asked))
    # The clock may go on by a little between the two looks at it.
    assert min(begins - debounce.at_ms for debounce, begins in said) > _DELAY_MS // 2


def test_keys_do_not_move_each_other() -> None:
    debouncing = Debouncing()
    begins_ms = time.time_ns() // 1_000_000 + _DELAY_MS
    found = {key: debouncing.said(key, None, begins_ms)[1] for key in map(str, range(_BURST))}
    assert set(found.values()) == {begins_ms}
