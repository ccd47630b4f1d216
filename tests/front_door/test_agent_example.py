"""The agent of the examples: a whole turn, again out of the journal, and across a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from effectmq.broker.crashpoints import CRASH_EXIT_CODE
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.messages.request import Identity

_ROOT = Path(__file__).parents[2]
_ANSWER = "Done: 40 apples for 1000 cents, with the carrier."
_TIMEOUT_S = 60.0


class Turns:
    """Runs of one turn, each in a process of its own, over one journal."""

    def __init__(self, folder: Path) -> None:
        self.journal = f"sqlite:///{folder}/journal.db"
        self._ledger = folder / "ledger"

    def run(self, *words: str, crash_at: str = "") -> subprocess.CompletedProcess[str]:
        """Run it, or run it up to a crash."""
        more = {"AGENT_LEDGER": str(self._ledger), "EFFECTMQ_CRASH_AT": crash_at}
        return subprocess.run(
            [sys.executable, "-m", "examples.agent", "--journal", self.journal, *words],
            cwd=_ROOT,
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )

    def bodies(self) -> Counter[str]:
        """How often the body of each tool has run."""
        return Counter(self._ledger.read_text().split())

    async def recorded(self) -> dict[Identity, int]:
        """What has its outcome, and how many attempts that took."""
        async with open_archive(self.journal) as archive:
            effects = await archive.find(limit=1_000)
        assert {effect.kind for effect in effects} <= set(EFFECT_KINDS)
        return {one.identity: one.attempts for one in effects if one.status == "completed"}


@pytest.fixture
def turns(tmp_path: Path) -> Turns:
    """With a journal and a ledger of this test."""
    return Turns(tmp_path)


async def test_the_second_run_is_answered_from_the_journal_alone(turns: Turns) -> None:
    """The same lines and the same answer; the second time no handler runs."""
    done = turns.run("--twice")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("\nAgain, with an answer from the journal or none at all:\n")
    assert _ANSWER in first
    told, told_again = (text.split("effects: ")[0].strip() for text in (first, second))
    assert told == told_again
    assert "effects: 22; handlers ran: 22;" in first
    assert "effects: 22; handlers ran: 0;" in second
    assert turns.bodies() == {"stock": 1, "supplier": 1, "price": 1, "ship": 1}


async def test_the_turn_has_effects_of_all_kinds(turns: Turns) -> None:
    """It is a whole one."""
    assert turns.run().returncode == 0
    async with open_archive(turns.journal) as archive:
        effects = await archive.find(limit=1_000)
    assert {effect.kind for effect in effects} == set(EFFECT_KINDS)


@pytest.mark.parametrize("crash_at", ["after_confirm:6", "mid_effect:14"])
async def test_a_killed_turn_goes_on_where_it_was(turns: Turns, crash_at: str) -> None:
    """The same answer; what was recorded before the crash has not one attempt more."""
    assert turns.run(crash_at=crash_at).returncode == CRASH_EXIT_CODE
    before = await turns.recorded()
    assert before
    done = turns.run()
    assert done.returncode == 0, done.stderr
    assert _ANSWER in done.stdout
    after = await turns.recorded()
    assert len(after) == 22
    assert {identity: after[identity] for identity in before} == before


async def test_another_turn_is_carried_out(turns: Turns) -> None:
    """What is recorded is the answer to one turn, and not to every turn."""
    assert turns.run("--turn", "1").returncode == 0
    assert turns.run("--turn", "2").returncode == 0
    assert turns.bodies()["ship"] == 2
