"""The rules as a table: what an entry answers to what is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from effectmq.broker.store.database.port import LeaseTime
from effectmq.broker.store.journal import rules
from effectmq.broker.store.journal.handed_out.values import HandedOut, HandOut, Question, Settle
from effectmq.broker.store.journal.records import (
    FINISHED,
    STATUSES,
    Abandon,
    Accepted,
    Begin,
    Busy,
    Cancel,
    Cancelled,
    Claim,
    Entry,
    Granted,
    InProgress,
    Letter,
    Lost,
    Mismatch,
    Missing,
    Operation,
    OperationAnswer,
    Record,
    Recorded,
    Release,
    Renew,
    Status,
)
from effectmq.broker.store.journal.rules import Now
from tests.conformance.asking import effect

EFFECT = effect()
KEY = EFFECT.identity
NOW = Now(1_000_000, LeaseTime("boot", 5_000))
HELD = Entry(EFFECT.hash, "in_progress", 2, 4, "token", "boot", 5_700, worker="first")
DEAD = replace(HELD, lease_expires_ms=4_999)
OTHER_BOOT = replace(HELD, lease_clock="older boot", lease_expires_ms=9_999_999)
WAITING = replace(HELD, status="waiting", lease_token="", lease_expires_ms=0, due_at_ms=1_000_250)
DONE = replace(HELD, status="completed", lease_token="", lease_expires_ms=0, outcome_json="1")
FAILED = replace(DONE, status="failed", outcome_json="", error_json="2")
PARKED = replace(FAILED, park_reason="exhausted", parks=3)
SENT = replace(PARKED, letter_sent=True)
STOPPED = replace(FAILED, status="cancelled", fence=5)
UNSEEN = Entry("", "cancelled", attempts=0, error_json="2")
FORGOTTEN = replace(DONE, status="forgotten", outcome_json="")
ASKED = replace(
    HELD,
    status="handed_out",
    lease_token="secret",
    lease_expires_ms=0,
    outcome_json="7",
    error_json="8",
    due_at_ms=1_000_250,
)
TOO_LATE = replace(ASKED, due_at_ms=1_000_000)
DOUBTED = replace(DEAD, uncertain=True)
NOT_BEGUN = replace(DEAD, begun=False)
SUSPECT = replace(DEAD, deaths=2, former_deaths=3, dead_workers="a\nb")

CLAIM = Claim(EFFECT, "me", "mine", 300, attempt=1)
STRICT = replace(CLAIM, strict=True)
ONCE = replace(CLAIM, on_uncertain="park")
AGAIN = replace(CLAIM, token="token")
REPLAY = replace(CLAIM, parked_as=3)
EDITED = replace(REPLAY, effect=effect(name="edited"))
CHANGED = replace(CLAIM, effect=effect(name="changed"))
RECORD = Record(KEY, 4, 2, "1")
PARK = Record(KEY, 4, 2, error_json="2", park_reason="exhausted")
RELEASE = Release(KEY, 4, 3, 250)
CANCEL = Cancel(EFFECT, "2")
HAND_OUT = HandOut(KEY, 4, 2, 250, "7", "8", Question("secret", "?", "", ""))
SETTLE = Settle(KEY, "secret", "9", "")
#: What the deadline decides.
RAN_OUT = Recorded("failed", 2, "7", "", ran_out=True)

#: What a worker is told that takes over after a first death.
TAKEN = Granted(5, 2, deaths=1, dead_workers=("first",), begun=False)
OUTCOME = Recorded("completed", 2, "1", "")
TABLE: list[tuple[Entry | None, Operation, OperationAnswer]] = [
    (None, CLAIM, Granted(1, 1)),
    (None, replace(CLAIM, due_in_ms=70), Granted(1, 1, 70, begun=False)),
    (None, STRICT, Missing()),
    (HELD, CLAIM, Busy(700)),
    (HELD, STRICT, Missing()),
    (HELD, AGAIN, Granted(4, 2)),
    (DEAD, AGAIN, Granted(4, 2)),
    (DEAD, CLAIM, TAKEN),
    (DEAD, replace(CLAIM, attempt=7), replace(TAKEN, attempt=7)),
    (DEAD, ONCE, replace(TAKEN, uncertain=True)),
    (NOT_BEGUN, CLAIM, Granted(5, 2)),
    (replace(NOT_BEGUN, deaths=1), CLAIM, Granted(5, 2, deaths=1, begun=False)),
    (SUSPECT, CLAIM, Granted(5, 2, 0, False, 3, 3, ("a", "b", "first"), begun=False)),
    (replace(SUSPECT, status="waiting"), CLAIM, Granted(5, 2, 0, False, 2, 3, ("a", "b"), False)),
    (DEAD, STRICT, Missing()),
    (OTHER_BOOT, CLAIM, TAKEN),
    (OTHER_BOOT, ONCE, replace(TAKEN, uncertain=True)),
    (WAITING, CLAIM, Granted(5, 2, 250, begun=False)),
    (replace(WAITING, due_at_ms=1_000_000), CLAIM, Granted(5, 2)),
    (WAITING, ONCE, Granted(5, 2, 250, begun=False)),
    (replace(WAITING, uncertain=True), ONCE, Granted(5, 2, 250, True, begun=False)),
    (DOUBTED, replace(ONCE, token="token"), Granted(4, 2, 0, True)),
    (DOUBTED, CLAIM, TAKEN),
    (DEAD, replace(CLAIM, on_uncertain="undecided"), TAKEN),
    (DONE, CLAIM, OUTCOME),
    (DONE, AGAIN, OUTCOME),
    (DONE, STRICT, OUTCOME),
    (DONE, REPLAY, OUTCOME),
    (FAILED, CLAIM, Recorded("failed", 2, "", "2")),
    (FAILED, replace(CLAIM, parked_as=0), Recorded("failed", 2, "", "2")),
    (PARKED, CLAIM, Recorded("failed", 2, "", "2", "exhausted", 3)),
    (
        replace(PARKED, deaths=2, former_deaths=1),
        CLAIM,
        Recorded("failed", 2, "", "2", "exhausted", 3, 2, 1),
    ),
    (SENT, CLAIM, Recorded("failed", 2, "", "2", "", 3)),
    (PARKED, REPLAY, Granted(5, 1)),
    (SENT, REPLAY, Granted(5, 1)),
    (PARKED, EDITED, Granted(5, 1)),
    (PARKED, replace(REPLAY, strict=True), Recorded("failed", 2, "", "2", "exhausted", 3)),
    (PARKED, replace(REPLAY, parked_as=2), Recorded("failed", 2, "", "2", "exhausted", 3)),
    (STOPPED, CLAIM, Recorded("cancelled", 2, "", "2")),
    (UNSEEN, CLAIM, Recorded("cancelled", 0, "", "2")),
    (FORGOTTEN, CLAIM, Recorded("forgotten", 2, "", "")),
    *[
        (entry, CHANGED, Mismatch(EFFECT.hash))
        for entry in (HELD, DEAD, WAITING, DONE, FAILED, PARKED, STOPPED, FORGOTTEN)
    ],
    (UNSEEN, CHANGED, Recorded("cancelled", 0, "", "2")),
    (ASKED, CLAIM, HandedOut(250)),
    (ASKED, ONCE, HandedOut(250)),
    (ASKED, AGAIN, HandedOut(250)),
    (ASKED, STRICT, Missing()),
    (ASKED, CHANGED, Mismatch(EFFECT.hash)),
    (TOO_LATE, CLAIM, RAN_OUT),
    (TOO_LATE, STRICT, Missing()),
    (None, HAND_OUT, Lost()),
    (HELD, HAND_OUT, Accepted()),
    (HELD, replace(HAND_OUT, fence=3), Lost()),
    (WAITING, HAND_OUT, Lost()),
    (DONE, HAND_OUT, Lost()),
    (ASKED, HAND_OUT, Accepted()),
    (ASKED, replace(HAND_OUT, question=Question("other", "?", "", "")), Lost()),
    (None, SETTLE, Lost()),
    (HELD, SETTLE, Lost()),
    (WAITING, SETTLE, Lost()),
    (ASKED, SETTLE, Accepted()),
    (ASKED, replace(SETTLE, token_hash="other"), Lost()),
    (TOO_LATE, SETTLE, RAN_OUT),
    (DONE, SETTLE, OUTCOME),
    (DONE, replace(SETTLE, outcome_json="1"), Accepted()),
    (STOPPED, SETTLE, Recorded("cancelled", 2, "", "2")),
    (FORGOTTEN, SETTLE, Recorded("forgotten", 2, "", "")),
    (ASKED, RECORD, Lost()),
    (ASKED, RELEASE, Lost()),
    (ASKED, Renew(KEY, 4, 900), Lost()),
    (ASKED, Abandon(KEY, 4), Lost()),
    (ASKED, CANCEL, Cancelled()),
    (None, RECORD, Lost()),
    (HELD, RECORD, Accepted()),
    (DEAD, RECORD, Accepted()),
    (HELD, replace(RECORD, fence=3), Lost()),
    (HELD, replace(RECORD, fence=5), Lost()),
    (WAITING, RECORD, Lost()),
    (DONE, RECORD, Accepted()),
    (DONE, replace(RECORD, outcome_json="9"), Lost()),
    (DONE, replace(RECORD, outcome_json="", error_json="1"), Lost()),
    (STOPPED, RECORD, Lost()),
    (FORGOTTEN, RECORD, Lost()),
    (HELD, PARK, Accepted(1)),
    (replace(HELD, parks=3), PARK, Accepted(4)),
    (PARKED, PARK, Accepted(3)),
    (None, RELEASE, Lost()),
    (HELD, RELEASE, Accepted()),
    (HELD, replace(RELEASE, fence=3), Lost()),
    (WAITING, RELEASE, Accepted()),
    (WAITING, replace(RELEASE, fence=3), Lost()),
    (DONE, RELEASE, Lost()),
    (HELD, Renew(KEY, 4, 900), Accepted()),
    (HELD, Renew(KEY, 3, 900), Lost()),
    (WAITING, Renew(KEY, 4, 900), Lost()),
    (DONE, Renew(KEY, 4, 900), Lost()),
    (HELD, Begin(KEY, 4), Accepted()),
    (NOT_BEGUN, Begin(KEY, 4), Accepted()),
    (NOT_BEGUN, Begin(KEY, 3), Lost()),
    (replace(HELD, lease_token=""), Begin(KEY, 4), Lost()),
    (WAITING, Begin(KEY, 4), Lost()),
    (DONE, Begin(KEY, 4), Lost()),
    (HELD, Abandon(KEY, 4), Accepted()),
    (HELD, Abandon(KEY, 3), Lost()),
    (WAITING, Abandon(KEY, 4), Lost()),
    (None, Letter(KEY, 1), Lost()),
    (PARKED, Letter(KEY, 3), Accepted()),
    (SENT, Letter(KEY, 3), Accepted()),
    (PARKED, Letter(KEY, 2), Lost()),
    (FAILED, Letter(KEY, 0), Lost()),
    (None, CANCEL, Cancelled()),
    (HELD, CANCEL, Cancelled()),
    (WAITING, CANCEL, Cancelled()),
    (STOPPED, CANCEL, Cancelled()),
    (UNSEEN, CANCEL, Cancelled()),
    (DONE, CANCEL, OUTCOME),
    (PARKED, CANCEL, Recorded("failed", 2, "", "2", "exhausted", 3)),
    (FORGOTTEN, CANCEL, Recorded("forgotten", 2, "", "")),
    (HELD, Cancel(effect(name="changed"), "2"), Mismatch(EFFECT.hash)),
    (HELD, Cancel(replace(EFFECT, hash=""), "2"), Cancelled()),
]


@pytest.mark.parametrize(("entry", "asked", "expected"), TABLE)
def test_each_entry_answers_what_the_table_says(
    entry: Entry | None, asked: Operation, expected: OperationAnswer
) -> None:
    """And what changes nothing writes nothing."""
    answer, made = rules.decide(entry, asked, NOW)
    assert answer == expected
    if isinstance(answer, Recorded) and answer.ran_out:
        assert made == replace(TOO_LATE, status="unsuccessful", lease_token="")
    elif isinstance(answer, Lost | Busy | HandedOut | Mismatch | Missing | Recorded):
        assert made is None
    if isinstance(answer, Granted):
        assert made is not None


def test_a_takeover_keeps_what_it_must() -> None:
    """Due time, parkings and envelope; it has a lease and a fence of its own."""
    sleeping = replace(DEAD, due_at_ms=77, parks=2)
    _, made = rules.claim(sleeping, CLAIM, NOW)
    assert made == replace(
        sleeping,
        fence=5,
        lease_token="mine",
        lease_expires_ms=5_300,
        lease_clock="boot",
        worker="me",
        deaths=1,
        begun=False,
        dead_workers="first",
    )


def test_whoever_left_in_order_did_not_die_of_it() -> None:
    """The next one takes over as ever, and counts nothing."""
    answer, left = rules.hand_back(HELD, Abandon(KEY, 4), NOW)
    assert answer == Accepted()
    answer, _ = rules.decide(left, CLAIM, NOW)
    assert answer == Granted(5, 2)
    answer, _ = rules.decide(left, ONCE, NOW)
    assert answer == Granted(5, 2, uncertain=True)


def test_a_doubt_outlives_whoever_does_not_know_the_tool() -> None:
    """It takes over, runs nothing and lets go; the next one that knows better parks it."""
    _, taken = rules.claim(DEAD, replace(CLAIM, on_uncertain="undecided"), NOW)
    assert taken is not None
    _, waiting = rules.hand_back(taken, Release(KEY, taken.fence, 2, 0), NOW)
    answer, _ = rules.claim(waiting, replace(ONCE, token="next"), NOW)
    assert isinstance(answer, Granted)
    assert answer.uncertain
    answer, _ = rules.claim(waiting, replace(CLAIM, token="next"), NOW)
    assert isinstance(answer, Granted)
    assert not answer.uncertain


def test_only_a_body_that_began_can_have_killed() -> None:
    """A suspect that waits for its turn is innocent of what happens meanwhile."""
    entry: Entry | None = DEAD
    for begins, deaths in ((False, 1), (False, 1), (True, 1), (False, 2), (True, 2), (True, 3)):
        assert entry is not None
        answer, entry = rules.decide(replace(entry, lease_expires_ms=0), CLAIM, NOW)
        assert isinstance(answer, Granted)
        assert answer.deaths == deaths
        if begins:
            assert entry is not None
            _, entry = rules.decide(entry, Begin(KEY, entry.fence), NOW)
        # Another token, or the next claim would be this one asked again.
        entry = None if entry is None else replace(entry, lease_token=f"token {deaths}")


def test_the_names_of_the_dead_stay_few_and_short() -> None:
    """However often it goes on, and whatever they are called."""
    entry: Entry | None = replace(DEAD, worker="x" * 5_000 + "\nnone")
    for number in range(20):
        assert entry is not None
        _, entry = rules.decide(
            replace(entry, lease_expires_ms=0, begun=True),
            replace(CLAIM, worker=f"worker {number}\n", token=str(number)),
            NOW,
        )
    assert entry is not None
    assert entry.deaths == 20
    assert entry.dead_workers.splitlines() == [f"worker {number}\\n" for number in range(14, 19)]


def test_a_replay_begins_anew_but_for_its_numbers() -> None:
    """A fence beyond every older worker's, and the parkings so far."""
    _, made = rules.claim(replace(SENT, uncertain=True, due_at_ms=9), EDITED, NOW)
    assert made == replace(rules.first_entry(EDITED, NOW), fence=5, parks=3)


def test_a_replay_forgets_the_deaths_and_says_how_many_there_were() -> None:
    """Those before an earlier replay included."""
    parked = replace(SENT, deaths=3, former_deaths=4, dead_workers="a\nb\nc")
    answer, made = rules.claim(parked, REPLAY, NOW)
    assert answer == Granted(5, 1, former_deaths=7)
    assert made is not None
    assert (made.deaths, made.former_deaths, made.dead_workers) == (0, 7, "")


def test_a_cancel_takes_the_fence_away() -> None:
    """Whoever runs it can write nothing any more."""
    _, made = rules.cancel(HELD, CANCEL)
    assert made is not None
    assert (made.status, made.fence, made.lease_expires_ms) == ("cancelled", 5, 0)


def test_what_counts_at_the_deadline_does_not_outlive_an_answer_or_a_cancel() -> None:
    """The row has one end, whichever it is."""
    _, answered = rules.decide(ASKED, SETTLE, NOW)
    assert answered is not None
    assert (answered.status, answered.outcome_json, answered.error_json) == ("completed", "9", "")
    _, refused = rules.decide(ASKED, replace(SETTLE, outcome_json="", error_json="3"), NOW)
    assert refused is not None
    assert (refused.status, refused.outcome_json, refused.error_json) == ("failed", "", "3")
    _, stopped = rules.decide(ASKED, CANCEL, NOW)
    assert stopped is not None
    assert (stopped.status, stopped.outcome_json, stopped.error_json) == ("cancelled", "", "2")
    assert isinstance(rules.look(ASKED, ""), InProgress)


@pytest.mark.parametrize("status", STATUSES)
def test_a_look_knows_finished_from_unfinished(status: Status) -> None:
    """Of the same envelope, and of one whose hash is not given."""
    entry = replace(HELD, status=status)
    for hash_ in ("", EFFECT.hash):
        found = rules.look(entry, hash_)
        assert isinstance(found, Recorded if status in FINISHED else InProgress)
    assert rules.look(entry, "other") == Mismatch(EFFECT.hash)
    assert rules.look(None, "") is None


def test_an_entry_that_makes_sense_is_left_alone() -> None:
    """Every one that the rules can make."""
    for entry in (HELD, WAITING, ASKED, DONE, FAILED, PARKED, STOPPED, UNSEEN, FORGOTTEN):
        assert rules.sound(entry) is entry


def test_a_release_can_leave_the_moment_as_it_was_fixed() -> None:
    """A sleep does not get longer by being carried from one delay level to the next."""
    held = replace(HELD, due_at_ms=777)
    answer, kept = rules.hand_back(held, Release(KEY, 4, 2, None), NOW)
    assert answer == Accepted()
    assert kept is not None
    assert (kept.status, kept.due_at_ms) == ("waiting", 777)
    _, moved = rules.hand_back(held, Release(KEY, 4, 2, 50), NOW)
    assert moved is not None
    assert moved.due_at_ms == 1_000_050
