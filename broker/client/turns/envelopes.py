"""
The envelopes of a turn's effects, made the way a runtime does.

Every effect gets the invocation and the replay key of the wire format, section 4, so the same
program run again asks for the same effects.
"""

from __future__ import annotations

from collections.abc import Sequence

from effectmq.broker.client.turns.numbers import Numbers
from effectmq.broker.client.turns.tool_calls.batch import (
    ToolCall,
    check_type,
    envelopes_of,
    prepared_batch,
)
from effectmq.protocol.identity import invocations
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommand,
    RuntimeEffectCommandDirect,
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandLlmCall,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.invocation import (
    CausalRef,
    RuntimeEffectKind,
    RuntimeInvocation,
)
from effectmq.protocol.wire.llm_request import LlmRequestSpec

__all__ = ["TurnEnvelopes"]


class TurnEnvelopes:
    """
    Makes the envelopes of one turn, and counts its effects.

    Attributes:
        session_id: The session.
        turn_id: The turn.
        turn_index: Its number in the session, from 0.
        protocol_iteration: Its iteration, from 0.
    """

    def __init__(
        self, session_id: str, turn_id: str, turn_index: int = 0, protocol_iteration: int = 0
    ) -> None:
        self.session_id = session_id
        self.turn_id = turn_id
        self.turn_index = turn_index
        self.protocol_iteration = protocol_iteration
        self._numbers = Numbers()

    def invocation(
        self, kind: RuntimeEffectKind, *, number: int | None = None
    ) -> RuntimeInvocation:
        """
        The invocation of the turn's next effect.

        Args:
            kind: The effect's kind.
            number: A number of your own; the next one is taken when it is not given.

        Raises:
            ConfigurationError: When ``number`` is none, or counted and own numbers meet.
        """
        return invocations.turn_effect(
            kind,
            str(self._numbers.take(number)),
            session_id=self.session_id,
            turn_id=self.turn_id,
            turn_index=self.turn_index,
            protocol_iteration=self.protocol_iteration,
        )

    def tool_envelopes(
        self, calls: Sequence[ToolCall], *, number: int | None = None
    ) -> list[RuntimeEffectEnvelope]:
        """
        The envelopes of a batch of calls, which together take one number.

        Args:
            calls: The calls.
            number: A number of your own; the next one is taken when it is not given.

        Raises:
            ConfigurationError: When two of them have the same id, because they would be one effect.
            MalformedError: When one of them cannot be sent.
        """
        prepared = prepared_batch(calls)
        batch = self.invocation("tool_call", number=number)
        return envelopes_of(batch, prepared)

    def llm_envelope(
        self, request: LlmRequestSpec, *, number: int | None = None
    ) -> RuntimeEffectEnvelope:
        """The envelope of ``llm_call``; takes a number."""
        return self.envelope(RuntimeEffectCommandLlmCall(request=request), number=number)

    def code_envelope(self, code: str, *, number: int | None = None) -> RuntimeEffectEnvelope:
        """The envelope of ``exec_code``; takes a number."""
        return self.envelope(RuntimeEffectCommandExecCode(code=code), number=number)

    def direct_envelope(
        self,
        request: LlmRequestSpec,
        *,
        usage_source: str,
        replay_key: str | None = None,
        cause: CausalRef | None = None,
    ) -> RuntimeEffectEnvelope:
        """
        The envelope of ``direct``, which has no number.

        Raises:
            MalformedError: When it is not a request.
        """
        check_type(request, LlmRequestSpec, "request", "an LlmRequestSpec")
        invocation = invocations.direct(
            request,
            usage_source,
            session_id=self.session_id,
            turn_id=self.turn_id,
            replay_key=replay_key,
            cause=cause,
        )
        command = RuntimeEffectCommandDirect(request=request, usage_source=usage_source)
        return RuntimeEffectEnvelope(invocation=invocation, command=command)

    def envelope(
        self, command: RuntimeEffectCommand, *, number: int | None = None
    ) -> RuntimeEffectEnvelope:
        """The envelope of a numbered command; takes a number."""
        invocation = self.invocation(command.type, number=number)
        return RuntimeEffectEnvelope(invocation=invocation, command=command)
