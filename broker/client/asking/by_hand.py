"""Envelopes that a person makes: of a tool's name or a kind, and its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.encoding.serde.model import from_tree
from effectmq.protocol.identity import invocations
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommand,
    RuntimeEffectCommandDirect,
    RuntimeEffectCommandProcess,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.invocation import RuntimeInvocation

__all__ = ["ByHand"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """
    Whose effect it is to be; the same names make the same effect again.

    Attributes:
        session_id: The session.
        turn_id: The turn.
        call_id: The call, of a tool call.
    """

    session_id: str
    turn_id: str
    call_id: str = "call-1"

    def tool_call(self, tool: str, args: Mapping[str, JsonValue]) -> RuntimeEffectEnvelope:
        """
        A call of a tool.

        Raises:
            MalformedError: When the arguments make none.
        """
        call: dict[str, JsonValue] = {
            "call_id": self.call_id,
            "tool_name": tool,
            "args": dict(args),
        }
        return self.command("tool_call", {"call": call})

    def command(self, kind: str, members: Mapping[str, JsonValue]) -> RuntimeEffectEnvelope:
        """
        An effect of a kind, with the members of its command.

        Raises:
            MalformedError: When they make none.
        """
        made: RuntimeEffectCommand = from_tree(RuntimeEffectCommand, {**members, "type": kind})
        return RuntimeEffectEnvelope(invocation=self._invocation(kind, made), command=made)

    def _invocation(self, kind: str, command: RuntimeEffectCommand) -> RuntimeInvocation:
        """As the caller of each kind makes it."""
        if isinstance(command, RuntimeEffectCommandProcess):
            return invocations.process_op(command.command, session_id=self.session_id)
        if isinstance(command, RuntimeEffectCommandDirect):
            return invocations.direct(
                command.request,
                command.usage_source,
                session_id=self.session_id,
                turn_id=self.turn_id,
            )
        effect = invocations.turn_effect(
            command.type,
            "1",
            session_id=self.session_id,
            turn_id=self.turn_id,
            turn_index=0,
            protocol_iteration=0,
        )
        return invocations.tool_call(effect, self.call_id) if kind == "tool_call" else effect
