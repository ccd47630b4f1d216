"""When attempts began and ended: what the rules note, and how it is read."""

from __future__ import annotations

from effectmq.broker.store.database.port import LeaseTime
from effectmq.broker.store.journal import rules
from effectmq.broker.store.journal.attempt_times import AttemptTime, read_attempt_times
from effectmq.broker.store.journal.records import (
    Abandon,
    Begin,
    Cancel,
    Claim,
    Entry,
    Operation,
    Record,
    Release,
    Renew,
    Status,
)
from effectmq.broker.store.journal.rules import Now
from tests.conformance.asking import effect

EFFECT = effect()
KEY = EFFECT.identity


class Clerk:
    """Applies the rules to one row, as the tables do."""

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.changed_ms = 0

    def does(self, now_ms: int, operation: Operation) -> None:
        """One operation at a time; it must change the row."""
        _, made = rules.decide(self.entry, operation, Now(now_ms, LeaseTime("boot", now_ms)))
        assert made is not None
        self.entry, self.changed_ms = made, now_ms

    def claims(self, now_ms: int, attempt: int = 1, **more: int) -> None:
        """A worker takes it, for a second."""
        self.does(now_ms, Claim(EFFECT, "w", f"t{now_ms}", 1_000, attempt=attempt, **more))

    @property
    def fence(self) -> int:
        """What its holder must say."""
        assert self.entry is not None
        return self.entry.fence

    def times(self) -> list[tuple[object, ...]]:
        """What is told of it; the row was made at 1000."""
        assert self.entry is not None
        found = read_attempt_times(
            self.entry.attempt_times,
            status=self.entry.status,
            attempts=self.entry.attempts,
            fence=self.entry.fence,
            created_ms=1_000,
            updated_ms=self.changed_ms,
        )
        return [
            (at.attempt if at.last == at.attempt else (at.attempt, at.last), *at[2:])
            for at in found
        ]


def test_an_effect_that_ends_at_once_keeps_no_times_of_its_own() -> None:
    clerk = Clerk()
    clerk.claims(1_000)
    assert clerk.times() == [(1, 1_000, None, None)]
    clerk.does(1_500, Renew(KEY, clerk.fence, 1_000))
    clerk.does(2_000, Record(KEY, clerk.fence, 1, outcome_json="1"))
    assert clerk.entry is not None
    assert clerk.entry.attempt_times == ""
    assert clerk.times() == [(1, 1_000, 2_000, "settled")]


def test_what_is_tried_again_has_each_attempt() -> None:
    clerk = Clerk()
    clerk.claims(1_000)
    clerk.does(1_200, Release(KEY, clerk.fence, 2, 300))
    assert clerk.times() == [(1, 1_000, 1_200, "again")]
    clerk.claims(1_600, attempt=2)
    assert clerk.times() == [(1, 1_000, 1_200, "again"), (2, 1_600, None, None)]
    clerk.does(1_700, Record(KEY, clerk.fence, 2, error_json="2", park_reason="exhausted"))
    parked = [(1, 1_000, 1_200, "again"), (2, 1_600, 1_700, "parked")]
    assert clerk.times() == parked
    # Replayed by an operator: what was before stays.
    clerk.claims(9_000, parked_as=1)
    clerk.does(9_100, Record(KEY, clerk.fence, 1, outcome_json="1"))
    assert clerk.times() == [*parked, (1, 9_000, 9_100, "settled")]


def test_attempts_with_short_waits_are_one_time() -> None:
    """The worker keeps the lease meanwhile, and the journal hears of them only at the end."""
    clerk = Clerk()
    clerk.claims(1_000)
    clerk.does(2_000, Record(KEY, clerk.fence, 3, outcome_json="1"))
    assert clerk.times() == [((1, 3), 1_000, 2_000, "settled")]
    clerk = Clerk()
    clerk.claims(1_000)
    clerk.does(2_000, Release(KEY, clerk.fence, 4, 5_000))
    clerk.claims(7_000, attempt=4)
    assert clerk.times() == [((1, 3), 1_000, 2_000, "again"), (4, 7_000, None, None)]
    clerk.does(9_000, Record(KEY, clerk.fence, 5, error_json="2", park_reason="exhausted"))
    assert clerk.times()[1] == ((4, 5), 7_000, 9_000, "parked")


def test_a_death_has_no_time_and_the_next_attempt_begins_with_its_body() -> None:
    clerk = Clerk()
    clerk.claims(1_000)
    clerk.claims(5_000)
    # After a death its body begins only when that is written down.
    assert clerk.times() == [(1, 1_000, None, "died")]
    clerk.does(5_100, Begin(KEY, clerk.fence))
    clerk.does(5_200, Begin(KEY, clerk.fence))
    assert clerk.times() == [(1, 1_000, None, "died"), (1, 5_100, None, None)]
    clerk.does(5_300, Abandon(KEY, clerk.fence))
    clerk.claims(5_400)
    clerk.does(5_500, Begin(KEY, clerk.fence))
    clerk.does(5_600, Cancel(EFFECT, "stop"))
    assert clerk.times() == [
        (1, 1_000, None, "died"),
        (1, 5_100, 5_300, "left"),
        (1, 5_500, 5_600, "cancelled"),
    ]


def test_a_wait_before_the_body_is_no_attempt() -> None:
    clerk = Clerk()
    clerk.claims(1_000, due_in_ms=4_000)
    clerk.does(1_100, Release(KEY, clerk.fence, 1, None))
    assert clerk.times() == []
    clerk.claims(5_000)
    clerk.does(5_050, Record(KEY, clerk.fence, 1, outcome_json="1"))
    assert clerk.times() == [(1, 5_000, 5_050, "settled")]


def test_a_row_does_not_grow_for_ever() -> None:
    clerk = Clerk()
    clerk.claims(1_000)
    for attempt in range(2, 200):
        clerk.does(attempt * 1_000, Release(KEY, clerk.fence, attempt, 10))
        clerk.claims(attempt * 1_000 + 500, attempt=attempt)
    assert clerk.entry is not None
    assert len(clerk.entry.attempt_times) < 2_000
    assert [attempt[0] for attempt in clerk.times()] == list(range(150, 200))


def read(words: str, status: Status = "waiting", fence: int = 7) -> list[AttemptTime]:
    """Of a row that somebody else wrote."""
    return read_attempt_times(
        words, status=status, attempts=3, fence=fence, created_ms=1, updated_ms=9
    )


def test_what_an_older_version_wrote_is_not_guessed_and_damage_is_left_out() -> None:
    assert read("", "completed") == read("", "in_progress") == []
    # Its next change begins to keep times, without the beginning that nobody knows.
    held = Entry(EFFECT.hash, "in_progress", 3, 7, "token", "boot", 5_700)
    _, made = rules.decide(held, Release(KEY, 7, 3, 10), Now(50, LeaseTime("boot", 50)))
    assert made is not None
    assert read(made.attempt_times) == [AttemptTime(3, 3, None, 50, "again")]
    assert read("x 1:2-3q 2:٣-4a <script> 9..4:5-6a 1...2 -1:2 " + "9" * 40) == [
        AttemptTime(9, 9, 5, 6, "again")
    ]
