"""
The handlers of ``llm_call`` and ``direct``.

A provider's failure is an *outcome*, once the retry policy of its model is spent; it never parks an
effect. The pipeline waits between attempts, so the wait holds no slot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from effectmq.consumers.decisions.retry import NO_RETRY, RetryPolicy
from effectmq.consumers.handler import (
    EffectContext,
    NotHere,
    RepeatableHandler,
    TryAgain,
    cannot_execute,
    with_tried,
)
from effectmq.consumers.llm.calls import AttachmentSource, ConfiguredModel, ModelCalls, too_slow
from effectmq.consumers.llm.hooks import NO_HOOKS, Listening, TurnHooks
from effectmq.consumers.llm.models import ModelSettings
from effectmq.consumers.llm.numbers import ModelNumbers
from effectmq.consumers.llm.port import CallFailure, ModelCallError
from effectmq.consumers.llm.providers import open_provider
from effectmq.consumers.logs.lines import note_raised
from effectmq.protocol.encoding.serde.tagging import Err, Ok
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandDirect,
    RuntimeEffectCommandLlmCall,
)
from effectmq.protocol.wire.llm_request import LlmRequestSpec
from effectmq.protocol.wire.llm_response import LlmUsage
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcome,
    RuntimeEffectOutcomeDirect,
    RuntimeEffectOutcomeLlmCall,
)

__all__ = ["DirectHandler", "LlmCallHandler", "llm_handlers"]

_NO_VARIABLES: Mapping[str, str] = {}


class _ModelHandler(RepeatableHandler):
    """The base of both handlers of models: asking a model again changes nothing outside."""

    #: For errors around a model only; failures of the model follow its own policy.
    retry: RetryPolicy = NO_RETRY

    #: The name of the executor in errors, as the wire format has it.
    _executor = ""

    def __init__(self, calls: ModelCalls) -> None:
        self.calls = calls

    @property
    def numbers(self) -> ModelNumbers:
        """How often each model was asked; the same for all handlers of one table."""
        return self.calls.numbers

    @property
    def abilities(self) -> dict[str, str]:
        """The abilities of this worker, as it announces them."""
        return self.calls.abilities

    @property
    def time_limit_s(self) -> float | None:
        """The longest that one attempt of any model may run, in seconds."""
        return self.calls.longest_limit_s

    def limit_s(self, request: Request) -> float | None:
        """A little more than the time limit of the model that is asked."""
        return self.calls.limit_s(_spec(request, self._executor).model)

    async def _note(
        self, context: EffectContext, spec: LlmRequestSpec, usage: LlmUsage | None
    ) -> None:
        """Note what the call has used, so that it is written with the record."""
        use = await self.calls.use(spec.model, usage)
        if use is not None:
            context.note_use(use)


class LlmCallHandler(_ModelHandler):
    """
    Runs ``llm_call`` effects, streaming the text as it arrives.

    Args:
        calls: The models. Give it to ``worker.use`` as well, so that its connections are closed
            with the worker.
        hooks: What the host does with an answer.
    """

    kind = "llm_call"
    _executor = "turn"

    def __init__(self, calls: ModelCalls, hooks: TurnHooks = NO_HOOKS) -> None:
        super().__init__(calls)
        self._hooks = hooks

    async def run(
        self, request: Request, context: EffectContext
    ) -> RuntimeEffectOutcomeLlmCall | TryAgain | NotHere:
        """Make one attempt at one call."""
        spec = _spec(request, self._executor)
        listening = Listening(self._hooks, context.stream)
        try:
            response = await listening.concluded(
                self.calls.complete(spec, request.attempt, listening.hear)
            )
        except ModelCallError as problem:
            if problem.lacks:
                return _not_here(problem, self._outcome)
            if problem.__cause__ is not None:
                note_raised(request, problem.__cause__, "its provider")
            await self._note(context, spec, problem.failure.usage)
            return self._judge(request, problem.failure, listening.streamed)
        await self._note(context, spec, response.usage)
        return RuntimeEffectOutcomeLlmCall(result=Ok(response), text_streamed=listening.streamed)

    def timed_out(self, request: Request, limit_s: float) -> RuntimeEffectOutcomeLlmCall | TryAgain:
        """The result of a call that ran even over the pipeline's limit."""
        return self._judge(request, too_slow(limit_s), False)

    def _judge(
        self, request: Request, failure: CallFailure, streamed: bool
    ) -> RuntimeEffectOutcomeLlmCall | TryAgain:
        again = self.calls.again(request, _spec(request, self._executor).model, failure)
        return again or self._outcome(failure, streamed)

    def _outcome(self, failure: CallFailure, streamed: bool = False) -> RuntimeEffectOutcomeLlmCall:
        return RuntimeEffectOutcomeLlmCall(
            result=Err(failure.on_the_wire()), text_streamed=streamed
        )


class DirectHandler(_ModelHandler):
    """
    Runs ``direct`` effects: one call for one whole answer, without a stream.

    Args:
        calls: The models. Give it to ``worker.use`` as well, so that its connections are closed
            with the worker.
    """

    kind = "direct"
    _executor = "direct"

    async def run(
        self, request: Request, context: EffectContext
    ) -> RuntimeEffectOutcomeDirect | TryAgain | NotHere:
        """Make one attempt at one call."""
        spec = _spec(request, self._executor)
        try:
            response = await self.calls.complete(spec, request.attempt, None)
        except ModelCallError as problem:
            if problem.lacks:
                return _not_here(problem, self._outcome)
            if problem.__cause__ is not None:
                note_raised(request, problem.__cause__, "its provider")
            await self._note(context, spec, problem.failure.usage)
            return self._judge(request, problem.failure)
        await self._note(context, spec, response.usage)
        return RuntimeEffectOutcomeDirect(result=Ok(response))

    def timed_out(self, request: Request, limit_s: float) -> RuntimeEffectOutcomeDirect | TryAgain:
        """The result of a call that ran even over the pipeline's limit."""
        return self._judge(request, too_slow(limit_s))

    def _judge(
        self, request: Request, failure: CallFailure
    ) -> RuntimeEffectOutcomeDirect | TryAgain:
        again = self.calls.again(request, _spec(request, self._executor).model, failure)
        return again or self._outcome(failure)

    def _outcome(self, failure: CallFailure) -> RuntimeEffectOutcomeDirect:
        return RuntimeEffectOutcomeDirect(result=Err(failure.on_the_wire()))


def _not_here(
    problem: ModelCallError, outcome: Callable[[CallFailure], RuntimeEffectOutcome]
) -> NotHere:
    """Send the effect to a worker that may have the model, or the store, that this one lacks."""
    failure = problem.failure
    return NotHere(
        needs=problem.lacks,
        version="",
        problem=failure.message,
        otherwise=lambda tried: outcome(
            replace(failure, message=with_tried(failure.message, tried))
        ),
    )


def llm_handlers(
    models: Mapping[str, ModelSettings],
    attachments: AttachmentSource | None = None,
    *,
    hooks: TurnHooks = NO_HOOKS,
    variables: Mapping[str, str] = _NO_VARIABLES,
) -> tuple[LlmCallHandler, DirectHandler]:
    """
    Make the handlers of a table of models, to be registered with ``worker.add``.

    Both share one ``calls``; give that to ``worker.use``, so that its connections are closed with
    the worker.

    Args:
        models: The models, by the names that requests use; ``read_models`` reads them from plain
            data.
        attachments: Loads the bytes of attachments; without it a request may have none.
        hooks: What the host does with the answers to ``llm_call``.
        variables: The variables that hold the API keys, by the names in the table; usually
            ``os.environ``.

    Raises:
        MissingExtraError: When a model needs the extra ``llm`` and it is not installed.
        ConfigurationError: When the variable of a model's key is not set; names both.
    """
    calls = ModelCalls(
        {
            name: ConfiguredModel(settings, open_provider(name, settings, variables))
            for name, settings in models.items()
        },
        attachments,
    )
    return LlmCallHandler(calls, hooks), DirectHandler(calls)


def _spec(request: Request, executor: str) -> LlmRequestSpec:
    command = request.envelope.command
    expected = RuntimeEffectCommandLlmCall if executor == "turn" else RuntimeEffectCommandDirect
    if not isinstance(command, expected):
        raise cannot_execute(f"local {executor}", command)
    return command.request
