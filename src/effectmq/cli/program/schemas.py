"""The schemas of the tables in the database of a journal."""

from __future__ import annotations

from effectmq.broker.store.admission.steps import ADMISSION_SCHEMA, SHARES_SCHEMA
from effectmq.broker.store.database.schema import Schema
from effectmq.broker.store.debounce.steps import DEBOUNCE_SCHEMA
from effectmq.broker.store.journal.progress import PROGRESS_SCHEMA
from effectmq.broker.store.journal.tables import JOURNAL_SCHEMA
from effectmq.broker.store.letters.steps import LETTERS_SCHEMA
from effectmq.broker.store.processes.tables import SCHEMA as PROCESSES_SCHEMA
from effectmq.broker.store.schedules.steps import SCHEDULES_SCHEMA
from effectmq.broker.store.sessions.inbox import INBOX_SCHEMA
from effectmq.broker.store.spend.steps import SPEND_SCHEMA
from effectmq.consumers.code.state.database_sessions import CODE_SCHEMA

__all__ = ["SCHEMAS"]

#: The schema of each component, in the order of migration.
SCHEMAS: tuple[Schema, ...] = (
    JOURNAL_SCHEMA,
    LETTERS_SCHEMA,
    ADMISSION_SCHEMA,
    SHARES_SCHEMA,
    SPEND_SCHEMA,
    PROGRESS_SCHEMA,
    PROCESSES_SCHEMA,
    CODE_SCHEMA,
    INBOX_SCHEMA,
    SCHEDULES_SCHEMA,
    DEBOUNCE_SCHEMA,
)
