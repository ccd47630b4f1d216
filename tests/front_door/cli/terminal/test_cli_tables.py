"""Tables for people."""

from __future__ import annotations

import argparse
import ast
import io
import sys
from pathlib import Path

import pytest

from effectmq import cli
from effectmq.cli.terminal.tables import Column, Room, cut, pairs, room_of, table, width


def test_columns_are_aligned_and_numbers_stand_on_the_right() -> None:
    """A column of numbers, with or without gaps, is read from its end."""
    shown = table(("queue", "ready"), [("a", 1), ("longer", 1000), ("none", None)])
    assert shown.splitlines() == [
        "queue   ready",
        "a           1",
        "longer   1000",
        "none",
    ]


def test_a_mixed_column_stands_on_the_left() -> None:
    """One text among the numbers makes it a column of text; a truth value is no number."""
    assert table(("x",), [(1,), ("no",)]).splitlines() == ["x", "1", "no"]
    assert table(("flag",), [(True,)]).splitlines() == ["flag", "True"]


def test_no_rows_leave_the_headers() -> None:
    """An empty table still says what would be in it."""
    assert table(("a", "b"), []) == "a  b"


def test_wide_and_combining_characters_keep_the_columns_straight() -> None:
    """Width is counted in columns of a terminal, not in characters."""
    assert (width("漢字"), width("e\u0301")) == (4, 1)
    first, second = table(("a", "b"), [("漢字", "x"), ("abcd", "y")]).splitlines()[1:]
    assert first == "漢字  x"
    assert second == "abcd  y"


def test_a_cell_cannot_break_its_line() -> None:
    """Control characters are shown, passwords are not, and nothing is endless."""
    shown = table(("text",), [("a\nb\x1b[2J",), ("amqp://u:geheim@h",), ("x" * 1_000,)])
    assert len(shown.splitlines()) == 4
    assert "\x1b" not in shown
    assert "geheim" not in shown
    assert width(max(shown.splitlines(), key=len)) < 300


def test_pairs_are_aligned() -> None:
    """Names on the left, values behind the longest of them."""
    assert pairs([("a", 1), ("longer", "x\ny"), ("none", None)]).splitlines() == [
        "a       1",
        "longer  x\\ny",
        "none",
    ]
    assert pairs([]) == ""


# In the room of a terminal ----------------------------------------------------------------------

_COLUMNS = (
    Column("id", least=4, priority=2),
    Column("note", least=6, priority=0),
    Column("name", least=5, priority=1),
)
_ROW = ("abcd", "a long note about it", "somebody")


@pytest.mark.parametrize(
    ("room", "header", "row"),
    [
        (None, "id    note                  name", "abcd  a long note about it  somebody"),
        (36, "id    note                  name", "abcd  a long note about it  somebody"),
        (30, "id    note            name", "abcd  a long note a…  somebody"),
        (22, "id    note    name", "abcd  a lon…  somebody"),
        (19, "id    note    name", "abcd  a lon…  some…"),
    ],
)
def test_what_matters_least_is_cut_first(room: int | None, header: str, row: str) -> None:
    """The lowest priority gives its room away first, down to its least width."""
    shown = table(_COLUMNS, [_ROW], Room(room)).splitlines()
    assert shown == [header, row]
    assert room is None or max(map(width, shown)) <= room


def test_a_column_without_room_for_its_least_is_left_out_and_named() -> None:
    """Nothing is lost without a word, and the most important column stays whatever happens."""
    assert table(_COLUMNS, [_ROW], Room(18)).splitlines() == [
        "id    name",
        "abcd  somebody",
        "(no room for: note; --full shows all)",
    ]
    assert table(_COLUMNS, [_ROW], Room(3)).splitlines()[:2] == ["id", "ab…"]


def test_numbers_are_left_out_and_never_cut() -> None:
    """Half a number is another number."""
    columns = (Column("name", least=4, priority=1), Column("n", least=1))
    for room in range(1, 20):
        shown = table(columns, [("abcdef", 123_456)], Room(room))
        assert "123456" in shown or "no room for: n" in shown


def test_all_is_shown_when_all_is_asked_for() -> None:
    """A value longer than its column ever gets is cut in a pipe too, and not with ``--full``."""
    columns = (Column("text", most=10),)
    assert table(columns, [("x" * 30,)]).splitlines()[1] == "x" * 9 + "…"
    assert table(columns, [("x" * 30,)], Room(full=True)).splitlines()[1] == "x" * 30
    assert pairs([("a", "x" * 900)], Room(full=True)) == f"a  {'x' * 900}"
    assert "more characters" in pairs([("a", "x" * 900)])


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("漢字漢字", 8, "漢字漢字"),
        ("漢字漢字", 7, "漢字漢…"),
        ("漢字漢字", 6, "漢字…"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
        ("\u1112\u1161\u11ab" * 3, 5, "\u1112\u1161\u11ab" * 2 + "…"),
        ("abc", 1, "…"),
    ],
)
def test_a_text_is_cut_by_its_columns(text: str, room: int, expected: str) -> None:
    """Half of a wide character is never shown, and marks stay with what they stand on."""
    assert cut(text, room) == expected
    assert width(cut(text, room)) <= room


@pytest.mark.parametrize("room", [None, 12, 20, 40])
def test_what_a_terminal_would_obey_is_shown_as_an_escape(room: int | None) -> None:
    """Cutting comes after escaping, so that no half of an escape is obeyed."""
    hostile = "a\x1b[2J\u202eb\u2066c\u200f\x07\r\n漢字"
    shown = table((Column("text", least=4), Column("after")), [(hostile, "end")], Room(room))
    assert all(line.isprintable() for line in shown.splitlines())
    assert "\u202e" not in shown
    assert room is None or max(width(line) for line in shown.splitlines()[:2]) <= room


def test_the_room_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe has no width, and a terminal that does not say has 80 columns."""
    whole, cut_off = argparse.Namespace(full=True), argparse.Namespace()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert (room_of(whole), room_of(cut_off)) == (Room(full=True), Room())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "__stdout__", None)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert (room_of(whole), room_of(cut_off)) == (Room(full=True), Room(80))
    monkeypatch.setenv("COLUMNS", "132")
    assert room_of(cut_off) == Room(132)
    assert (Room(80).less(3), Room(None).less(3)) == (Room(77), Room())


def test_every_table_of_a_command_fits_the_terminal() -> None:
    """Whoever shows a table says for which room."""
    found = [
        (path.name, call.lineno, len(call.args))
        for path in sorted(Path(cli.__path__[0]).rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "table"
    ]
    assert len(found) > 10
    assert [place for place in found if place[2] != 3] == []
