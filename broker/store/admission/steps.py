"""
The tables of admission.

A gate has the state of one line; its row is locked while somebody decides about the line. Permits
and claimed places in the room have an owner, a running worker, and a lease that it renews.
"""

from __future__ import annotations

from effectmq.broker.store.database.schema import Schema

__all__ = ["ADMISSION_SCHEMA", "SHARES_SCHEMA"]

ADMISSION_SCHEMA = Schema(
    "admission",
    [
        [
            """CREATE TABLE effectmq_limits (
                namespace {text} NOT NULL,
                name {text} NOT NULL,
                route {text} NOT NULL,
                member {text} NOT NULL,
                only_value {text} NOT NULL,
                concurrency BIGINT NOT NULL,
                rate_count BIGINT NOT NULL,
                rate_ms BIGINT NOT NULL,
                breaker BIGINT NOT NULL,
                cooldown_ms BIGINT NOT NULL,
                source {text} NOT NULL,
                set_by TEXT NOT NULL,
                set_ms BIGINT NOT NULL,
                PRIMARY KEY (namespace, name)
            )""",
            """CREATE TABLE effectmq_gates (
                namespace {text} NOT NULL,
                name {text} NOT NULL,
                key_value {text} NOT NULL,
                clock {text} NOT NULL,
                starts TEXT NOT NULL,
                blocked_until_ms BIGINT NOT NULL,
                half_open BIGINT NOT NULL,
                probe_until_ms BIGINT NOT NULL,
                failures BIGINT NOT NULL,
                waits BIGINT NOT NULL,
                look_ms BIGINT NOT NULL,
                used_ms BIGINT NOT NULL,
                PRIMARY KEY (namespace, name, key_value)
            )""",
            "CREATE INDEX effectmq_gates_look ON effectmq_gates (namespace, look_ms) "
            "WHERE waits = 1",
            "CREATE INDEX effectmq_gates_used ON effectmq_gates (namespace, used_ms) "
            "WHERE waits = 0",
            """CREATE TABLE effectmq_permits (
                namespace {text} NOT NULL,
                effect {text} NOT NULL,
                name {text} NOT NULL,
                key_value {text} NOT NULL,
                token {text} NOT NULL,
                owner {text} NOT NULL,
                clock {text} NOT NULL,
                expires_ms BIGINT NOT NULL,
                PRIMARY KEY (namespace, effect, name, key_value)
            )""",
            "CREATE INDEX effectmq_permits_line ON effectmq_permits "
            "(namespace, name, key_value, clock, expires_ms)",
            "CREATE INDEX effectmq_permits_owner ON effectmq_permits (namespace, owner)",
            """CREATE TABLE effectmq_room (
                namespace {text} NOT NULL,
                room_id {text} NOT NULL,
                effect {text} NOT NULL,
                route {text} NOT NULL,
                name {text} NOT NULL,
                key_value {text} NOT NULL,
                number BIGINT NOT NULL,
                since_ms BIGINT NOT NULL,
                deadline_ms BIGINT NOT NULL,
                owner {text} NOT NULL,
                clock {text} NOT NULL,
                expires_ms BIGINT NOT NULL,
                token {text} NOT NULL,
                lines_json TEXT NOT NULL,
                properties_json TEXT NOT NULL,
                body {blob} NOT NULL,
                PRIMARY KEY (namespace, room_id)
            )""",
            "CREATE INDEX effectmq_room_line ON effectmq_room "
            "(namespace, name, key_value, route, number) WHERE owner = ''",
            "CREATE INDEX effectmq_room_deadline ON effectmq_room (namespace, deadline_ms) "
            "WHERE owner = '' AND deadline_ms > 0",
            "CREATE INDEX effectmq_room_route ON effectmq_room (namespace, route, since_ms)",
            "CREATE INDEX effectmq_room_effect ON effectmq_room (namespace, effect)",
            "CREATE INDEX effectmq_room_owner ON effectmq_room (namespace, owner) "
            "WHERE owner <> ''",
        ],
        [
            "ALTER TABLE effectmq_gates ADD COLUMN probe {text} NOT NULL DEFAULT ''",
            "ALTER TABLE effectmq_gates ADD COLUMN offers TEXT NOT NULL DEFAULT ''",
        ],
    ],
)

#: The virtual times of shared routes: of a route itself (``who`` is empty), and of those that wait.
SHARES_SCHEMA = Schema(
    "shares",
    [
        [
            """CREATE TABLE effectmq_turns (
                namespace {text} NOT NULL,
                route {text} NOT NULL,
                who {text} NOT NULL,
                virtual BIGINT NOT NULL,
                PRIMARY KEY (namespace, route, who)
            )""",
            "CREATE INDEX effectmq_turns_virtual ON effectmq_turns (namespace, route, virtual)",
        ]
    ],
)
