"""Colours: where they are wanted, and nowhere else."""

from __future__ import annotations

import argparse
import io
import sys

import pytest

from effectmq.cli.terminal.colours import Colour, painted, wants_colours
from effectmq.cli.terminal.tables import Column, Room, table
from tests.front_door.cli.command import effectmq


@pytest.mark.parametrize(
    ("asked", "terminal", "variables", "expected"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {}, False),
    ],
)
def test_colours_are_for_a_terminal_that_wants_them(
    asked: str,
    terminal: bool,
    variables: dict[str, str],
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the command line says counts more than what the environment says."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert wants_colours(argparse.Namespace(color=asked)) is expected


def test_a_table_in_colours_is_the_same_table() -> None:
    """Colours take no room: without them every line is as it was."""
    columns = (Column("state", colours={"bad": Colour.RED}), Column("n", priority=1))
    rows = [("bad", 1), ("good", 22), ("bad", None)]
    shown = table(columns, rows, Room(40, coloured=True))
    assert shown.splitlines()[1] == f"{painted('bad  ', Colour.RED)}   1"
    for colour in (*Colour, "\x1b[0m"):
        shown = shown.replace(colour, "")
    plain = table(columns, rows, Room(40)).splitlines()
    assert [line.rstrip() for line in shown.splitlines()] == plain


def test_a_command_has_colours_when_it_is_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    """The option may stand anywhere; a pipe has none by itself, and JSON never has."""
    words = ("topology", "plan", "--broker", "memory://")
    assert "\x1b" not in effectmq(capsys, *words).out
    assert Colour.YELLOW in effectmq(capsys, "--color", "always", *words).out
    assert Colour.YELLOW in effectmq(capsys, *words, "--color=always").out
    assert "\x1b" not in effectmq(capsys, *words, "--color=always", "--json").out
