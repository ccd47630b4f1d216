"""The examples do what their README says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from effectmq.cli.program.loading import load_worker
from effectmq.protocol.kinds import EFFECT_KINDS
from tests.front_door.cli.command import effectmq

_ROOT = Path(__file__).parents[2]
_EXAMPLES = _ROOT / "tests" / "protocol" / "data" / "lash-examples.jsonl"
_ENVELOPES = _ROOT / "examples" / "envelopes.jsonl"


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(_ROOT)


def test_every_envelope_is_carried_out(capsys: pytest.CaptureFixture[str]) -> None:
    """All kinds, in memory, each with an outcome; the flaky tool succeeds at its third try."""
    words = ("run", _ENVELOPES, "--worker", "examples.worker:app")
    result = effectmq(capsys, *words)
    assert result.code == 0, result.out
    outcomes = [answer["result"]["Ok"] for answer in result.documents]
    assert {outcome["type"] for outcome in outcomes} == set(EFFECT_KINDS)
    attempts = {answer["effect_id"]: answer["attempt"] for answer in result.documents}
    assert attempts["2:call-4"] == 3


def test_the_worker_serves_every_kind() -> None:
    """The compose file starts one service for each."""
    assert set(load_worker("examples.worker:app").kinds) == set(EFFECT_KINDS)


def test_the_documents_of_the_wire_format_are_unchanged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Canonical and valid; C1 to C12, but for C6, stand there byte for byte and in order."""
    result = effectmq(capsys, "canonicalize", _ENVELOPES)
    assert result.code == 0
    lines = _ENVELOPES.read_text().splitlines()
    assert [answer["canonical"] for answer in result.documents] == lines
    assert {answer["validation"] for answer in result.documents} == {"ok"}
    examples = map(json.loads, _EXAMPLES.read_text().splitlines())
    documents = {example["label"]: example["document"] for example in examples}
    unchanged = [documents[f"C{number}"] for number in range(1, 13) if number != 6]
    assert [line for line in lines if line in unchanged] == unchanged


def test_many_effects_run_without_a_broker() -> None:
    """All of them have a value; not on a terminal, nothing shows how far it is."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.many"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "200 effects, 0 failed, sum 20100\n", done.stderr
    assert "\r" not in done.stderr


def test_the_producer_runs_without_a_broker() -> None:
    """One process, no settings."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.producer"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == [
        *["tool_call"] * 5,
        "sleep",
    ]
