"""
The journal: a recorded outcome for ever under its replay key.

The operations of the pipeline (claim, record, release, …) share transactions, see
``database.group_commit``; looks are read in parallel. Inspection and upkeep are in ``archive``.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any, Self

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.group_commit import GroupCommit
from effectmq.broker.store.database.port import Database, Transaction
from effectmq.broker.store.database.rows import number
from effectmq.broker.store.journal import rules
from effectmq.broker.store.journal.handed_out.table import Asked, asked_by_token, asked_of
from effectmq.broker.store.journal.handed_out.values import HandOut, Settle
from effectmq.broker.store.journal.progress import PROGRESS_SCHEMA
from effectmq.broker.store.journal.records import (
    Abandon,
    Accepted,
    Begin,
    Cancel,
    Cancelled,
    Claim,
    ClaimAnswer,
    Effect,
    InProgress,
    Letter,
    Lost,
    Mismatch,
    Operation,
    OperationAnswer,
    Record,
    Recorded,
    Release,
    Renew,
)
from effectmq.broker.store.journal.tables import JOURNAL_SCHEMA, apply, envelope_json_of, load
from effectmq.broker.store.spend.steps import SPEND_SCHEMA
from effectmq.protocol.errors import InvalidEnvelopeError
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.topology import DEFAULT_NAMESPACE

__all__ = ["Journal", "Look", "check_keepable"]

#: The result of a look; ``None`` when nothing is known.
Look = Recorded | Mismatch | InProgress | None

#: Characters that no database keeps in a text.
_UNFIT = re.compile(r"[\x00\ud800-\udfff]")
#: Of a character in UTF-8, in bytes.
_LONGEST_CHARACTER = 4
#: PostgreSQL's indexes hold 2,704 bytes a row, which include the namespace and a time.
_MAX_INDEXED_BYTES = 2_400


class Journal:
    """
    The journal of one namespace. Use it as an asynchronous context manager.

    Args:
        url: ``sqlite:///path`` or ``postgresql://…``.
        namespace: The namespace; effects of other ones are neither seen nor changed.

    Raises:
        ConfigurationError: When the address is of an unknown kind, or the namespace is invalid.
        MissingExtraError: When the driver of PostgreSQL is needed and not installed.
    """

    def __init__(self, url: str, *, namespace: str = DEFAULT_NAMESPACE) -> None:
        self.database: Database = open_database(url, namespace=namespace)

    @property
    def where(self) -> str:
        """Its address, in a form that may be shown to people."""
        return self.database.where

    async def __aenter__(self) -> Self:
        """
        Open it, and make the tables if there are none.

        Raises:
            DatabaseUnavailableError: When it cannot be reached.
            SchemaVersionError: When its tables are of another version.
        """
        await self.database.__aenter__()
        try:
            await JOURNAL_SCHEMA.ensure(self.database)
        except BaseException:
            await self.database.__aexit__()
            raise
        self._writes: GroupCommit[Operation, OperationAnswer] = GroupCommit(self._commit)
        self._looks: GroupCommit[tuple[Identity, str], Look] = GroupCommit(self._read)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Answer every question, then close."""
        await self._looks.drain()
        await self._writes.drain()
        await self.database.__aexit__()

    async def check_writable(self) -> None:
        """
        Check that records can be written, before the first effect; makes the tables of what they
        spend and of how far they are.

        Raises:
            DatabaseReadOnlyError: When the database can only be read.
            DatabaseUnavailableError: When it cannot be reached.
            SchemaVersionError: When one of these tables is of another version.
        """
        await self.database.write(_write_something)
        await SPEND_SCHEMA.ensure(self.database)
        await PROGRESS_SCHEMA.ensure(self.database)

    async def check_readable(self) -> None:
        """
        Make sure that the journal answers.

        Raises:
            DatabaseError: When it cannot be read.
        """
        await self.database.read(lambda tx: _look(tx, Identity("check", "check"), ""))

    def _commit(self, operations: list[Operation]) -> asyncio.Future[list[OperationAnswer]]:
        return self.database.write(
            lambda tx: apply(tx, operations), durable=not all(map(_may_be_lost, operations))
        )

    def _read(self, asked: list[tuple[Identity, str]]) -> asyncio.Future[list[Look]]:
        return self.database.read(lambda tx: [_look(tx, *one) for one in asked])

    def _ask(self, operation: Operation) -> asyncio.Future[Any]:
        # The rules decide which answer belongs to which operation.
        return self._writes.ask(operation)

    # The pipeline ------------------------------------------------------------------------------

    def claim(self, asked: Claim) -> asyncio.Future[ClaimAnswer]:
        """
        Ask to run an effect; see ``rules.claim``.

        Raises:
            DatabaseUnavailableError: Asking again is safe, best with the same token.
            InvalidEnvelopeError: When the key cannot be kept.
        """
        check_keepable(asked.effect)
        return self._ask(asked)

    def record(self, said: Record) -> asyncio.Future[Accepted | Lost]:
        """Record how it ended; durable when this is answered."""
        return self._ask(said)

    def hand_back(
        self, said: Release | Begin | Abandon | Renew | Letter
    ) -> asyncio.Future[Accepted | Lost]:
        """Release, begin, abandon or renew a lease, or note that a dead letter is out."""
        return self._ask(said)

    def hand_out(self, said: HandOut) -> asyncio.Future[Accepted | Lost]:
        """Hand an effect out, to whoever has the token; see ``rules.hand_out``."""
        return self._ask(said)

    def settle(self, said: Settle) -> asyncio.Future[Accepted | Recorded | Lost]:
        """Answer a handed-out effect; ``Recorded`` when something else came first."""
        return self._ask(said)

    def asked(self, token_hash: str) -> asyncio.Future[Asked | None]:
        """
        The question of a token; ``None`` when there is none.

        Raises:
            DatabaseUnavailableError: When the journal cannot be read.
        """
        return self.database.read(lambda tx: asked_by_token(tx, token_hash))

    def asked_of(self, identity: Identity) -> asyncio.Future[Asked | None]:
        """
        The last question of an effect; ``None`` when it was never handed out.

        Raises:
            DatabaseUnavailableError: When the journal cannot be read.
        """
        return self.database.read(lambda tx: asked_of(tx, identity))

    def cancel(self, asked: Cancel) -> asyncio.Future[Cancelled | Recorded | Mismatch]:
        """Cancel an effect unless it is finished."""
        check_keepable(asked.effect)
        return self._ask(asked)

    def look(self, identity: Identity, hash_: str = "") -> asyncio.Future[Look]:
        """
        What is known of an effect, without claiming it; with a hash, of that envelope.

        Raises:
            DatabaseUnavailableError: When the journal cannot be read.
            InvalidEnvelopeError: When the key cannot be kept, so that nothing is known of it.
        """
        _storable("scope id", identity.scope_id)
        _storable("replay key", identity.replay_key)
        return self._looks.ask((identity, hash_))


def _write_something(tx: Transaction) -> None:
    # SQLite opens a read-only file without an error, and even begins to write.
    if tx.dialect == "sqlite":
        version = number(tx.execute("PRAGMA user_version")[0][0])
        tx.execute(f"PRAGMA user_version = {version:d}")


def _may_be_lost(operation: Operation) -> bool:
    """Whether nothing is broken when a loss of power takes what this writes."""
    return isinstance(operation, Claim) and not operation.durable


def _look(tx: Transaction, identity: Identity, hash_: str) -> Look:
    found = rules.look(load(tx, identity), hash_)
    if isinstance(found, Mismatch):
        return replace(found, envelope_json=envelope_json_of(tx, identity))
    return found


def check_keepable(effect: Effect) -> None:
    """
    Make sure that a journal can keep the names of an effect.

    Raises:
        InvalidEnvelopeError: When it cannot; says which, and why.
    """
    # PostgreSQL keeps no text with a zero character, neither database keeps half a surrogate pair,
    # and no journal may accept what the other refuses. Refused here, it cannot fail the
    # transaction that it would share with others.
    identity = effect.identity
    names = (
        f"{identity.scope_id}{identity.replay_key}{effect.effect_id}{effect.session_id}"
        f"{effect.turn_id}{effect.caused_by}"
    )
    # Of nearly every effect all names together are short and sound, so they are told apart only for
    # the error. A cause is canonical JSON, which escapes what does not fit.
    if _UNFIT.search(names) is None and len(names) * _LONGEST_CHARACTER <= _MAX_INDEXED_BYTES:
        return
    _storable("scope id", effect.identity.scope_id)
    _storable("replay key", effect.identity.replay_key)
    _storable("effect id", effect.effect_id)
    _storable("session id", effect.session_id)
    _storable("turn id", effect.turn_id)
    _indexable("scope id and replay key", effect.identity.scope_id + effect.identity.replay_key)
    _indexable("effect id", effect.effect_id)
    _indexable("session id", effect.session_id)
    _indexable("cause", effect.caused_by)


def _indexable(name: str, value: str) -> None:
    # Most names need not be encoded.
    if (
        len(value) * _LONGEST_CHARACTER > _MAX_INDEXED_BYTES
        and len(value.encode()) > _MAX_INDEXED_BYTES
    ):
        raise InvalidEnvelopeError(
            "effectmq_name_not_storable",
            f"the {name} has {len(value.encode())} bytes and a journal keeps at most "
            f"{_MAX_INDEXED_BYTES}; choose a shorter one, such as a digest",
        )


def _storable(name: str, value: str) -> None:
    unfit = _UNFIT.search(value)
    if unfit is not None:
        what = "a zero character" if unfit[0] == "\x00" else "half of a surrogate pair"
        raise InvalidEnvelopeError(
            "effectmq_name_not_storable",
            f"the {name} has {what} at position {unfit.start()}, which a journal cannot keep; "
            "choose another",
        )
