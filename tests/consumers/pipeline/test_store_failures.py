"""
Whatever the journal raises, at whichever call: the effect ends, and its slot is free.

Every class of exception that a store can give, those of both drivers among them, is thrown at every
call of the port: once, as an outage that passes; and for ever, as what no patience heals.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.store.database.faults import verdict_of
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import (
    Abandon,
    Begin,
    Claim,
    Letter,
    Record,
    Release,
    Renew,
)
from effectmq.consumers.decisions.retry import NO_RETRY
from effectmq.consumers.pipeline import journal_leases as leases
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    EffectFailedError,
    EffectmqError,
    InvalidEnvelopeError,
    NotStorableError,
    RejectEffectError,
    SchemaVersionError,
)
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import NAMES, PATIENCE_S, Stage, code, hurry, nap
from tests.waiting import eventually

Throw = Callable[[], BaseException]

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))


def _states() -> dict[str, type[psycopg.Error]]:
    """One class of the driver for each class of SQLSTATE."""
    found: dict[str, type[psycopg.Error]] = {}
    for type_ in vars(psycopg.errors).values():
        if isinstance(type_, type) and issubclass(type_, psycopg.Error) and type_.sqlstate:
            found.setdefault(type_.sqlstate[:2], type_)
    return found


def _everything() -> dict[str, Throw]:
    plain: list[type[BaseException]] = [
        OSError,
        TimeoutError,
        ConnectionResetError,
        PermissionError,
        EOFError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        AssertionError,
        RuntimeError,
        RecursionError,
        MemoryError,
        OverflowError,
        StopIteration,
        asyncio.CancelledError,
        concurrent.futures.CancelledError,
        asyncio.InvalidStateError,
        DatabaseUnavailableError,
        NotStorableError,
        ConfigurationError,
        EffectmqError,
        sqlite3.Warning,
        sqlite3.Error,
        sqlite3.InterfaceError,
        sqlite3.DatabaseError,
        sqlite3.DataError,
        sqlite3.OperationalError,
        sqlite3.IntegrityError,
        sqlite3.InternalError,
        sqlite3.ProgrammingError,
        sqlite3.NotSupportedError,
        psycopg.Error,
        psycopg.InterfaceError,
        psycopg.DatabaseError,
        psycopg.DataError,
        psycopg.OperationalError,
        psycopg.IntegrityError,
        psycopg.InternalError,
        psycopg.ProgrammingError,
        psycopg.NotSupportedError,
    ]
    made: dict[str, Throw] = {}
    for type_ in plain:
        name = f"{type_.__module__}.{type_.__name__}"
        made[name] = lambda type_=type_: type_("thrown")  # type: ignore[misc]
    for state, driver in _states().items():
        made[f"SQLSTATE {state}"] = lambda driver=driver: driver("thrown")  # type: ignore[misc]
    made["UnicodeEncodeError"] = lambda: UnicodeEncodeError("latin-1", "ü", 0, 1, "thrown")
    made["UnicodeDecodeError"] = lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "thrown")
    made["InvalidEnvelopeError"] = lambda: InvalidEnvelopeError("effectmq_x", "thrown")
    made["RejectEffectError"] = lambda: RejectEffectError("x", "thrown")
    made["SchemaVersionError"] = lambda: SchemaVersionError("journal", 1, 2, "sqlite:///x")
    return made


EVERYTHING = _everything()
PASSING = {name for name, throw in EVERYTHING.items() if verdict_of(throw()) == "unavailable"}


class Faults:
    """
    Throws at a call of the journal, for the effects that it was told of.

    Args:
        monkeypatch: Puts it in the journal's place.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._planned: dict[tuple[str, str], tuple[Throw, float]] = {}
        self.thrown: Counter[tuple[str, str]] = Counter()
        for method in ("claim", "record", "hand_back", "look"):
            monkeypatch.setattr(Journal, method, self._instead(getattr(Journal, method)))

    def plan(self, call: str, request: Request, throw: Throw, times: float) -> None:
        """Throw so many times when this is asked of the effect."""
        self._planned[call, request.replay_key] = throw, times

    def _instead(self, real: Callable[..., asyncio.Future[Any]]) -> Callable[..., Any]:
        def asked(journal: Journal, what: Any, *more: Any) -> asyncio.Future[Any]:
            identity = getattr(what, "identity", what)
            key = _CALLS.get(type(what), "look"), identity.replay_key
            throw, times = self._planned.get(key, (None, 0.0))
            if throw is None or self.thrown[key] >= times:
                return real(journal, what, *more)
            self.thrown[key] += 1
            problem = throw()
            # By turns at once and from the future; a future does not take every exception.
            at_once = self.thrown[key] % 2 or isinstance(problem, StopIteration)
            if at_once and isinstance(problem, Exception):
                raise problem
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.set_exception(problem)
            return future

        return asked


_CALLS: dict[type, str] = {
    Claim: "claim",
    Record: "record",
    Release: "release",
    Abandon: "abandon",
    Begin: "begin",
    Renew: "renew",
    Letter: "letter",
}


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Nothing is thrown before it is planned; an outage is asked about again at once."""
    monkeypatch.setattr(leases, "_AGAIN_S", 0.001)
    monkeypatch.setattr(leases, "_AGAIN_MAX_S", 0.002)
    hurry(monkeypatch)
    return Faults(monkeypatch)


@pytest.fixture
async def app(stage: Stage, tmp_path: Path) -> EffectWorker:
    """A worker with few slots: one that is lost is missed."""
    worker = stage.worker(
        journal=f"sqlite:///{tmp_path}/journal.db", concurrency=4, lease_s=5, max_crashes=1
    )

    @worker.handler("exec_code", retry=NO_RETRY)
    async def run(command: Any) -> object:
        if command.code == "fail":
            raise RejectEffectError("no", "it is refused")
        return DONE

    return await stage.start(worker)


async def ended(client: EffectClient, envelope: RuntimeEffectEnvelope) -> str:
    """How an effect ended for its caller: ``done``, or the code of its error."""
    handle = await client.submit(envelope)
    try:
        await handle.outcome(PATIENCE_S)
    except EffectFailedError as problem:
        return problem.code
    return "done"


async def assert_free(stage: Stage, app: EffectWorker, client: EffectClient) -> None:
    """Nothing is kept anywhere, and as many effects as there are slots run."""
    for route in ("exec_code", "sleep"):
        await stage.idle(app, route)
    running = app._running
    assert running is not None
    await eventually(lambda: not any(route.jobs for route in running._routes))
    again = [ended(client, code("", f"again-{n}")) for n in range(app.settings.concurrency)]
    assert set(await asyncio.gather(*again)) == {"done"}


def make(call: str, effect_id: str) -> RuntimeEffectEnvelope:
    """An effect on whose way this is asked of the journal."""
    if call == "release":
        # Long enough that it goes over a delay level however slow the machine is.
        return nap(1_000, effect_id)
    return code("fail" if call == "letter" else "", effect_id)


@pytest.mark.parametrize("call", ["claim", "record", "release", "letter"])
async def test_an_exception_once_ends_in_an_outcome_or_in_a_parking(
    stage: Stage, app: EffectWorker, faults: Faults, call: str
) -> None:
    """What passes is waited for, and the rest is told and parked; never a loop."""
    client = await stage.client()
    effects = {name: make(call, name) for name in EVERYTHING}
    for name, envelope in effects.items():
        faults.plan(call, Request.seal(envelope), EVERYTHING[name], 1)
    found = dict(
        zip(
            effects,
            await asyncio.gather(*(ended(client, one) for one in effects.values())),
            strict=True,
        )
    )
    if call == "letter":
        # It is parked already, and nothing depends on the note that its letter is out.
        assert set(found.values()) == {"no"}
    else:
        assert {name for name, how in found.items() if how == "done"} == PASSING
        await stage.parked(len(EVERYTHING) - len(PASSING))
    assert sum(faults.thrown.values()) == len(EVERYTHING)
    await assert_free(stage, app, client)


@pytest.mark.parametrize("call", ["claim", "record", "release"])
async def test_an_exception_for_ever_ends_in_a_parking_too(
    stage: Stage, app: EffectWorker, faults: Faults, call: str
) -> None:
    """Also when the parking itself cannot be recorded: the broker has the count."""
    client = await stage.client()
    effects = {name: make(call, name) for name in EVERYTHING if name not in PASSING}
    for name, envelope in effects.items():
        faults.plan(call, Request.seal(envelope), EVERYTHING[name], float("inf"))
    found = await asyncio.gather(*(ended(client, one) for one in effects.values()))
    assert "done" not in found
    await stage.parked(len(effects))
    await assert_free(stage, app, client)


async def test_what_is_unavailable_for_long_leaves_the_effect_unsettled_and_is_said(
    stage: Stage, app: EffectWorker, faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is acknowledged unrecorded; it is said once, and again when it is over."""
    client = await stage.client()
    request = Request.seal(code("", "1"))
    faults.plan("record", request, lambda: OSError("the disk is away"), 50)
    handle = await client.submit(code("", "1"))
    await eventually(lambda: faults.thrown["record", request.replay_key] >= 10)
    assert stage.unsettled("exec_code") == 1
    running = app._running
    assert running is not None
    kept = running._leases
    assert isinstance(kept, leases.JournalLeases)
    assert "the disk is away" in kept.down
    assert (app.health.state, app.ready) == ("waiting", False)
    assert app.health.detail.startswith("the journal: ")
    assert "the disk is away" in app.health.detail
    assert await handle.outcome(PATIENCE_S) == DONE
    assert kept.down == ""
    assert app.ready
    actions = [getattr(one, "action", "") for one in caplog.records]
    assert actions.count("journal_down") == 1
    await assert_free(stage, app, client)


async def test_renewals_go_on_whatever_a_renewal_raises(
    stage: Stage, tmp_path: Path, faults: Faults
) -> None:
    """The lease is kept by the next one, and the effect ends with its own outcome."""
    url = f"sqlite:///{tmp_path}/renewed.db"
    worker = stage.worker(journal=url, concurrency=len(EVERYTHING), lease_s=3)
    finish = asyncio.Event()

    @worker.handler("exec_code")
    async def run(command: object) -> object:
        await finish.wait()
        return DONE

    await stage.start(worker)
    client = await stage.client()
    effects = {name: code("", name) for name in EVERYTHING}
    for name, envelope in effects.items():
        faults.plan("renew", Request.seal(envelope), EVERYTHING[name], 1)
    handles = [await client.submit(envelope) for envelope in effects.values()]
    await eventually(lambda: sum(faults.thrown.values()) == len(EVERYTHING), timeout_s=30)
    finish.set()
    for handle in handles:
        assert await handle.outcome(PATIENCE_S) == DONE


async def test_a_worker_leaves_whatever_giving_back_a_lease_raises(
    stage: Stage, tmp_path: Path, faults: Faults
) -> None:
    """It ends within its time, and the broker has its effects."""
    url = f"sqlite:///{tmp_path}/left.db"
    worker = stage.worker(journal=url, concurrency=len(EVERYTHING))
    begun: list[object] = []

    @worker.handler("exec_code")
    async def run(command: object) -> object:
        begun.append(command)
        await asyncio.Event().wait()
        return DONE

    await worker.start()
    client = await stage.client()
    for name, throw in EVERYTHING.items():
        faults.plan("abandon", Request.seal(code("", name)), throw, 1)
        await client.submit(code("", name))
    await eventually(lambda: len(begun) == len(EVERYTHING))
    async with asyncio.timeout(PATIENCE_S):
        await worker.stop(0.0)
    await eventually(lambda: stage.ready(NAMES.work_queue("exec_code")) == len(EVERYTHING))


async def test_what_comes_out_of_limbo_ends_whatever_looking_it_up_raises(
    stage: Stage, app: EffectWorker, faults: Faults
) -> None:
    """It goes home and is done, or it is parked."""
    client = await stage.client("a")
    transport = await stage.transport()
    for name, throw in EVERYTHING.items():
        request = Request.seal(code("", name), reply_to=NAMES.reply_queue("a"))
        faults.plan("look", request, throw, 1)
        handle = client.attach(code("", name))
        await transport.publish(NAMES.limbo, "exec_code", request.message)
        try:
            await handle.outcome(PATIENCE_S)
            assert name in PASSING
        except EffectFailedError:
            assert name not in PASSING
    assert app.counters["collected"] == len(EVERYTHING)
    await assert_free(stage, app, client)


def test_every_class_has_a_verdict_that_fits() -> None:
    """The ones that matter most, by name."""
    said = {name: verdict_of(throw()) for name, throw in EVERYTHING.items()}
    for name in ("SQLSTATE 08", "SQLSTATE 53", "SQLSTATE 57", "SQLSTATE 40", "SQLSTATE 25"):
        assert said[name] == "unavailable"
    for name in ("SQLSTATE 22", "SQLSTATE 23", "SQLSTATE 54", "UnicodeEncodeError"):
        assert said[name] == "unstorable"
    assert said["SQLSTATE 42"] == "unavailable", "somebody else's migration is no effect's fault"
    assert said["builtins.TypeError"] == said["builtins.MemoryError"] == "defect"
    assert said["sqlite3.OperationalError"] == "unavailable"
    assert said["sqlite3.DataError"] == "unstorable"
