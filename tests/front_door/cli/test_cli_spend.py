"""``effectmq spend``: what was spent, and ceilings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Record
from effectmq.broker.store.spend.records import Spend, Use
from tests.conformance.asking import effect, granted
from tests.front_door.cli.command import Result, effectmq
from tests.front_door.recorded import record_session

Command = Callable[..., Result]

SPENT = [
    Spend("acme", "s1", (Use("gpt", 1_000, 200, 100, 1_234_567_890),)),
    Spend("acme", "s2", (Use("own", 10, 5),)),
    Spend("", "s1", (Use("gpt", 10, 2, 0, 4_000_000), Use("gpt", 10, 2, 0, 0))),
]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal in which three effects have spent something."""
    made = f"sqlite:///{tmp_path / 'journal.db'}"

    async def record() -> None:
        async with Journal(made) as journal:
            await journal.check_writable()
            for number, spend in enumerate(SPENT):
                asked = effect(f"k{number}")
                answer = await granted(journal, asked)
                await journal.record(Record(asked.identity, answer.fence, 1, "{}", spend=spend))

    asyncio.run(record())
    return made


@pytest.fixture
def spend(url: str, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ``effectmq spend`` on it."""

    def run(*words: str) -> Result:
        return effectmq(capsys, "spend", *words, "--journal", url)

    return run


def test_what_was_spent_for_people(spend: Command) -> None:
    """The most first, and who has no price is told."""
    rows = [line.split() for line in spend("show", "--by", "tenant").out.splitlines()]
    assert rows == [
        ["tenant", "calls", "input", "cached", "output", "cost", "unpriced"],
        ["acme", "2", "1010", "100", "205", "$1.23", "1"],
        ["(none)", "2", "20", "0", "4", "$0.004"],
    ]
    assert "own" in spend("show").out
    assert spend("show", "--by", "all").out.splitlines()[1].startswith("everything")


def test_what_was_spent_for_scripts(spend: Command) -> None:
    """Exactly, in nanos."""
    (first, second) = spend("show", "--by", "session", "--json").documents
    assert first == {
        "name": "s1",
        "calls": 3,
        "input_tokens": 1_020,
        "output_tokens": 204,
        "cached_tokens": 100,
        "nanos": 1_238_567_890,
        "usd": 1.23856789,
        "unpriced_calls": 0,
    }
    assert (second["name"], second["usd"], second["unpriced_calls"]) == ("s2", 0, 1)
    (today,) = spend("show", "--by", "day", "--since", "2d", "--json").documents
    assert (len(today["day"]), today["nanos"]) == (10, 1_238_567_890)
    assert spend("show", "--limit", "1", "--json").documents[0]["name"] == "gpt"
    assert spend("show", "--limit", "0").code == 2


def test_an_effect_shows_what_it_has_spent(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For people and for scripts; of another one, nothing."""
    shown = effectmq(capsys, "effects", "get", "k0", "--journal", url).out
    assert "$1.23: 1000 tokens in, 200 out, 1 call" in shown
    assert "no price is known" in effectmq(capsys, "effects", "get", "k1", "--journal", url).out
    listed = effectmq(capsys, "effects", "list", "--json", "--journal", url).documents
    assert {each["replay_key"]: each["spend"]["tenant"] for each in listed} == {
        "k0": "acme",
        "k1": "acme",
        "k2": None,
    }


def test_ceilings_are_set_changed_listed_and_cleared(spend: Command) -> None:
    """A name is one ceiling, each of them another."""
    assert spend("limit", "list", "--json").documents == []
    assert spend("limit", "set", "--each", "tenant", "--usd", "5", "--per", "day").code == 0
    assert spend("limit", "set", "--tenant", "acme", "--usd", "1.50").code == 0
    told = spend("limit", "set", "--tenant", "acme", "--usd", "2.5", "--tokens", "7")
    assert "the ceiling for tenant 'acme' is $2.50 and 7 tokens per month" in told.err
    assert spend("limit", "set", "--all", "--tokens", "9", "--on-exceeded", "wait").code == 0
    found = spend("limit", "list", "--json").documents
    members = ("by", "name", "per", "usd", "tokens")
    assert [tuple(each[member] for member in members) for each in found] == [
        ("all", None, "month", None, 9),
        ("tenant", None, "day", 5.0, None),
        ("tenant", "acme", "month", 2.5, 7),
    ]
    assert [each["on_exceeded"] for each in found] == ["wait", "refuse", "refuse"]
    assert "each tenant" in spend("limit", "list").out
    assert spend("limit", "clear", "--tenant", "acme").code == 0
    gone = spend("limit", "clear", "--tenant", "acme", "--json")
    assert (gone.code, gone.documents[0]["cleared"]) == (1, False)
    assert len(spend("limit", "list", "--json").documents) == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--tenant", "acme"), "neither money nor tokens"),
        (("--tenant", "acme", "--usd", "much"), "expected US dollars from 0"),
        (("--all", "--tokens", "-1"), "below 0"),
        (("--usd", "1"), "found 0 of --all, --each"),
        (("--all", "--tenant", "a", "--usd", "1"), "found 2 of --all"),
    ],
)
def test_a_ceiling_that_cannot_be_one_is_a_usage_error(
    spend: Command, words: tuple[str, ...], why: str
) -> None:
    """With a sentence."""
    refused = spend("limit", "set", *words)
    assert refused.code == 2
    assert why in refused.err


def test_where_nothing_was_spent_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A journal of before there were records of spend has no tables for it."""
    url = record_session(tmp_path)
    assert "nothing was spent" in effectmq(capsys, "spend", "show", "--journal", url).err
    assert "no ceilings" in effectmq(capsys, "spend", "limit", "list", "--journal", url).err
    shown = effectmq(capsys, "effects", "get", "1", "--journal", url, "--json").documents[0]
    assert shown["spend"] is None
