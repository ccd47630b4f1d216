"""``effectmq demo``: it shows what happened, and notices when something did not."""

from __future__ import annotations

import re

import pytest

from effectmq.cli.demo import command as demo
from effectmq.cli.demo import worker as demo_worker
from effectmq.cli.demo.stage import Stage
from effectmq.cli.demo.worker import calculate
from effectmq.protocol.errors import RejectEffectError
from tests.front_door.cli.command import effectmq


def test_the_demo_shows_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """Four kinds, a retry in a queue, a shared run, a dead letter that is mended and replayed."""
    result = effectmq(capsys, "demo")
    assert (result.code, result.err) == (0, "")
    shown = result.out
    for kind in ("llm_call", "tool_call", "exec_code", "sleep"):
        assert re.search(rf"^   {kind} +\d\S* +[0-9a-f]{{12}} +\d+  ", shown, re.MULTILINE)
    assert "1 message waits in the queue demo.delay.1100" in shown
    assert re.search(r"attempt 2, 1\.\d\d s later: 9\.0", shown)
    assert "2 submissions, 1 run, 1 outcome, byte for byte" in shown
    assert "is rejected: its handler, or the rules of the envelope, refused it" in shown
    assert "outcome of effect 7: 80" in shown
    assert "no dead letters left" in shown
    assert re.search(r"all \d+ expectations met in \d\.\d s", shown)
    assert "FAILED" not in shown
    assert "\x1b" not in shown


def test_ids_and_hashes_of_the_demo_are_those_of_its_effects(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The edit's two hashes differ, and the letter that is listed is the one that is mended."""
    shown = effectmq(capsys, "demo").out
    listed = re.search(r"^   ([0-9a-f]{12}) +\d+s +rejected", shown, re.MULTILINE)
    mended = re.search(r"letter ([0-9a-f]{12}) is rejected", shown)
    edit = re.search(r"hash ([0-9a-f]{12}) -> ([0-9a-f]{12})", shown)
    assert listed is not None
    assert mended is not None
    assert edit is not None
    assert listed[1] == mended[1]
    assert edit[1] != edit[2]


def test_nothing_of_the_environment_touches_the_demo(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs without a server, whatever broker the shell names."""
    monkeypatch.setenv("EFFECTMQ_BROKER", "amqp://ada:hunter2@127.0.0.1:1/")
    monkeypatch.setenv("EFFECTMQ_NAMESPACE", "elsewhere")
    result = effectmq(capsys, "demo")
    assert result.code == 0
    assert "hunter2" not in result.out + result.err


def test_what_does_not_happen_is_said_and_is_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry so short that it is slept in place never shows up in a queue."""
    monkeypatch.setattr(demo_worker, "RETRY_WAIT_MS", 20)
    monkeypatch.setattr(demo, "_PATIENCE_S", 1.0)
    result = effectmq(capsys, "demo")
    assert result.code == 1
    assert "FAILED  the second attempt waits in demo.delay.1100" in result.out
    assert "1 of " in result.out
    assert "no dead letters left" in result.out


def test_a_demo_without_patience_fails_in_every_scene(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each scene that gets no answer says so, and the others are shown all the same."""
    monkeypatch.setattr(demo, "_PATIENCE_S", 0.001)
    result = effectmq(capsys, "demo")
    assert result.code == 1
    assert result.out.count("no outcome for effect") >= 2
    assert "4. An effect that cannot be carried out" in result.out


def test_a_demo_of_other_code_shows_other_results(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written down beforehand: code that runs is not parked, a broken tool fails."""
    monkeypatch.setattr(demo, "_WRONG", "price + 1")
    monkeypatch.setattr(demo_worker, "_LOOKUP_S", "soon")
    result = effectmq(capsys, "demo")
    assert result.code == 1
    assert re.search(r"^   tool_call .* failure$", result.out, re.MULTILINE)
    assert "the producer was told at once: 13" in result.out
    assert "FAILED  0 dead letter" in result.out


def test_a_demo_that_takes_too_long_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not hang, whatever is wrong."""
    monkeypatch.setattr(demo, "_LONGEST_S", 0.05)
    result = effectmq(capsys, "demo")
    assert result.code == 1
    assert "FAILED  the demo ends within 0.05 s" in result.out


@pytest.mark.parametrize("coloured", [True, False])
def test_the_stage_counts_what_was_expected(
    capsys: pytest.CaptureFixture[str], coloured: bool
) -> None:
    """One that is not met is enough for exit code 1; colours only where they are wanted."""
    stage = Stage(coloured=coloured)
    stage.scene("Scene")
    stage.expect("this", True)
    stage.expect("that \x07", False)
    assert stage.close(1.0) == 1
    shown = capsys.readouterr().out
    assert "1 of 2 expectations not met" in shown
    assert r"that \x07" in shown
    assert ("\x1b[31m" in shown) is coloured


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("price *", "not a formula"),
        ("pric", "did you mean 'price'"),
        ("xyz", "there is no 'xyz' here$"),
        ("price / 0", "a division by zero"),
        ("__import__('os')", "only"),
        ("'a'", "only"),
        ("2 ** 9", "only"),
    ],
)
def test_the_calculator_only_calculates(code: str, problem: str) -> None:
    """Anything else is refused with a sentence, and never run."""
    with pytest.raises(RejectEffectError, match=problem):
        calculate(code)
    assert calculate("price * quantity - discount / 2") == 82
