"""The agent of the examples on RabbitMQ: killed amid a turn, it goes on; nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.protocol.kinds import EFFECT_KINDS
from tests.brokers.provide import Broker
from tests.scenarios.fleet import Fleet, FleetProcess
from tests.waiting import eventually

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]

_ANSWER = "Done: 40 apples for 1000 cents, with the carrier."
_APP = "examples.agent.worker:app"
#: A turn, with everything that is taken over after its lease.
_TURN_S = 60.0


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """What all processes of a test share."""
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture
def fleet(broker: Broker, namespace: str, tmp_path: Path, journal: str) -> Iterator[Fleet]:
    """Processes of this namespace that count the bodies of their tools."""
    more = {"EFFECTMQ_JOURNAL": journal, "AGENT_LEDGER": str(tmp_path / "bodies")}
    with Fleet(tmp_path, broker.url, namespace, journal=journal, environment=more) as fleet:
        yield fleet


def bodies(fleet: Fleet) -> list[str]:
    """The tools whose bodies ran, in order."""
    path = fleet.folder / "bodies"
    return path.read_text().split() if path.exists() else []


def told(program: FleetProcess) -> str:
    """What a program has written."""
    return program.log_path.read_text()


async def recorded(fleet: Fleet, journal: str) -> dict[object, int]:
    """What has its outcome, and how many attempts that took."""
    async with open_archive(journal, namespace=fleet.namespace) as archive:
        effects = await archive.find(limit=1_000)
    return {one.identity: one.attempts for one in effects if one.status == "completed"}


def workers_of(namespace: str) -> list[str]:
    """The worker processes of a namespace, whoever started them."""
    mine = f"EFFECTMQ_NAMESPACE={namespace}".encode()
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile, or somebody else's
            variables = (process / "environ").read_bytes().split(b"\0")
            words = (process / "cmdline").read_bytes().split(b"\0")
            if mine in variables and _APP.encode() in words:
                found.append(process.name)
    return found


async def test_a_tool_worker_killed_while_it_ships_is_inherited(fleet: Fleet, journal: str) -> None:
    """One process for each kind; one dies, another takes over, and the turn does not notice."""
    others = [kind for kind in EFFECT_KINDS if kind != "tool_call"]
    workers = [fleet.worker(kind, app=_APP) for kind in others]
    victim = fleet.worker("tool_call", app=_APP)
    await fleet.ready(*workers, victim)
    agent = fleet.program("agent", "examples.agent", "--no-workers")

    await eventually(lambda: bodies(fleet)[-1:] == ["ship"], _TURN_S)
    victim.kill9()
    before = await recorded(fleet, journal)
    fleet.worker("tool_call", app=_APP)

    assert await agent.ended(_TURN_S) == 0, agent.log_tail()
    assert _ANSWER in told(agent)
    after = await recorded(fleet, journal)
    assert {identity: after[identity] for identity in before} == before
    # Of what was running, and only of that, the body may have run twice.
    assert bodies(fleet) in (
        [*before_shipping, *["ship"] * times]
        for times in (1, 2)
        for before_shipping in (["stock", "supplier", "price"], ["supplier", "stock", "price"])
    )


async def test_the_whole_command_killed_goes_on_when_it_is_run_again(
    fleet: Fleet, journal: str
) -> None:
    """Its workers go with it; the next run has the answer, and the one after it runs nothing."""
    killed = fleet.program("killed", "examples.agent", "--broker", fleet.broker)
    await eventually(lambda: "\ncode " in told(killed), _TURN_S)
    assert len(workers_of(fleet.namespace)) == len(EFFECT_KINDS)
    killed.kill9()
    await eventually(lambda: not workers_of(fleet.namespace), _TURN_S)
    before = await recorded(fleet, journal)
    assert before

    again = fleet.program("again", "examples.agent", "--broker", fleet.broker)
    assert await again.ended(_TURN_S) == 0, again.log_tail()
    assert _ANSWER in told(again)
    after = await recorded(fleet, journal)
    assert {identity: after[identity] for identity in before} == before

    silent = fleet.program("silent", "examples.agent", "--no-workers")
    assert await silent.ended(_TURN_S) == 0, silent.log_tail()
    assert _ANSWER in told(silent)
    assert "handlers ran: 0;" in told(silent)
    assert await recorded(fleet, journal) == after
