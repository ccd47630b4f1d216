"""The commands of ``effectmq`` that pages show can be typed: their options exist and take that."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from effectmq.cli import parser_of

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]

_FENCE = re.compile(r"^```(?:sh|)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHOWN = re.compile(r"^(?:\$ )?effectmq (.+)$", re.MULTILINE)
_NAMED = re.compile(r"`effectmq ([^`]+)`")
#: Where the words of one command end for the shell.
_END = {"|", ">", "<", "&", ";", "&&", "2>"}


def commands(page: Path) -> Iterator[str]:
    """
    What follows ``effectmq``, in fences of the shell and in sentences.

    A sentence may name a command without what it needs, and then it shows nothing to type.
    """
    text = page.read_text()
    for fence in _FENCE.findall(text):
        yield from _SHOWN.findall(fence)
    sentences = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for named in _NAMED.findall(sentences):
        if re.search(r" (?:-|[A-Z]|\w+:)", named):
            yield named


def words(command: str) -> list[str]:
    """The arguments, as the shell hands them on."""
    found: list[str] = []
    for word in shlex.split(command, comments=True):
        if word in _END:
            break
        found.append(word)
    return found


SHOWN = sorted({(str(page.relative_to(ROOT)), each) for page in PAGES for each in commands(page)})


@pytest.mark.parametrize(("page", "command"), SHOWN)
def test_a_command_that_a_page_shows_can_be_typed(
    page: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not run: only its words are read."""
    arguments = words(command)
    try:
        parser_of(arguments[:1]).parse_whole(arguments)
    except SystemExit:
        pytest.fail(f"{page}: effectmq {command}\n{capsys.readouterr().err}")
