"""
The tables of the index of dead letters, and of what operators did.

The facts of a letter are apart from its message: lists, counts and choices read facts only, and a
message may have megabytes. Lists are in the order of time. Counts are read out of one index which
has everything that is counted by, in the order in which it is grouped.
"""

from __future__ import annotations

from effectmq.broker.store.database.schema import Schema

__all__ = ["LETTERS_SCHEMA"]

LETTERS_SCHEMA = Schema(
    "letters",
    [
        [
            """CREATE TABLE effectmq_letters (
                namespace {text} NOT NULL,
                letter_id {text} NOT NULL,
                parked_ms BIGINT NOT NULL,
                reason {text} NOT NULL,
                kind {text} NOT NULL,
                route {text} NOT NULL,
                tool {text} NOT NULL,
                model {text} NOT NULL,
                code {text} NOT NULL,
                error {text} NOT NULL,
                session_id {text} NOT NULL,
                turn_id {text} NOT NULL,
                effect_id {text} NOT NULL,
                replay_key {text} NOT NULL,
                hash {text} NOT NULL,
                edited_from {text} NOT NULL,
                attempts BIGINT NOT NULL,
                deaths BIGINT NOT NULL,
                former_deaths BIGINT NOT NULL,
                parked_by TEXT NOT NULL,
                reply_to TEXT NOT NULL,
                body_bytes BIGINT NOT NULL,
                copies BIGINT NOT NULL,
                seen BIGINT NOT NULL,
                noted_ms BIGINT NOT NULL,
                detail {text} NOT NULL,
                PRIMARY KEY (namespace, letter_id)
            )""",
            "CREATE INDEX effectmq_letters_time ON effectmq_letters "
            "(namespace, parked_ms, letter_id)",
            "CREATE INDEX effectmq_letters_session ON effectmq_letters "
            "(namespace, session_id, parked_ms, letter_id)",
            "CREATE INDEX effectmq_letters_facets ON effectmq_letters "
            "(namespace, reason, kind, route, tool, model, code, error, copies)",
            """CREATE TABLE effectmq_letter_messages (
                namespace {text} NOT NULL,
                letter_id {text} NOT NULL,
                properties_json TEXT NOT NULL,
                body {blob} NOT NULL,
                PRIMARY KEY (namespace, letter_id)
            )""",
            """CREATE TABLE effectmq_audit (
                namespace {text} NOT NULL,
                audit_id {text} NOT NULL,
                began_ms BIGINT NOT NULL,
                ended_ms BIGINT NOT NULL,
                who TEXT NOT NULL,
                action {text} NOT NULL,
                choice_json TEXT NOT NULL,
                report_json TEXT NOT NULL,
                PRIMARY KEY (namespace, audit_id)
            )""",
            "CREATE INDEX effectmq_audit_time ON effectmq_audit (namespace, began_ms, audit_id)",
        ]
    ],
)
