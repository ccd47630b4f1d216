"""Which dead letters a filter means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from effectmq.broker.dead_letters.filter import EVERY_LETTER, DeadFilter
from effectmq.protocol.messages.dead_letter import DeadLetter
from effectmq.protocol.messages.headers import PARK_NUMBER
from effectmq.protocol.messages.message import Message

LETTER = DeadLetter(
    message=Message(body=b"x"),
    effect_id="effect-1",
    replay_key="key",
    hash="abc",
    kind="tool_call",
    route="tool_call.slow",
    reason="exhausted",
    code="effectmq_exhausted",
    detail="no",
    attempts=5,
    parked_ms=1_000,
    parked_by="w",
    edited_from="",
)


def test_an_empty_filter_means_every_letter() -> None:
    """And knows that it is empty, so that a command can refuse it."""
    assert EVERY_LETTER.matches(LETTER)
    assert DeadFilter().empty
    assert not DeadFilter(kinds=("tool_call",)).empty
    assert not DeadFilter(edited=False).empty


@pytest.mark.parametrize(
    ("chosen", "means"),
    [
        (DeadFilter(kinds=("sleep", "tool_call")), True),
        (DeadFilter(kinds=("sleep",)), False),
        (DeadFilter(kinds=("tool_call",), reasons=("raw",)), False),
        (DeadFilter(reasons=("raw", "exhausted")), True),
        (DeadFilter(codes=("effectmq_exhausted",)), True),
        (DeadFilter(codes=("exhausted",)), False),
        (DeadFilter(effect_ids=("effect-1",)), True),
        (DeadFilter(effect_ids=("effect",)), False),
        (DeadFilter(since_ms=1_000), True),
        (DeadFilter(since_ms=1_001), False),
        (DeadFilter(until_ms=1_000), False),
        (DeadFilter(until_ms=1_001), True),
        (DeadFilter(since_ms=0, until_ms=1_001), True),
        (DeadFilter(edited=False), True),
        (DeadFilter(edited=True), False),
        (DeadFilter(ids=(LETTER.id,)), True),
        (DeadFilter(ids=("nope", LETTER.id[:4])), True),
        (DeadFilter(ids=("nope",)), False),
    ],
)
def test_values_of_one_field_are_alternatives_and_fields_add_up(
    chosen: DeadFilter, means: bool
) -> None:
    """Any of the values, all of the fields; times are half open; ids are beginnings."""
    assert chosen.matches(LETTER) is means


def test_a_letter_without_a_time_is_in_no_range() -> None:
    """What the broker moved has no park time, and a range must not catch it by accident."""
    raw = replace(LETTER, parked_ms=0)
    assert EVERY_LETTER.matches(raw)
    assert not DeadFilter(since_ms=0).matches(raw)
    assert not DeadFilter(until_ms=2_000).matches(raw)


def test_an_edited_letter_is_found_by_its_lineage() -> None:
    """Only what has a hash that it was edited from."""
    assert DeadFilter(edited=True).matches(replace(LETTER, edited_from="abc"))


def test_an_id_depends_on_what_makes_a_parking_and_on_nothing_else() -> None:
    """Effect, key, hash, time or number, and body; not on who looks, or how often it was moved."""
    assert len(LETTER.id) == 12
    same = replace(LETTER, message=replace(LETTER.message, message_id="2"), parked_by="other")
    assert same.id == LETTER.id
    others = [
        replace(LETTER, effect_id="effect-2"),
        replace(LETTER, replay_key="key2"),
        replace(LETTER, hash="abd"),
        replace(LETTER, parked_ms=1_001),
        replace(LETTER, message=Message(body=b"y")),
        replace(LETTER, effect_id="effect-1key", replay_key=""),
        parking(1),
        parking(2),
    ]
    assert len({LETTER.id, *(other.id for other in others)}) == 9


def test_the_parking_that_the_journal_counted_has_one_id_whoever_posts_it_and_when() -> None:
    """Two workers may post it: the one that parked, and one that found the parking recorded."""
    assert replace(parking(1), parked_ms=1_001).id == parking(1).id


def parking(number: int) -> DeadLetter:
    """The letter, with the number of its parking."""
    message = replace(LETTER.message, headers={PARK_NUMBER: number})
    return replace(LETTER, message=message)
