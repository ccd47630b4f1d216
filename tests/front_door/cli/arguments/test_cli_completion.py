"""``effectmq completion``: scripts for three shells, out of the parsers themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from effectmq.cli import COMMANDS
from effectmq.protocol.kinds import EFFECT_KINDS
from tests.front_door.cli.command import effectmq

_CASES = [
    (["effectmq", "wor"], {"worker", "workers"}),
    (["effectmq", "dead", "l"], {"list"}),
    (["effectmq", "dead", "list", "--ki"], {"--kind"}),
    (["effectmq", "dead", "list", "--kind", ""], set(EFFECT_KINDS)),
    (["effectmq", "--log-level", "INFO", "topology", "rem"], {"remove"}),
    (["effectmq", "completion", ""], {"bash", "zsh", "fish"}),
    (["effectmq", "dead", "show", "zzz"], set[str]()),
]


def _script(shell: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    result = effectmq(capsys, "completion", shell)
    assert (result.code, result.err) == (0, "")
    path = folder / shell
    path.write_text(result.out)
    return path


def _run(shell: str, *words: str | Path) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"there is no {shell} on this machine")
    done = subprocess.run([found, *words], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_bash_completes_commands_options_and_choices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behind what was typed so far, options in between passed over."""
    path = _script("bash", tmp_path, capsys)
    for typed, expected in _CASES:
        quoted = " ".join(f"'{word}'" for word in typed)
        asked = (
            f"source {path}; COMP_WORDS=({quoted}); COMP_CWORD={len(typed) - 1}; _effectmq; "
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        found = set(_run("bash", "-c", asked).split())
        assert {word for word in found if not word.startswith("-") or typed[-1]} == expected


def test_fish_completes_commands_options_and_choices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same answers; where nothing is known fish offers files."""
    path = _script("fish", tmp_path, capsys)
    for typed, expected in _CASES:
        asked = f"source {path}; complete -C '{' '.join(typed)}'"
        found = {line.split("\t")[0] for line in _run("fish", "-N", "-c", asked).splitlines()}
        assert found == expected


def test_zsh_can_read_its_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its completion needs a terminal; that it is no nonsense can be asked without one."""
    assert _run("zsh", "-f", "-n", _script("zsh", tmp_path, capsys)) == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_is_in_the_script(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new command needs nothing to be completed."""
    text = _script(shell, tmp_path, capsys).read_text()
    assert all(command in text for command in COMMANDS)
    assert "sync_execution_surface" in text
