"""``effectmq effects waiting`` and ``complete``: what waits for a person, and the answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from effectmq import Client, ToolCall, ToolContext, WaitForAnswer, Worker
from effectmq.broker.store.journal.archive.archive import open_archive
from tests.front_door.cli.command import effectmq, feed_stdin
from tests.waiting import eventually

_NOTE = "Pay 3 back?"


@pytest.fixture
def asked(tmp_path: Path) -> tuple[str, list[str]]:
    """A journal in which two effects wait, and their tokens."""
    url, tokens = f"sqlite:///{tmp_path}/journal.db", list[str]()
    app = Worker(f"memory://{tmp_path.name}", journal=url)

    @app.tool
    async def refund(amount: int, context: ToolContext) -> int | WaitForAnswer:
        tokens.append(context.answer_token)
        return context.wait_for_answer(note=f"Pay {amount} back?", deadline_s=3_600)

    async def hand_out() -> None:
        async with app, Client(place=app.place) as client:
            turn = client.turn("s-1", "t-1")
            for amount, call_id in ((3, "a"), (4, "b")):
                await client.submit(
                    *turn.tool_envelopes([ToolCall("refund", {"amount": amount}, call_id)])
                )

            async def waiting() -> bool:
                async with open_archive(url) as archive:
                    return (await archive.waiting())[1] == 2

            await eventually(waiting)

    asyncio.run(hand_out())
    return url, tokens


def test_what_waits_is_listed(
    asked: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """With what is asked, and never the token."""
    url, tokens = asked
    shown = effectmq(capsys, "effects", "waiting", "--journal", url)
    assert shown.code == 0
    assert _NOTE in shown.out
    listed = effectmq(capsys, "effects", "waiting", "--journal", url, "--json", "--limit", "1")
    (first,) = listed.documents
    assert first["note"] == _NOTE
    assert first["value_schema"] == {"type": "integer"}
    assert first["deadline_ms"] - first["asked_ms"] == 3_600_000
    assert "1 of 2" in listed.err
    none = effectmq(capsys, "effects", "waiting", "--journal", url, "--session", "other")
    assert "no effect waits" in none.out
    assert not any(token in shown.out + listed.out for token in tokens)


def test_an_effect_is_answered_once(
    asked: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """By its name; another answer is told what came first."""
    url, _ = asked

    def complete(*words: str) -> tuple[int, str]:
        made = effectmq(capsys, "effects", "complete", "2:b", *words, "--journal", url)
        return made.code, made.out + made.err

    code, said = complete("--value", '"four"')
    assert code == 1
    assert "expected integer" in said
    assert complete("--value", "4") == (0, "effect 2:b is answered, and completed\n")
    assert complete("--value", "4")[0] == 0
    code, said = complete("--error", "no")
    assert code == 1
    assert "it is completed already" in said
    got = effectmq(capsys, "effects", "get", "2:b", "--journal", url, "--json")
    (effect,) = got.documents
    assert effect["outcome"]["result"]["output"]["outcome"]["payload"] == 4
    left = effectmq(capsys, "effects", "waiting", "--journal", url, "--json")
    assert [each["effect_id"] for each in left.documents] == ["1:a"]


def test_a_token_from_stdin_answers_its_effect(
    asked: tuple[str, list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that it is in no list of processes."""
    url, tokens = asked
    feed_stdin(monkeypatch, f"{tokens[0]}\n".encode())
    words = ("--token", "-", "--error", "no receipt", "--code", "no_receipt", "--json")
    made = effectmq(capsys, "effects", "complete", *words, "--journal", url)
    (told,) = made.documents
    assert (made.code, told["counts"], told["status"]) == (0, True, "failed")
    assert told["effect_id"] == "1:a"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["2:b"], "give --value or --error"),
        (["2:b", "--value", "1", "--error", "no"], "give --value or --error"),
        (["2:b", "--value", "yes"], "is no JSON"),
        (["2:b", "--value", "1", "--code", "x"], "code without an error"),
        (["2:b", "--token", "eqa_0", "--value", "1"], "not both"),
        (["--token", "eqa_0", "--value", "1"], "is no token"),
        (["--token", f"eqa_{'0' * 64}", "--value", "1"], "no handed-out effect"),
        (["none", "--value", "1"], "no effect"),
    ],
)
def test_what_cannot_be_an_answer_is_refused(
    asked: tuple[str, list[str]],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    why: str,
) -> None:
    """With a sentence, and nothing changes."""
    url, _ = asked
    made = effectmq(capsys, "effects", "complete", *words, "--journal", url)
    assert made.code != 0
    assert why in made.err
    left = effectmq(capsys, "effects", "waiting", "--journal", url, "--json")
    assert len(left.documents) == 2
