"""What a limit may say, and what effects count for."""

from __future__ import annotations

import pytest

from effectmq.broker.store.admission.declared.keys import Line, lines_of
from effectmq.broker.store.admission.declared.limits import Limit, Rate, read_rate
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages.request import Request
from tests.consumers.stage import code, tool
from tests.protocol.documents import example, examples

_ENVELOPE = "RuntimeEffectEnvelope"


@pytest.mark.parametrize(
    ("said", "rate"),
    [
        ("60/m", Rate(60, 60_000)),
        ("5/s", Rate(5, 1_000)),
        (" 100 / 15m ", Rate(100, 900_000)),
        ("1/31d", Rate(1, 31 * 86_400_000)),
        ("", Rate()),
    ],
)
def test_a_rate_is_read_and_shown_as_it_was_said(said: str, rate: Rate) -> None:
    """White space is left out."""
    assert read_rate(said) == rate
    assert str(rate) == "".join(said.split())


@pytest.mark.parametrize("said", ["60", "0/s", "60/", "/m", "-1/s", "5/0s", "1/32d", "1e9/s"])
def test_what_is_no_rate_is_refused(said: str) -> None:
    """With what was found and what is expected."""
    with pytest.raises(ConfigurationError, match=r"cannot be read; expected .* such as 60/m"):
        read_rate(said)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"route": "tool"}, "holds for nothing"),
        ({"route": "sleep", "concurrency": 1}, "a sleep runs nowhere"),
        ({"route": "tool_call", "key": "colour", "concurrency": 1}, "cannot have the key"),
        ({"route": "tool_call", "key": "command..x", "concurrency": 1}, "cannot have the key"),
        ({"route": "tool_call", "only": "x", "concurrency": 1}, "say with key="),
        ({"route": "tool_call"}, "limits nothing"),
        ({"route": "tool_call", "key": "session"}, "limits nothing"),
        ({"route": "tool_call", "concurrency": -1}, "concurrency is -1"),
        ({"route": "tool_call", "concurrency": 1, "cooldown_s": 0}, "cooldown_s is 0"),
        ({"route": "tool_call", "concurrency": 1, "name": "a b"}, "has the name 'a b'"),
        ({"route": "tool_call", "concurrency": True}, "concurrency is True"),
        ({"route": "tool_call", "concurrency": float("nan")}, "concurrency is nan"),
        ({"route": "tool_call", "cooldown_s": float("nan"), "breaker": 1}, "cooldown_s is nan"),
        ({"route": "tool_call", "rate": 5}, "the rate '5' cannot be read"),
        ({"route": "tool_call", "key": None, "concurrency": 1}, "key is None; expected a text"),
        ({"route": "tool_call", "key": "command" + ".a" * 500, "concurrency": 1}, "1007 char"),
        ({"route": "tool_call." + "x" * 200, "concurrency": 1}, "route= has 210 characters"),
        ({"route": "tool_call", "key": "tool", "only": "\ud800", "rate": "1/s"}, "no database"),
        ({"route": "tool_call", "key": "tool", "only": "a\0", "rate": "1/s"}, "no database"),
        ({"route": "tool_call", "key": "tool", "only": "x" * 201}, "201 characters"),
    ],
)
def test_a_limit_that_cannot_hold_is_refused(arguments: dict[str, object], words: str) -> None:
    """In a sentence."""
    with pytest.raises(ConfigurationError, match=words):
        Limit.of(**arguments)  # type: ignore[arg-type]


def test_a_limit_is_named_after_what_it_holds_for() -> None:
    """Values that differ in a character that names do not have make two limits."""
    assert Limit.of("llm_call", key="model").name == "llm_call:model"
    assert Limit.of("llm_call", key="model", only="a-1").name == "llm_call:model=a-1"
    first = Limit.of("tool_call", key="tool", only="a b").name
    assert first.startswith("tool_call:tool=a_b-")
    assert first != Limit.of("tool_call", key="tool", only="a?b").name


def test_a_limit_covers_its_kind_with_the_lanes() -> None:
    """A limit of a lane holds for no other."""
    kind, lane = Limit.of("tool_call", concurrency=1), Limit.of("tool_call.gpu", concurrency=1)
    every = Limit.of("*", concurrency=1)
    assert [kind.covers(route) for route in ("tool_call", "tool_call.gpu", "llm_call")] == [
        True,
        True,
        False,
    ]
    assert not lane.covers("tool_call")
    assert lane.covers("tool_call.gpu")
    assert lane.covers("tool_call.gpu@2")
    assert not lane.covers("tool_call@2")
    assert every.covers("llm_call")


def of(key: str, only: str = "") -> Limit:
    """A limit of a key."""
    return Limit.of("*", key=key, only=only, concurrency=1, name="l")


def test_effects_are_told_apart_by_what_they_say() -> None:
    """By names of their own, and by any member."""
    request = Request.seal(tool("search", n=7, who={"b": 1, "a": 2}))
    assert lines_of([of("tool")], request) == (Line("l", "search"),)
    assert lines_of([of("tenant")], request) == ()
    theirs = Request.seal(tool("search"), tenant="acme")
    assert lines_of([of("tenant")], theirs) == (Line("l", "acme"),)
    assert lines_of([of("session")], request) == (Line("l", "s1"),)
    assert lines_of([of("turn")], request) == (Line("l", "t1"),)
    assert lines_of([of("command.call.args.n")], request) == (Line("l", "7"),)
    assert lines_of([of("command.call.args.who")], request) == (Line("l", '{"a": 2, "b": 1}'),)
    assert lines_of([Limit.of("*", concurrency=1, name="l")], request) == (Line("l"),)


def test_named_keys_are_the_members_of_the_envelope() -> None:
    """Of every kind; they are read without writing the envelope as a tree, which may be large."""
    paths = {
        "tool": "command.call.tool_name",
        "model": "command.request.model",
        "session": "invocation.scope.session_id",
        "turn": "invocation.scope.turn_id",
    }
    found: set[str] = set()
    envelopes = [name for name, one in examples().items() if one["type"] == _ENVELOPE]
    for request in map(Request.seal, map(example, envelopes)):
        for key, path in paths.items():
            lines = lines_of([of(key)], request)
            assert lines == lines_of([of(path)], request)
            found |= {key} if lines else set()
    assert found == set(paths)


def test_an_empty_value_is_limited_as_any_other() -> None:
    """Nobody gets around a limit with it; it is another one than that of no member."""
    args = [of("command.call.args.who")]
    assert lines_of(args, Request.seal(tool("x", who=""))) == (Line("l", '""'),)
    assert lines_of(args, Request.seal(tool("x", who=[]))) == (Line("l", "[]"),)
    assert lines_of(args, Request.seal(tool("x"))) == ()


def test_an_effect_without_the_member_is_not_limited_by_it() -> None:
    """Nor one with another value than the limit's."""
    assert lines_of([of("tool")], Request.seal(code("1"))) == ()
    assert lines_of([of("command.call.nothing.here")], Request.seal(tool("x"))) == ()
    assert lines_of([of("tool", "y")], Request.seal(tool("x"))) == ()
    assert lines_of([of("tool", "x")], Request.seal(tool("x"))) == (Line("l", "x"),)


def test_a_value_that_no_index_takes_is_kept_as_its_digest() -> None:
    """And two of them stay two."""
    limit = of("command.call.args.text")
    long = [Request.seal(tool("x", text="y" * 5_000 + end)) for end in "ab"]
    odd = Request.seal(tool("x", text="zero \0"))
    values = {lines_of([limit], request)[0].value for request in (*long, odd)}
    assert len(values) == 3
    assert all(value.startswith("sha256:") for value in values)
