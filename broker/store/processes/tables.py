"""
The tables of the registry.

Ids come from strangers: they may be of any length, contain a NUL, and must sort by code point. So
each id is kept twice: as its SHA-256, by which rows are found, and as its UTF-8, which is read and
sorted. JSON is kept as its canonical bytes, a time as Unix milliseconds.
"""

from __future__ import annotations

from hashlib import sha256

from effectmq.broker.store.database.port import Value
from effectmq.broker.store.database.rows import data
from effectmq.broker.store.database.schema import Schema
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.opaque import MAX_DEPTH, JsonValue

__all__ = ["MAX_BIGINT", "SCHEMA", "key", "stored", "text", "tree"]

MAX_BIGINT = 2**63 - 1

#: The columns of the version before namespaces, by the table name after ``effectmq_process``.
_COLUMNS = {
    "es": (
        "process, process_id, registration_hash, registration, execution_context, external_ref, "
        "status, running, last_sequence, created_at_ms, updated_at_ms"
    ),
    "_events": "process, sequence, event_type, replay_key, payload_hash, wakes, event",
    "_handles": "scope, process, session, scope_id, session_id, descriptor",
    "_leases": (
        "process, owner_id, lease_token, fencing_token, claimed_at_ms, expires_at_ms, clock, "
        "clock_expires_ms"
    ),
}
_INDEXES = ("es_running", "_events_replay", "_handles_session", "_handles_process")

SCHEMA = Schema(
    component="processes",
    steps=[
        [
            # ``running`` is 1 until the process has ended. ``last_sequence`` numbers the events;
            # other hosts read it to notice changes.
            """
            CREATE TABLE effectmq_processes (
                process {blob} PRIMARY KEY,
                process_id {blob} NOT NULL,
                registration_hash TEXT NOT NULL,
                registration {blob} NOT NULL,
                execution_context {blob} NOT NULL,
                external_ref {blob},
                status {blob} NOT NULL,
                running SMALLINT NOT NULL,
                last_sequence BIGINT NOT NULL,
                created_at_ms BIGINT NOT NULL,
                updated_at_ms BIGINT NOT NULL
            )""",
            """
            CREATE INDEX effectmq_processes_running ON effectmq_processes (process_id)
            WHERE running = 1""",
            # ``wakes`` is 1 while the event has a wake that is not acknowledged.
            """
            CREATE TABLE effectmq_process_events (
                process {blob} NOT NULL,
                sequence BIGINT NOT NULL,
                event_type {blob} NOT NULL,
                replay_key {blob},
                payload_hash TEXT NOT NULL,
                wakes SMALLINT NOT NULL,
                event {blob} NOT NULL,
                PRIMARY KEY (process, sequence)
            )""",
            """
            CREATE UNIQUE INDEX effectmq_process_events_replay
            ON effectmq_process_events (process, replay_key)""",
            """
            CREATE TABLE effectmq_process_handles (
                scope {blob} NOT NULL,
                process {blob} NOT NULL,
                session {blob} NOT NULL,
                scope_id {blob} NOT NULL,
                session_id {blob} NOT NULL,
                descriptor {blob} NOT NULL,
                PRIMARY KEY (scope, process)
            )""",
            """
            CREATE INDEX effectmq_process_handles_session
            ON effectmq_process_handles (session, process)""",
            """
            CREATE INDEX effectmq_process_handles_process
            ON effectmq_process_handles (process)""",
            # The clock of leases measures whether a lease is live; the other two times are for
            # people and for the wire. Without a token it was given back.
            """
            CREATE TABLE effectmq_process_leases (
                process {blob} PRIMARY KEY,
                owner_id {blob} NOT NULL,
                lease_token TEXT,
                fencing_token BIGINT NOT NULL,
                claimed_at_ms BIGINT NOT NULL,
                expires_at_ms BIGINT NOT NULL,
                clock TEXT NOT NULL,
                clock_expires_ms BIGINT NOT NULL
            )""",
        ],
        [
            # As in the journal: the rows move, and belong to the namespace that takes the step.
            *(f"DROP INDEX effectmq_process{index}" for index in _INDEXES),
            *(
                f"ALTER TABLE effectmq_process{table} RENAME TO effectmq_process{table}_former"
                for table in _COLUMNS
            ),
            """
            CREATE TABLE effectmq_processes (
                namespace {text} NOT NULL,
                process {blob} NOT NULL,
                process_id {blob} NOT NULL,
                registration_hash TEXT NOT NULL,
                registration {blob} NOT NULL,
                execution_context {blob} NOT NULL,
                external_ref {blob},
                status {blob} NOT NULL,
                running SMALLINT NOT NULL,
                last_sequence BIGINT NOT NULL,
                created_at_ms BIGINT NOT NULL,
                updated_at_ms BIGINT NOT NULL,
                PRIMARY KEY (namespace, process)
            )""",
            """
            CREATE TABLE effectmq_process_events (
                namespace {text} NOT NULL,
                process {blob} NOT NULL,
                sequence BIGINT NOT NULL,
                event_type {blob} NOT NULL,
                replay_key {blob},
                payload_hash TEXT NOT NULL,
                wakes SMALLINT NOT NULL,
                event {blob} NOT NULL,
                PRIMARY KEY (namespace, process, sequence)
            )""",
            """
            CREATE TABLE effectmq_process_handles (
                namespace {text} NOT NULL,
                scope {blob} NOT NULL,
                process {blob} NOT NULL,
                session {blob} NOT NULL,
                scope_id {blob} NOT NULL,
                session_id {blob} NOT NULL,
                descriptor {blob} NOT NULL,
                PRIMARY KEY (namespace, scope, process)
            )""",
            """
            CREATE TABLE effectmq_process_leases (
                namespace {text} NOT NULL,
                process {blob} NOT NULL,
                owner_id {blob} NOT NULL,
                lease_token TEXT,
                fencing_token BIGINT NOT NULL,
                claimed_at_ms BIGINT NOT NULL,
                expires_at_ms BIGINT NOT NULL,
                clock TEXT NOT NULL,
                clock_expires_ms BIGINT NOT NULL,
                PRIMARY KEY (namespace, process)
            )""",
            *(
                f"INSERT INTO effectmq_process{table} (namespace, {columns}) "
                f"SELECT '{{namespace}}', {columns} FROM effectmq_process{table}_former"
                for table, columns in _COLUMNS.items()
            ),
            *(f"DROP TABLE effectmq_process{table}_former" for table in _COLUMNS),
            """
            CREATE INDEX effectmq_processes_running
            ON effectmq_processes (namespace, process_id) WHERE running = 1""",
            """
            CREATE UNIQUE INDEX effectmq_process_events_replay
            ON effectmq_process_events (namespace, process, replay_key)""",
            """
            CREATE INDEX effectmq_process_handles_session
            ON effectmq_process_handles (namespace, session, process)""",
            """
            CREATE INDEX effectmq_process_handles_process
            ON effectmq_process_handles (namespace, process)""",
        ],
    ],
)


def key(id_: str) -> bytes:
    """The key of the rows of an id."""
    return sha256(stored(id_)).digest()


def stored(text: str) -> bytes:
    """Text in the form of a column; it sorts by code point."""
    # Half a surrogate pair is not text and names nothing; it need not be an error here.
    return text.encode("utf-8", "surrogatepass")


def text(value: Value) -> str:
    """The text in a column."""
    return data(value).decode()


def tree(value: Value) -> JsonValue:
    """The JSON in a column."""
    # Opaque JSON inside may be as deep as a separate document.
    return parse_json(data(value), max_depth=2 * MAX_DEPTH)
