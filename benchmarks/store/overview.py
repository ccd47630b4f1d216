"""
How long the HTTP API takes over a large installation: ``python -m benchmarks.store.overview``.

Fills a database with effects (a million; ten a second, the last ones just now) and the index of
dead letters with letters (a hundred thousand, which wait in a broker in memory as well). Then it
asks for the overview and for every list, as a page does, beside the same look in plain SQL: the
statements that somebody would write by hand, on a connection of their own. ``--rows``,
``--letters``, and a file that is filled already. ``--database postgres`` takes the PostgreSQL of
the tests (tests/databases), in a schema of its own that is vacuumed once it is filled, as a server
does by itself in time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import httpx
import psycopg

from benchmarks.store.size import fill
from effectmq.api.app import create_app
from effectmq.broker.place import Place
from effectmq.broker.store.database import open_database
from effectmq.broker.store.letters.facts import LetterFacts
from effectmq.broker.store.letters.index import LetterIndex, NotedLetter
from effectmq.broker.transports import open_transport
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names, TopologySettings, shared_topology, work_topology
from tests.databases.provide import Databases, read_settings

_BROKER = "memory://overview"
_BATCH = 1_000
_TRIES = 15
#: Longer than an answer is shared, so that each is made anew.
_PAUSE_S = 1.1
_BODY = b'{"text":"' + b"x" * 1_000 + b'"}'
_REASONS = ("exhausted", "rejected", "malformed", "crashed")

_PATHS = (
    "/overview",
    "/effects",
    "/effects?kind=tool_call&state=failed",
    "/effects?session=chat-3",
    "/effects?tool=nobody-has-it",
    "/sessions",
    "/sessions/chat-3",
    "/dead-letters",
    "/dead-letters?tool=tool-7&reason=rejected",
    "/dead-letters/facets",
)
#: What the overview says of the journal and of dead letters. SQLite has a table of the counts.
_COUNTS = {
    "sqlite": "SELECT kind, status, effects FROM effectmq_counts WHERE namespace = 'effects'",
    "postgres": "SELECT kind, status, count(*) FROM effectmq_effects "
    "WHERE namespace = 'effects' GROUP BY kind, status",
}
_BY_HAND = (
    "SELECT kind, count(*), min(updated_at_ms) FROM effectmq_effects "
    "WHERE namespace = 'effects' AND status = 'in_progress' GROUP BY kind",
    "SELECT park_reason, count(*) FROM effectmq_effects "
    "WHERE namespace = 'effects' AND park_reason <> '' GROUP BY park_reason",
    "SELECT kind, status, updated_at_ms / 30000, count(*) FROM effectmq_effects "
    "WHERE namespace = 'effects' AND status <> 'in_progress' AND updated_at_ms >= {since} "
    "GROUP BY 1, 2, 3",
    "SELECT reason, kind, route, tool, model, code, error, count(*) FROM effectmq_letters "
    "WHERE namespace = 'effects' GROUP BY reason, kind, route, tool, model, code, error",
    "SELECT min(parked_ms) FROM effectmq_letters WHERE namespace = 'effects' AND parked_ms > 0",
)


def letters(count: int, now_ms: int) -> Iterator[NotedLetter]:
    """Dead letters as workers leave them."""
    for n in range(count):
        digest = sha256(str(n).encode()).hexdigest()
        kind = EFFECT_KINDS[n % 97 % 8]
        facts = LetterFacts(
            id=digest[:12],
            parked_ms=now_ms - (count - n) * 100,
            reason=_REASONS[n % 4],
            kind=kind,
            route=kind,
            tool=f"tool-{n % 20}" if kind == "tool_call" else "",
            model=f"model-{n % 5}" if kind == "llm_call" else "",
            code=f"bank_{n % 7}",
            error=f"bank_{n % 7}: account … is closed",
            session_id=f"chat-{n // 20}",
            turn_id=f"turn-{n % 20}",
            effect_id=f"{n % 10}:call",
            replay_key=f"key-{n}",
            hash=digest,
            edited_from="",
            attempts=3,
            deaths=0,
            former_deaths=0,
            parked_by="worker-1",
            reply_to="",
            body_bytes=len(_BODY),
            detail=f"account {n} is closed",
        )
        yield NotedLetter(facts, Message(body=_BODY, content_type="application/json"), kind)


async def fill_letters(url: str, count: int) -> None:
    """Put them into the index."""
    async with open_database(url, namespace="effects") as database:
        index = LetterIndex(database)
        await index.ensure()
        if (await index.counts()).letters:
            return
        source = letters(count, round(time.time() * 1_000))
        for _ in range(0, count, _BATCH):
            await index.note([each for _, each in zip(range(_BATCH), source, strict=False)])


async def waiting(count: int) -> None:
    """Let as many messages wait in the dead-letter queue; it lives as long as the event loop."""
    topology = TopologySettings()
    async with open_transport(_BROKER) as transport:
        await transport.declare(shared_topology(topology) | work_topology(topology, EFFECT_KINDS))
        for start in range(0, count, _BATCH):
            many = range(start, min(count, start + _BATCH))
            message = Message(body=b"{}", content_type="application/json")
            await asyncio.gather(
                *(
                    transport.publish(Names("effects").dead, "tool_call.rejected", message)
                    for _ in many
                )
            )


def by_hand(url: str) -> Callable[[], None]:
    """The same look in plain SQL."""
    kind = "sqlite" if url.startswith("sqlite") else "postgres"
    run = _sqlite(url) if kind == "sqlite" else _postgres(url)
    statements = (_COUNTS[kind], *_BY_HAND)

    def look() -> None:
        since = round(time.time() * 1_000) - 900_000
        for sql in statements:
            run(sql.format(since=since))

    return look


def _sqlite(url: str) -> Callable[[str], object]:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    return lambda sql: connection.execute(sql).fetchall()


def _postgres(url: str) -> Callable[[str], object]:
    connection = psycopg.connect(url, autocommit=True)
    return lambda sql: connection.execute(sql.encode()).fetchall()


def _told(name: str, took: list[float], limit_ms: float | None = None) -> None:
    median, worst = statistics.median(took) * 1_000, max(took) * 1_000
    limit = f"  (limit {limit_ms:g} ms)" if limit_ms else ""
    print(f"{name:44} {median:8.1f} ms median {worst:8.1f} ms worst{limit}", flush=True)


async def measure(url: str) -> None:
    """Ask for each path, as a page does."""
    place = Place.of({"broker": _BROKER, "journal": url})
    app = create_app(place)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost/api/v1") as http,
    ):
        for path in _PATHS:
            took: list[float] = []
            for attempt in range(_TRIES + 1):
                began = time.perf_counter()
                answer = await http.get(path, timeout=120)
                took.append(time.perf_counter() - began)
                assert answer.status_code == 200, answer.text
                await asyncio.sleep(_PAUSE_S if path == "/overview" else 0.05)
                if attempt == 0 and path == "/overview":
                    _told("GET /overview, the first", took)
            _told(f"GET {path}", took[1:], 200 if path == "/overview" else None)


@contextmanager
def address(kind: str, file: Path | None) -> Generator[tuple[str, bool]]:
    """The address of a database, and whether it is filled already."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="effectmq-overview-") as folder:
            chosen = file or Path(folder, "journal.db")
            yield f"sqlite:///{chosen}", chosen.exists()
        return
    with closing(Databases(read_settings(os.environ))) as databases:
        server = databases.shared()
        schema = f"overview_{secrets.token_hex(4)}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}".encode())
        joint = "&" if "?" in server else "?"
        try:
            yield f"{server}{joint}options=-csearch_path%3D{schema}", False
        finally:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute("SET client_min_messages = warning")
                connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


async def main() -> None:
    """Fill, ask, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--letters", type=int, default=100_000)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    args = parser.parse_args()
    with address(args.database, args.file) as (url, filled_already):
        if not filled_already:
            began = time.perf_counter()
            await fill(url, args.rows, round(time.time() * 1_000) - args.rows * 100)
            filled = time.perf_counter() - began
            print(f"{args.rows} effects in {filled:.0f} s", flush=True)
        await fill_letters(url, args.letters)
        if args.database == "postgres":
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE effectmq_effects")
                connection.execute("VACUUM ANALYZE effectmq_letters")
        await waiting(args.letters)
        await measure(url)
        look, took = by_hand(url), list[float]()
        for _ in range(_TRIES):
            began = time.perf_counter()
            look()
            took.append(time.perf_counter() - began)
        _told("the overview's look in plain SQL", took)


if __name__ == "__main__":
    asyncio.run(main())
