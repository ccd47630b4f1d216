"""Many effects through a worker: each has its own end, and what is recorded is not asked again."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.transports.settings import DEFAULT_SETTINGS
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import (
    ConfigurationError,
    EffectTimeoutError,
    MalformedError,
    OutcomeFailedError,
    TransportClosedError,
    UnroutableError,
)
from effectmq.protocol.topology import TopologySettings
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from tests.brokers.provide import Brokers
from tests.brokers.sweep import sweep
from tests.conftest import _have, on_every_broker
from tests.consumers.stage import PATIENCE_S, nap, tool
from tests.waiting import eventually

#: What hangs on purpose is not waited for at the end.
AT_ONCE = WorkerSettings(shutdown_grace_s=0.2)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    on_every_broker(metafunc, "place")


class Place:
    """A broker with a worker, whose tool is held by a gate where the test wants that."""

    def __init__(self, url: str, namespace: str, journal: str | None) -> None:
        self.url = url
        self.topology = TopologySettings(namespace=namespace)
        self.journal = journal
        self.worker = EffectWorker(url, topology=self.topology, settings=AT_ONCE, journal=journal)
        self.ran: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def client(self, **options: Any) -> EffectClient:
        """A client of the same installation."""
        return EffectClient(self.url, topology=self.topology, **options)


@pytest.fixture
async def at(
    place: str, brokers: Brokers, namespace: str, tmp_path: Path, pytestconfig: pytest.Config
) -> AsyncIterator[Place]:
    url = f"memory://{namespace}"
    if place != "memory":
        url = _have(pytestconfig, brokers.shared, place).url
    made = Place(url, namespace, f"sqlite:///{tmp_path}/j.db")

    @made.worker.tool
    async def double(number: int) -> int:
        made.ran.append(number)
        await made.gate.wait()
        if number < 0:
            raise ValueError("too small")
        return 2 * number

    async with asyncio.timeout(PATIENCE_S), made.worker:
        yield made
    if place != "memory":
        sweep(url, namespace)


def effects(*numbers: int) -> Iterator[RuntimeEffectEnvelope]:
    """A call of the tool for each."""
    return (tool("double", f"e{number}", number=number) for number in numbers)


async def test_results_come_in_order_with_index_and_value(at: Place) -> None:
    async with at.client() as client:
        found = [each async for each in client.map(effects(*range(30)), in_flight=8)]
    assert [(each.index, each.value) for each in found] == [(n, 2 * n) for n in range(30)]
    assert all(each.reply is not None and each.reply.attempt == 1 for each in found)
    assert [each.envelope.invocation.effect_id() for each in found] == [f"e{n}" for n in range(30)]


async def test_results_come_as_they_are_ready(at: Place) -> None:
    at.gate.clear()

    async def with_a_slow_one() -> AsyncIterator[RuntimeEffectEnvelope]:
        for each in effects(*range(2)):
            yield each
        yield nap(1, "quick")

    async with (
        at.client() as client,
        aclosing(client.map(with_a_slow_one(), in_order=False)) as results,
    ):
        first = await anext(results)
        assert first.index == 2
        assert first.value is None
        at.gate.set()
        assert {(await anext(results)).index, (await anext(results)).index} == {0, 1}


async def test_one_that_fails_fails_alone_and_says_how(at: Place) -> None:
    """A failure of the tool has its outcome; what could not be sent has none."""
    too_large = tool("double", "large", number="x" * 2_000_000)

    async def mixed() -> AsyncIterator[RuntimeEffectEnvelope]:
        for each in (*effects(1, -1), too_large, *effects(2)):
            yield each

    async with at.client() as client:
        good, failed, large, last = [each async for each in client.map(mixed())]
    assert (good.value, last.value) == (2, 4)
    assert failed.failed
    assert isinstance(failed.error, OutcomeFailedError)
    assert failed.outcome is not None
    assert failed.value_or("none") == "none"
    with pytest.raises(OutcomeFailedError, match="too small"):
        _ = failed.value
    assert large.error is not None
    assert (large.outcome, large.handle, large.reply) == (None, None, None)


async def test_one_that_is_late_has_a_handle_to_wait_on(at: Place) -> None:
    at.gate.clear()
    async with at.client() as client:
        (late,) = [each async for each in client.map(effects(3), timeout=2)]
        assert isinstance(late.error, EffectTimeoutError)
        assert late.handle is not None
        at.gate.set()
        outcome = await late.handle.outcome(PATIENCE_S)
        assert outcome.value == 6


async def test_asked_again_nothing_runs_again(at: Place) -> None:
    """Somebody left in the middle; the second time goes on where that was."""
    async with at.client(journal=at.journal) as client:
        async for each in client.map(effects(*range(20)), in_flight=4):
            if each.index == 9:
                break
        found = [each async for each in client.map(effects(*range(20)))]
    assert [each.value for each in found] == [2 * number for number in range(20)]
    assert sorted(at.ran) == list(range(20))


async def test_what_was_submitted_goes_on_when_the_loop_is_left(at: Place) -> None:
    at.gate.clear()
    async with at.client() as client:
        async with aclosing(client.map(effects(*range(4)), in_flight=4)):
            pass
        assert at.ran == []
        results = client.map(effects(*range(4)), in_flight=4)
        reading = asyncio.ensure_future(anext(results))
        await eventually(lambda: len(at.ran) == 4)
        reading.cancel()
        await asyncio.wait([reading])
        await results.aclose()
        at.gate.set()
        for number in range(4):
            handle = client.attach(next(effects(number)))
            assert (await handle.outcome(PATIENCE_S)).value == 2 * number


@pytest.mark.parametrize("in_order", [True, False])
async def test_what_is_no_envelope_ends_it_with_its_place(in_order: bool, at: Place) -> None:
    def odd() -> Iterator[Any]:
        yield from effects(1)
        yield "not an envelope"

    async with at.client() as client:
        results = client.map(odd(), in_order=in_order)
        assert (await anext(results)).value == 2
        with pytest.raises(MalformedError, match=r"envelopes\[1\].*found a Python str"):
            await anext(results)


async def test_a_client_that_is_closed_ends_it(at: Place) -> None:
    """Instead of an error for each of what may be a million."""
    at.gate.clear()
    client = at.client()
    async with client:
        results = client.map(effects(*range(3)))
        reading = asyncio.ensure_future(anext(results))
        await eventually(lambda: len(at.ran) == 3)
    with pytest.raises(TransportClosedError):
        await reading
    with pytest.raises(TransportClosedError):
        async for _ in client.map(effects(9)):
            pass


@pytest.mark.parametrize("in_flight", [0, -1, True, 1.5, None, "100"])
async def test_what_is_no_number_of_places_is_refused_at_once(in_flight: Any) -> None:
    client = EffectClient("memory://")
    with pytest.raises(ConfigurationError, match="in_flight is"):
        client.map([], in_flight=in_flight)
    with pytest.raises(ConfigurationError, match="timeout is"):
        client.map([], timeout=-1)
    with pytest.raises(ConfigurationError, match="deadline_s is"):
        client.submit_many([], deadline_s=-1)


# submit_many -------------------------------------------------------------------------------------


async def test_many_are_submitted_and_answered_later(at: Place) -> None:
    at.gate.clear()
    async with at.client() as client:
        handles = [one.handle async for one in client.submit_many(effects(*range(250)))]
        assert client.counters["submitted"] == 250
        at.gate.set()
        found = await asyncio.gather(*(each.outcome(PATIENCE_S) for each in handles))
    assert [each.value for each in found] == [2 * number for number in range(250)]


async def test_what_cannot_be_submitted_says_so_alone(at: Place) -> None:
    """No worker ever consumed the kind of the second."""
    worker = at.client()
    async with worker as client:
        given = [*effects(1), tool("double", "gone", number=1), *effects(2)]
        lanes = [one async for one in client.submit_many(given, lane="nowhere", timeout=5)]
        assert all(isinstance(one.error, UnroutableError) for one in lanes)
        with pytest.raises(UnroutableError):
            _ = lanes[0].handle
        large = tool("double", "large", number="x" * 2_000_000)
        mixed = [one async for one in client.submit_many([*effects(1), large, *effects(2)])]
    assert [one.error is None for one in mixed] == [True, False, True]
    assert [one.index for one in mixed] == [0, 1, 2]


async def test_as_many_are_unconfirmed_as_the_window_has_places(
    at: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No round trip for each: when the first is confirmed, others have been begun."""
    begun, most = set[str](), 0
    submit = EffectClient.submit

    async def watched(self: EffectClient, envelope: RuntimeEffectEnvelope, **how: Any) -> Any:
        nonlocal most
        begun.add(envelope.invocation.effect_id())
        most = max(most, len(begun))
        try:
            return await submit(self, envelope, **how)
        finally:
            begun.discard(envelope.invocation.effect_id())

    monkeypatch.setattr(EffectClient, "submit", watched)
    async with at.client() as client:
        window = DEFAULT_SETTINGS.publish_window
        async for one in client.submit_many(effects(*range(5 * window))):
            assert one.error is None
    assert 1 < most <= 2 * window


# A progress line ----------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """As it was made."""
        return self._terminal


@pytest.mark.parametrize(("asked", "terminal"), [(True, True), (True, False), (False, True)])
async def test_progress_is_shown_when_asked_for_and_on_a_terminal(
    asked: bool, terminal: bool, at: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("effectmq.broker.progress_line._EVERY_S", 0.0)
    shown = Terminal(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", shown)
    async with at.client() as client:
        async for each in client.map(list(effects(1, 2)), progress=asked):
            assert not each.failed
    if asked and terminal:
        assert "2 of 2 effects" in shown.getvalue()
        assert shown.getvalue().endswith("\r\x1b[K")
    else:
        assert not shown.getvalue()
