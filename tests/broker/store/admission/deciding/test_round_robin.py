"""Routes that share a line take turns."""

from __future__ import annotations

from effectmq.broker.store.admission.deciding.round_robin import (
    AGAIN_MS,
    PATIENCE_MS,
    Offer,
    may_start,
    started,
)

_NOW = 1_000_000


def test_what_becomes_free_is_offered_to_who_has_started_least_recently() -> None:
    """Until it starts; then it is the turn of the other one."""
    offers: list[Offer] = []
    assert may_start(offers, "a", ["b"], _NOW)
    started(offers, "a")
    assert not may_start(offers, "a", ["b"], _NOW)
    assert may_start(offers, "b", ["a"], _NOW)
    started(offers, "b")
    assert not may_start(offers, "b", ["a"], _NOW)
    assert may_start(offers, "a", ["b"], _NOW)
    assert may_start(offers, "b", [], _NOW)


def test_of_three_none_is_left_out() -> None:
    """Two of them cannot pass it to each other."""
    offers: list[Offer] = []
    order = []
    for _ in range(9):
        route = next(one for one in "abc" if may_start(offers, one, set("abc") - {one}, _NOW))
        started(offers, route)
        order.append(route)
    assert [sorted(order[nth : nth + 3]) for nth in (0, 3, 6)] == [["a", "b", "c"]] * 3


def test_a_route_that_takes_nothing_keeps_the_others_for_a_moment_only() -> None:
    """And is asked again later."""
    offers: list[Offer] = []
    started(offers, "a")
    moments = range(0, 2 * AGAIN_MS, 500)
    waits = []
    for ms in moments:
        if may_start(offers, "a", ["b"], _NOW + ms):
            started(offers, "a")
        else:
            waits.append(ms)
    assert waits == [0, 500, AGAIN_MS, AGAIN_MS + 500]
    assert PATIENCE_MS == 1_000
    assert may_start(offers, "b", ["a"], _NOW + 5_000)
    started(offers, "b")
    assert may_start(offers, "a", ["b"], _NOW + 5_000)


def test_one_that_takes_nothing_does_not_hide_another() -> None:
    """Each is offered it for itself."""
    offers: list[Offer] = []
    started(offers, "a")
    assert not may_start(offers, "a", ["dead"], _NOW)
    later = _NOW + PATIENCE_MS
    assert may_start(offers, "a", ["dead"], later)
    assert not may_start(offers, "a", ["dead", "new"], later)


def test_so_many_routes_are_remembered() -> None:
    """The latest."""
    offers: list[Offer] = []
    for nth in range(500):
        started(offers, f"tool_call.{nth}")
    assert len(offers) == 50
    assert offers[-1].route == "tool_call.499"
