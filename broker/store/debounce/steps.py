"""The table of debounce windows."""

from __future__ import annotations

from effectmq.broker.store.database.schema import Schema

__all__ = ["DEBOUNCE_SCHEMA"]

DEBOUNCE_SCHEMA = Schema(
    "debounce",
    [
        [
            # The name of its holder is empty while a row is only there to be locked.
            """CREATE TABLE effectmq_debounces (
                namespace {text} NOT NULL,
                route {text} NOT NULL,
                tenant {text} NOT NULL,
                debounce_key {text} NOT NULL,
                scope_id {text} NOT NULL,
                replay_key {text} NOT NULL,
                envelope_hash TEXT NOT NULL,
                kind TEXT NOT NULL,
                effect_id TEXT NOT NULL,
                session_id TEXT NOT NULL,
                turn_id TEXT NOT NULL,
                caused_by TEXT NOT NULL,
                asked_ms BIGINT NOT NULL,
                first_ms BIGINT NOT NULL,
                due_ms BIGINT NOT NULL,
                ended BIGINT NOT NULL,
                PRIMARY KEY (namespace, route, tenant, debounce_key)
            )""",
            "CREATE INDEX effectmq_debounces_due ON effectmq_debounces (namespace, due_ms)",
        ]
    ],
)
