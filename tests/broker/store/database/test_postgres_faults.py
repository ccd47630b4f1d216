"""What can happen to a server, and what a worker hears of it; afterwards the same journal works."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import psycopg
import pytest

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.postgres.adapter import PostgresDatabase
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Granted, Recorded
from effectmq.protocol.errors import ConfigurationError, DatabaseUnavailableError
from tests.conformance.asking import claim_of, effect, finished, said
from tests.databases.cluster import GUARDED, Cluster
from tests.freezing import freeze
from tests.waiting import eventually


def journal_at(url: str, *, patience_s: float = 15.0, threads: int = 4) -> Journal:
    """A journal that waits for so long for its server."""
    journal = Journal(url)
    journal.database = PostgresDatabase(url, patience_s=patience_s, threads=threads)
    return journal


@pytest.fixture
async def journal(private_postgres: Cluster) -> AsyncGenerator[Journal]:
    """Open on a server of its own, with one effect recorded."""
    async with journal_at(private_postgres.url, patience_s=2.0) as opened:
        await finished(opened, effect("before"))
        yield opened


async def assert_works(journal: Journal, key: str = "after") -> None:
    """It answers from the record, and takes a new one."""
    assert isinstance(await journal.claim(claim_of(effect("before"))), Recorded)
    await finished(journal, effect(key))
    assert isinstance(await journal.look(effect(key).identity), Recorded)


async def stubborn(
    ask: Callable[[Any], asyncio.Future[Any]], what: object, failures: list[str]
) -> object:
    """Ask again for as long as the journal cannot be used."""
    while True:
        try:
            return await ask(what)
        except DatabaseUnavailableError as problem:
            failures.append(str(problem))


class TestRestarts:
    @pytest.mark.parametrize("end", ["stop", "kill9"])
    async def test_nothing_acknowledged_is_lost_while_the_server_comes_and_goes(
        self, private_postgres: Cluster, journal: Journal, end: str
    ) -> None:
        """Workers ask again, with the same token, until they are heard."""
        failures: list[str] = []
        done: list[str] = []
        running = True

        async def lane(number: int) -> None:
            count = 0
            while running:
                count += 1
                key = f"{number}-{count}"
                held = await stubborn(journal.claim, claim_of(effect(key)), failures)
                assert held == Granted(1, 1)
                record = said(effect(key), Granted(1, 1), f'"{key}"')
                await stubborn(journal.record, record, failures)
                done.append(key)

        lanes = [asyncio.ensure_future(lane(number)) for number in range(20)]
        for _ in range(3):
            before = len(done)
            await eventually(lambda before=before: len(done) > before + 100, timeout_s=30)
            await asyncio.to_thread(getattr(private_postgres, end))
            seen = len(failures)
            await eventually(lambda seen=seen: len(failures) > seen)
            await asyncio.to_thread(private_postgres.start)
        running = False
        await asyncio.gather(*lanes)
        found = await asyncio.gather(*(journal.claim(claim_of(effect(key))) for key in done))
        assert found == [Recorded("completed", 1, f'"{key}"', "") for key in done]
        assert all("://postgres@127.0.0.1:" in failure for failure in failures)

    async def test_connections_that_died_unused_are_made_anew_in_silence(
        self, private_postgres: Cluster, journal: Journal
    ) -> None:
        """A restart in the night is nobody's trouble in the morning."""
        await asyncio.to_thread(private_postgres.restart)
        await assert_works(journal)
        for pid in await asyncio.to_thread(private_postgres.backends_of, "effectmq"):
            os.kill(pid, signal.SIGTERM)
        await eventually(lambda: not private_postgres.backends_of("effectmq"))
        await assert_works(journal, "later")

    async def test_a_commit_that_was_cut_off_is_unknown_and_may_be_repeated(
        self, private_postgres: Cluster, journal: Journal
    ) -> None:
        """The error says that it may have been kept; asking again finds out."""
        private_postgres.execute(_SLOW_COMMIT)
        claim = claim_of(effect())
        asked = journal.claim(claim)
        await eventually(lambda: _is_committing(private_postgres))
        for pid in private_postgres.backends_of("effectmq"):
            os.kill(pid, signal.SIGTERM)
        with pytest.raises(DatabaseUnavailableError, match="may have been kept or not"):
            await asked
        private_postgres.execute("DROP TRIGGER slow ON effectmq_effects")
        assert await journal.claim(claim) == Granted(1, 1)
        await assert_works(journal)


#: Makes the commit itself take long, where it cannot be told whether it came through.
_SLOW_COMMIT = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON effectmq_effects
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow();
"""


def _is_committing(cluster: Cluster) -> bool:
    with psycopg.connect(cluster.url) as connection:
        rows = connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep'"
        ).fetchall()
    return bool(rows)


def quick(url: str, setting: str) -> str:
    """The address with a limit that a test need not wait for; the address has the last word."""
    return f"{url}?options=-c{setting}%3D200ms"


class TestSilence:
    async def test_a_server_that_does_not_answer_is_given_up_and_used_again_later(
        self, private_postgres: Cluster, journal: Journal
    ) -> None:
        """Its process is frozen: nothing is refused, nothing comes back."""
        frozen = private_postgres.backends_of("effectmq")
        for pid in frozen:
            freeze(pid)
        claim = claim_of(effect())
        with pytest.raises(DatabaseUnavailableError, match="gave no answer for 2 s"):
            await journal.claim(claim)
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        assert isinstance(await journal.claim(claim), Granted)
        await assert_works(journal)

    async def test_a_frozen_server_does_not_keep_a_journal_from_closing(
        self, private_postgres: Cluster
    ) -> None:
        """What was asked is answered, or told that it failed."""
        journal = await journal_at(private_postgres.url, patience_s=0.5).__aenter__()
        frozen = private_postgres.backends_of("effectmq")
        for pid in frozen:
            freeze(pid)
        claim, look = journal.claim(claim_of(effect())), journal.look(effect().identity)
        async with asyncio.timeout(30):
            await journal.__aexit__()
        assert isinstance(claim.exception(), DatabaseUnavailableError)
        assert look.done()
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)

    async def test_a_row_that_somebody_holds_is_not_waited_for_without_end(
        self, private_postgres: Cluster
    ) -> None:
        """The sentence says where to look for them."""
        async with journal_at(quick(private_postgres.url, "lock_timeout")) as journal:
            await finished(journal, effect("before"))
            with psycopg.connect(private_postgres.url) as holder:
                holder.execute("SELECT 1 FROM effectmq_effects FOR UPDATE")
                with pytest.raises(DatabaseUnavailableError, match="another session has held"):
                    await journal.claim(claim_of(effect("before")))
            await assert_works(journal)

    async def test_a_statement_that_takes_too_long_is_given_up(
        self, private_postgres: Cluster
    ) -> None:
        """By the server itself."""
        async with journal_at(quick(private_postgres.url, "statement_timeout")) as journal:
            await finished(journal, effect("before"))
            with pytest.raises(DatabaseUnavailableError, match="statement timeout"):
                await journal.database.write(lambda tx: tx.execute("SELECT pg_sleep(30)"))
            await assert_works(journal)

    async def test_a_worker_that_was_stopped_in_a_transaction_holds_nobody_up(
        self, private_postgres: Cluster
    ) -> None:
        """The server ends its session and with it its locks."""
        url = quick(private_postgres.url, "idle_in_transaction_session_timeout")
        stopped = threading.Event()

        def stops(tx: Transaction) -> None:
            tx.execute("SELECT 1 FROM effectmq_effects FOR UPDATE")
            stopped.wait(60)
            tx.execute("SELECT 1")

        async with (
            journal_at(url) as zombie,
            journal_at(url) as journal,
        ):
            await finished(journal, effect("before"))
            held = zombie.database.write(stops)
            await assert_works(journal)
            stopped.set()
            await held  # nothing was kept of the first try, so it was run again


class TestRaces:
    async def test_a_deadlock_is_run_again(self, private_postgres: Cluster) -> None:
        """Both transactions succeed, one of them at its second try."""
        async with journal_at(private_postgres.url) as journal:
            for key in "ab":
                await finished(journal, effect(key))
            both = threading.Barrier(2)
            tries: list[str] = []

            def locking(order: str) -> Callable[[Transaction], None]:
                def work(tx: Transaction) -> None:
                    first = order not in tries
                    tries.append(order)
                    for key in order:
                        tx.execute(_LOCK_ONE, (key,))
                        if first and key == order[0]:
                            both.wait(30)

                return work

            await asyncio.gather(
                journal.database.write(locking("ab")), journal.database.write(locking("ba"))
            )
            assert len(tries) == 3

    async def test_a_serialization_failure_is_run_again_and_not_for_ever(
        self, private_postgres: Cluster
    ) -> None:
        """Somebody else may win every time."""
        async with journal_at(private_postgres.url) as journal:
            tries: list[int] = []

            def loses(times: int) -> Callable[[Transaction], int]:
                def work(tx: Transaction) -> int:
                    tries.append(1)
                    if len(tries) <= times:
                        tx.execute("DO $$BEGIN RAISE SQLSTATE '40001'; END$$")
                    return len(tries)

                return work

            assert await journal.database.write(loses(2)) == 3
            with pytest.raises(DatabaseUnavailableError):
                await journal.database.write(loses(1_000))
            assert len(tries) < 20
            await finished(journal, effect())

    async def test_more_transactions_than_connections_wait_their_turn(
        self, private_postgres: Cluster
    ) -> None:
        """Waiting in line does not count as silence of the server."""
        async with journal_at(private_postgres.url, patience_s=1.5, threads=1) as journal:
            slow = [
                journal.database.write(lambda tx: tx.execute("SELECT pg_sleep(0.5), 1"))
                for _ in range(5)
            ]
            assert isinstance(await journal.claim(claim_of(effect())), Granted)
            await asyncio.gather(*slow)
            assert len(private_postgres.backends_of("effectmq")) == 1


_LOCK_ONE = "SELECT 1 FROM effectmq_effects WHERE replay_key = ? FOR UPDATE"


class TestRefusals:
    """Each of them is a sentence, and none shows the password."""

    async def refused(self, url: str) -> str:
        with pytest.raises((DatabaseUnavailableError, ConfigurationError)) as refusal:
            await Journal(url).__aenter__()
        assert "s3cret" not in str(refusal.value)
        assert "Traceback" not in str(refusal.value)
        return str(refusal.value)

    async def test_nobody_is_there(self, private_postgres: Cluster) -> None:
        """Host and port are named; later the same object opens."""
        await asyncio.to_thread(private_postgres.stop)
        journal = Journal(private_postgres.url)
        with pytest.raises(DatabaseUnavailableError, match="check that the server runs") as refused:
            await journal.__aenter__()
        assert f"127.0.0.1:{private_postgres.port}" in str(refused.value)
        await asyncio.to_thread(private_postgres.start)
        async with journal:
            await finished(journal, effect())

    async def test_each_refusal_has_its_advice(self, private_postgres: Cluster) -> None:
        """User, password, database, schema, host, port, and what is no address at all."""
        user, password = GUARDED
        private_postgres.execute(f"CREATE USER {user} PASSWORD '{password}'")
        private_postgres.execute("CREATE USER lonely CONNECTION LIMIT 0")
        private_postgres.execute(f"GRANT ALL ON SCHEMA public TO {user}")
        at = f"127.0.0.1:{private_postgres.port}"
        advice = {
            f"postgresql://{user}:s3cret-wrong@{at}/postgres": "check user and password",
            f"postgresql://{user}@{at}/postgres": "check user and password",
            f"postgresql://nobody@{at}/postgres": "check the user",
            f"postgresql://postgres@{at}/missing": "create the database, or name another one",
            f"postgresql://postgres@{at}/postgres?options=-csearch_path%3Dmissing": (
                "create the schema, or name another one"
            ),
            f"postgresql://lonely@{at}/postgres": "run fewer workers",
            f"postgresql://postgres:s3cret@no-such-host.invalid:{private_postgres.port}/x": (
                "check the host name"
            ),
            f"postgresql://postgres:s3%zzcret@{at}/postgres": "special characters as %XX",
            f"postgresql://postgres:s3cret@{at}/postgres?colour=blue": "cannot be used",
            f"postgresql://postgres:half/s3cret@{at}/postgres": "cannot be used",
            f"postgresql://postgres@{at}/postgres?sslmode=require": "check sslmode",
        }
        for url, expected in advice.items():
            assert expected in await self.refused(url), url
        async with Journal(f"postgresql://{user}:{password}@{at}/postgres") as journal:
            await finished(journal, effect())

    async def test_a_server_that_takes_no_writes_is_named(
        self, private_postgres: Cluster, journal: Journal
    ) -> None:
        """A failover that left us on the standby; reading goes on."""
        private_postgres.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        private_postgres.execute("SELECT pg_reload_conf()")
        await eventually(lambda: _takes_no_writes(private_postgres))
        with pytest.raises(DatabaseUnavailableError, match="name the primary"):
            await journal.claim(claim_of(effect()))
        assert isinstance(await journal.look(effect("before").identity), Recorded)

    async def test_reading_changes_nothing(self, journal: Journal) -> None:
        """Not even by mistake."""
        with pytest.raises(DatabaseUnavailableError, match="read-only transaction"):
            await journal.database.read(lambda tx: tx.execute("DELETE FROM effectmq_effects"))
        await assert_works(journal)


def _takes_no_writes(cluster: Cluster) -> bool:
    with psycopg.connect(cluster.url) as connection:
        return connection.execute("SHOW default_transaction_read_only").fetchone() == ("on",)


@pytest.mark.parametrize(("setting", "durable"), [("on", True), ("local", True), ("off", False)])
async def test_a_server_that_may_forget_is_not_called_durable(
    postgres_url: str, setting: str, durable: bool
) -> None:
    """Whoever opens it is told, and can say so at start."""
    async with Journal(f"{postgres_url}%20-csynchronous_commit%3D{setting}") as journal:
        assert journal.database.durable is durable


async def test_time_is_the_servers(postgres_url: str) -> None:
    """Hosts with wrong clocks agree about leases."""
    async with Journal(postgres_url) as journal:
        now = await journal.database.read(
            lambda tx: (tx.now_ms(), tx.lease_time(), tx.execute("SELECT now()"))
        )
    assert now[1].clock == "postgres"
    assert now[0] == now[1].now_ms
    assert abs(now[0] - time.time() * 1_000) < 3_600_000
