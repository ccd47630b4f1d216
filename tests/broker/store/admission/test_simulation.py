"""Limits hold, and no share is lost, whatever dies."""

from __future__ import annotations

import pytest

from tests.broker.store.admission.simulation import Simulation


@pytest.mark.parametrize("seed", range(12))
def test_limits_hold_whatever_happens(seed: int) -> None:
    """Workers die, answers are lost, and time passes in leaps."""
    Simulation(seed).run()
