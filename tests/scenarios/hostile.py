"""
What does not want to be done: effects that kill their workers, and messages that are no effects.

Both must end among the dead letters, each with its own reason; nobody else may end there. A killer
is submitted like any other effect, and its caller is told. Poison is published past the client, as
a producer with a broken encoder would, and nobody waits for it.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from effectmq import TransportSettings
from effectmq.broker.transports import open_transport
from effectmq.protocol.encoding.codec import JSON, MSGPACK, encode_tree
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import BrokerError, PublishError
from effectmq.protocol.messages import headers
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import ENVELOPE_TYPE, Request
from effectmq.protocol.topology import Names
from tests.scenarios.effects import Call, calls, effect_id, envelopes
from tests.scenarios.fleet import Fleet, FleetProcess

__all__ = [
    "KILLER_CODE",
    "MALFORMED",
    "TAMPERED",
    "deaths_of",
    "examine",
    "expected_letters",
    "killers",
    "malformed",
    "poison_message",
    "publish_poison",
    "spread",
]

#: The exit code of a worker whom a killer ended, and nothing else of the scenarios.
KILLER_CODE = 3

MALFORMED, TAMPERED = "malformed", "tampered"

_TRIES = 50


def killers(count: int, *, after_ms: int = 0) -> list[Call]:
    """Calls of a tool that ends its whole process."""
    return calls("fatal", count, after_ms=after_ms)


def spread(innocent: Sequence[Call], guilty: Sequence[Call]) -> list[Call]:
    """The guilty among the innocent, at equal distances, the first one a share from the start."""
    mixed = list(innocent)
    for number in range(len(guilty), 0, -1):
        mixed.insert(len(innocent) * number // (len(guilty) + 1), guilty[number - 1])
    return mixed


def deaths_of(workers: Sequence[FleetProcess]) -> int:
    """How many workers were ended by a killer."""
    return sum(worker.code == KILLER_CODE for worker in workers)


async def publish_poison(fleet: Fleet, rng: random.Random, number: int) -> None:
    """One message that is no effect, published until the broker has confirmed it."""
    name, reason, message = poison_message(rng, number)
    line = {"event": "poison", "effect": name, "reason": reason, "at": round(time.time(), 3)}
    with fleet.records.path.open("a") as records:
        records.write(json.dumps(line) + "\n")
    exchange = Names(fleet.namespace).work_exchange
    for _ in range(_TRIES):
        try:
            settings = TransportSettings(name="poison", connect_timeout_s=60.0)
            async with open_transport(fleet.broker, settings) as transport:
                await transport.publish(exchange, "tool_call", message)
                return
        except (PublishError, BrokerError):
            continue
    raise AssertionError(f"{name} could not be published {_TRIES} times over")


def poison_message(rng: random.Random, number: int) -> tuple[str, str, Message]:
    """The name, the reason for which it must be parked, and a message, by turns of both kinds."""
    if number % 2:
        (envelope,) = envelopes([{"id": f"forged-{number}", "tool": "draw", "args": {"n": number}}])
        sealed = Request.seal(envelope).message
        forged = {**sealed.headers, headers.HASH: f"{rng.getrandbits(256):064x}"}
        return f"1:forged-{number}", TAMPERED, replace(sealed, headers=forged)
    body, content_type = malformed(rng, number // 2)
    name = f"poison-{number}"
    message = Message(body=body, content_type=content_type, type=ENVELOPE_TYPE, correlation_id=name)
    return name, MALFORMED, message


def malformed(rng: random.Random, number: int) -> tuple[bytes, str]:
    """A body that is no envelope, and its content type; ten sorts of them, by turns."""
    (envelope,) = envelopes(calls("work", 1, first=number))
    tree = to_tree(envelope)
    packed, text = encode_tree(tree, MSGPACK), encode_tree(tree, JSON)
    return [
        (b"", MSGPACK),
        (b"\xc1", MSGPACK),
        (packed[: rng.randrange(1, len(packed))], MSGPACK),
        (packed + b"\x00", MSGPACK),
        (rng.randbytes(rng.randrange(1, 4_096)), MSGPACK),
        (b"\x91" * 200 + b"\xc0", MSGPACK),
        (text[: rng.randrange(1, len(text))], JSON),
        (text.replace(b'"work"', b"NaN", 1), JSON),
        (b"[" * 5_000, JSON),
        (encode_tree({"invocation": tree["invocation"]}, JSON), JSON),
    ][number % 10]


def expected_letters(fleet: Fleet, guilty: Sequence[Call]) -> dict[str, str]:
    """For each effect that must end among the dead letters, the reason."""
    poison = {
        line["effect"]: line["reason"]
        for line in fleet.records.lines()
        if line["event"] == "poison"
    }
    return poison | {effect_id(call): "crash_looping" for call in guilty}


def examine(
    expected: Mapping[str, str],
    letters: Mapping[str, Set[str]],
    runs: Counter[str],
    deaths_each: int,
) -> list[str]:
    """
    Sentences about what is wrong; empty when exactly the guilty were parked, for what they are.

    Args:
        expected: The reason for each of them.
        letters: For each effect among the dead letters, the reasons that are given.
        runs: How often each body was begun.
        deaths_each: How many workers one killer may take.
    """
    found = []
    for name, reason in sorted(expected.items()):
        given = sorted(letters.get(name, ()))
        if given != [reason]:
            found.append(f"{name} must be parked as {reason}, and is parked as {given}")
        if runs[name] > deaths_each:
            found.append(f"{name} was run {runs[name]} times; {deaths_each} are allowed")
        if reason in (MALFORMED, TAMPERED) and runs[name]:
            found.append(f"{name} is {reason}, and was run")
    for name in sorted(set(letters) - set(expected)):
        found.append(f"{name} is innocent, and is parked as {sorted(letters[name])}")
    return found
