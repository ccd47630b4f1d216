"""Documents that are one line, and documents over several."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from effectmq.cli.terminal.documents import count_documents, documents, hint
from effectmq.cli.terminal.lines import Line, lines
from tests.front_door.cli.command import effectmq, envelope_line

_PRETTY = '{\n  "a": {\n    "b": [\n      1\n    ]\n  }\n}'


async def _found(data: bytes) -> list[tuple[int, bytes]]:
    source = lines(io.BytesIO(data))
    return [(one.number, one.data) async for one in documents(source) if one.data.strip()]


async def test_lines_are_documents() -> None:
    """As they were, with their numbers."""
    assert await _found(b'{"a":1}\n\n{"b":2}\nrubbish') == [
        (1, b'{"a":1}'),
        (3, b'{"b":2}'),
        (4, b"rubbish"),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("indent", [1, 2, 4, "\t"])
async def test_a_document_over_several_lines_is_one(end: str, indent: int | str) -> None:
    """Mixed with lines, however it is indented; its number is that of its first line."""
    tree = {"a": {"b": [1, {"c": "}"}]}, "d": "{"}
    pretty = json.dumps(tree, indent=indent).replace("\n", end)
    text = end.join(['{"one":1}', pretty, pretty, '{"two":2}', ""])
    found = await _found(text.encode())
    assert [json.loads(data) for _, data in found] == [{"one": 1}, tree, tree, {"two": 2}]
    assert found[1][0] == 2


async def test_a_document_that_is_not_finished_takes_no_other_with_it() -> None:
    """The next line that is not indented begins anew, and the end ends it."""
    data = b'{\n  "a": 1\n{"b":2}\n{\n\n{\n  "c": 3'
    assert await _found(data) == [
        (1, b'{\n  "a": 1'),
        (3, b'{"b":2}'),
        (4, b"{"),
        (6, b'{\n  "c": 3'),
    ]


def test_counting_agrees_with_reading(tmp_path: Path) -> None:
    """For the progress line's total."""
    path = tmp_path / "documents"
    path.write_text(f"{{}}\n{_PRETTY}\n\n{{}}\n{{\n  1")
    assert count_documents(str(path)) == 4


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[", "no list of them"),
        (b"[{}]", "no list of them"),
        (b'{"invocation": {', "one over several lines is read"),
        (b'  "scope": 1,', "one over several lines is read"),
        (b"rubbish", ""),
    ],
)
def test_a_part_of_a_document_is_told_what_json_lines_is(data: bytes, said: str) -> None:
    """Only where it looks like one; rubbish is rubbish."""
    assert said in hint(Line(1, data))
    assert bool(said) == bool(hint(Line(1, data)))


def test_pretty_printed_envelopes_are_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One answer for each, and a sentence for what is no document of its own."""
    sleep = {"type": "sleep", "duration_ms": 1}
    trees = [json.loads(envelope_line(name, sleep)) for name in ("1", "2")]
    path = tmp_path / "pretty.json"
    path.write_text("\n".join(json.dumps(tree, indent=2) for tree in trees))
    result = effectmq(capsys, "run", path)
    assert (result.code, [answer["effect_id"] for answer in result.documents]) == (0, ["1", "2"])
    path.write_text(json.dumps(trees, indent=2))
    refused = effectmq(capsys, "run", path)
    assert refused.code == 1
    assert "Expected JSON Lines" in refused.documents[0]["error"]
