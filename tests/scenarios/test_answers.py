"""What somebody else answers survives whoever dies meanwhile, on both databases."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from effectmq import Client
from effectmq.broker.client.asking.completing import Given
from effectmq.broker.crashpoints import CRASH_EXIT_CODE
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.journal.handed_out.values import Settle
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Accepted
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome, RuntimeEffectOutcomeToolCall
from tests.brokers.provide import Broker
from tests.scenarios.conftest import IDENTITY, sqlite_in
from tests.scenarios.effects import calls, envelopes
from tests.scenarios.fleet import Fleet
from tests.waiting import eventually

# Which process dies is ours; what each release then gives again, test_kills and test_chaos show.
pytestmark = [pytest.mark.scenario, pytest.mark.one_broker]

_PATIENCE_S = 30.0
#: One level, so that a message on its round is back soon.
_LEVELS_MS = (1_100,)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def asking_fleet(
    request: pytest.FixtureRequest, broker: Broker, namespace: str, tmp_path: Path
) -> AsyncGenerator[Fleet]:
    """Workers with a journal in each database."""
    url = sqlite_in(tmp_path)
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    with Fleet(tmp_path, broker.url, namespace, delay_levels_ms=_LEVELS_MS, journal=url) as fleet:
        yield fleet


async def _waiting(fleet: Fleet, count: int) -> None:
    """Until so many effects are handed out."""

    async def counted() -> bool:
        async with open_archive(fleet.journal, namespace=fleet.namespace) as archive:
            return (await archive.waiting())[1] == count

    await eventually(counted, _PATIENCE_S)


def _asked(count: int, **args: Any) -> list[RuntimeEffectEnvelope]:
    return envelopes(calls("ask", count, **args))


def _value(outcome: RuntimeEffectOutcome) -> object:
    assert isinstance(outcome, RuntimeEffectOutcomeToolCall)
    return outcome.result.output.outcome.payload


async def test_a_worker_dies_before_it_lets_go_of_what_it_handed_out(asking_fleet: Fleet) -> None:
    """The next one sends it round; nobody is asked twice."""
    fleet = asking_fleet
    dying = fleet.worker(crash_at="after_hand_out:1")
    async with Client(
        fleet.broker, namespace=fleet.namespace, identity=IDENTITY, journal=fleet.journal
    ) as client:
        await fleet.ready(dying)
        (envelope,) = _asked(1)
        handle = await client.submit(envelope)
        assert await dying.ended() == CRASH_EXIT_CODE
        await fleet.ready(fleet.worker())
        assert await client.complete(envelope, 7)
        assert _value(await handle.outcome(_PATIENCE_S)) == 7
    assert fleet.ledger.runs().total() == 1


async def test_everybody_dies_and_each_answer_arrives(asking_fleet: Fleet) -> None:
    """Workers and callers are killed while it waits, and it is answered while nobody is there."""
    fleet = asking_fleet
    first = fleet.worker()
    await fleet.ready(first)
    plan = _asked(4)
    async with Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY) as client:
        for envelope in plan:
            await client.submit(envelope)
        await _waiting(fleet, len(plan))
    first.kill9()

    async with Client(fleet.broker, namespace=fleet.namespace, journal=fleet.journal) as person:
        for number, envelope in enumerate(plan[:2]):
            assert await person.complete(envelope, number)
    # Whoever answered these died between the record and the message to a worker.
    async with Journal(fleet.journal, namespace=fleet.namespace) as journal:
        for number, envelope in enumerate(plan[2:], 2):
            await _settled(journal, client, envelope, number)

    async with Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY) as client:
        handles = [client.attach(envelope) for envelope in plan]
        await fleet.ready(fleet.worker())
        told = [_value(await handle.outcome(_PATIENCE_S)) for handle in handles]
    assert told == [0, 1, 2, 3]
    assert fleet.ledger.runs().total() == len(plan)


async def _settled(
    journal: Journal, client: Client, envelope: RuntimeEffectEnvelope, value: int
) -> None:
    request, _ = client._prepare(envelope)
    asked = await journal.asked_of(request.identity)
    assert asked is not None
    said = Settle(request.identity, asked.question.token_hash, *Given(value).ending(asked))
    assert await journal.settle(said) == Accepted()


async def test_a_deadline_passes_while_nobody_is_there(asking_fleet: Fleet) -> None:
    """It has failed when a worker is there again, and whoever answers hears that."""
    fleet = asking_fleet
    first = fleet.worker()
    await fleet.ready(first)
    (envelope,) = _asked(1, s=0.001)
    async with Client(
        fleet.broker, namespace=fleet.namespace, identity=IDENTITY, journal=fleet.journal
    ) as client:
        handle = await client.submit(envelope)
        await eventually(lambda: fleet.ledger.runs().total() == 1, _PATIENCE_S)
        first.kill9()
        await fleet.ready(fleet.worker())
        failure = _value(await handle.outcome(_PATIENCE_S))
        assert getattr(failure, "code", None) == "effectmq_unanswered"
        assert not await client.complete(envelope, 7)
