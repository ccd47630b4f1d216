"""Text from strangers, made safe to print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effectmq.protocol.errors import QueueFullError, RejectEffectError
from effectmq.protocol.text import describe, printable


def test_control_characters_and_terminal_escapes_are_spelled_out() -> None:
    """A log line cannot be forged, nor a terminal be recoloured, by an effect's name."""
    assert printable("a\nlevel=error b\x1b[31m\x00") == "a\\nlevel=error b\\x1b[31m\\x00"
    assert printable("\u2028\u202e\ud800") == "\\u2028\\u202e\\ud800"
    assert printable("é 🙂 日本") == "é 🙂 日本"


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach amqp://user:hunter2@host:5672/vhost today",
        "amqp://hunter2@host",
        "amqp://user:pa/hunter2@host/vhost",
        "amqp://user:p@hunter2@host/vhost",
        "password=hunter2",
        'api_key: "hunter2"',
        "Authorization: Bearer hunter2",
        "access-token=hunter2&x=1",
        "secret = hunter2, and more",
        # The pattern takes these letters for s, k and i.
        "\u017fecret=hunter2",
        "TO\u212aEN: hunter2",
        "AP\u0131-key=hunter2",
        "AUTHOR\u0130ZATION=hunter2",
        "pa\u017f\u017fwd=hunter2",
    ],
)
def test_secrets_in_addresses_and_named_ones_are_masked(text: str) -> None:
    """Too much masking is ugly; too little is a leak."""
    shown = printable(text)
    assert "hunter2" not in shown
    assert "***" in shown


def test_text_beside_an_address_stays() -> None:
    """Only the credentials go."""
    assert printable("see http://host/a@b or me@x") == "see http://host/a@b or me@x"
    assert printable("at amqp://u:p@h/v, twice") == "at amqp://***@h/v, twice"


def test_a_secret_at_the_cut_is_masked_too() -> None:
    """Cutting text must not cut off the part by which a secret is recognised."""
    text = "x" * 20 + " amqp://user:hunter2@host"
    for limit in range(20, len(text)):
        assert "hunter" not in printable(text, limit)


def test_long_text_is_cut_and_what_is_missing_is_counted() -> None:
    """Whoever reads it knows that there was more."""
    assert printable("abcdef", 6) == "abcdef"
    assert printable("abcdef", 4) == "abcd… (2 more characters)"


@given(st.text(max_size=400), st.integers(1, 300))
def test_what_comes_out_is_printable_and_bounded(text: str, limit: int) -> None:
    """For any text; escaping never makes it longer than a small multiple of the limit."""
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit + 40


def test_an_exception_is_a_phrase() -> None:
    """Ours are sentences and stand alone; others say their class."""
    assert describe(ValueError("no\nway")) == "ValueError: no\\nway"
    assert describe(KeyError()) == "KeyError"
    assert describe(QueueFullError("the queue is full")) == "the queue is full"
    assert describe(QueueFullError()) == "QueueFullError"
    assert describe(RejectEffectError("c", "m")) == "c: m"


def test_an_exception_group_tells_what_is_inside() -> None:
    """However deep, in order, few and short; its own text only counts them."""
    nested = ExceptionGroup("inner", [KeyError("b"), ValueError("c" * 5_000)])
    said = describe(ExceptionGroup("tasks", [OSError("a"), nested, *map(ValueError, "defghij")]))
    assert said.startswith("ExceptionGroup: tasks (9 sub-exceptions): OSError: a; KeyError: 'b'; V")
    assert said.endswith("; ValueError: d; ValueError: e; and 5 more")
    assert len(said) < 2_000


def test_a_group_of_groups_and_secrets_are_as_safe_as_any_text() -> None:
    """Ten thousand levels, passwords and escapes."""
    group = ExceptionGroup("g", [ValueError("amqp://u:hunter2@h \x1b[31m")])
    for _ in range(10_000):
        group = ExceptionGroup("g", [group])
    said = describe(group)
    assert "hunter2" not in said
    assert said.isprintable()
    assert "amqp://***@h" in said
