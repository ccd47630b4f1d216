"""What the tables keep is what the rules say, operation by operation, on both databases."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from effectmq.broker.store.database.port import LeaseTime, Row, Transaction, Value
from effectmq.broker.store.database.postgres.adapter import PostgresTransaction
from effectmq.broker.store.database.sqlite.adapter import SqliteTransaction
from effectmq.broker.store.journal import rules
from effectmq.broker.store.journal.records import (
    Abandon,
    Begin,
    Cancel,
    Claim,
    Effect,
    Entry,
    Letter,
    Mismatch,
    Operation,
    Record,
    Release,
    Renew,
)
from effectmq.broker.store.journal.rules import Now
from effectmq.broker.store.journal.tables import JOURNAL_SCHEMA, apply, load
from effectmq.protocol.messages.request import Identity
from tests.conformance.asking import effect

EFFECTS = [effect(key, name=name) for key in "ab" for name in ("one", "two")]
IDENTITIES = sorted({each.identity for each in EFFECTS}, key=lambda found: found.replay_key)
ENVELOPES = {each.hash: each.envelope_json for each in EFFECTS}


class Timed:
    """A transaction whose clock is set by the test."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.dialect = inner.dialect
        self.namespace = inner.namespace
        self.for_update = inner.for_update
        self.now = Now(1_000, LeaseTime("boot", 0))

    def durably(self) -> None:
        self._inner.durably()

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        return self._inner.execute(sql, parameters)

    def execute_many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        self._inner.execute_many(sql, rows)

    def execute_each(self, sql: str, rows: Sequence[Sequence[Value]]) -> list[list[Row]]:
        return self._inner.execute_each(sql, rows)

    def execute_together(self, sql: str, row: str, rows: Sequence[Sequence[Value]]) -> int | None:
        return self._inner.execute_together(sql, row, rows)

    def now_ms(self) -> int:
        return self.now.wall_ms

    def lease_time(self) -> LeaseTime:
        return self.now.lease


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def transaction(request: pytest.FixtureRequest) -> Generator[Timed]:
    """One that is never committed, with the journal's tables in it."""
    if request.param == "sqlite":
        connection = sqlite3.connect(":memory:", isolation_level=None)
        timed = Timed(SqliteTransaction(connection))
        JOURNAL_SCHEMA.make(timed)
        yield timed
        connection.close()
        return
    with psycopg.connect(request.getfixturevalue("postgres_url")) as connection:
        timed = Timed(PostgresTransaction(connection.cursor(), 0))
        JOURNAL_SCHEMA.make(timed)
        yield timed
        connection.rollback()


effects = st.sampled_from(EFFECTS)
identities = st.sampled_from(IDENTITIES)
fences = st.integers(1, 4)
texts = st.sampled_from(['"x"', '"y"'])
claims = st.builds(
    Claim,
    effects,
    worker=st.sampled_from(["w", "v"]),
    token=st.sampled_from("tuv"),
    lease_ms=st.sampled_from([0, 10, 1_000]),
    attempt=st.integers(1, 3),
    due_in_ms=st.sampled_from([0, 50]),
    on_uncertain=st.sampled_from(["retry", "park"]),
    parked_as=st.integers(0, 2),
    strict=st.sampled_from([False, False, False, True]),
)
records = st.one_of(
    st.builds(Record, identities, fences, st.integers(1, 3), outcome_json=texts),
    st.builds(
        Record,
        identities,
        fences,
        st.integers(1, 3),
        error_json=texts,
        park_reason=st.sampled_from(["", "exhausted"]),
    ),
)
others = st.one_of(
    st.builds(Release, identities, fences, st.integers(1, 3), st.sampled_from([0, 50])),
    st.builds(Abandon, identities, fences),
    st.builds(Begin, identities, fences),
    st.builds(Renew, identities, fences, st.sampled_from([10, 1_000])),
    st.builds(Letter, identities, st.integers(1, 2)),
    st.builds(Cancel, effects, texts),
    st.builds(Cancel, st.builds(Effect, identities), texts),
)
#: What is asked in one transaction, and how much time passes before it.
groups = st.tuples(
    st.sampled_from([0, 20, 2_000]),
    st.sampled_from(["boot", "boot", "other boot"]),
    st.lists(st.one_of(claims, records, others), max_size=6),
)


@given(history=st.lists(groups, max_size=8))
@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_is_kept_is_what_the_rules_say(
    transaction: Timed, history: list[tuple[int, str, list[Operation]]]
) -> None:
    """Any operations in any groups give the answers and the entries of the rules on a dict."""
    transaction.execute("DELETE FROM effectmq_effects")
    model: dict[Identity, Entry] = {}
    now_ms = 0
    for passed_ms, boot, operations in history:
        now_ms += passed_ms
        transaction.now = Now(1_000 + now_ms, LeaseTime(boot, now_ms))
        assert_as_ruled(transaction, model, operations)
        for identity in IDENTITIES:
            assert load(transaction, identity) == model.get(identity)


def assert_as_ruled(
    transaction: Timed, model: dict[Identity, Entry], operations: Sequence[Operation]
) -> None:
    """The answers are those of the rules on a dict, which is changed."""
    answers = apply(transaction, operations)
    assert len(answers) == len(operations)
    for operation, answer in zip(operations, answers, strict=True):
        found = model.get(operation.identity)
        expected, made = rules.decide(found, operation, transaction.now)
        if isinstance(expected, Mismatch):
            expected = replace(expected, envelope_json=ENVELOPES[expected.hash])
        assert answer == expected
        if made is not None:
            model[operation.identity] = made


@pytest.mark.parametrize("known", [0.0, 0.04, 0.5])
def test_many_of_one_transaction_are_what_the_rules_say(known: float, transaction: Timed) -> None:
    """
    Claims and records of many effects at a time, of which some are known already, are asked again,
    or have lost their lease; as many as a busy worker has.
    """
    luck = random.Random(known)
    model: dict[Identity, Entry] = {}
    for turn in range(40):
        transaction.now = Now(1_000 + turn, LeaseTime("boot", turn))
        asked = [effect(f"{turn}-{number}") for number in range(luck.randint(3, 40))]
        first = [one for one in asked if luck.random() < known]
        assert_as_ruled(transaction, model, [Claim(one, "w", "t", 50) for one in first])
        tokens = "t" if luck.random() < 0.5 else "tu"
        claimed = [Claim(one, "v", luck.choice(tokens), 1_000) for one in asked]
        assert_as_ruled(transaction, model, claimed)
        said: list[Operation] = []
        for one in asked:
            outcome = luck.choice(['"x"', '"y"']) if luck.random() < known else '"x"'
            fence = 7 if luck.random() < known / 4 else 1
            said.append(Record(one.identity, fence, 1, outcome))
        some = [one for one in said if luck.random() < known]
        for operations in (some, said, said):
            assert_as_ruled(transaction, model, operations)
        for identity in {one.effect.identity for one in claimed}:
            assert load(transaction, identity) == model[identity]


def test_the_answer_to_a_record_knows_of_earlier_parkings(transaction: Timed) -> None:
    """Among many that were never parked."""
    asked = [effect(str(number)) for number in range(20)]
    model: dict[Identity, Entry] = {}
    parked = asked[3]
    claimed = [Claim(one, "w", "t", 1_000) for one in asked]
    assert_as_ruled(transaction, model, claimed)
    given_up = Record(parked.identity, 1, 1, error_json='"x"', park_reason="exhausted")
    assert_as_ruled(transaction, model, [given_up])
    assert_as_ruled(transaction, model, [Claim(parked, "w", "u", 1_000, parked_as=1)])
    said = [Record(one.identity, 2 if one is parked else 1, 1, '"y"') for one in asked]
    assert_as_ruled(transaction, model, said)
    assert {model[one.identity].status for one in asked} == {"completed"}
    assert model[parked.identity].parks == 1


def test_what_an_effect_is_is_written_down_with_it(transaction: Timed) -> None:
    """And again when an operator replays another envelope under its key."""
    first, edited = EFFECTS[:2]
    asked = [
        Claim(first, "w", "t", 1_000),
        Record(first.identity, 1, 1, error_json="1", park_reason="rejected"),
    ]
    for operation in asked:
        apply(transaction, [operation])
    assert described(transaction, first) == ("w", *first_words(first))
    apply(transaction, [Claim(edited, "v", "u", 1_000, parked_as=1)])
    assert described(transaction, edited) == ("v", *first_words(edited))
    transaction.now = Now(9_000, LeaseTime("boot", 9_000))
    apply(transaction, [Claim(edited, "x", "y", 1_000)])
    assert described(transaction, edited) == ("x", *first_words(edited))


def test_rows_of_the_first_version_are_kept_and_have_seen_no_death(transaction: Timed) -> None:
    """A worker that dies after the migration is counted, whoever claimed before it."""
    transaction.execute("DROP TABLE effectmq_effects")
    transaction.execute("DROP TABLE IF EXISTS effectmq_counts")
    transaction.execute("DROP TABLE effectmq_handed_out")
    JOURNAL_SCHEMA.make(transaction, until=1)
    transaction.execute(
        "INSERT INTO effectmq_effects VALUES (?, ?, ?, 'in_progress', 2, 4, 'old worker', 't', "
        "'boot', 900, 0, '', '', '', 0, 0, 0, 'k', 'e', 's', '', '', '{}', 1, 1)",
        ("s", "k", EFFECTS[0].hash),
    )
    JOURNAL_SCHEMA.make(transaction, 1)
    known = load(transaction, Identity("s", "k"))
    assert known is not None
    assert (known.worker, known.attempts, known.deaths, known.begun) == ("old worker", 2, 0, True)


def described(tx: Transaction, asked: Effect) -> Row:
    (row,) = tx.execute(
        "SELECT lease_owner_id, kind, effect_id, session_id, turn_id, caused_by, envelope_json "
        "FROM effectmq_effects WHERE replay_key = ?",
        (asked.identity.replay_key,),
    )
    return row


def first_words(asked: Effect) -> tuple[str, ...]:
    return (
        asked.kind,
        asked.effect_id,
        asked.session_id,
        asked.turn_id,
        asked.caused_by,
        asked.envelope_json,
    )
