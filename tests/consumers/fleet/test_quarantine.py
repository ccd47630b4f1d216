"""Who waits for whom, when an effect may end the process."""

from __future__ import annotations

import asyncio

import pytest

from effectmq.consumers.fleet import quarantine
from effectmq.consumers.fleet.quarantine import Quarantine
from tests.waiting import eventually


def _nothing() -> None:
    """For whoever does not care."""


async def test_a_suspect_begins_when_the_bodies_that_run_have_ended() -> None:
    """Others are held from the moment at which it is its turn."""
    closed: list[str] = []
    room = Quarantine()
    room.body_began()
    room.enter("a", lambda: closed.append("a"))
    await eventually(lambda: room.closed)
    room.hold(lambda: closed.append("other"))
    assert closed == []
    room.body_ended()
    assert closed == ["a"]
    room.leave("a")
    assert closed == ["a", "other"]
    assert not room.closed


async def test_suspects_take_turns_and_others_come_between() -> None:
    """None of them begins before the one before it has left."""
    begun: list[str] = []
    room = Quarantine()
    a, b, c = names = ["a", "b", "c"]
    for name in names:
        room.enter(name, lambda name=name: begun.append(name))
    await eventually(lambda: begun == ["a"])
    assert room.waits(b)
    assert room.waits(c)
    assert not room.waits(a)
    room.leave(b)
    room.hold(lambda: begun.append("other"))
    room.leave(a)
    assert begun == ["a", "other"]
    await eventually(lambda: begun == ["a", "other", "c"])


async def test_neither_side_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the suspect for long bodies, and not the others for a long suspect."""
    monkeypatch.setattr(quarantine, "_DRAIN_S", 0.01)
    monkeypatch.setattr(quarantine, "_ALONE_S", 0.01)
    begun: list[str] = []
    room = Quarantine()
    room.body_began()
    room.enter("a", lambda: begun.append("a"))
    await eventually(lambda: begun == ["a"])
    room.hold(lambda: begun.append("other"))
    await eventually(lambda: begun == ["a", "other"])
    assert room.taken


async def test_leaving_what_one_never_entered_is_nothing() -> None:
    """Every job says it when it ends."""
    room = Quarantine()
    room.enter("a", _nothing)
    room.leave("b")
    assert room.waits("a")
    await asyncio.sleep(0)
    room.leave("a")
    room.leave("a")
    assert not room.taken
