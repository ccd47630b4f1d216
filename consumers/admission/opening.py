"""Opens the room of a worker, or says why no limit holds."""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.records import Worker
from effectmq.broker.store.admission.store import AdmissionStore
from effectmq.broker.store.database.port import Database
from effectmq.consumers.admission.taker import Taker
from effectmq.consumers.pipeline.journal_leases import JournalLeases
from effectmq.protocol.errors import DatabaseUnavailableError, EffectmqError
from effectmq.protocol.text import describe
from effectmq.protocol.topology import Names

if TYPE_CHECKING:
    from effectmq.broker.store.admission.declared.shares import Share

__all__ = ["open_taker"]

logger = logging.getLogger("effectmq.worker")


async def open_taker(
    database: Database,
    leases: JournalLeases,
    lease_s: float,
    names: Names,
    counters: Counter[str],
    limits: Sequence[Limit],
    shares: Sequence[Share],
    worker: str,
    max_waiting: int,
) -> Taker | None:
    """
    Open the room, and set the limits of the program.

    Args:
        database: The journal's, open.
        leases: The worker's.
        lease_s: How long a permit lasts without being renewed, in seconds.
        names: The namespace.
        counters: The worker's.
        limits: What the program sets.
        shares: The shares of the program.
        worker: The worker's name, for people.
        max_waiting: How many effects may wait in the room.

    Returns:
        ``None`` when there can be no limits, which is said in the log.

    Raises:
        DatabaseUnavailableError: When the database cannot be used at the moment.
        EffectmqError: When the program sets limits or shares and they cannot be kept.
    """
    # Fresh for every process: what an earlier one of this name had is not ours.
    owner = secrets.token_hex(8)
    store = AdmissionStore(database, Worker(owner, max(1, round(lease_s * 1_000))))
    try:
        await store.open(limits, worker)
    except DatabaseUnavailableError:
        raise
    except EffectmqError as problem:
        if limits or shares:
            raise
        logger.warning(
            "the tables for limits of the fleet cannot be used, so this worker heeds none: %s",
            describe(problem),
            extra={"action": "admission_off"},
        )
        return None
    taker = Taker(store, leases, lease_s, names, counters, max_waiting, shares)
    await taker.learn()
    return taker
