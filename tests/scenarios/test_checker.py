"""The judge of the scenarios is not blind."""

from __future__ import annotations

import json
from pathlib import Path

from tests.scenarios.checker import Report, judge, received
from tests.scenarios.fleet import Fleet


def _judged(folder: Path, lines: list[dict[str, str]], parked: set[str], ran: list[str]) -> Report:
    fleet = Fleet(folder, "amqp://nowhere", "checker")
    fleet.records.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for effect in ran:
        fleet.ledger.note(effect, 1)
    report = Report()
    judge(report, fleet, received(fleet), parked)
    return report


def _answered(effect: str, *digests: str) -> list[dict[str, str]]:
    lines = [{"event": event, "effect": effect} for event in ("attempted", "acknowledged")]
    copies = [{"event": "received", "effect": effect, "digest": d, "error": ""} for d in digests]
    return [*lines, *copies, {**copies[0], "event": "outcome"}]


def test_whatever_must_not_be_is_a_problem(tmp_path: Path) -> None:
    """Loss, strangers, conflicts, hanging calls and answers out of nothing are told apart."""
    lines = _answered("good", "a", "a") + _answered("conflict", "a", "b") + _answered("idle", "a")
    lines += [{"event": event, "effect": "lost"} for event in ("attempted", "acknowledged")]
    lines += [{"event": "timeout", "effect": "lost"}]
    lines += [{"event": "received", "effect": "stranger", "digest": "a", "error": ""}]
    report = _judged(tmp_path, lines, set(), ["good", "good", "conflict", "stranger"])
    assert (report.attempted, report.acknowledged, report.ok) == (4, 4, 3)
    assert (report.lost, report.unexpected, report.conflicting) == (
        ["lost"],
        ["stranger"],
        ["conflict"],
    )
    assert (report.hanging, report.bodiless) == (["lost"], ["idle"])
    assert (report.duplicated, report.bodies, report.extra_bodies) == (2, 4, 1)
    assert len(report.problems()) == 5
    assert str(report).count("PROBLEM") == 5


def test_what_is_parked_or_answered_without_confirmation_is_not_lost(tmp_path: Path) -> None:
    """Parked is a way to end, and an unconfirmed effect that was answered has recovered."""
    lines = [{"event": event, "effect": "parked"} for event in ("attempted", "acknowledged")]
    lines += [{"event": "attempted", "effect": "unconfirmed"}]
    lines += [{"event": "received", "effect": "unconfirmed", "digest": "a", "error": ""}]
    report = _judged(tmp_path, lines, {"parked"}, ["unconfirmed"])
    assert report.problems() == []
    assert report.recovered == 1
