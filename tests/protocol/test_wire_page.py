"""What ``docs/wire.md`` shows is what effectmq computes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.codec import JSON
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.identity.canonicalize import canonicalize_line
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.chunk import read_chunk
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import read_replies
from effectmq.protocol.messages.request import ENVELOPE_TYPE, read_request
from effectmq.protocol.topology import TopologySettings, reply_topology
from tests.protocol.documents import examples

_PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text("utf-8")


def section(title: str) -> str:
    """One section of the page."""
    _, found, rest = _PAGE.partition(f"\n## {title}\n")
    assert found, f"docs/wire.md has no section {title}"
    return rest.partition("\n## ")[0]


def block(title: str, language: str) -> str:
    """The first block of a section in a language."""
    return section(title).partition(f"```{language}\n")[2].partition("\n```")[0]


def rows(title: str) -> list[list[str]]:
    """The rows of the tables of a section, without their headings."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


ENVELOPE = block("An envelope", "json")
SHOWN = canonicalize_line("envelope", ENVELOPE.replace("\n", " "))


def test_the_envelope_has_the_text_and_the_hash_that_are_shown() -> None:
    """And it is valid, and a worker reads it."""
    assert SHOWN["validation"] == "ok"
    assert block("Canonical text", "text") == SHOWN["canonical"]
    assert block("Hash", "text") == SHOWN["sha256"]
    assert f"The example, {len(SHOWN['canonical'].encode())} bytes" in section("Canonical text")
    request = read_request(Message(body=ENVELOPE.encode(), content_type="", type=ENVELOPE_TYPE))
    assert request.hash == SHOWN["sha256"]


def test_the_answer_is_that_to_the_envelope() -> None:
    """All three of what they are matched by."""
    (reply,) = read_replies(Message(body=block("Answer", "json").encode(), content_type=JSON))
    subject = json.loads(ENVELOPE)["invocation"]
    assert reply.effect_id == subject["subject"]["effect_id"]
    assert reply.replay_key == subject["replay"]["key"]
    assert reply.hash == SHOWN["sha256"]


def test_the_chunk_is_one_of_a_recorded_effect() -> None:
    chunk = read_chunk(Message(body=block("Streamed text", "json").encode(), content_type=JSON))
    assert chunk.hash == examples()["C1"]["sha256"]


def _recorded() -> dict[str, dict[str, Any]]:
    documents = [each for each in examples().values() if each["type"] == "RuntimeEffectEnvelope"]
    envelopes = [json.loads(each["document"])["invocation"] for each in documents]
    return {each["replay"]["key"]: each for each in envelopes if "replay" in each}


def test_every_replay_key_that_is_shown_is_one_of_a_recorded_effect_of_its_kind() -> None:
    """The contract has an example of each formula."""
    shown = rows("Replay keys")[1:]
    assert len(shown) == 8
    for effect, _, _, example in shown:
        subject = _recorded()[example.strip("`")]["subject"]
        assert f"`{subject['kind']}`" in effect


_NUMBERS = "1.0 100.0 1000000000000000.0 1e+16 1.5e+300 0.00001 0.000015 1e-6 2.5e-8 -0.0"


@pytest.mark.parametrize("written", _NUMBERS.split())
def test_numbers_are_written_as_the_table_says(written: str) -> None:
    assert f"`{written}`" in section("Canonical text")
    assert canonical_json(float(written)).decode() == written
    assert canonical_json(parse_json(written)).decode() == written


def test_every_header_that_is_named_is_one_of_ours() -> None:
    ours = {value for value in vars(names).values() if isinstance(value, str)}
    named = set(re.findall(r"`(effect-[a-z-]+)`", _PAGE))
    assert named
    assert named <= ours


def test_the_reply_queue_has_the_arguments_of_our_own_clients() -> None:
    """Whoever declares it otherwise cannot take over from one of them, nor they from it."""
    (queue,) = reply_topology(TopologySettings(), "producer").queues
    shown = {
        name.strip("`"): re.split(r"[ ,]", value)[0] for name, value in rows("Reply queue")[1:]
    }
    assert shown == {
        name: f"`{value}`" if isinstance(value, str) else str(value)
        for name, value in queue.arguments.items()
    }
