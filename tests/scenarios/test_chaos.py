"""
Everything dies again and again, and nothing is lost; the same at any length is ``make soak``.

Workers, producers, the broker and the database are killed while effects are under way. Among the
effects is one that ends whoever runs it, and between them come messages that are no effects.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.brokers.node import BrokerNode
from tests.databases.cluster import Cluster
from tests.scenarios.chaos import parse, run_chaos
from tests.scenarios.checker import Report
from tests.scenarios.effects import calls
from tests.scenarios.faults import Chaos
from tests.scenarios.fleet import Fleet
from tests.scenarios.hostile import MALFORMED, TAMPERED, examine, killers, spread
from tests.scenarios.soak import RUNS

#: A little of everything.
_STORY = Chaos(
    effects=400,
    work_ms=100,
    in_flight=60,
    producers=2,
    killers=1,
    poison=4,
    worker_kills=6,
    producer_kills=4,
    broker_kills=1,
)


@pytest.mark.scenario
async def test_everything_is_killed_and_the_journal_has_one_outcome_for_each(
    private_broker: BrokerNode, private_recording_fleet: Fleet
) -> None:
    """Everybody is told once, the guilty are parked, and whoever asks again hears the same."""
    _judge(await run_chaos(private_broker, private_recording_fleet, _STORY), _STORY)


@pytest.mark.scenario
@pytest.mark.one_broker
async def test_everything_is_killed_and_the_database_with_it(
    private_broker: BrokerNode, private_postgres: Cluster, tmp_path: Path
) -> None:
    """The same with PostgreSQL, which goes and comes back in the middle."""
    chaos = replace(_STORY, broker_kills=0, database_kills=1)
    url = private_postgres.url
    with Fleet(tmp_path, private_broker.url, "chaos", journal=url) as fleet:
        report = await run_chaos(private_broker, fleet, chaos, database=private_postgres)
    _judge(report, chaos)


@pytest.mark.scenario
async def test_everything_is_killed_and_nobody_has_a_journal(
    private_broker: BrokerNode, private_fleet: Fleet
) -> None:
    """
    Bodies may run again after their answer, and still nothing is lost.

    Nobody knows which of them had begun when a worker died, so no killer is among them: it would
    take innocent ones along.
    """
    chaos = replace(_STORY, killers=0, max_deaths=100)
    _judge(await run_chaos(private_broker, private_fleet, chaos), chaos)


def _judge(report: Report, chaos: Chaos) -> None:
    print(report)
    assert report.problems() == []
    assert report.ok == chaos.effects
    assert report.told == Counter({"effectmq_crash_looping": chaos.killers})
    assert bool(report.about["deaths by a killer"]) == bool(chaos.killers)
    assert report.about["worker kills"] == chaos.worker_kills
    assert report.about["producer kills"] == chaos.producer_kills
    assert report.about["broker kills"] == chaos.broker_kills
    assert report.about["database kills"] == chaos.database_kills
    assert report.about["workers that ended by themselves"] == 0


def test_the_guilty_stand_among_the_innocent() -> None:
    """None of them is the first or the last, so that there is something to disturb."""
    names = [call["tool"] for call in spread(calls("work", 6), killers(2))]
    assert names == ["work", "work", "fatal", "work", "work", "fatal", "work", "work"]


@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_the_long_runs_are_what_chaos_understands(words: tuple[str, ...]) -> None:
    """A misspelt option would be found after half an hour, or never."""
    arguments = parse(words)
    assert arguments.effects >= 10_000
    assert (arguments.producers, arguments.broker_kills) == (2, 2)
    assert min(arguments.poison, arguments.worker_kills, arguments.producer_kills) > 0
    assert bool(arguments.killers) == (arguments.journal != "none")
    assert bool(arguments.database_kills_every) == (arguments.journal == "postgres")


def test_who_is_parked_wrongly_or_not_at_all_is_named() -> None:
    """The spared, those parked for something else, the innocent, and deaths without an end."""
    expected = {"spared": MALFORMED, "mistaken": TAMPERED, "deadly": "crash_looping"}
    letters = {"mistaken": {MALFORMED}, "deadly": {"crash_looping"}, "innocent": {"expired"}}
    runs = Counter({"deadly": 4, "mistaken": 1})
    assert examine(expected, letters, runs, 3) == [
        "deadly was run 4 times; 3 are allowed",
        "mistaken must be parked as tampered, and is parked as ['malformed']",
        "mistaken is tampered, and was run",
        "spared must be parked as malformed, and is parked as []",
        "innocent is innocent, and is parked as ['expired']",
    ]
    right = {"deadly": {"crash_looping"}}
    assert examine({"deadly": "crash_looping"}, right, Counter({"deadly": 3}), 3) == []
