"""Effects for a journal, and the ways in which they end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Claim, Effect, Granted, Record, effect_of
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.serde.model import canonical_bytes, from_tree, to_tree
from effectmq.protocol.identity.invocations import tool_call, turn_effect
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import RuntimeInvocation
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome

__all__ = ["SLEPT", "Writer", "sealed", "sleep", "tool"]

#: The outcome of a sleep.
SLEPT = canonical_bytes(from_tree(RuntimeEffectOutcome, {"type": "sleep"})).decode()


def sleep(effect_id: str = "1", *, duration_ms: int = 1, turn: str = "t") -> Request:
    """A sleep of a turn."""
    invocation = turn_effect(
        "sleep", effect_id, session_id="s", turn_id=turn, turn_index=0, protocol_iteration=0
    )
    return sealed(invocation, {"type": "sleep", "duration_ms": duration_ms})


def tool(batch: RuntimeInvocation, call_id: str, args: dict[str, Any] | None = None) -> Request:
    """A tool call of a batch."""
    call = {"call_id": call_id, "tool_name": "add", "args": args or {}}
    return sealed(tool_call(batch, call_id), {"type": "tool_call", "call": call})


def sealed(invocation: RuntimeInvocation, command: dict[str, Any]) -> Request:
    """The request that an invocation and a command make."""
    tree = {"invocation": to_tree(invocation), "command": command}
    return Request.seal(from_tree(RuntimeEffectEnvelope, tree))


@dataclass
class Writer:
    """Does to a journal what workers do."""

    journal: Journal
    worker: str = "w"
    claims: int = 0

    async def claim(self, request: Request, *, parked_as: int = 0) -> Granted:
        """Claim an effect that nobody holds."""
        self.claims += 1
        token = f"{self.worker}-{self.claims}"
        asked = Claim(effect_of(request), self.worker, token, 60_000, parked_as=parked_as)
        granted = await self.journal.claim(asked)
        assert isinstance(granted, Granted)
        return granted

    async def complete(self, request: Request, outcome_json: str = SLEPT) -> Effect:
        """Carry an effect out."""
        granted = await self.claim(request)
        said = Record(request.identity, granted.fence, granted.attempt, outcome_json)
        await self.journal.record(said)
        return effect_of(request)

    async def fail(self, request: Request, code: str = "broken", *, park: str = "") -> Effect:
        """Let an effect end with an error, and park it when a reason is given."""
        granted = await self.claim(request)
        error_json = canonical_json({"code": code, "message": "it broke"}).decode()
        said = Record(
            request.identity,
            granted.fence,
            granted.attempt,
            error_json=error_json,
            park_reason=park,
        )
        await self.journal.record(said)
        return effect_of(request)
