"""The table of schedules."""

from __future__ import annotations

from effectmq.broker.store.database.schema import Schema

__all__ = ["SCHEDULES_SCHEMA"]

SCHEDULES_SCHEMA = Schema(
    "schedules",
    [
        [
            """CREATE TABLE effectmq_schedules (
                namespace {text} NOT NULL,
                name {text} NOT NULL,
                cron TEXT NOT NULL,
                zone TEXT NOT NULL,
                every_ms BIGINT NOT NULL,
                kind TEXT NOT NULL,
                command_json TEXT NOT NULL,
                lane TEXT NOT NULL,
                missed_policy TEXT NOT NULL,
                origin TEXT NOT NULL,
                paused BIGINT NOT NULL,
                next_ms BIGINT NOT NULL,
                claimed_ms BIGINT NOT NULL,
                last_ms BIGINT NOT NULL,
                late_ms BIGINT NOT NULL,
                fired BIGINT NOT NULL,
                missed BIGINT NOT NULL,
                problem TEXT NOT NULL,
                created_ms BIGINT NOT NULL,
                updated_ms BIGINT NOT NULL,
                PRIMARY KEY (namespace, name)
            )""",
            "CREATE INDEX effectmq_schedules_next ON effectmq_schedules "
            "(namespace, paused, next_ms)",
        ]
    ],
)
