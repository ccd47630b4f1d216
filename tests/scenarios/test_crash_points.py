"""A process dies at each named point, another one goes on, and nobody's effect is lost."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from effectmq import Client
from effectmq.broker.crashpoints import CRASH_EXIT_CODE, CRASH_POINTS
from tests.scenarios.checker import conclude
from tests.scenarios.conftest import IDENTITY
from tests.scenarios.effects import calls, effect_id
from tests.scenarios.fleet import Fleet
from tests.scenarios.run_producer import run
from tests.waiting import eventually

pytestmark = pytest.mark.scenario

_EFFECTS = 5


class Death(NamedTuple):
    """
    A point at which a worker dies, and what that may cost.

    ``tool`` is what leads there; ``bodies`` how many times each of its bodies runs when nothing
    goes wrong; ``again`` and ``copies`` how many executions and answers may come on top.
    """

    point: str
    tool: str
    bodies: int
    again: int
    copies: int


#: The worker holds one effect at a time, so that the cost can be said exactly.
_WORKER_DEATHS = (
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

#: What a producer has got rid of when it dies at its Nth effect, beyond the N-1 before.
_PRODUCER_DEATHS = {"before_publish": 0, "after_publish": 1, "after_confirm": 1}


@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("death", _WORKER_DEATHS, ids=lambda death: death.point)
async def test_a_worker_that_dies_is_inherited(fleet: Fleet, death: Death, nth: int) -> None:
    """Every effect is answered once or with equal copies, and bodies run no more than allowed."""
    go = fleet.folder / "go"
    kind = "exec_code" if death.tool == "refused" else "tool_call"
    dying = fleet.worker(kind, concurrency=1, crash_at=f"{death.point}:{nth}")
    heir = fleet.worker(kind, standby=go)
    await fleet.ready(dying)
    client = Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY)
    producing = asyncio.create_task(run(fleet.plan(calls(death.tool, _EFFECTS)), client))

    assert await dying.ended() == CRASH_EXIT_CODE
    go.touch()
    await producing

    assert heir.alive
    report = await conclude(fleet, IDENTITY)
    print(report)
    assert report.problems() == []
    assert report.acknowledged == report.ok + report.told.total() == _EFFECTS
    assert report.bodies <= _EFFECTS * death.bodies + death.again
    assert report.duplicated <= death.copies
    parked = _EFFECTS if death.tool == "refused" else 0
    assert report.told["scenario_refused"] == parked
    assert parked <= report.parked["rejected"] == report.parked.total() <= parked + (parked > 0)


@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("point", _PRODUCER_DEATHS)
async def test_a_producer_that_dies_goes_on_where_it_was(
    fleet: Fleet, point: str, nth: int
) -> None:
    """
    Restarted under its identity it asks for what it knows to be submitted and submits the rest.

    What was under way is submitted again, because nobody can know; that is the one body that may
    run twice. The last answer may come twice, since its acknowledgement dies with the producer.
    """
    worker = fleet.worker()
    await fleet.ready(worker)
    plan = calls("work", _EFFECTS)

    dying = fleet.producer(IDENTITY, plan, in_flight=1, crash_at=f"{point}:{nth}")
    assert await dying.ended() == CRASH_EXIT_CODE
    published = nth - 1 + _PRODUCER_DEATHS[point]
    # Nobody listens, and it is carried out all the same.
    await eventually(lambda: fleet.ledger.runs().total() == published)

    acknowledged = fleet.records.effects("acknowledged")
    answered = fleet.records.effects("outcome")
    assert len(acknowledged) == len(answered) == nth - 1
    rest = [call for call in plan if effect_id(call) not in acknowledged]
    again = fleet.producer(IDENTITY, rest)
    assert await again.ended() == 0

    report = await conclude(fleet, IDENTITY)
    print(report)
    assert report.problems() == []
    assert report.ok == report.acknowledged == _EFFECTS
    assert report.bodies <= _EFFECTS + _PRODUCER_DEATHS[point]
    assert report.duplicated <= _PRODUCER_DEATHS[point] + 1


def test_every_crash_point_has_a_scenario() -> None:
    """A point that nobody dies at would be a promise that nobody checks."""
    replays = {point for point in CRASH_POINTS if point.startswith("replay_")}
    covered = {death.point for death in _WORKER_DEATHS} | set(_PRODUCER_DEATHS) | replays
    assert covered == set(CRASH_POINTS)
