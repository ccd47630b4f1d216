"""
The versions of tables: made when there are none, checked when they exist.

Tables of an older version are not changed while workers with the old code may still run: ``check``
refuses them and names the command, ``migrate`` is that command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from effectmq.broker.store.database.port import Database, Transaction
from effectmq.protocol.errors import SchemaVersionError

__all__ = ["Schema"]

_VERSIONS = """
    CREATE TABLE effectmq_schema (
        component TEXT PRIMARY KEY,
        version BIGINT NOT NULL
    )"""

#: Whether there is a table of versions. CREATE … IF NOT EXISTS is not used: PostgreSQL requires the
#: right to create tables for it, even when there is nothing to create. Nor is to_regclass, which
#: answers from a cache that waiting for the lock does not refresh.
_HAS_VERSIONS = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'effectmq_schema'",
    "postgres": (
        "SELECT 1 FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace AS place "
        "ON place.oid = relnamespace "
        "WHERE relname = 'effectmq_schema' AND nspname = ANY (current_schemas(false))"
    ),
}

#: Keeps two processes that start at once from making the tables at the same time.
_LOCK = "SELECT pg_advisory_xact_lock(7231941)"

_TYPES = {
    "sqlite": {"blob": "BLOB", "text": "TEXT"},
    # By code point, as in SQLite; this also lets an index find texts by their beginning.
    "postgres": {"blob": "BYTEA", "text": 'TEXT COLLATE "C"'},
}


@dataclass(frozen=True, slots=True)
class Schema:
    """
    The tables of one component, and the steps that made them.

    Attributes:
        component: Names them, for instance ``journal``.
        steps: For each version, from 1, the statements that lead to it from the one before;
            ``{blob}`` stands for the type of binary data, ``{text}`` for that of text that sorts by
            code point, ``{namespace}`` for the namespace of the caller. A statement that differs
            between the databases, or is not needed in both, is a mapping by dialect.
    """

    component: str
    steps: Sequence[Sequence[str | Mapping[str, str]]]

    @property
    def version(self) -> int:
        """The version that this code reads and writes."""
        return len(self.steps)

    async def found(self, database: Database) -> int:
        """
        The version of the tables that there are; 0 when there are none.

        Raises:
            DatabaseUnavailableError: When the database cannot be used.
        """
        return await database.read(self._found)

    async def ensure(self, database: Database) -> None:
        """
        Make the tables if there are none.

        Raises:
            SchemaVersionError: When there are some, of another version.
            DatabaseUnavailableError: When the database cannot be used.
        """
        # Read first: a worker whose tables exist needs no right to make any.
        found = await self.found(database)
        if found == 0:
            found = await database.write(self._created)
        if found != self.version:
            raise SchemaVersionError(
                self.component, found, self.version, database.where, database.namespace
            )

    async def migrate(self, database: Database) -> tuple[int, int]:
        """
        Bring the tables to this version in one transaction.

        Returns:
            The version before and the version after.

        Raises:
            SchemaVersionError: When they are of a newer version.
            DatabaseUnavailableError: When the database cannot be used; nothing was changed.
        """
        found = await database.write(self._migrated, large=True)
        if found > self.version:
            raise SchemaVersionError(
                self.component, found, self.version, database.where, database.namespace
            )
        return found, self.version

    def _created(self, tx: Transaction) -> int:
        found = self._found_alone(tx)
        if found == 0:
            self.advance(tx, 0)
            return self.version
        return found

    def _migrated(self, tx: Transaction) -> int:
        found = self._found_alone(tx)
        if found < self.version:
            self.advance(tx, found)
        return found

    def _found_alone(self, tx: Transaction) -> int:
        """The version of the tables; until the end of the transaction nobody else makes tables."""
        if tx.dialect == "postgres":
            tx.execute(_LOCK)
        if not tx.execute(_HAS_VERSIONS[tx.dialect]):
            tx.execute(_VERSIONS)
        return self._found(tx)

    def _found(self, tx: Transaction) -> int:
        """The version of the tables; 0 when there are none."""
        if not tx.execute(_HAS_VERSIONS[tx.dialect]):
            return 0
        rows = tx.execute(
            "SELECT version FROM effectmq_schema WHERE component = ?", (self.component,)
        )
        return int(rows[0][0] or 0) if rows else 0

    def advance(self, tx: Transaction, found: int) -> None:
        """Take the steps from a version to this one, in a transaction with a table of versions."""
        self.make(tx, found)
        tx.execute(
            "INSERT INTO effectmq_schema (component, version) VALUES (?, ?) "
            "ON CONFLICT (component) DO UPDATE SET version = excluded.version",
            (self.component, self.version),
        )

    def make(self, tx: Transaction, found: int = 0, until: int | None = None) -> None:
        """Run the steps from one version to another, by default to the current one."""
        for step in self.steps[found:until]:
            for given in step:
                statement = given if isinstance(given, str) else given.get(tx.dialect)
                if statement is None:
                    continue
                # A namespace has no quotes in it.
                tx.execute(statement.format(namespace=tx.namespace, **_TYPES[tx.dialect]))
