"""
The journal's table, and the steps that made it.

Every list of effects is in the order of their last change, and begins with the namespace. So each
index begins with the namespace, continues with the chosen column, and ends with the time: then the
first page is the end of one range of an index. Only a scope, which is a turn and has few effects,
is found by the primary key and sorted. Hashes are looked up, never listed.

Every index costs time for each effect, and one that ends with the time costs it twice more when the
effect changes. Effects in progress are few and change soon, so they have their own index: the other
indexes get an effect once, when it is settled.
"""

from __future__ import annotations

from effectmq.broker.store.database.schema import Schema

__all__ = ["HASH_DIGITS", "JOURNAL_SCHEMA", "OPEN", "SETTLED"]

#: The conditions of the index of open effects, and of most others. A statement that uses one of
#: these indexes must have the same condition, word for word.
OPEN = "status = 'in_progress'"
SETTLED = "status <> 'in_progress'"
#: How many digits of a hash are in the index.
HASH_DIGITS = 8

#: The columns of the version before namespaces.
_FORMER = (
    "scope_id, replay_key, envelope_hash, status, attempts, fence, lease_owner_id, lease_token, "
    "lease_clock, lease_expires_at_ms, due_at_ms, outcome_json, error_json, park_reason, parks, "
    "letter_sent, uncertain, kind, effect_id, session_id, turn_id, caused_by, envelope_json, "
    "created_at_ms, updated_at_ms, deaths, begun, former_deaths, dead_workers"
)

_ONE_MORE = (
    "INSERT INTO effectmq_counts (namespace, status, kind, effects) "
    "VALUES (new.namespace, new.status, new.kind, 1) "
    "ON CONFLICT (namespace, status, kind) DO UPDATE SET effects = effects + 1;"
)
_ONE_LESS = (
    "UPDATE effectmq_counts SET effects = effects - 1 "
    "WHERE namespace = old.namespace AND status = old.status AND kind = old.kind;"
)
#: SQLite counts by reading everything, but it has one writer at a time, which can keep the counts.
#: In PostgreSQL all workers would wait for one row of counts; it counts an index quickly.
_COUNTING = (
    {
        "sqlite": """CREATE TABLE effectmq_counts (
            namespace TEXT NOT NULL,
            status TEXT NOT NULL,
            kind TEXT NOT NULL,
            effects BIGINT NOT NULL,
            PRIMARY KEY (namespace, status, kind)
        ) WITHOUT ROWID"""
    },
    {
        "sqlite": "INSERT INTO effectmq_counts (namespace, status, kind, effects) SELECT "
        "namespace, status, kind, count(*) FROM effectmq_effects GROUP BY namespace, status, kind"
    },
    {
        "sqlite": "CREATE TRIGGER effectmq_effects_inserted AFTER INSERT ON effectmq_effects "
        f"BEGIN {_ONE_MORE} END"
    },
    {
        "sqlite": "CREATE TRIGGER effectmq_effects_deleted AFTER DELETE ON effectmq_effects "
        f"BEGIN {_ONE_LESS} END"
    },
    {
        "sqlite": "CREATE TRIGGER effectmq_effects_changed AFTER UPDATE OF namespace, status, kind "
        "ON effectmq_effects WHEN old.status <> new.status OR old.kind <> new.kind "
        f"OR old.namespace <> new.namespace BEGIN {_ONE_LESS} {_ONE_MORE} END"
    },
)

#: Effects in progress are counted when somebody asks: they are few and have an index. So an effect
#: is counted once, when it is settled.
_COUNTING_SETTLED = (
    {"sqlite": "DELETE FROM effectmq_counts WHERE status = 'in_progress'"},
    {"sqlite": "DROP TRIGGER effectmq_effects_inserted"},
    {"sqlite": "DROP TRIGGER effectmq_effects_deleted"},
    {"sqlite": "DROP TRIGGER effectmq_effects_changed"},
    {
        "sqlite": "CREATE TRIGGER effectmq_effects_inserted AFTER INSERT ON effectmq_effects "
        f"WHEN new.{SETTLED} BEGIN {_ONE_MORE} END"
    },
    {
        "sqlite": "CREATE TRIGGER effectmq_effects_deleted AFTER DELETE ON effectmq_effects "
        f"WHEN old.{SETTLED} BEGIN {_ONE_LESS} END"
    },
    *(
        {
            "sqlite": f"CREATE TRIGGER effectmq_effects_{name} AFTER UPDATE OF namespace, status, "
            f"kind ON effectmq_effects WHEN {row}.{SETTLED} AND (old.status <> new.status "
            f"OR old.kind <> new.kind OR old.namespace <> new.namespace) BEGIN {count} END"
        }
        for name, row, count in (("left", "old", _ONE_LESS), ("came", "new", _ONE_MORE))
    ),
)

#: The indexes of settled effects, by the end of their names. That of keys has all columns by which
#: a page is chosen and sorted, because very many effects may share a beginning.
_SETTLED_INDEXES = {
    "time": ("updated_at_ms, scope_id, replay_key", ""),
    "status": ("status, kind, updated_at_ms", ""),
    "session": ("session_id, updated_at_ms", ""),
    "effect": ("effect_id, updated_at_ms", ""),
    "worker": ("lease_owner_id, updated_at_ms", ""),
    "key": ("replay_key, updated_at_ms, scope_id", ""),
    "caused": ("caused_by, updated_at_ms", " AND caused_by <> ''"),
}

JOURNAL_SCHEMA = Schema(
    "journal",
    [
        [
            """CREATE TABLE effectmq_effects (
                scope_id TEXT NOT NULL,
                replay_key TEXT NOT NULL,
                envelope_hash TEXT NOT NULL,
                status TEXT NOT NULL,
                attempts BIGINT NOT NULL,
                fence BIGINT NOT NULL,
                lease_owner_id TEXT NOT NULL,
                lease_token TEXT NOT NULL,
                lease_clock TEXT NOT NULL,
                lease_expires_at_ms BIGINT NOT NULL,
                due_at_ms BIGINT NOT NULL,
                outcome_json TEXT NOT NULL,
                error_json TEXT NOT NULL,
                park_reason TEXT NOT NULL,
                parks BIGINT NOT NULL,
                letter_sent BIGINT NOT NULL,
                uncertain BIGINT NOT NULL,
                kind TEXT NOT NULL,
                effect_id TEXT NOT NULL,
                session_id TEXT NOT NULL,
                turn_id TEXT NOT NULL,
                caused_by TEXT NOT NULL,
                envelope_json TEXT NOT NULL,
                created_at_ms BIGINT NOT NULL,
                updated_at_ms BIGINT NOT NULL,
                PRIMARY KEY (scope_id, replay_key)
            )""",
            "CREATE INDEX effectmq_effects_updated ON effectmq_effects (updated_at_ms)",
            "CREATE INDEX effectmq_effects_caused ON effectmq_effects (caused_by) "
            "WHERE caused_by <> ''",
        ],
        [
            f"ALTER TABLE effectmq_effects ADD COLUMN {column}"
            for column in (
                "deaths BIGINT NOT NULL DEFAULT 0",
                "begun BIGINT NOT NULL DEFAULT 1",
                "former_deaths BIGINT NOT NULL DEFAULT 0",
                "dead_workers TEXT NOT NULL DEFAULT ''",
            )
        ],
        [
            # A primary key cannot be changed in SQLite, so the rows move into a new table. Existing
            # rows belong to the namespace that takes the step. Large columns come last: SQLite
            # reads through them to get to later columns.
            "DROP INDEX effectmq_effects_updated",
            "DROP INDEX effectmq_effects_caused",
            "ALTER TABLE effectmq_effects RENAME TO effectmq_effects_former",
            """CREATE TABLE effectmq_effects (
                namespace {text} NOT NULL,
                scope_id {text} NOT NULL,
                replay_key {text} NOT NULL,
                envelope_hash {text} NOT NULL,
                status {text} NOT NULL,
                attempts BIGINT NOT NULL,
                fence BIGINT NOT NULL,
                lease_owner_id {text} NOT NULL,
                lease_token TEXT NOT NULL,
                lease_clock TEXT NOT NULL,
                lease_expires_at_ms BIGINT NOT NULL,
                due_at_ms BIGINT NOT NULL,
                due_clock TEXT NOT NULL,
                due_clock_ms BIGINT NOT NULL,
                park_reason {text} NOT NULL,
                parks BIGINT NOT NULL,
                letter_sent BIGINT NOT NULL,
                uncertain BIGINT NOT NULL,
                kind {text} NOT NULL,
                effect_id {text} NOT NULL,
                session_id {text} NOT NULL,
                turn_id {text} NOT NULL,
                caused_by {text} NOT NULL,
                deaths BIGINT NOT NULL,
                begun BIGINT NOT NULL,
                former_deaths BIGINT NOT NULL,
                dead_workers TEXT NOT NULL,
                created_at_ms BIGINT NOT NULL,
                updated_at_ms BIGINT NOT NULL,
                error_json TEXT NOT NULL,
                outcome_json TEXT NOT NULL,
                envelope_json TEXT NOT NULL,
                PRIMARY KEY (namespace, scope_id, replay_key)
            )""",
            f"INSERT INTO effectmq_effects (namespace, due_clock, due_clock_ms, {_FORMER}) "
            f"SELECT '{{namespace}}', '', 0, {_FORMER} FROM effectmq_effects_former",
            "DROP TABLE effectmq_effects_former",
            "CREATE INDEX effectmq_effects_time ON effectmq_effects "
            "(namespace, updated_at_ms, scope_id, replay_key)",
            "CREATE INDEX effectmq_effects_status ON effectmq_effects "
            "(namespace, status, kind, updated_at_ms)",
            "CREATE INDEX effectmq_effects_session ON effectmq_effects "
            "(namespace, session_id, updated_at_ms)",
            "CREATE INDEX effectmq_effects_turn ON effectmq_effects "
            "(namespace, turn_id, updated_at_ms) WHERE turn_id <> scope_id AND turn_id <> ''",
            "CREATE INDEX effectmq_effects_effect ON effectmq_effects "
            "(namespace, effect_id, updated_at_ms)",
            "CREATE INDEX effectmq_effects_worker ON effectmq_effects "
            "(namespace, lease_owner_id, updated_at_ms)",
            "CREATE INDEX effectmq_effects_key ON effectmq_effects (namespace, replay_key)",
            "CREATE INDEX effectmq_effects_hash ON effectmq_effects "
            f"(namespace, substr(envelope_hash, 1, {HASH_DIGITS}))",
            "CREATE INDEX effectmq_effects_parked ON effectmq_effects "
            "(namespace, park_reason, updated_at_ms) WHERE park_reason <> ''",
            "CREATE INDEX effectmq_effects_caused ON effectmq_effects "
            "(namespace, caused_by, updated_at_ms) WHERE caused_by <> ''",
            *_COUNTING,
        ],
        [
            *(f"DROP INDEX effectmq_effects_{name}" for name in _SETTLED_INDEXES),
            "CREATE INDEX effectmq_effects_open ON effectmq_effects "
            f"(namespace, updated_at_ms, scope_id, replay_key) WHERE {OPEN}",
            *(
                f"CREATE INDEX effectmq_effects_{name} ON effectmq_effects (namespace, {columns}) "
                f"WHERE {SETTLED}{more}"
                for name, (columns, more) in _SETTLED_INDEXES.items()
            ),
            # With all columns that the statistics of parked effects use.
            "DROP INDEX effectmq_effects_parked",
            "CREATE INDEX effectmq_effects_parked ON effectmq_effects "
            "(namespace, park_reason, updated_at_ms, status, letter_sent) WHERE park_reason <> ''",
            *_COUNTING_SETTLED,
        ],
        # An effect whose outcome is a failure has a status of its own, which the indexes and the
        # counts have already. Workers of the version before would take it for damage; what they
        # recorded stays as it is. The trace is short and comes last: it is read for replays only.
        ["ALTER TABLE effectmq_effects ADD COLUMN trace TEXT NOT NULL DEFAULT ''"],
        # Empty for nearly every effect: see ``attempt_times``.
        ["ALTER TABLE effectmq_effects ADD COLUMN attempt_times TEXT NOT NULL DEFAULT ''"],
        # What is asked of whoever answers a handed-out effect; kept until the effect is pruned.
        # Workers of the version before would take the status of such an effect for damage.
        [
            """CREATE TABLE effectmq_handed_out (
                namespace {text} NOT NULL,
                scope_id {text} NOT NULL,
                replay_key {text} NOT NULL,
                token_hash {text} NOT NULL,
                asked_at_ms BIGINT NOT NULL,
                deadline_ms BIGINT NOT NULL,
                note TEXT NOT NULL,
                schema_json TEXT NOT NULL,
                asker_json TEXT NOT NULL,
                PRIMARY KEY (namespace, scope_id, replay_key)
            )""",
            "CREATE INDEX effectmq_handed_out_token ON effectmq_handed_out (namespace, token_hash)",
        ],
    ],
)
