"""The journal's rules hold whatever happens, and a rule that does not would be found out."""

from __future__ import annotations

import pytest

from tests.broker.store.journal.broken_rules import BROKEN, Decide
from tests.broker.store.journal.simulation import Fleet, Violation, run_seeds

#: A fifth of what ``python -m tests.broker.store.journal.simulation`` runs, in each of two halves.
SEEDS = 1_000


@pytest.mark.parametrize("first", [0, SEEDS])
def test_the_rules_hold_over_thousands_of_seeds(first: int) -> None:
    """Nothing lost, one outcome, one holder, cancelled or done, parked with a letter."""
    run_seeds(first, SEEDS)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_rule_is_caught(broken: Decide) -> None:
    """A simulation that no fault can fail proves nothing."""
    with pytest.raises(Violation, match=r"^seed \d+: "):
        run_seeds(0, SEEDS, broken)


def test_everything_happens_in_the_simulation() -> None:
    """What never happens there is not tested there."""
    seen = run_seeds(0, 600)
    assert seen["bodies"] > seen["effects"]
    for what in ("completed", "failed", "cancelled", "parkings", "takeovers", "boots", "deaths"):
        assert seen[what] > 20, what
    for what in ("handed out", "answered", "ran out"):
        assert seen[what] > 20, what
    assert seen["at the limit"]


def test_a_seed_is_the_same_story_each_time() -> None:
    """So that a violation can be looked into."""
    for seed in range(50):
        one, two = Fleet(seed), Fleet(seed)
        one.run()
        two.run()
        assert one.entries == two.entries
        assert one.now_ms == two.now_ms
