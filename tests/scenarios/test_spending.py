"""Workers die around the record of what was spent; the sums are those of the recorded outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import reduce

import pytest

from effectmq import Client
from effectmq.broker.crashpoints import CRASH_EXIT_CODE
from effectmq.broker.store.journal.archive.archive import Archive, open_archive
from effectmq.broker.store.journal.archive.browsing.inside import insides
from effectmq.broker.store.journal.archive.summaries import EffectFilter
from effectmq.broker.store.spend.book import SpendBook
from effectmq.broker.store.spend.reading import SpendRow
from effectmq.broker.store.spend.records import DIMENSIONS, Sums
from effectmq.protocol import LlmContentBlockText, LlmMessage, LlmRequestSpec
from tests.scenarios.conftest import IDENTITY
from tests.scenarios.fleet import Fleet, FleetProcess
from tests.waiting import eventually

pytestmark = [pytest.mark.scenario, pytest.mark.one_broker]

_APP = "tests.scenarios.spending_app:app"
_CALLS = 24
_TOOLS = 4
_PATIENCE_S = 120.0
#: At the price of the scripted model: 4 words in, 3 out.
_NANOS = 4 * 2_000 + 3 * 10_000
#: Before the record, and after it.
_DEATHS = ("after_effect:3", "after_record:3")


async def test_sums_are_those_of_the_outcomes_in_sqlite(recording_fleet: Fleet) -> None:
    """Whoever died, and whatever was asked again."""
    await _spending(recording_fleet)


@pytest.mark.postgres
async def test_sums_are_those_of_the_outcomes_in_postgres(fleet: Fleet, postgres_url: str) -> None:
    """The same, where workers write side by side."""
    fleet.journal = postgres_url
    await _spending(fleet)


async def _spending(fleet: Fleet) -> None:
    client = Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY)
    dying = _worker(fleet, _DEATHS[0])
    await fleet.ready(dying)
    async with client:
        asking = [asyncio.create_task(_ask(client, number)) for number in range(_CALLS)]
        for death in _DEATHS[1:]:
            assert await dying.ended() == CRASH_EXIT_CODE
            dying = _worker(fleet, death)
        assert await dying.ended() == CRASH_EXIT_CODE
        victim, heir = _worker(fleet), _worker(fleet)
        asking += [asyncio.create_task(_pay(client, number)) for number in range(_TOOLS)]
        await eventually(lambda: any(task.done() for task in asking))
        victim.kill9()
        await asyncio.gather(*asking)
        # Asked again, it is answered from the record.
        await asyncio.gather(*(_ask(client, number) for number in range(_CALLS)))
        assert heir.alive
        async with open_archive(fleet.journal, namespace=fleet.namespace) as archive:
            await _check(archive)


def _worker(fleet: Fleet, crash_at: str = "") -> FleetProcess:
    return fleet.worker("llm_call", "tool_call", app=_APP, concurrency=2, crash_at=crash_at)


async def _ask(client: Client, number: int) -> None:
    said = LlmContentBlockText(text="what is the price", cache_breakpoint=False)
    request = LlmRequestSpec(
        model="priced",
        messages=[LlmMessage(role="User", blocks=[said])],
        attachments=[],
        tools=[],
        tool_choice="Auto",
    )
    turn = client.turn(f"s-{number % 3}", f"t-{number}", tenant=("acme", "bolt")[number % 2])
    await turn.llm_call(request, timeout=_PATIENCE_S)


async def _pay(client: Client, number: int) -> None:
    turn = client.turn("tools", f"t-{number}", tenant="acme")
    await turn.tool_call("paid", {}, call_id="c", timeout=_PATIENCE_S)


async def _check(archive: Archive) -> None:
    """Every recorded outcome is in the ledger, and the sums are those of the ledger."""
    book = SpendBook(archive.database)
    # The wait before another attempt is a sleep of its own, which costs nothing.
    found = await archive.find(EffectFilter(kinds=("llm_call", "tool_call")), limit=100)
    effects = [effect for effect in found if effect.status == "completed"]
    assert len(effects) == _CALLS + _TOOLS
    read = await archive.database.read(lambda tx: insides(tx, effects))
    spent = await book.of([effect.identity for effect in effects])
    for effect, inside, row in zip(effects, read, spent, strict=True):
        assert row is not None
        if effect.kind == "llm_call":
            assert inside.tokens is not None
            assert row.sums == Sums(1, inside.tokens.input, inside.tokens.output, 0, _NANOS)
        else:
            # A worker that died with an attempt took what that had paid for along.
            assert 1 <= row.sums.calls <= 2
            assert row.sums.nanos == row.sums.calls * 250_000_000
    rows = [row for row in spent if row is not None]
    total = sum_of(row.sums for row in rows)
    assert await book.by("all") == [SpendRow("", total)]
    assert sum_of((await book.days()).values()) == total
    for by in DIMENSIONS:
        assert sum_of(row.sums for row in await book.by(by)) == total
    acme = next(row for row in await book.by("tenant") if row.name == "acme")
    assert acme.sums == sum_of(row.sums for row in rows if row.name == "acme")


def sum_of(parts: Iterable[Sums]) -> Sums:
    """All of them together."""
    return reduce(Sums.plus, parts, Sums())
