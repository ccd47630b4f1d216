"""The envelopes, texts and hashes of ``examples/producers/wire.ts`` are those of effectmq."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.jsontext import parse_json
from tests.front_door.producers.node import needs_node, node
from tests.front_door.producers.stage import PRODUCERS
from tests.protocol.documents import examples, vectors

pytestmark = needs_node

#: The largest integer up to which JavaScript has all of them.
_SAFE = 2**53 - 1

_ENVELOPE = """
const place = { session: "s1", turn: "t1", number: 2 };
const envelope = wire.toolCall(place, "call-1", "echo", { value: "hi", count: 2 });
console.log(JSON.stringify([wire.canonical(envelope), wire.hashOf(envelope)]));
"""
_EACH_LINE = """
let input = "";
for await (const piece of process.stdin) input += piece;
const told = input.split("\\n").map((line) => wire.canonicalSorted(JSON.parse(line)));
console.log(JSON.stringify(told));
"""


def run(script: str, lines: list[str] | None = None) -> Any:
    """What a script that knows ``wire`` prints, as JSON."""
    path = (PRODUCERS / "wire.ts").as_uri()
    done = subprocess.run(
        [node(), "--input-type=module", "--eval", f'import * as wire from "{path}";{script}'],
        input="\n".join(lines or []),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_makes_the_envelope_of_the_contract() -> None:
    """C5, byte for byte, and its hash, from arguments in another order."""
    assert run(_ENVELOPE) == [examples()["C5"]["document"], examples()["C5"]["sha256"]]


def test_what_javascript_can_hold_is_written_as_it_was_recorded() -> None:
    """Every recorded value, but for numbers that JavaScript reads as others."""
    found = [each["canonical"] for each in vectors() if each["kind"] == "value" and _safe(each)]
    assert len(found) > 100
    assert run(_EACH_LINE, found) == found


def test_floats_of_all_sizes_are_written_as_effectmq_writes_them() -> None:
    """Positional from 1e-5 to below 1e16, and with an exponent beyond."""
    digits = ("1.5", "-1.25", "1.2345678901234567", "9.007199254740993")
    values = [float(f"{mantissa}e{power}") for mantissa in digits for power in range(-320, 308)]
    floats = [value for value in values if not value.is_integer() or abs(value) > _SAFE]
    assert run(_EACH_LINE, [json.dumps(floats)]) == [canonical_json(floats).decode()]


def test_names_are_sorted_by_their_bytes_and_not_as_javascript_does() -> None:
    """Digits first and UTF-16 are its own orders."""
    given = '{"\U0001f642":1,"\ufb01":2,"b":3,"10":4,"9":5,"":6}'
    expected = '{"":6,"10":4,"9":5,"b":3,"\ufb01":2,"\U0001f642":1}'
    assert run(_EACH_LINE, [given]) == [expected]


def test_what_has_no_place_on_the_wire_is_refused() -> None:
    script = """
    const wrong = [NaN, Infinity, 2n ** 64n, -(2n ** 63n) - 1n, "\\ud800", undefined];
    const refused = wrong.map((value) => {
      try { wire.canonical(value); return false; } catch { return true; }
    });
    console.log(JSON.stringify(refused));
    """
    assert run(script) == [True] * 6


def _safe(vector: dict[str, str]) -> bool:
    return "canonical" in vector and _holds_no_other_number(parse_json(vector["canonical"]))


def _holds_no_other_number(tree: Any) -> bool:
    """Whether no number in it becomes another one in JavaScript, or another kind of one."""
    if isinstance(tree, dict):
        return all(map(_holds_no_other_number, tree.values()))
    if isinstance(tree, list):
        return all(map(_holds_no_other_number, tree))
    if isinstance(tree, float):
        return not tree.is_integer() or abs(tree) > _SAFE
    return not isinstance(tree, int) or abs(tree) <= _SAFE
