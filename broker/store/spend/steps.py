"""
The tables of what was spent, and the steps that made them.

The ledger has a row for each model that one stay of an effect at a worker paid for. Its key has the
fence of that stay, so what is recorded twice is counted once. The sums by day are written in the
same transaction; ceilings and reports read those, which are few. A sum that every worker adds to
has a few rows, its *shards*, so that their transactions do not wait for each other.
"""

from __future__ import annotations

from effectmq.broker.store.database.schema import Schema

__all__ = ["SPEND_SCHEMA"]

_AMOUNTS = """
                calls BIGINT NOT NULL,
                input_tokens BIGINT NOT NULL,
                output_tokens BIGINT NOT NULL,
                cached_tokens BIGINT NOT NULL,
                nanos BIGINT NOT NULL,
                unpriced BIGINT NOT NULL,"""

SPEND_SCHEMA = Schema(
    "spend",
    [
        [
            f"""CREATE TABLE effectmq_spend (
                namespace {{text}} NOT NULL,
                scope_id {{text}} NOT NULL,
                replay_key {{text}} NOT NULL,
                fence BIGINT NOT NULL,
                part BIGINT NOT NULL,
                at_ms BIGINT NOT NULL,
                tenant {{text}} NOT NULL,
                session_id {{text}} NOT NULL,
                model {{text}} NOT NULL,{_AMOUNTS}
                PRIMARY KEY (namespace, scope_id, replay_key, fence, part)
            )""",
            "CREATE INDEX effectmq_spend_time ON effectmq_spend (namespace, at_ms)",
            f"""CREATE TABLE effectmq_spend_days (
                namespace {{text}} NOT NULL,
                dimension {{text}} NOT NULL,
                name {{text}} NOT NULL,
                day BIGINT NOT NULL,{_AMOUNTS}
                PRIMARY KEY (namespace, dimension, name, day)
            )""",
            "CREATE INDEX effectmq_spend_days_time ON effectmq_spend_days (namespace, day)",
            """CREATE TABLE effectmq_spend_ceilings (
                namespace {text} NOT NULL,
                dimension {text} NOT NULL,
                each_name BIGINT NOT NULL,
                name {text} NOT NULL,
                period {text} NOT NULL,
                nanos BIGINT NOT NULL,
                tokens BIGINT NOT NULL,
                on_exceeded {text} NOT NULL,
                source {text} NOT NULL,
                changed_ms BIGINT NOT NULL,
                PRIMARY KEY (namespace, dimension, each_name, name, period)
            )""",
        ],
        [
            f"""CREATE TABLE effectmq_spend_sums (
                namespace {{text}} NOT NULL,
                dimension {{text}} NOT NULL,
                name {{text}} NOT NULL,
                day BIGINT NOT NULL,
                shard BIGINT NOT NULL,{_AMOUNTS}
                PRIMARY KEY (namespace, dimension, name, day, shard)
            )""",
            "INSERT INTO effectmq_spend_sums SELECT namespace, dimension, name, day, 0, calls, "
            "input_tokens, output_tokens, cached_tokens, nanos, unpriced FROM effectmq_spend_days",
            "DROP TABLE effectmq_spend_days",
            "CREATE INDEX effectmq_spend_sums_time ON effectmq_spend_sums (namespace, day)",
        ],
    ],
)
