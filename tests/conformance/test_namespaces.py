"""Namespaces that share a database: neither sees, answers, changes or counts the other's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Database
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.journal.archive.summaries import EffectFilter, EffectIdError
from effectmq.broker.store.journal.archive.tail import News
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import (
    Accepted,
    Cancel,
    Cancelled,
    Granted,
    Lost,
    Recorded,
)
from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.broker.store.sessions.inbox import SessionInbox
from effectmq.consumers.code.state.database_sessions import DatabaseSessions
from effectmq.consumers.code.state.sessions import Start
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.wire.messages import PluginMessage
from effectmq.protocol.wire.process_events import ProcessAwaitOutputSuccess
from tests.conformance.asking import claim_of, effect, finished, said
from tests.conformance.process_stage import registration, tool_process

ERROR = '{"code":"c","message":"m"}'
#: One is the beginning of the other, and they differ in nothing else.
MINE, THEIRS = "orders", "orders.test"


@pytest.fixture
async def mine(database_url: str) -> AsyncGenerator[Journal]:
    """The journal of one namespace."""
    async with Journal(database_url, namespace=MINE) as opened:
        yield opened


@pytest.fixture
async def theirs(database_url: str, mine: Journal) -> AsyncGenerator[Journal]:
    """The journal of another, in the same place."""
    async with Journal(database_url, namespace=THEIRS) as opened:
        yield opened


class TestEffects:
    async def test_the_same_key_is_two_effects(self, mine: Journal, theirs: Journal) -> None:
        """Each runs, and each has the outcome of its own."""
        await finished(mine, effect(), '"mine"')
        assert await theirs.look(effect().identity) is None
        assert await theirs.claim(claim_of(effect())) == Granted(1, 1)
        assert await theirs.record(said(effect(), Granted(1, 1), '"theirs"')) == Accepted()
        for journal, outcome in ((mine, '"mine"'), (theirs, '"theirs"')):
            found = await journal.look(effect().identity)
            assert isinstance(found, Recorded)
            assert found.outcome_json == outcome

    async def test_another_envelope_under_the_same_key_is_no_conflict(
        self, mine: Journal, theirs: Journal
    ) -> None:
        """It is another effect."""
        await finished(mine, effect(name="one"))
        assert isinstance(await theirs.claim(claim_of(effect(name="two"))), Granted)

    async def test_a_lease_is_nothing_to_the_other(self, mine: Journal, theirs: Journal) -> None:
        """Neither is it waited for, nor can it be used up from there."""
        assert await mine.claim(claim_of(effect())) == Granted(1, 1)
        assert await theirs.record(said(effect(), Granted(1, 1), '"theirs"')) == Lost()
        assert await mine.record(said(effect(), Granted(1, 1), '"mine"')) == Accepted()

    async def test_cancelling_reaches_one_of_them(self, mine: Journal, theirs: Journal) -> None:
        """The one whose namespace it is."""
        await mine.claim(claim_of(effect()))
        await theirs.claim(claim_of(effect()))
        assert await theirs.cancel(Cancel(effect(), ERROR)) == Cancelled()
        assert await mine.record(said(effect(), Granted(1, 1))) == Accepted()

    async def test_everything_that_reads_keeps_to_its_own(
        self, database_url: str, mine: Journal, theirs: Journal
    ) -> None:
        """Lists, names, counts, news, trees, and the check of soundness."""
        await finished(mine, effect("mine"))
        await finished(theirs, effect("theirs"))
        for namespace, own, other in ((MINE, "mine", "theirs"), (THEIRS, "theirs", "mine")):
            async with open_archive(database_url, namespace=namespace) as archive:
                for chosen in (
                    EffectFilter(),
                    EffectFilter(statuses=("completed", "failed")),
                    EffectFilter(key_prefix=own[:2]),
                    EffectFilter(scope_id=effect().identity.scope_id),
                ):
                    found = await archive.find(chosen)
                    assert [one.identity.replay_key for one in found] == [own]
                assert (await archive.stats()).effects == 1
                news = await archive.since(News(EffectFilter()))
                assert [one.identity.replay_key for one in news] == [own]
                assert (await archive.get(own)).identity.replay_key == own
                with pytest.raises(EffectIdError):
                    await archive.get(other)
                with pytest.raises(EffectIdError):
                    await archive.get_exactly(effect(other).identity)
                seen: list[int] = []
                async for _ in archive.verify(on_progress=seen.append):
                    pass
                assert sum(seen) == 1

    @pytest.mark.parametrize("keep_keys", [True, False])
    async def test_pruning_takes_nothing_of_the_other(
        self, database_url: str, mine: Journal, theirs: Journal, keep_keys: bool
    ) -> None:
        """Its outcomes stay, under the same keys."""
        for journal in (mine, theirs):
            await finished(journal, effect())
        async with open_archive(database_url, namespace=MINE) as archive:
            assert (await archive.prune(older_than_s=0, keep_keys=keep_keys)).pruned == 1
        found = await theirs.look(effect().identity)
        assert isinstance(found, Recorded)
        assert found.status == "completed"


class TestProcesses:
    async def test_ids_handles_events_and_leases_are_apart(self, database_url: str) -> None:
        """What one registers, the other has never heard of."""
        async with (
            open_database(database_url, namespace=MINE) as first,
            open_database(database_url, namespace=THEIRS) as second,
            ProcessRegistry(first) as mine,
            ProcessRegistry(second) as theirs,
        ):
            await mine.register(registration("p"))
            assert await theirs.list_non_terminal() == []
            assert await theirs.claimable(10) == []
            await theirs.register(registration("p", input_=tool_process("another")))
            assert [one.id for one in await theirs.list_non_terminal()] == ["p"]
            lease = await mine.claim_lease("p", "w", 60_000)
            assert (await theirs.claim_lease("p", "other", 60_000)).owner_id == "other"
            await mine.complete("p", ProcessAwaitOutputSuccess(value=1), lease=lease)
            assert await theirs.output("p") is None
            assert await mine.events_after("p", 0)
            assert await theirs.events_after("p", 0) == []


class TestSessions:
    async def test_an_inbox_gives_to_its_own_sessions(self, database_url: str) -> None:
        """The same session id, the same source, two entries."""
        async with (
            SessionInbox(database_url, namespace=MINE) as mine,
            SessionInbox(database_url, namespace=THEIRS) as theirs,
        ):
            message = PluginMessage(role="User", content="hello")
            assert await mine.put_message("s", message, source_key="k")
            assert await theirs.waiting("s") == 0
            assert (await theirs.claim("s", "c")).messages == []
            assert await theirs.put_message("s", message, source_key="k")
            assert len((await mine.claim("s", "c")).messages) == 1
            assert await mine.prune(older_than_s=0) == 1
            assert len((await theirs.claim("s", "c2")).messages) == 1

    async def test_variables_of_code_are_apart(self, database_url: str) -> None:
        """Nor are they forgotten from there."""
        async with (
            open_database(database_url, namespace=MINE) as first,
            open_database(database_url, namespace=THEIRS) as second,
        ):
            mine, theirs = DatabaseSessions(first, 3), DatabaseSessions(second, 3)
            await asyncio.gather(mine.open(), theirs.open())
            await mine.keep("s", "h1", Start(), b"mine", "e")
            assert await theirs.start("s", "h2") == Start()
            await theirs.keep("s", "h2", Start(), b"theirs", "e")
            await theirs.forget("s")
            assert (await mine.start("s", "h3")).state == b"mine"


class TestBelonging:
    async def test_a_database_takes_the_namespace_of_its_worker(self, database_url: str) -> None:
        """Unless one was named; and it belongs to one only."""

        async def namespace_of(database: Database) -> str:
            async with database:
                return await database.read(lambda tx: tx.namespace)

        assert await namespace_of(open_database(database_url)) == "effects"
        adopted, named = open_database(database_url), open_database(database_url, namespace=MINE)
        for database in (adopted, named):
            database.adopt(THEIRS)
        assert await namespace_of(adopted) == THEIRS
        assert await namespace_of(named) == MINE
        with pytest.raises(ConfigurationError, match="open it once for each"):
            adopted.adopt("another")

    @pytest.mark.parametrize("namespace", ["", "amq.x", "with space", "quote'", "x" * 201])
    def test_what_is_no_namespace_is_refused(self, database_url: str, namespace: str) -> None:
        """Before anything is opened."""
        with pytest.raises(ConfigurationError):
            open_database(database_url, namespace=namespace)
