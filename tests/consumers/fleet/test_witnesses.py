"""What workers without a journal ask each other, when a connection is lost in between."""

from __future__ import annotations

import secrets

import pytest

from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Consumer
from effectmq.consumers.fleet import witnesses
from effectmq.consumers.fleet.witnesses import Witnesses
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.notices.cancel import Answered, Asked, read_notice
from effectmq.protocol.topology import Exchange, Names, Topology
from tests.conformance.taking import take
from tests.waiting import eventually

NAMES = Names("t")


async def _question(consumer: Consumer) -> Asked:
    [delivery] = await take(consumer, 1)
    said = read_notice(delivery.message)
    assert isinstance(said, Asked)
    return said


async def test_an_open_question_is_asked_again_over_the_new_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who had answered before it was lost answers again, and is counted once."""
    monkeypatch.setattr(witnesses, "ANSWER_S", 0.3)
    monkeypatch.setattr(witnesses, "_SETTLING_S", 0.0)
    heard: list[int] = []
    async with open_transport(f"memory://{secrets.token_hex(6)}") as transport:
        await transport.declare(Topology((Exchange(NAMES.control, "fanout"),)))
        other = await transport.listen(
            NAMES.control, name=lambda: NAMES.control_queue("other"), prefetch=10
        )
        asking = Witnesses(transport, NAMES.control, "former")
        asking.ask(Message(body=b"", message_id="m", returns=9), 1, heard.append)
        before = await _question(other)
        asking.heed(Answered(before.number, 2))

        asking.renew("present")

        again = await _question(other)
        assert (before.reply_to, again.reply_to) == ("former", "present")
        assert again.key == before.key
        asking.heed(Answered(before.number, 2))  # it was on its way
        asking.heed(Answered(again.number, 2))
        await eventually(lambda: heard)
        assert heard == [3]


async def test_after_a_lost_connection_who_is_silent_is_asked_until_all_had_time_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What took this connection may have taken theirs; nobody is counted as dead for it."""
    monkeypatch.setattr(witnesses, "ANSWER_S", 0.02)
    heard: list[int] = []
    async with open_transport(f"memory://{secrets.token_hex(6)}") as transport:
        await transport.declare(Topology((Exchange(NAMES.control, "fanout"),)))
        asking = Witnesses(transport, NAMES.control, "asking")
        asking.renew("asking")
        asking.ask(Message(body=b"", message_id="m", returns=2), 1, heard.append)
        late = await transport.listen(
            NAMES.control, name=lambda: NAMES.control_queue("late"), prefetch=10
        )
        while not heard:
            # One of the questions is answered in its time, on the slowest machine too.
            asking.heed(Answered((await _question(late)).number, 1))
        assert heard == [2]


async def test_who_is_silent_while_all_connections_stand_is_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After one time to answer."""
    monkeypatch.setattr(witnesses, "ANSWER_S", 0.02)
    heard: list[int] = []
    async with open_transport(f"memory://{secrets.token_hex(6)}") as transport:
        await transport.declare(Topology((Exchange(NAMES.control, "fanout"),)))
        asking = Witnesses(transport, NAMES.control, "asking")
        asking.ask(Message(body=b"", message_id="m", returns=2), 1, heard.append)
        await eventually(lambda: heard)
        assert heard == [1]
