"""Tables for people."""

from __future__ import annotations

from effectmq.cli.terminal.tables import pairs, table, width


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
