"""What the actions of ``effectmq dead`` open: the broker, and the desk over the index."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from effectmq.broker.dead_letters.dead_letters import DeadLetters
from effectmq.broker.dead_letters.desk import DeadDesk
from effectmq.broker.dead_letters.queue.browser import Turn
from effectmq.broker.store.database.sqlite.adapter import is_missing, sqlite_path
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.cli.arguments.options import bodies_of, is_memory
from effectmq.cli.arguments.setting_options import place_of
from effectmq.cli.terminal.output import note
from effectmq.protocol.errors import ConfigurationError, DatabaseError
from effectmq.protocol.topology import Names

#: Longer than one look of somebody who settles.
_PATIENCE_S = 90.0

__all__ = ["index_of", "letters_of", "looking_desk", "opened", "opened_desk"]


@asynccontextmanager
async def opened(args: argparse.Namespace) -> AsyncGenerator[Transport]:
    """
    The broker.

    Raises:
        ConfigurationError: When it is one inside this process, without dead letters.
        BrokerError: When it cannot be used.
    """
    place = place_of(args)
    settings = place.connection_of(f"effectmq dead {args.action}")
    async with open_transport(place.broker, settings) as transport:
        queue = Names(place.topology.namespace).dead
        if is_memory(place.broker) and await transport.stats(queue) is None:
            raise ConfigurationError(
                "memory:// is a broker inside one process, and this one has no dead letters; name "
                "the broker of your workers with --broker or EFFECTMQ_BROKER"
            )
        yield transport


def letters_of(args: argparse.Namespace, transport: Transport) -> DeadLetters:
    """The letters in their queue, for looks without an index; each waits for its turn."""
    place = place_of(args)
    return DeadLetters(
        transport, place.topology, place.limits, bodies=bodies_of(args), turn=_turn(args)
    )


def _turn(args: argparse.Namespace) -> Turn:
    def say() -> None:
        note(
            "waiting for a turn: somebody else is reading or settling the dead letters",
            quiet=args.quiet,
        )

    return Turn(_PATIENCE_S, say)


def index_of(args: argparse.Namespace) -> str | None:
    """
    Where the index is shared: the journal that was named, or this user's own, if it has one.

    A look makes no journal, and leaves no payload on a machine that has none.
    """
    place = place_of(args)
    journal = place.journal
    if journal is None or is_memory(journal):
        return None
    if place.journal_is_default and (is_memory(place.broker) or is_missing(sqlite_path(journal))):
        return None
    return journal


@asynccontextmanager
async def opened_desk(
    args: argparse.Namespace, transport: Transport, database: str | None = None
) -> AsyncGenerator[DeadDesk]:
    """
    The desk, over the shared index or over one of its own.

    Raises:
        DatabaseError: When the database of the index cannot be used.
    """
    place = place_of(args)
    async with DeadDesk(
        transport,
        place.topology,
        database=database or index_of(args),
        bodies=bodies_of(args),
        limits=place.limits,
        who=getattr(args, "by", ""),
        turn=_turn(args),
    ) as desk:
        yield desk


@asynccontextmanager
async def looking_desk(
    args: argparse.Namespace, transport: Transport
) -> AsyncGenerator[DeadDesk | None]:
    """
    The desk over a shared index that is fresh; ``None`` where there is no such index.

    A database that is away keeps nobody from looking: the queue is looked through instead.
    """
    database = index_of(args)
    if database is None:
        yield None
        return
    desk = opened_desk(args, transport, database)
    try:
        found = await desk.__aenter__()
    except DatabaseError as problem:
        note(f"{problem}. The queue is looked through instead, which others have to wait for")
        yield None
        return
    try:
        fresh = await found.refresh()
        if not fresh.exact:
            note(
                "somebody else is settling or reading the letters at the moment; what is shown is "
                "as of the last look, and may have been settled since",
                quiet=args.quiet,
            )
        yield found
    finally:
        await desk.__aexit__(None, None, None)
