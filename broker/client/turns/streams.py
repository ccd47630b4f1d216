"""The effects of a turn that stream, read piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, Required, TypeVar, Unpack, cast, overload

from effectmq.broker.client.asking.timeouts import DEFAULT_TIMEOUT_S
from effectmq.broker.client.stream import Stream
from effectmq.broker.client.turns.envelopes import TurnEnvelopes
from effectmq.broker.client.turns.executing import Outcome, outcome_of
from effectmq.broker.client.turns.options import (
    CallOptions,
    OpenStream,
    ToolOptions,
    check_options,
)
from effectmq.broker.client.turns.tool_calls.batch import ToolCall
from effectmq.broker.client.turns.tool_calls.functions import named_call
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import CausalRef
from effectmq.protocol.wire.llm_request import LlmRequestSpec
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcomeDirect,
    RuntimeEffectOutcomeExecCode,
    RuntimeEffectOutcomeLlmCall,
    RuntimeEffectOutcomeToolCall,
)

__all__ = ["Streams"]


class _Streamed(CallOptions, total=False):
    call_id: Required[str]
    number: int | None


P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Streams:
    """
    The methods of a turn whose kinds stream, as streams; made by ``Turn.stream``.

    Arguments, numbers and errors are those of the turn's own methods. The number is taken by the
    call, and the effect is asked for when the stream is read.
    """

    turn: TurnEnvelopes
    _open: OpenStream

    def tool_call(
        self,
        tool_name: str,
        args: Mapping[str, Any],
        *,
        call_id: str,
        number: int | None = None,
        **options: Unpack[CallOptions],
    ) -> Stream[RuntimeEffectOutcomeToolCall]:
        """Call one tool; see ``Turn.tool_call``."""
        check_options("stream.tool_call", options, CallOptions)
        calls = [ToolCall(tool_name, args, call_id)]
        (envelope,) = self.turn.tool_envelopes(calls, number=number)
        return self._read(RuntimeEffectOutcomeToolCall, envelope, options)

    @overload
    def call(
        self, tool: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Stream[R]: ...
    @overload
    def call(self, tool: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Stream[R]: ...
    def call(self, tool: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Stream[Any]:
        """
        Call a tool by its function; ``result()`` is its value, see ``Turn.call``.

        With options: ``turn.with_options(timeout=90).stream(tool, …)``.
        """
        return self.call_with({}, tool, args, kwargs)

    def call_with(
        self, options: ToolOptions, tool: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]
    ) -> Stream[Any]:
        """
        Call a tool by its function, with options; see ``Calls.stream``.

        Raises:
            ConfigurationError: When the options have ``on_chunk`` or ``on_progress``, which are
                another way to read.
        """
        known, arguments, read = named_call(tool, args, kwargs)
        how: ToolOptions = {"call_id": known.name, "lane": known.lane or None, **options}
        for taker in (how.pop("on_chunk", None), how.pop("on_progress", None)):
            if taker is not None:
                raise ConfigurationError(
                    "a stream is read with 'async for'; leave on_chunk= and on_progress= out"
                )
        made = self.tool_call(known.name, arguments, **cast("_Streamed", how))
        return made.read_as(lambda outcome: read(outcome.value))

    def llm_call(
        self, request: LlmRequestSpec, *, number: int | None = None, **options: Unpack[CallOptions]
    ) -> Stream[RuntimeEffectOutcomeLlmCall]:
        """Ask the turn's model, and read its text while it speaks."""
        check_options("stream.llm_call", options, CallOptions)
        envelope = self.turn.llm_envelope(request, number=number)
        return self._read(RuntimeEffectOutcomeLlmCall, envelope, options)

    def exec_code(
        self, code: str, *, number: int | None = None, **options: Unpack[CallOptions]
    ) -> Stream[RuntimeEffectOutcomeExecCode]:
        """Run a block of code, and read what it prints while it runs."""
        check_options("stream.exec_code", options, CallOptions)
        envelope = self.turn.code_envelope(code, number=number)
        return self._read(RuntimeEffectOutcomeExecCode, envelope, options)

    def direct(
        self,
        request: LlmRequestSpec,
        *,
        usage_source: str,
        replay_key: str | None = None,
        cause: CausalRef | None = None,
        **options: Unpack[CallOptions],
    ) -> Stream[RuntimeEffectOutcomeDirect]:
        """Ask a model outside of the turn's own conversation; see ``Turn.direct``."""
        check_options("stream.direct", options, CallOptions)
        envelope = self.turn.direct_envelope(
            request, usage_source=usage_source, replay_key=replay_key, cause=cause
        )
        return self._read(RuntimeEffectOutcomeDirect, envelope, options)

    def _read(
        self, expected: type[Outcome], envelope: RuntimeEffectEnvelope, options: CallOptions
    ) -> Stream[Outcome]:
        options.setdefault("timeout", DEFAULT_TIMEOUT_S)
        stream, kind = self._open(envelope, **options), envelope.command.type
        return stream.read_as(lambda outcome: outcome_of(expected, kind, outcome))
