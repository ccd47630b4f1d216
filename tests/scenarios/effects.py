"""The envelopes of a plan, built the same way in whichever process needs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from effectmq.broker.client.turns.turn import ToolCall
from effectmq.protocol.encoding.canonical import canonical_json, sha256_hex
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.identity.invocations import tool_call, turn_effect
from effectmq.protocol.messages.reply import Reply
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandSleep,
    RuntimeEffectCommandToolCall,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.invocation import RuntimeEffectKind, RuntimeInvocation
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall

__all__ = ["Call", "calls", "digest_of", "effect_id", "envelopes"]

_SESSION = "scenario"


class Call(TypedDict):
    """One tool call of a plan; ``id`` is the call's id, and the end of the effect's."""

    id: str
    tool: str
    args: dict[str, Any]


def calls(tool: str, count: int, *, first: int = 0, **args: object) -> list[Call]:
    """``count`` calls of one tool with ``n`` counting up and the other arguments the same."""
    return [
        {"id": f"{tool}-{n}", "tool": tool, "args": {"n": n, **args}}
        for n in range(first, first + count)
    ]


def envelopes(plan: Sequence[Call]) -> list[RuntimeEffectEnvelope]:
    """
    The envelope of each call; effect ids are ``1:<call id>``.

    A call of the tool ``refused`` is a piece of code instead, which the scenarios' worker parks:
    whatever a tool does, it never parks its effect. A call of the tool ``sleep`` is a sleep of
    ``ms``.
    """
    made = {"refused": _code, "sleep": _sleep}
    return [made.get(call["tool"], _tool_call)(call) for call in plan]


def effect_id(call: Call) -> str:
    """The effect id of a call."""
    return f"1:{call['id']}"


def _tool_call(call: Call) -> RuntimeEffectEnvelope:
    return RuntimeEffectEnvelope(
        invocation=tool_call(_invocation("tool_call", "1"), call["id"]),
        command=RuntimeEffectCommandToolCall(
            call=ToolCall(call["tool"], call["args"], call["id"]).prepared()
        ),
    )


def _code(call: Call) -> RuntimeEffectEnvelope:
    return RuntimeEffectEnvelope(
        invocation=_invocation("exec_code", effect_id(call)),
        command=RuntimeEffectCommandExecCode(code=f"refuse {call['args']['n']}"),
    )


def _sleep(call: Call) -> RuntimeEffectEnvelope:
    return RuntimeEffectEnvelope(
        invocation=_invocation("sleep", effect_id(call)),
        command=RuntimeEffectCommandSleep(duration_ms=call["args"]["ms"]),
    )


def _invocation(kind: RuntimeEffectKind, name: str) -> RuntimeInvocation:
    return turn_effect(
        kind, name, session_id=_SESSION, turn_id="turn", turn_index=0, protocol_iteration=0
    )


def digest_of(reply: Reply, *, exact: bool) -> str:
    """
    Names the outcome in a reply: two that are byte-identical have the same digest.

    Args:
        reply: As it was received.
        exact: With a journal, every byte counts. Without one, the time that a tool took is measured
            anew by every execution, and is the one member left out.
    """
    result = to_tree(reply.result)
    if isinstance(reply.result, RuntimeEffectOutcomeToolCall) and not exact:
        result = {**result, "result": {**result["result"], "duration_ms": 0}}
    return sha256_hex(canonical_json(result))[:16]
