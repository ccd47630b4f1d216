"""A process dies at each named point, another one goes on, and nobody's effect is lost."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from effectmq import Client
from effectmq.broker.crashpoints import CRASH_EXIT_CODE, CRASH_POINTS
from tests.scenarios.checker import conclude
from tests.scenarios.conftest import IDENTITY
from tests.scenarios.effects import Call, calls
from tests.scenarios.fleet import Fleet
from tests.scenarios.run_producer import run
from tests.scenarios.test_limits import ROOM_POINTS
from tests.waiting import eventually

# Where a process dies is ours; what each release then gives again, test_kills and test_chaos show.
pytestmark = [pytest.mark.scenario, pytest.mark.one_broker]

#: Of four processes that follow each other, the first three die at this arrival at their point.
_ARRIVALS = (1, 2, 10)
#: One more than their arrivals together, so that the last process has something left to do.
_EFFECTS = sum(_ARRIVALS) + 1


class Death(NamedTuple):
    """
    A point at which a worker dies, and what one death may cost.

    ``tool`` is what leads there; ``bodies`` how many times each of its bodies runs when nothing
    goes wrong; ``again`` and ``copies`` how many executions and answers may come on top.
    """

    point: str
    tool: str
    bodies: int
    again: int
    copies: int


#: The worker holds one effect at a time, so that the cost can be said exactly.
_DEATHS_WITHOUT_JOURNAL = (
    Death("after_deliver", "work", 1, again=0, copies=0),
    Death("mid_effect", "work", 1, again=0, copies=0),
    Death("after_effect", "work", 1, again=1, copies=0),
    Death("after_publish", "work", 1, again=1, copies=1),
    Death("after_reply", "work", 1, again=1, copies=1),
    # The acknowledged one is done; the broker may have answered with the next, and that one begun.
    Death("after_ack", "work", 1, again=1, copies=0),
    # Two messages of one effect then go their way: its first attempt and its second.
    Death("after_delay_publish", "flaky", 2, again=2, copies=1),
    Death("after_dead_publish", "refused", 1, again=1, copies=0),
)

#: Nothing runs again after its record, and every execution draws another number.
_DEATHS_WITH_JOURNAL = (
    Death("after_deliver", "draw", 1, again=0, copies=0),
    Death("after_claim", "draw", 1, again=0, copies=0),
    Death("mid_effect", "draw", 1, again=0, copies=0),
    # The one point between a body and its record.
    Death("after_effect", "draw", 1, again=1, copies=0),
    Death("after_record", "draw", 1, again=0, copies=0),
    Death("after_publish", "draw", 1, again=0, copies=1),
    Death("after_reply", "draw", 1, again=0, copies=1),
    Death("after_ack", "draw", 1, again=1, copies=0),
    # The journal knows that the first attempt was made, whichever message comes first.
    Death("after_delay_publish", "flaky", 2, again=0, copies=1),
    Death("after_dead_publish", "refused", 1, again=0, copies=0),
    Death("after_dead_note", "refused", 1, again=0, copies=0),
)

#: What a producer has got rid of when it dies at its Nth effect, beyond the N-1 before.
_PRODUCER_DEATHS = {"before_publish": 0, "after_publish": 1, "after_confirm": 1}


@pytest.mark.parametrize("death", _DEATHS_WITHOUT_JOURNAL, ids=lambda death: death.point)
async def test_workers_that_die_are_inherited(fleet: Fleet, death: Death) -> None:
    """Every effect is answered once or with equal copies, and bodies run no more than allowed."""
    await _deaths(fleet, death)


@pytest.mark.parametrize("death", _DEATHS_WITH_JOURNAL, ids=lambda death: death.point)
async def test_workers_with_a_journal_that_die_are_inherited(
    recording_fleet: Fleet, death: Death
) -> None:
    """The same, and what was recorded is what everybody hears of, byte for byte."""
    await _deaths(recording_fleet, death)


async def _deaths(fleet: Fleet, death: Death) -> None:
    """One worker after the other dies at the point, the next one inherits."""
    kind = "exec_code" if death.tool == "refused" else "tool_call"
    dying = fleet.worker(kind, concurrency=1, crash_at=f"{death.point}:{_ARRIVALS[0]}")
    await fleet.ready(dying)
    client = Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY)
    producing = asyncio.create_task(run(fleet.plan(calls(death.tool, _EFFECTS)), client))
    for nth in _ARRIVALS[1:]:
        assert await dying.ended() == CRASH_EXIT_CODE
        dying = fleet.worker(kind, concurrency=1, crash_at=f"{death.point}:{nth}")
    assert await dying.ended() == CRASH_EXIT_CODE
    heir = fleet.worker(kind)
    await producing

    assert heir.alive
    report = await conclude(fleet, IDENTITY)
    print(report)
    deaths = len(_ARRIVALS)
    assert report.problems() == []
    assert report.acknowledged == report.ok + report.told.total() == _EFFECTS
    assert report.bodies <= _EFFECTS * death.bodies + deaths * death.again
    assert report.duplicated <= deaths * death.copies
    parked = _EFFECTS if death.tool == "refused" else 0
    assert report.told["scenario_refused"] == parked
    assert parked <= report.parked["rejected"] == report.parked.total() <= parked + deaths


@pytest.mark.parametrize("point", _PRODUCER_DEATHS)
async def test_producers_that_die_go_on_where_they_were(fleet: Fleet, point: str) -> None:
    """
    Restarted under its identity, one asks for what it knows to be submitted and submits the rest.

    What was under way is submitted again, because nobody can know; that is the one body that may
    run twice. The last answer may come twice, since its acknowledgement dies with the producer.
    """
    again = len(_ARRIVALS) * _PRODUCER_DEATHS[point]
    await _producer_deaths(fleet, calls("work", _EFFECTS), point, bodies=_EFFECTS + again)


@pytest.mark.parametrize("point", _PRODUCER_DEATHS)
async def test_producers_that_die_before_workers_with_a_journal_cost_nothing(
    recording_fleet: Fleet, point: str
) -> None:
    """What is submitted again is answered from the record: no body runs twice."""
    await _producer_deaths(recording_fleet, calls("draw", _EFFECTS), point, bodies=_EFFECTS)


async def _producer_deaths(fleet: Fleet, plan: list[Call], point: str, bodies: int) -> None:
    """One producer after the other dies at the point; the last one does the rest."""
    await fleet.ready(fleet.worker())
    published = answered = 0
    for nth in _ARRIVALS:
        dying = fleet.producer(IDENTITY, plan[answered:], in_flight=1, crash_at=f"{point}:{nth}")
        assert await dying.ended() == CRASH_EXIT_CODE
        answered += nth - 1
        assert len(fleet.records.effects("acknowledged")) == answered
        assert len(fleet.records.effects("outcome")) == answered
        # Nobody listens, and it is carried out all the same.
        published = answered + _PRODUCER_DEATHS[point]
        await eventually(lambda: len(fleet.ledger.runs()) == published)  # noqa: B023 - awaited
    last = fleet.producer(IDENTITY, plan[answered:])
    assert await last.ended() == 0

    report = await conclude(fleet, IDENTITY)
    print(report)
    deaths = len(_ARRIVALS)
    assert report.problems() == []
    assert report.ok == report.acknowledged == len(plan)
    assert report.bodies <= bodies
    assert report.duplicated <= deaths * (_PRODUCER_DEATHS[point] + 1)


def test_every_crash_point_has_a_scenario() -> None:
    """A point that nobody dies at would be a promise that nobody checks."""
    replays = {point for point in CRASH_POINTS if point.startswith("replay_")}
    # Those of test_versions, test_schedules and test_debouncing, which need more than effects.
    replays |= {"after_version_publish", "after_schedule_publish", "after_debounce"}
    covered = {death.point for death in _DEATHS_WITH_JOURNAL} | set(_PRODUCER_DEATHS) | replays
    covered |= set(ROOM_POINTS)
    # Of what somebody else answers: test_answers.
    covered |= {"after_hand_out"}
    assert covered == set(CRASH_POINTS)
