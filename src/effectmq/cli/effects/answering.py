"""``effectmq effects waiting`` and ``complete``: effects that somebody else answers."""

from __future__ import annotations

import argparse
import sys
from contextlib import AsyncExitStack
from dataclasses import replace

from effectmq.broker.client.asking.completing import Completion, Given, complete
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.journal.archive.facts import waiting_facts
from effectmq.broker.store.journal.handed_out.table import Waiting
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.cli.arguments.journal_options import journal_of, namespace_of
from effectmq.cli.arguments.options import is_memory
from effectmq.cli.arguments.setting_options import place_of
from effectmq.cli.effects.naming import meant
from effectmq.cli.terminal.lines import whole
from effectmq.cli.terminal.output import note, write_json, write_text
from effectmq.cli.terminal.tables import Column, room_of, table
from effectmq.cli.terminal.times import age
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.errors import ConfigurationError, EffectmqError, MalformedError
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.text import printable
from effectmq.protocol.topology import Names

__all__ = ["answer", "list_waiting"]

_DEFAULT_ROWS = 50
#: Asking a worker is not necessary, so the command does not wait long for it, in seconds.
_CONNECT_S = 5.0
_MOST_OF_A_TOKEN = 200
_LIST = (
    Column("hash", least=12, priority=5),
    Column("left", least=4, priority=4),
    Column("asked", priority=1),
    Column("kind", least=9, priority=0),
    Column("session", least=6, priority=2, most=40),
    Column("effect", priority=3, most=40),
    Column("note", least=20, priority=6, most=100),
)


async def list_waiting(args: argparse.Namespace) -> int:
    """
    List what waits for an answer, the nearest deadline first.

    Raises:
        DatabaseError: When the journal cannot be used.
    """
    most: int = args.limit or _DEFAULT_ROWS
    async with open_archive(journal_of(args), namespace=namespace_of(args)) as archive:
        found, count = await archive.waiting(
            session_id=args.session, kinds=tuple(args.kind), limit=most
        )
        now_ms = await archive.now_ms()
    if args.json:
        for each in found:
            write_json(waiting_facts(each))
    elif not found:
        write_text("no effect waits for an answer")
    else:
        write_text(table(_LIST, [_row(each, now_ms) for each in found], room_of(args)))
    if count > len(found):
        note(f"{len(found)} of {count} are shown; --limit N shows more", quiet=args.quiet)
    return 0


def _row(waiting: Waiting, now_ms: int) -> tuple[str | None, ...]:
    return (
        waiting.hash[:12],
        age(now_ms, waiting.deadline_ms),
        age(waiting.asked_ms, now_ms),
        waiting.kind,
        waiting.session_id,
        waiting.effect_id,
        waiting.note,
    )


async def answer(args: argparse.Namespace) -> int:
    """
    Answer one effect.

    Raises:
        ConfigurationError: When it is not said which, or the answer cannot be read.
        NotHandedOutError: When it does not wait for an answer.
        AnswerMisfitError: When the value is not of the type; nothing was changed.
        DatabaseError: When the journal cannot be used.
    """
    given = _given(args)
    url, namespace = journal_of(args), namespace_of(args)
    which = await _which(args, url, namespace)
    async with Journal(url, namespace=namespace) as journal, AsyncExitStack() as stack:
        made = await complete(journal, which, given, Names(namespace), lambda: _broker(args, stack))
    _tell(args, made)
    return int(not made.counts)


def _given(args: argparse.Namespace) -> Given:
    if (args.value is None) == (args.error is None):
        raise ConfigurationError("give --value or --error: one of the two is the answer")
    value: object = None
    if args.value is not None:
        from_file = args.value == "-" or args.value.startswith("@")
        text = whole(args.value.removeprefix("@")) if from_file else args.value.encode()
        try:
            value = parse_json(text)
        except MalformedError as problem:
            raise ConfigurationError(
                f"the --value is no JSON: {problem}. A text needs its quotes: --value '\"yes\"'"
            ) from None
    return Given(value, args.error, args.code)


async def _which(args: argparse.Namespace, url: str, namespace: str) -> str | Identity:
    if args.token:
        if args.name or args.key:
            raise ConfigurationError("give an effect, or --token, but not both")
        # From stdin it is in no list of processes and no history of a shell.
        return sys.stdin.read(_MOST_OF_A_TOKEN).strip() if args.token == "-" else str(args.token)
    async with open_archive(url, namespace=namespace) as archive:
        return (await meant(archive, args)).identity


async def _broker(args: argparse.Namespace, stack: AsyncExitStack) -> Transport | None:
    """The broker, if it can be reached; otherwise the message on its round brings the answer."""
    place = place_of(args)
    if is_memory(place.broker):
        return None
    connection = replace(place.connection_of("effectmq effects"), connect_timeout_s=_CONNECT_S)
    try:
        return await stack.enter_async_context(open_transport(place.broker, connection))
    except EffectmqError as problem:
        note(f"its caller is told within a minute, not at once: {problem}", quiet=args.quiet)
        return None


def _tell(args: argparse.Namespace, made: Completion) -> None:
    name = printable(made.effect_id or made.identity.replay_key, 200)
    if args.json:
        write_json(
            {
                "scope_id": made.identity.scope_id,
                "replay_key": made.identity.replay_key,
                "effect_id": made.effect_id or None,
                "counts": made.counts,
                "status": made.status,
            }
        )
    elif made.counts:
        write_text(f"effect {name} is answered, and {made.status}")
    elif made.ran_out:
        write_text(f"effect {name} was not answered: its deadline came first, and it has failed")
    else:
        write_text(
            f"effect {name} was not answered: it is {made.status} already. Nothing was changed"
        )
