"""``effectmq canonicalize``: the same canonical forms and hashes as the reference."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from effectmq.cli.canonicalize import Kind, canonicalize
from tests.front_door.cli.command import effectmq, envelope_line, feed_stdin

_VECTORS = Path(__file__).parents[2] / "protocol" / "data" / "lash-vectors.jsonl"


def _vectors(kind: str) -> list[dict[str, str]]:
    vectors = [json.loads(line) for line in _VECTORS.read_text().splitlines()]
    return [vector for vector in vectors if vector["kind"] == kind]


@pytest.mark.parametrize("kind", ["envelope", "outcome", "value"])
def test_every_vector_of_the_reference_agrees(kind: Kind) -> None:
    """Canonical text, hash and validation of all reference documents, through the command."""
    vectors = _vectors(kind)
    assert vectors
    source = io.BytesIO("\n".join(vector["input"] for vector in vectors).encode())
    output = io.BytesIO()
    errors = canonicalize(kind, source, output)
    answers = [json.loads(line) for line in output.getvalue().splitlines()]
    assert len(answers) == len(vectors)
    assert errors == sum("error" in answer for answer in answers)
    for vector, answer in zip(vectors, answers, strict=True):
        for member in ("canonical", "sha256", "validation"):
            assert answer.get(member) == vector.get(member), vector["input"]


def test_bad_lines_give_errors_and_do_not_stop_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One answer for each line, binary and blank ones included; the exit code tells."""
    feed_stdin(monkeypatch, b'{"b": 1, "a": 2}\nnot json\n\xff\xfe\x00\n\n[1]')
    result = effectmq(capsys, "canonicalize", "--type", "value")
    assert result.code == 1
    first, *bad, last = result.documents
    assert first["canonical"] == '{"a":2,"b":1}'
    assert [list(answer) for answer in bad] == [["error"]] * 3
    assert last["canonical"] == "[1]"


def test_an_envelope_that_breaks_a_rule_has_a_hash_and_the_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Validation is information, not an error: such an envelope has a canonical form."""
    good = envelope_line("1", {"type": "sleep", "duration_ms": 1})
    bad = good.replace('"effect_id": "1"', '"effect_id": " "')
    feed_stdin(monkeypatch, f"{good}\n{bad}\n".encode())
    result = effectmq(capsys, "canonicalize")
    assert result.code == 0
    assert [answer["validation"] for answer in result.documents] == [
        "ok",
        "runtime_effect_invocation_subject",
    ]


def test_output_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    """A terminal that says ASCII gets the same bytes."""
    done = subprocess.run(
        [sys.executable, "-m", "effectmq", "canonicalize", "--type", "value"],
        input='"hé 漢"'.encode(),
        capture_output=True,
        timeout=60,
        env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert '"canonical":"\\"hé 漢\\""'.encode() in done.stdout


def test_a_program_at_the_other_end_of_a_pipe_need_not_wait_for_the_end() -> None:
    """Each line is answered when it has come, so one process can serve many questions."""
    with subprocess.Popen(
        [sys.executable, "-m", "effectmq", "canonicalize", "--type", "value"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in (1, 2):
            process.stdin.write(b"%d\n" % number)
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["canonical"] == str(number)
        process.stdin.close()
        assert process.wait(30) == 0


def test_a_file_that_cannot_be_read_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence names the file and the reason."""
    result = effectmq(capsys, "canonicalize", tmp_path)
    assert result.code == 2
    assert f"{tmp_path} cannot be read: Is a directory" in result.err
