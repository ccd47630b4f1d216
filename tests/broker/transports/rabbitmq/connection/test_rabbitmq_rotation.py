"""The order in which several addresses are tried."""

from __future__ import annotations

import pytest

from effectmq.broker.transports.rabbitmq.connection.rotation import Rotation


def test_each_address_has_its_turn() -> None:
    """A round ends when all have been tried, whichever was first."""
    rotation = Rotation(["a", "b", "c"], start=1)
    tried = []
    for _ in range(6):
        tried.append(rotation.url)
        tried.append("wait" if rotation.failed() else "")
    assert tried == ["b", "", "c", "", "a", "wait", "b", "", "c", "", "a", "wait"]


def test_after_a_loss_the_lost_one_is_last() -> None:
    """Whatever was tried before it was found."""
    rotation = Rotation(["a", "b", "c"], start=0)
    rotation.failed()  # a; b is used, and lost
    rotation.failed()
    rotation.begin_round()
    assert [rotation.url, rotation.failed(), rotation.url, rotation.failed()] == [
        "c",
        False,
        "a",
        False,
    ]
    assert rotation.url == "b"
    assert rotation.failed()


def test_an_address_that_swallows_everything_does_not_eat_the_time_of_the_others() -> None:
    """What is left is shared by those whose turn is still to come."""
    rotation = Rotation(["a", "b", "c"], start=0)
    assert rotation.share_s(9.0) == 3.0
    rotation.failed()
    assert rotation.share_s(6.0) == 3.0
    rotation.failed()
    assert rotation.share_s(3.0) == 3.0
    assert rotation.share_s(0.1) == 1.0


def test_one_address_is_a_round_of_its_own() -> None:
    """As ever."""
    rotation = Rotation(["a"])
    assert (rotation.url, rotation.failed(), rotation.share_s(5.0)) == ("a", True, 5.0)


def test_the_first_is_drawn() -> None:
    """So that a fleet spreads over the nodes."""
    assert {Rotation(["a", "b"]).url for _ in range(200)} == {"a", "b"}


def test_nothing_is_no_address() -> None:
    """A mistake of the caller."""
    with pytest.raises(ValueError, match="empty range"):
        Rotation([])
