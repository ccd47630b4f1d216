"""
The audit: who did what to dead letters and effects.

A line is written before an action begins, and completed when it has ended. A line without an end
belongs to an action that was interrupted. Each line is logged as well, for when there is no
database.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from effectmq.broker.store.database.port import Database, Transaction
from effectmq.broker.store.database.rows import RowReader
from effectmq.protocol.text import printable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["AuditLine", "AuditLog", "choice_of"]

logger = logging.getLogger("effectmq.audit")

_BEGIN = (
    "INSERT INTO effectmq_audit (namespace, audit_id, began_ms, ended_ms, who, action, "
    "choice_json, report_json) VALUES (?, ?, ?, 0, ?, ?, ?, '') "
    "ON CONFLICT (namespace, audit_id) DO NOTHING"
)
_END = (
    "UPDATE effectmq_audit SET ended_ms = ?, report_json = ? WHERE namespace = ? AND audit_id = ?"
)
_LINES = (
    "SELECT audit_id, began_ms, ended_ms, who, action, choice_json, report_json "
    "FROM effectmq_audit WHERE namespace = ? ORDER BY began_ms DESC, audit_id DESC LIMIT ?"
)
_MAX_WHO = 200


@dataclass(frozen=True, slots=True)
class AuditLine:
    """
    One action of a person, as the audit has it.

    Attributes:
        id: The id of the line.
        began_ms: When it began, Unix milliseconds.
        ended_ms: When it ended; 0 when it did not, or goes on.
        who: The name that was given, or the user and host.
        action: ``replay``, ``edit``, ``purge`` or ``cancel``.
        choice_json: What was chosen, as JSON.
        report_json: What became of it, as JSON; empty while it goes on.
    """

    id: str
    began_ms: int
    ended_ms: int
    who: str
    action: str
    choice_json: str
    report_json: str

    def facts(self) -> dict[str, Any]:
        """The line as JSON data."""
        return {
            "id": self.id,
            "began_ms": self.began_ms,
            "ended_ms": self.ended_ms or None,
            "who": self.who,
            "action": self.action,
            "choice": json.loads(self.choice_json),
            "report": json.loads(self.report_json) if self.report_json else None,
        }


_reader = RowReader(AuditLine)


class AuditLog:
    """
    The lines of one namespace.

    Args:
        database: Open, with the tables of letters.
        who: Who acts.
    """

    def __init__(self, database: Database, who: str) -> None:
        self._database = database
        self._who = printable(who, _MAX_WHO)

    async def begin(self, action: str, choice: Mapping[str, Any]) -> str:
        """
        Write down what is about to be done, before it is.

        Returns:
            The line's id, for its end.

        Raises:
            DatabaseUnavailableError: When it cannot be written; then it is not to be done.
        """
        audit_id = secrets.token_hex(8)
        choice_json = _json(choice)

        def write(tx: Transaction) -> None:
            row = (tx.namespace, audit_id, tx.now_ms(), self._who, action, choice_json)
            tx.execute(_BEGIN, row)

        await self._database.write(write)
        self._say("begins", audit_id, action, choice_json)
        return audit_id

    async def end(self, audit_id: str, action: str, report: Mapping[str, Any]) -> None:
        """Write down what became of it."""
        report_json = _json(report)
        self._say("has ended", audit_id, action, report_json)
        await self._database.write(
            lambda tx: tx.execute(_END, (tx.now_ms(), report_json, tx.namespace, audit_id))
        )

    async def lines(self, limit: int) -> list[AuditLine]:
        """The last so many lines, the newest first."""
        return _reader.all(
            await self._database.read(lambda tx: tx.execute(_LINES, (tx.namespace, limit)))
        )

    def _say(self, step: str, audit_id: str, action: str, what: str) -> None:
        logger.info(
            "%s by %s %s: %s",
            action,
            self._who,
            step,
            printable(what),
            extra={"action": f"audit_{action}", "audit": audit_id, "who": self._who},
        )


def choice_of(chosen: DataclassInstance) -> dict[str, Any]:
    """A filter as JSON data: what it names, and nothing else."""
    values = {each.name: getattr(chosen, each.name) for each in fields(chosen)}
    return {name: value for name, value in values.items() if value not in (None, (), "")}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
