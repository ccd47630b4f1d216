"""Rates of queues out of two looks."""

from __future__ import annotations

from effectmq.broker.queues.rates import Rates, Sample, rates_between, sample_of
from effectmq.protocol.messages.fleet.reports import RouteReport, WorkerReport


def worker(name: str, taken: int, started_ms: int = 0) -> WorkerReport:
    route = RouteReport(route="sleep", slots=1, in_flight=0, consuming=True, taken=taken)
    return WorkerReport(
        name=name,
        host="h",
        pid=1,
        app_version="",
        version="1",
        state="ready",
        detail="",
        started_ms=started_ms,
        reported_ms=0,
        loop_lag_s=0,
        routes=(route,),
    )


def sample(at_s: float, ready: int, *workers: WorkerReport) -> Sample:
    return sample_of(at_s, round(at_s * 1_000), {"sleep": ready}, workers)


def test_what_came_is_what_was_taken_and_what_waits_more() -> None:
    """Also when nothing was taken, or the queue got shorter."""
    before = sample(10, 5, worker("a", 100))
    assert rates_between(before, sample(12, 9, worker("a", 110)))["sleep"] == Rates(7, 5)
    assert rates_between(before, sample(12, 9, worker("a", 100)))["sleep"] == Rates(2, 0)
    assert rates_between(before, sample(12, 0, worker("a", 105)))["sleep"] == Rates(0, 2.5)


def test_workers_come_and_go() -> None:
    """A new one counts from its start, one that was silent before is left out."""
    before = sample(10, 0, worker("a", 100))
    joined = sample(12, 0, worker("a", 100), worker("b", 8, started_ms=11_000))
    assert rates_between(before, joined)["sleep"].out_per_s == 4
    heard = sample(12, 0, worker("a", 100), worker("c", 8_000, started_ms=1_000))
    assert rates_between(before, heard)["sleep"].out_per_s == 0
    assert rates_between(before, sample(12, 0))["sleep"].out_per_s == 0
    again = sample(12, 0, worker("a", 4))
    assert rates_between(before, again)["sleep"].out_per_s == 0


def test_a_queue_that_is_new_or_a_moment_that_is_the_same_has_no_rate() -> None:
    """There is nothing to compare."""
    before = sample_of(10, 10_000, {}, [])
    assert rates_between(before, sample(12, 5)) == {}
    assert rates_between(sample(12, 5), sample(12, 5)) == {}
