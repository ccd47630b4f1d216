"""Short ways to ask a journal, for tests."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Claim, Effect, Granted, Record
from effectmq.protocol.encoding.canonical import canonical_json, sha256_hex
from effectmq.protocol.messages.request import Identity

__all__ = ["LEASE_MS", "claim_of", "effect", "envelope", "finished", "granted", "said"]

#: Longer than any test runs.
LEASE_MS = 600_000


def envelope(name: str = "one") -> str:
    """A document that stands for an envelope."""
    return canonical_json({"command": name}).decode()


def effect(key: str = "k", scope: str = "turn:s", name: str = "one") -> Effect:
    """An effect whose envelope is told by its name."""
    text = envelope(name)
    return Effect(
        Identity(scope, key),
        sha256_hex(text.encode()),
        "tool_call",
        f"effect-{key}",
        "session",
        "turn",
        "",
        text,
    )


def claim_of(asked: Effect, **changes: Any) -> Claim:
    """A claim with a token of its own."""
    plain = Claim(asked, "worker", secrets.token_hex(8), LEASE_MS)
    return replace(plain, **changes)


def said(asked: Effect, answer: Granted, outcome: str = '{"ok":1}', **changes: Any) -> Record:
    """What the holder of a lease writes down."""
    return replace(Record(asked.identity, answer.fence, answer.attempt, outcome), **changes)


async def granted(journal: Journal, asked: Effect, **changes: Any) -> Granted:
    """Claim it, and be granted it."""
    answer = await journal.claim(claim_of(asked, **changes))
    assert isinstance(answer, Granted)
    return answer


async def finished(journal: Journal, asked: Effect, outcome: str = '{"ok":1}') -> None:
    """Claim it and record its outcome."""
    answer = await granted(journal, asked)
    await journal.record(said(asked, answer, outcome))
