"""From the tables before there were namespaces: nothing is lost, whoever migrates, and at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Database, Transaction, Value
from effectmq.broker.store.database.schema import Schema
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Granted, Recorded
from effectmq.broker.store.journal.tables import JOURNAL_SCHEMA
from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.broker.store.processes.tables import SCHEMA as PROCESSES_SCHEMA
from effectmq.broker.store.processes.tables import key, stored
from effectmq.broker.store.sessions.inbox import INBOX_SCHEMA, SessionInbox
from effectmq.consumers.code.state.database_sessions import CODE_SCHEMA, DatabaseSessions
from effectmq.protocol.encoding.serde.model import canonical_bytes
from effectmq.protocol.errors import SchemaVersionError
from effectmq.protocol.identity.digests import registration_hash
from effectmq.protocol.wire.execution import CheckpointDelivery
from effectmq.protocol.wire.processes import ProcessExecutionContext, ProcessStatusRunning
from tests.conformance.asking import claim_of, effect
from tests.conformance.process_stage import registration

SCHEMAS = (JOURNAL_SCHEMA, PROCESSES_SCHEMA, CODE_SCHEMA, INBOX_SCHEMA)
#: The last version of each without namespaces.
FORMER = {"journal": 2, "processes": 1, "code": 1, "sessions": 1}


def before(schema: Schema) -> Schema:
    """The tables as the version before the namespaces made them."""
    return Schema(schema.component, schema.steps[: FORMER[schema.component]])


def insert(tx: Transaction, table: str, **values: Value) -> None:
    """One row."""
    marks = ", ".join("?" * len(values))
    tx.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
    )


def fill(tx: Transaction) -> None:
    """One of everything, as an older effectmq left it."""
    asked = effect("old")
    insert(
        tx,
        "effectmq_effects",
        scope_id=asked.identity.scope_id,
        replay_key="old",
        envelope_hash=asked.hash,
        status="completed",
        attempts=2,
        fence=3,
        lease_owner_id="w",
        lease_token="",
        lease_clock="boot:x",
        lease_expires_at_ms=0,
        due_at_ms=7,
        outcome_json='{"old":"ü"}',
        error_json="",
        park_reason="",
        parks=0,
        letter_sent=0,
        uncertain=0,
        kind=asked.kind,
        effect_id=asked.effect_id,
        session_id=asked.session_id,
        turn_id=asked.turn_id,
        caused_by="",
        envelope_json=asked.envelope_json,
        created_at_ms=1,
        updated_at_ms=2,
        deaths=1,
    )
    prepared = registration("p")
    insert(
        tx,
        "effectmq_processes",
        process=key("p"),
        process_id=stored("p"),
        registration_hash=registration_hash(prepared),
        registration=canonical_bytes(prepared),
        execution_context=canonical_bytes(ProcessExecutionContext()),
        status=canonical_bytes(ProcessStatusRunning()),
        running=1,
        last_sequence=0,
        created_at_ms=1,
        updated_at_ms=1,
    )
    insert(
        tx,
        "effectmq_code_sessions",
        session_id="s",
        sequence=1,
        effect_hash="h",
        engine="e",
        state=b"\x00state",
        kept_ms=1,
    )
    insert(tx, "effectmq_code_clocks", session_id="s", effect_hash="h", started_ms=41)
    delivery = CheckpointDelivery(messages=[], transient_messages=[], turn_causes=[])
    insert(
        tx,
        "effectmq_inbox",
        session_id="s",
        number=1,
        source_key="k",
        origin="work",
        delivery_json=canonical_bytes(delivery).decode(),
        claimed_by="",
        created_at_ms=1,
        claimed_at_ms=0,
    )


async def older(url: str) -> None:
    """A database of an older effectmq."""
    async with open_database(url) as database:
        for schema in SCHEMAS:
            await before(schema).ensure(database)
        await database.write(fill)


async def migrate(database: Database) -> None:
    """As ``effectmq journal migrate`` does."""
    for schema in SCHEMAS:
        await schema.migrate(database)


async def test_what_was_there_belongs_to_the_namespace_that_migrates(database_url: str) -> None:
    """All of it, with every value; and to no other namespace."""
    await older(database_url)
    async with open_archive(database_url, namespace="shop", any_version=True) as archive:
        await migrate(archive.database)
    async with Journal(database_url, namespace="shop") as journal:
        found = await journal.look(effect("old").identity, effect("old").hash)
        assert found == Recorded("completed", 2, '{"old":"ü"}', "")
    async with open_archive(database_url, namespace="shop") as archive:
        row = await archive.get("old")
        assert (row.deaths, row.due_at_ms, row.created_ms, row.updated_ms) == (1, 7, 1, 2)
        assert row.envelope_json == effect("old").envelope_json
    async with Journal(database_url) as journal:
        assert isinstance(await journal.claim(claim_of(effect("old"))), Granted)
    for namespace, waiting in (("shop", 1), ("effects", 0)):
        async with (
            open_database(database_url, namespace=namespace) as database,
            ProcessRegistry(database) as registry,
            SessionInbox(database) as inbox,
        ):
            assert await registry.claimable(5) == ["p"] * waiting
            assert await inbox.waiting("s") == waiting
            start = await DatabaseSessions(database, 3).start("s", "next")
            assert start.state == (b"\x00state" if waiting else None)
            clock = await DatabaseSessions(database, 3).started_ms("s", "h")
            assert (clock == 41) is bool(waiting)


async def test_many_may_migrate_at_once(database_url: str) -> None:
    """One of them does it; the rows have one namespace, and there is one of each."""
    await older(database_url)
    async with AsyncExitStack() as stack:
        several = [
            await stack.enter_async_context(
                open_database(database_url, namespace=f"n{number}", patient=True)
            )
            for number in range(4)
        ]
        await asyncio.gather(*(migrate(database) for database in several))
        rows = await several[0].read(
            lambda tx: tx.execute("SELECT namespace, replay_key FROM effectmq_effects")
        )
        assert len(rows) == 1
        names = await several[0].read(
            lambda tx: [
                tx.execute(f"SELECT DISTINCT namespace FROM {table}")
                for table in ("effectmq_processes", "effectmq_code_sessions", "effectmq_inbox")
            ]
        )
        assert all(len(found) == 1 for found in names)


async def test_without_a_migration_it_is_refused_and_the_command_named(database_url: str) -> None:
    """With the namespace that the rows are to have; nothing was changed."""
    await older(database_url)
    words = "stop the workers, then run: effectmq journal migrate .* --namespace shop"
    with pytest.raises(SchemaVersionError, match=words):
        await Journal(database_url, namespace="shop").__aenter__()
    async with open_database(database_url) as database:
        assert await database.read(lambda tx: tx.execute("SELECT count(*) FROM effectmq_effects"))


async def test_an_older_effectmq_refuses_the_new_tables(database_url: str) -> None:
    """It says that it is the older one."""
    async with Journal(database_url), open_database(database_url) as database:
        with pytest.raises(SchemaVersionError, match="newer effectmq, so upgrade this one"):
            await before(JOURNAL_SCHEMA).ensure(database)
        with pytest.raises(SchemaVersionError, match="newer effectmq, so upgrade this one"):
            await before(JOURNAL_SCHEMA).migrate(database)


async def test_a_migration_that_fails_changes_nothing(database_url: str) -> None:
    """It is one transaction for each component."""
    await older(database_url)
    broken = Schema("journal", [*JOURNAL_SCHEMA.steps, ["SELECT nonsense FROM nowhere"]])
    async with open_database(database_url, patient=True) as database:
        with pytest.raises(Exception, match="nowhere"):
            await broken.migrate(database)
        await before(JOURNAL_SCHEMA).ensure(database)
        await migrate(database)
        rows = await database.read(lambda tx: tx.execute("SELECT replay_key FROM effectmq_effects"))
        assert rows == [("old",)]


async def test_the_third_version_counts_and_lists_the_same_afterwards(database_url: str) -> None:
    """Whatever the status: what was in progress is counted and found as what is settled."""
    statuses = ("in_progress", "in_progress", "completed", "waiting")
    third = Schema("journal", JOURNAL_SCHEMA.steps[:3])
    async with open_database(database_url, namespace="shop", patient=True) as database:
        await third.ensure(database)
        await database.write(lambda tx: [third_row(tx, *row) for row in enumerate(statuses)])
        assert await JOURNAL_SCHEMA.migrate(database) == (3, JOURNAL_SCHEMA.version)
    async with open_archive(database_url, namespace="shop") as archive:
        counts = (await archive.stats()).counts
        assert {status: counts["sleep", status] for status in statuses} == Counter(statuses)
        assert [found.identity.replay_key for found in await archive.find()] == [*"3210"]
        for number, status in enumerate(statuses):
            assert (await archive.get(str(number))).status == status
        await archive.database.write(
            lambda tx: tx.execute("UPDATE effectmq_effects SET status = 'completed'")
        )
        counts = (await archive.stats()).counts
        assert {pair: count for pair, count in counts.items() if count} == {
            ("sleep", "completed"): 4
        }


def third_row(tx: Transaction, number: int, status: str) -> None:
    """One effect in the tables of version 3."""
    texts = dict.fromkeys(
        (
            *("lease_owner_id", "lease_token", "lease_clock", "due_clock", "park_reason"),
            *("session_id", "turn_id", "caused_by", "dead_workers", "error_json"),
            *("outcome_json", "envelope_json"),
        ),
        "",
    )
    numbers = dict.fromkeys(
        (
            *("attempts", "fence", "lease_expires_at_ms", "due_at_ms", "due_clock_ms", "parks"),
            *("letter_sent", "uncertain", "deaths", "begun", "former_deaths", "created_at_ms"),
        ),
        0,
    )
    insert(
        tx,
        "effectmq_effects",
        namespace="shop",
        scope_id="t",
        replay_key=str(number),
        effect_id=f"effect-{number}",
        envelope_hash=f"{number}" * 64,
        status=status,
        kind="sleep",
        updated_at_ms=number,
        **texts,
        **numbers,
    )
