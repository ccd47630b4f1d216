"""Waiting times between tries: spread and bounded."""

from __future__ import annotations

from effectmq.broker.backoff import Backoff


def test_every_wait_is_within_a_bound_that_doubles_up_to_the_longest() -> None:
    """Full jitter: anything from nothing to the bound."""
    bounds = [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    for _ in range(200):
        backoff = Backoff(5.0)
        for bound in bounds:
            assert 0.0 <= backoff.next_s() <= bound


def test_many_clients_do_not_come_back_in_one_moment() -> None:
    """Two hundred that lost their broker together spread over the whole window, each try anew."""
    clients = [Backoff(30.0) for _ in range(200)]

    for bound in (0.2, 0.4, 0.8, 1.6, 3.2):
        tenths = [int(client.next_s() / bound * 9.999) for client in clients]
        shares = [tenths.count(tenth) for tenth in range(10)]
        assert min(shares) > 0
        assert max(shares) < 60


def test_the_first_bound_can_be_another() -> None:
    """What is near is asked sooner."""
    assert all(Backoff(5.0, first_s=0.1).next_s() <= 0.1 for _ in range(200))


def test_a_reset_starts_again_at_the_first_wait() -> None:
    """What was healthy for a while has no past."""
    backoff = Backoff(30.0)
    for _ in range(20):
        backoff.next_s()

    backoff.reset()

    assert backoff.next_s() <= 0.2


def test_it_never_overflows() -> None:
    """A broker that is away for a year is still asked every now and then."""
    backoff = Backoff(30.0)

    assert all(backoff.next_s() <= 30.0 for _ in range(5_000))
