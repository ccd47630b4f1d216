"""How the slots of a route are shared out: nobody starves, shares are kept, the rest is lent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from effectmq.consumers.decisions.shares import (
    DEFAULT_SHARES,
    Appetite,
    granted,
    guaranteed,
    shared_out,
)
from effectmq.protocol.messages.chosen.priority import PRIORITIES, Priority

SLOTS = st.integers(1, 500)
SHARES = st.dictionaries(
    st.sampled_from(PRIORITIES), st.floats(0.001, 1_000), min_size=1, max_size=3
)
NUMBERS = st.fixed_dictionaries({each: st.integers(0, 1_000) for each in PRIORITIES})


def test_of_sixteen_slots() -> None:
    assert guaranteed(16, DEFAULT_SHARES) == {"high": 9, "normal": 5, "low": 2}
    everything = dict.fromkeys(PRIORITIES, 16)
    assert shared_out(16, DEFAULT_SHARES, everything) == {"high": 9, "normal": 5, "low": 2}
    only_low: dict[Priority, int] = {"low": 16}
    assert shared_out(16, DEFAULT_SHARES, only_low) == {"high": 1, "normal": 1, "low": 14}
    no_normal: dict[Priority, int] = {"high": 16, "low": 16}
    assert shared_out(16, DEFAULT_SHARES, no_normal) == {"high": 13, "normal": 1, "low": 2}
    assert shared_out(16, DEFAULT_SHARES, {}) == {"high": 1, "normal": 14, "low": 1}


def test_of_one_slot_each_has_one_at_a_time() -> None:
    assert guaranteed(1, DEFAULT_SHARES) == {"high": 1, "normal": 1, "low": 1}


@given(SLOTS, SHARES)
def test_what_is_guaranteed_is_all_there_is_and_near_the_share(
    slots: int, shares: dict[Priority, float]
) -> None:
    found = guaranteed(slots, shares)
    assert found.keys() == shares.keys()
    assert min(found.values()) >= 1
    assert sum(found.values()) == max(slots, len(shares))
    over, total = max(0, slots - len(shares)), sum(shares.values())
    for each, count in found.items():
        assert abs(count - 1 - over * shares[each] / total) < 1.0001


@given(SLOTS, SHARES, NUMBERS)
def test_nobody_starves_and_nothing_is_left_over(
    slots: int, shares: dict[Priority, float], wanted: dict[Priority, int]
) -> None:
    mine, found = guaranteed(slots, shares), shared_out(slots, shares, wanted)
    assert found.keys() == shares.keys()
    assert sum(found.values()) == max(slots, len(shares))
    for each, count in found.items():
        assert count >= max(1, min(mine[each], wanted[each]))


@given(SLOTS, SHARES, NUMBERS)
def test_what_one_does_not_use_is_lent_to_the_highest_that_wants_it(
    slots: int, shares: dict[Priority, float], wanted: dict[Priority, int]
) -> None:
    mine, found = guaranteed(slots, shares), shared_out(slots, shares, wanted)
    order = [each for each in PRIORITIES if each in shares]
    for place, higher in enumerate(order):
        if found[higher] < wanted[higher]:
            # It would use more, so no lower one has more than is guaranteed to it.
            assert all(found[lower] <= mine[lower] for lower in order[place + 1 :])


@given(SLOTS, SHARES, NUMBERS, NUMBERS, NUMBERS)
def test_no_more_run_than_there_are_slots_but_for_the_one_that_each_keeps(
    slots: int,
    shares: dict[Priority, float],
    wanted: dict[Priority, int],
    now: dict[Priority, int],
    held: dict[Priority, int],
) -> None:
    target = shared_out(slots, shares, wanted)
    found = granted(slots, target, now, held)
    assert all(1 <= found[each] <= target[each] for each in target)
    before = {each: max(min(now[each], target[each]), held[each], 1) for each in target}
    after = {each: max(found[each], held[each]) for each in target}
    assert sum(after.values()) <= max(slots, sum(before.values()))


@given(SLOTS, SHARES, NUMBERS, NUMBERS)
def test_the_target_is_reached_as_what_runs_ends(
    slots: int,
    shares: dict[Priority, float],
    wanted: dict[Priority, int],
    now: dict[Priority, int],
) -> None:
    target = shared_out(slots, shares, wanted)
    first = granted(slots, target, now, now)
    # What has given back has ended meanwhile; what has got more runs as many.
    assert granted(slots, target, first, dict.fromkeys(target, 0)) == target


@given(SLOTS, SHARES, st.lists(st.sampled_from(PRIORITIES), max_size=3, unique=True))
def test_who_always_has_more_to_do_gets_its_share_within_a_few_looks(
    slots: int, shares: dict[Priority, float], busy: list[Priority]
) -> None:
    """A whole worker: those that are busy use every slot that they get, the others none."""
    mine = guaranteed(slots, shares)
    appetites = {each: Appetite() for each in shares}
    have = dict.fromkeys(shares, 1)
    for _ in range(20):
        used = {each: have[each] if each in busy else 0 for each in shares}
        for each, appetite in appetites.items():
            appetite.look(used[each], have[each])
        wanted = {each: appetite.wanted for each, appetite in appetites.items()}
        have = granted(slots, shared_out(slots, shares, wanted), have, used)
    assert sum(have.values()) == max(slots, len(shares))
    for each in shares:
        if each in busy:
            assert have[each] >= mine[each]
        elif any(other in busy for other in shares):
            assert have[each] == 1


def test_a_trickle_does_not_move_slots_to_and_fro() -> None:
    appetite, seen = Appetite(), set[int]()
    slots = 1
    for look in range(100):
        slots = appetite.look(1 if look % 3 == 0 else 0, slots)
        if look > 10:
            seen.add(slots)
    assert len(seen) == 1
