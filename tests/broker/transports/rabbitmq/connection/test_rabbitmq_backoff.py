"""Waiting times between connections: longer and longer, and quick after a short-lived success."""

from __future__ import annotations

import pytest

from effectmq.broker.transports.rabbitmq.connection.backoff import ReconnectWaits


def test_failures_wait_longer_and_longer() -> None:
    """A broker that is down is asked rarely."""
    waits = ReconnectWaits(30.0)

    late = [waits.after_failure_s() for _ in range(200)][20:]

    assert max(late) > 20.0


def test_a_line_that_breaks_again_and_again_is_renewed_within_two_seconds() -> None:
    """Twenty losses in a row, each soon after a success, cost well under a minute of waiting."""
    for _ in range(50):
        waits = ReconnectWaits(30.0)
        assert sum(waits.after_loss_s(0.5) for _ in range(20)) < 40.0


def test_a_success_forgets_the_failures_before_it() -> None:
    """After an outage the next one begins with short waits."""
    waits = ReconnectWaits(30.0)
    for _ in range(20):
        waits.after_failure_s()

    assert waits.after_loss_s(1.0) <= 0.2
    assert waits.after_failure_s() <= 0.2


@pytest.mark.parametrize(("lived_s", "bound"), [(60.0, 0.2), (1.0, 2.0)])
def test_only_a_long_life_forgets_the_losses(lived_s: float, bound: float) -> None:
    """A connection that lived for half a minute was healthy."""
    waits = ReconnectWaits(30.0)
    for _ in range(10):
        waits.after_loss_s(0.1)

    assert waits.after_loss_s(lived_s) <= bound


def test_the_longest_wait_holds_for_losses_too() -> None:
    """Who asks for quick reconnects gets them."""
    waits = ReconnectWaits(0.2)

    assert all(waits.after_loss_s(0.1) <= 0.2 for _ in range(50))
