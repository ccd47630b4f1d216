"""Workers are killed while effects with one debounce key wait: the last runs, no other does."""

from __future__ import annotations

import pytest

from effectmq.broker.client.turns.turn import ToolCall
from effectmq.broker.crashpoints import CRASH_EXIT_CODE
from effectmq.protocol.errors import EffectSupersededError
from effectmq.wiring.client import Client
from tests.scenarios.conftest import IDENTITY
from tests.scenarios.fleet import Fleet

pytestmark = [pytest.mark.scenario, pytest.mark.one_broker]

_HOUR_S = 3_600.0


async def test_the_last_runs_whoever_dies(recording_fleet: Fleet) -> None:
    """One dies right after it gave an effect a place, one is killed while all wait."""
    fleet = recording_fleet
    dying = fleet.worker(crash_at="after_debounce:3")
    await fleet.ready(dying)
    async with Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY) as client:
        turn = client.turn(session_id="s", turn_id="t")
        calls = [ToolCall("work", {"n": nth}, f"c{nth}") for nth in range(8)]
        *early, last = turn.tool_envelopes(calls)
        handles = [
            await client.submit(each, delay_s=_HOUR_S, debounce="doc", debounce_max_s=2 * _HOUR_S)
            for each in early
        ]
        assert await dying.ended() == CRASH_EXIT_CODE
        killed = fleet.worker()
        await fleet.ready(killed)
        with pytest.raises(EffectSupersededError):
            await handles[0].outcome(60)
        killed.kill9()
        handles.append(await client.submit(last, delay_s=0.1, debounce="doc"))
        await fleet.ready(fleet.worker())
        outcome = await handles[-1].outcome(60)
        assert outcome.value == {"n": 7, "square": 49}
        for handle in handles[:-1]:
            with pytest.raises(EffectSupersededError):
                await handle.outcome(60)
        assert dict(fleet.ledger.runs()) == {handles[-1].effect_id: 1}
