"""The archive on both databases: found, followed, pruned, verified."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.rows import ColumnError
from effectmq.broker.store.journal.archive.archive import Archive, PruneReport, open_archive
from effectmq.broker.store.journal.archive.lineage import parent_of
from effectmq.broker.store.journal.archive.pruning import FORGOTTEN_CODE, candidates, forget
from effectmq.broker.store.journal.archive.summaries import (
    EffectFilter,
    EffectIdError,
    EffectSummary,
    Place,
)
from effectmq.broker.store.journal.archive.tail import News
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import (
    Cancel,
    Claim,
    Effect,
    Letter,
    Recorded,
    Renew,
    effect_of,
    reference_of,
)
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.serde.model import from_tree
from effectmq.protocol.errors import ConfigurationError, SchemaVersionError
from effectmq.protocol.identity.invocations import child_effect, turn_effect
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.wire.invocation import CausalRef
from tests.broker.store.journal.effects import Writer, sealed, sleep, tool

_BEGINNING = Place(-1, "", "")
_OLDER = "UPDATE effectmq_effects SET updated_at_ms = updated_at_ms - 1"


@pytest.fixture
async def journal(database_url: str) -> AsyncIterator[Journal]:
    """An open journal."""
    async with Journal(database_url) as opened:
        yield opened


@pytest.fixture
def archive(journal: Journal) -> Archive:
    """Its archive."""
    return Archive(journal.database)


@pytest.fixture
def writer(journal: Journal) -> Writer:
    """A worker of it."""
    return Writer(journal)


async def _change(journal: Journal, sql: str, *parameters: str | int) -> None:
    def work(tx: Transaction) -> None:
        tx.execute(sql, parameters)

    await journal.database.write(work)


def _ids(found: list[EffectSummary]) -> list[str]:
    return [effect.effect_id for effect in found]


# Finding ------------------------------------------------------------------------------------------


async def test_effects_are_found_newest_first(archive: Archive, writer: Writer) -> None:
    for number in range(5):
        await writer.complete(sleep(str(number)))
        # A moment of its own for each.
        await _change(
            writer.journal, "UPDATE effectmq_effects SET updated_at_ms = updated_at_ms - 1"
        )
    assert _ids(await archive.find()) == ["4", "3", "2", "1", "0"]
    assert _ids(await archive.find(limit=2)) == ["4", "3"]


async def test_pages_lose_nothing_when_all_changed_in_one_moment(
    archive: Archive, writer: Writer, journal: Journal
) -> None:
    for number in range(7):
        await writer.complete(sleep(str(number)))
    await _change(journal, "UPDATE effectmq_effects SET updated_at_ms = 1")
    seen: list[str] = []
    after: Place | None = None
    while page := await archive.find(limit=3, after=after):
        seen += _ids(page)
        after = page[-1].place
    assert sorted(seen) == list("0123456")


async def test_each_filter_chooses(archive: Archive, writer: Writer, journal: Journal) -> None:
    await writer.complete(sleep("done"))
    await writer.fail(sleep("parked", turn="u"), park="exhausted")
    await Writer(journal, "other").claim(sleep("running"))
    await journal.cancel(Cancel(Effect(Identity("elsewhere", "unseen%")), "{}"))
    now_ms = await archive.now_ms()
    (parked,) = await archive.find(EffectFilter(effect_id="parked"))
    chosen = {
        EffectFilter(kinds=("sleep",), statuses=("completed", "failed")): {"done", "parked"},
        EffectFilter(statuses=("cancelled",)): {""},
        EffectFilter(scope_id="elsewhere"): {""},
        EffectFilter(session_id="s", turn_id="u"): {"parked"},
        EffectFilter(effect_id="running"): {"running"},
        EffectFilter(effect_id_end="ing"): {"running"},
        EffectFilter(key_prefix="unseen%"): {""},
        EffectFilter(key_prefix="UNSEEN"): set[str](),
        EffectFilter(key_prefix="s:t:0"): {"done", "running"},
        EffectFilter(park_reasons=("exhausted", "rejected")): {"parked"},
        EffectFilter(worker="other"): {"running"},
        EffectFilter(until_ms=parked.created_ms - 60_000): set[str](),
        EffectFilter(until_ms=now_ms + 60_000): {"done", "parked", "running", ""},
        EffectFilter(since_ms=now_ms + 60_000): set[str](),
        EffectFilter(since_ms=parked.created_ms - 60_000, kinds=("tool_call",)): set[str](),
    }
    for one, expected in chosen.items():
        assert set(_ids(await archive.find(one))) == expected, one


async def test_an_effect_goes_by_key_by_effect_id_and_by_a_part_of_its_hash(
    archive: Archive, writer: Writer
) -> None:
    request = sleep("4711")
    await writer.complete(request)
    await writer.complete(sleep("1"))
    for name in (request.replay_key, "4711", request.hash, request.hash[:10].upper()):
        found = await archive.get(name)
        assert found.identity == request.identity
        assert found.envelope_json == request.canonical.decode()
        assert found.status == "completed"
    assert await archive.get_exactly(request.identity) == await archive.get("4711")


async def test_a_name_that_is_not_unique_is_refused_with_the_candidates(
    archive: Archive, writer: Writer
) -> None:
    await writer.complete(sleep("1", turn="a"))
    other = sleep("1", turn="b")
    await writer.complete(other)
    with pytest.raises(EffectIdError) as raised:
        await archive.get("1")
    assert "'s:a:0:0:sleep:1'" in str(raised.value)
    assert other.hash[:12] in str(raised.value)
    assert "--scope" in str(raised.value)
    found = await archive.get("1", scope_id=other.identity.scope_id)
    assert found.identity == other.identity


async def test_a_name_of_nothing_says_where_to_look(archive: Archive) -> None:
    with pytest.raises(EffectIdError, match="effectmq effects list"):
        await archive.get("nothing")
    with pytest.raises(EffectIdError, match="effectmq effects list"):
        await archive.get_exactly(Identity("a", "b"))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("call-1", "did you mean the effect id '2:call-1'? List the effects"),
        ("CALL-1", "did you mean the effect id '2:call-1'?"),
        ("2:cal-1", "did you mean the effect id '2:call-1' or '2:call-2'?"),
        ("c", "'c'; list the effects"),
        ("x" * 10_000, "; list the effects"),
        ("", "''; list the effects"),
    ],
)
async def test_a_name_that_is_nearly_one_is_told_which(
    archive: Archive, writer: Writer, name: str, sentence: str
) -> None:
    """The number before a call's id is easily forgotten."""
    batch = turn_effect(
        "tool_call", "2", session_id="s", turn_id="t", turn_index=0, protocol_iteration=0
    )
    for call_id in ("call-1", "call-2", "y" * 1_000):
        await writer.complete(tool(batch, call_id))
    with pytest.raises(EffectIdError) as raised:
        await archive.get(name)
    assert sentence in str(raised.value)
    with pytest.raises(EffectIdError) as raised:
        await archive.get(name, scope_id="another")
    assert "did you mean" not in str(raised.value)


async def test_a_detail_says_how_long_the_lease_lasts(archive: Archive, writer: Writer) -> None:
    await writer.claim(sleep("held"))
    await writer.complete(sleep("done"))
    assert 0 < (await archive.get("held")).lease_left_ms <= 60_000
    assert (await archive.get("done")).lease_left_ms == 0


async def test_an_error_has_a_code_and_a_message(archive: Archive, writer: Writer) -> None:
    await writer.fail(sleep("1"), "no_money")
    assert (await archive.get("1")).error == ("no_money", "it broke")


# Lineage ------------------------------------------------------------------------------------------


async def test_the_tree_shows_who_led_to_whom(archive: Archive, writer: Writer) -> None:
    batch = turn_effect(
        "tool_call", "2", session_id="s", turn_id="t", turn_index=0, protocol_iteration=0
    )
    root = sealed(
        batch, {"type": "tool_call", "call": {"call_id": "b", "tool_name": "x", "args": {}}}
    )
    call = tool(batch, "call-1")
    pause = child_effect(call.envelope.invocation, "sleep", "pause", "pause")
    of_the_call = from_tree(
        CausalRef, {"type": "tool_call", "session_id": "s", "call_id": "call-1"}
    )
    asked = pause.model_copy(update={"caused_by": of_the_call})
    nap = sealed(asked, {"type": "sleep", "duration_ms": 1})
    for request in (root, call, nap, tool(batch, "call-2"), sleep("stranger")):
        await writer.complete(request)
    shapes = [(0, "2"), (1, "2:call-1"), (2, "pause"), (1, "2:call-2")]
    for name in ("2", "2:call-1", "pause"):
        lineage = await archive.lineage(await archive.get(name))
        assert [(node.depth, node.effect.effect_id) for node in lineage.nodes] == shapes
        assert not lineage.more
    children = await archive.children(await archive.get("2"))
    assert _ids(children) == ["2:call-1", "2:call-2"]
    assert all(child.caused_by == reference_of(batch) for child in children)


async def test_a_pruned_effect_stays_in_the_tree(archive: Archive, writer: Writer) -> None:
    batch = turn_effect(
        "tool_call", "2", session_id="s", turn_id="t", turn_index=0, protocol_iteration=0
    )
    call = tool(batch, "call-1")
    cause = from_tree(CausalRef, {"type": "tool_call", "session_id": "s", "call_id": "call-1"})
    pause = child_effect(call.envelope.invocation, "sleep", "pause", "pause")
    nap = sealed(pause.model_copy(update={"caused_by": cause}), {"type": "sleep", "duration_ms": 1})
    await writer.complete(call)
    await writer.complete(nap)
    await archive.prune(older_than_s=0)
    lineage = await archive.lineage(await archive.get("pause"))
    assert [node.effect.effect_id for node in lineage.nodes] == ["2:call-1", "pause"]
    assert '"effect_id":"2"' in lineage.cause


async def test_effects_of_one_turn_or_batch_stand_together(
    archive: Archive, writer: Writer
) -> None:
    """The batch itself is no effect; what it led to still is one tree."""
    batch = turn_effect(
        "tool_call", "2", session_id="s", turn_id="t", turn_index=0, protocol_iteration=0
    )
    for call_id in ("call-1", "call-2"):
        await writer.complete(tool(batch, call_id))
    lineage = await archive.lineage(await archive.get("2:call-2"))
    shape = [(node.depth, node.effect.effect_id) for node in lineage.nodes]
    assert shape == [(0, "2:call-1"), (0, "2:call-2")]
    assert lineage.cause == reference_of(batch)


async def test_a_loop_of_causes_comes_to_an_end(
    archive: Archive, writer: Writer, journal: Journal
) -> None:
    one, other = sleep("1"), sleep("2")
    await writer.complete(one)
    await writer.complete(other)
    for caused, cause in ((one, other), (other, one)):
        await _change(
            journal,
            "UPDATE effectmq_effects SET caused_by = ? WHERE replay_key = ?",
            reference_of(cause.envelope.invocation),
            caused.replay_key,
        )
    lineage = await archive.lineage(await archive.get("1"))
    assert {node.effect.effect_id for node in lineage.nodes} == {"1", "2"}
    assert lineage.cause == ""


async def test_a_large_tree_is_cut_and_says_so(archive: Archive, writer: Writer) -> None:
    batch = turn_effect(
        "sleep", "1", session_id="s", turn_id="t", turn_index=0, protocol_iteration=0
    )
    await writer.complete(sealed(batch, {"type": "sleep", "duration_ms": 1}))
    for number in range(6):
        await writer.complete(tool(batch, f"call-{number}"))
    root = await archive.get("1")
    cut = await archive.lineage(root, most=4)
    assert len(cut.nodes) == 4
    assert cut.more
    assert not (await archive.lineage(root, most=7)).more


@pytest.mark.parametrize(
    "cause", ["", "{", "[]", '{"type":"process","process_id":"p"}', '{"type":"effect"}']
)
async def test_a_cause_that_is_no_effect_has_no_parent(
    archive: Archive, writer: Writer, journal: Journal, cause: str
) -> None:
    await writer.complete(sleep("1"))
    effect = replace(await archive.get("1"), caused_by=cause)
    assert await journal.database.read(lambda tx: parent_of(tx, effect)) is None


# Following ----------------------------------------------------------------------------------------


async def _told(archive: Archive, news: News) -> list[tuple[str, str]]:
    return [(effect.effect_id, effect.status) for effect in await archive.since(news)]


async def test_each_change_is_told_once(archive: Archive, writer: Writer, journal: Journal) -> None:
    news = News(EffectFilter(kinds=("sleep",)))
    assert await _told(archive, news) == []
    granted = await writer.claim(sleep("1"))
    assert await _told(archive, news) == [("1", "in_progress")]
    assert await _told(archive, news) == []
    await journal.hand_back(Renew(sleep("1").identity, granted.fence, 90_000))
    assert await _told(archive, news) == []
    await writer.complete(sleep("2"))
    assert await _told(archive, news) == [("2", "completed")]


async def test_a_transaction_that_becomes_visible_late_is_told(
    archive: Archive, writer: Writer, journal: Journal
) -> None:
    news = News(EffectFilter())
    await writer.complete(sleep("1"))
    await _told(archive, news)
    await writer.complete(sleep("late"))
    await _change(
        journal,
        "UPDATE effectmq_effects SET updated_at_ms = updated_at_ms - 500 WHERE effect_id = 'late'",
    )
    assert await _told(archive, news) == [("late", "completed")]


async def test_many_changes_come_in_pages(
    archive: Archive, writer: Writer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("effectmq.broker.store.journal.archive.tail._PAGE", 2)
    for number in range(5):
        await writer.complete(sleep(str(number)))
    news = News(EffectFilter())
    told = _ids(await archive.since(news))
    while news.more:
        told += _ids(await archive.since(news))
    assert sorted(told) == list("01234")
    await writer.complete(sleep("5"))
    again = _ids(await archive.since(news))
    while news.more:
        again += _ids(await archive.since(news))
    assert again == ["5"]


# Statistics ---------------------------------------------------------------------------------------


async def test_stats_count_by_kind_and_status(
    archive: Archive, writer: Writer, journal: Journal
) -> None:
    await writer.complete(sleep("1"))
    await writer.complete(sleep("2"))
    await writer.fail(sleep("3"), park="exhausted")
    await writer.claim(sleep("4"))
    await writer.claim(sleep("5"))
    await _change(
        journal,
        "UPDATE effectmq_effects SET lease_expires_at_ms = 0, updated_at_ms = 5 "
        "WHERE effect_id = '4'",
    )
    stats = await archive.stats()
    assert stats.counts == {
        ("sleep", "completed"): 2,
        ("sleep", "failed"): 1,
        ("sleep", "in_progress"): 2,
    }
    assert stats.effects == 5
    assert stats.parked == {"exhausted": 1}
    assert stats.letters_unsent == 1
    assert stats.unheld == 1
    assert stats.oldest is not None
    assert stats.oldest.effect_id == "4"
    assert stats.size_bytes > 0


async def test_an_empty_journal_has_statistics(archive: Archive) -> None:
    stats = await archive.stats()
    assert (stats.effects, stats.oldest, stats.counts) == (0, None, {})


# Pruning ------------------------------------------------------------------------------------------


async def test_a_pruned_effect_answers_with_an_error_and_never_runs_again(
    archive: Archive, writer: Writer, journal: Journal
) -> None:
    request = sleep("1")
    await writer.complete(request)
    report = await archive.prune(older_than_s=0)
    assert (report.pruned, report.dry_run) == (1, False)
    assert report.payload_bytes >= len(request.canonical)
    again = await journal.claim(Claim(effect_of(request), "w", "another", 60_000))
    assert isinstance(again, Recorded)
    assert again.status == "forgotten"
    assert again.outcome_json == ""
    assert FORGOTTEN_CODE in again.error_json
    assert "new replay key" in again.error_json
    found = await archive.get("1")
    assert (found.hash, found.envelope_json) == (request.hash, "")


async def test_without_keys_an_effect_is_as_if_it_had_never_been(
    archive: Archive, writer: Writer
) -> None:
    await writer.complete(sleep("1"))
    await archive.prune(older_than_s=0)
    assert (await archive.prune(older_than_s=0)).pruned == 0
    assert (await archive.prune(older_than_s=0, keep_keys=False)).pruned == 1
    assert await archive.find() == []
    await writer.complete(sleep("1"))


async def test_what_is_not_finished_or_not_old_is_left(
    archive: Archive, writer: Writer, journal: Journal
) -> None:
    await writer.claim(sleep("running"))
    await writer.complete(sleep("young"))
    assert (await archive.prune(older_than_s=3_600)).pruned == 0
    report = await archive.prune(older_than_s=0, keep_keys=False)
    assert report.pruned == 1
    assert _ids(await archive.find()) == ["running"]


async def test_an_age_in_milliseconds_still_works_and_is_told(
    archive: Archive, writer: Writer
) -> None:
    """At the line of the program, with the seconds to write instead."""
    await writer.complete(sleep("young"))
    with pytest.warns(DeprecationWarning, match=r"archive\.prune\(older_than_s=60\.0\)$") as told:
        assert (await archive.prune(60_000, dry_run=True)).pruned == 0
    assert told[0].filename == __file__
    with pytest.raises(ConfigurationError, match="older_than_s is -1; expected seconds"):
        await archive.prune(older_than_s=-1)
    without: Any = archive.prune
    with pytest.raises(TypeError, match="takes one time"):
        await without()


async def test_what_was_parked_is_left_unless_asked_for_and_its_letter_is_out(
    archive: Archive, writer: Writer, journal: Journal
) -> None:
    parked = sleep("parked")
    await writer.fail(parked, park="exhausted")
    assert await archive.prune(older_than_s=0) == PruneReport(parked=1)
    assert (await archive.prune(older_than_s=0, parked=True)).pruned == 0
    await journal.hand_back(Letter(parked.identity, 1))
    assert (await archive.prune(older_than_s=0)).pruned == 0
    assert (await archive.prune(older_than_s=0, parked=True)).pruned == 1


async def test_a_dry_run_counts_and_changes_nothing(archive: Archive, writer: Writer) -> None:
    for number in range(5):
        await writer.complete(sleep(str(number)))
    before = await archive.find()
    dry = await archive.prune(older_than_s=0, dry_run=True, batch=2)
    assert await archive.find() == before
    done: list[int] = []
    real = await archive.prune(older_than_s=0, batch=2, on_progress=done.append)
    assert (dry.pruned, dry.payload_bytes) == (real.pruned, real.payload_bytes)
    assert done == [2, 2, 1]


async def test_who_claims_an_effect_before_it_is_pruned_keeps_it(
    archive: Archive, writer: Writer, journal: Journal
) -> None:
    """A dead letter is replayed between the look and the pruning."""
    parked = sleep("parked")
    await writer.fail(parked, park="exhausted")
    await journal.hand_back(Letter(parked.identity, 1))
    seen = await journal.database.read(lambda tx: candidates(tx, 2**62, _BEGINNING, 10))
    assert len(seen) == 1
    await writer.claim(parked, parked_as=1)
    for keep_keys in (True, False):
        pruned = await journal.database.write(
            lambda tx, keep_keys=keep_keys: forget(tx, seen, keep_keys=keep_keys)
        )
        assert pruned == []
    found = await archive.get("parked")
    assert (found.status, found.envelope_json) == ("in_progress", parked.canonical.decode())


async def test_workers_and_pruning_side_by_side_lose_nothing(
    database_url: str, archive: Archive, journal: Journal
) -> None:
    """Whatever the order is, each effect has its outcome or says that it was pruned."""
    asked = [sleep(str(number)) for number in range(60)]

    async def prune() -> None:
        async with open_archive(database_url) as second:
            while not working.done():
                await second.prune(older_than_s=0, batch=3)

    async def work() -> None:
        await asyncio.gather(
            *(Writer(journal, f"w{n}").complete(one) for n, one in enumerate(asked))
        )

    working = asyncio.create_task(work())
    pruning = asyncio.create_task(prune())
    await working
    await pruning
    await archive.prune(older_than_s=0)
    found = await archive.find(limit=100)
    assert {effect.status for effect in found} == {"forgotten"}
    assert len(found) == len(asked)


# Verifying ----------------------------------------------------------------------------------------


async def _problems(archive: Archive) -> list[str]:
    return [damage.problem async for damage in archive.verify()]


async def test_a_sound_journal_has_no_problems(
    archive: Archive, writer: Writer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("effectmq.broker.store.journal.archive.archive._VERIFY_BATCH", 2)
    await writer.complete(sleep("1"))
    await writer.fail(sleep("2"), park="exhausted")
    await writer.claim(sleep("3"))
    tombstone = canonical_json({"code": "effectmq_cancelled", "message": "no"}).decode()
    await journal.cancel(Cancel(Effect(Identity("elsewhere", "unseen")), tombstone))
    await archive.prune(older_than_s=0)
    await writer.complete(sleep("4"))
    seen: list[int] = []
    assert [damage async for damage in archive.verify(on_progress=seen.append)] == []
    assert sum(seen) == 5


_DAMAGE: dict[str, tuple[str, str]] = {
    "envelope_json = '{}'": ("", "its envelope hashes to"),
    "envelope_json = ''": ("", "its envelope is missing"),
    "envelope_hash = 'beef'": ("", "but beef was recorded"),
    "outcome_json = ''": ("", "it is completed and has no outcome"),
    "error_json = '{}'": ("", "it is completed and has an error"),
    "outcome_json = '{'": ("", "its outcome cannot be read: not JSON"),
    'outcome_json = \'{"type":"nap"}\'': ("", "its outcome cannot be read"),
    "status = 'failed'": ("", "it is failed and has no error"),
    "status = 'unsuccessful'": ("", "it is failed and has no error"),
    "status = 'failed', park_reason = 'exhausted'": ("", "it is failed and has an outcome"),
    "status = 'odd'": ("", "found the status 'odd'"),
    "kind = 'direct'": ("", "its outcome is that of a sleep"),
    "session_id = 'x'": ("", "its session id is recorded as 'x'"),
    "replay_key = 'x'": ("", "its replay key is recorded as 'x'"),
}


@pytest.mark.parametrize("damage", _DAMAGE)
async def test_damage_is_found(
    archive: Archive, writer: Writer, journal: Journal, damage: str
) -> None:
    await writer.complete(sleep("1"))
    await _change(journal, f"UPDATE effectmq_effects SET {damage}")
    assert any(_DAMAGE[damage][1] in problem for problem in await _problems(archive))


async def test_a_column_of_another_kind_is_damage_like_any_other(tmp_path: Path) -> None:
    """SQLite keeps text where a number belongs; looking says so, and the check goes on."""
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    async with Journal(url) as journal:
        writer = Writer(journal, "w")
        await writer.complete(sleep("1"))
        await writer.complete(sleep("2"))
        await _change(
            journal, "UPDATE effectmq_effects SET attempts = 'many' WHERE effect_id = '1'"
        )
        await _change(journal, "UPDATE effectmq_effects SET kind = 'direct' WHERE effect_id = '2'")
    async with open_archive(url) as archive:
        first, *rest = await _problems(archive)
        assert first == "a column of the database holds text, expected a whole number"
        assert any("its outcome is that of a sleep" in problem for problem in rest)
        with pytest.raises(ColumnError, match="effectmq journal verify"):
            await archive.find()


# Opening ------------------------------------------------------------------------------------------


async def test_only_a_journal_that_is_there_can_be_opened(
    database_url: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no journal at|ends with it"):
        async with open_archive(database_url):
            pass
    assert os.listdir(tmp_path) == []
    async with Journal(database_url):
        pass
    async with open_archive(database_url) as archive:
        assert await archive.find() == []


async def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(ConfigurationError, match="there is no journal at"):
        async with open_archive(f"sqlite:///{path}"):
            pass


async def test_another_version_is_refused_unless_it_is_to_be_migrated(
    database_url: str, journal: Journal
) -> None:
    await _change(journal, "UPDATE effectmq_schema SET version = 0 WHERE component = 'journal'")
    with pytest.raises(SchemaVersionError, match="effectmq journal migrate"):
        async with open_archive(database_url):
            pass
    async with open_archive(database_url, any_version=True) as archive:
        assert archive.where
