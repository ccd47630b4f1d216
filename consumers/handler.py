"""
What runs one kind of effect: the port between the pipeline and the user's functions.

A handler gets a request and returns an outcome, or asks for another attempt, or raises. The
pipeline does everything else: deadlines, waiting, answering, parking, settling.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import NamedTuple, Protocol, TypeGuard

from effectmq.broker.store.journal.records import OnUncertain, WhenDoubtful
from effectmq.broker.store.spend.records import Use, nanos_of_price
from effectmq.consumers.answering import AttemptHooks, WaitForAnswer, handed_out, new_token
from effectmq.consumers.decisions.retry import DEFAULT_RETRY, RetryPolicy, check_retry
from effectmq.consumers.runtime.threads import in_thread
from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.encoding.serde.model import from_tree
from effectmq.protocol.errors import (
    ConfigurationError,
    HandlerError,
    MalformedError,
    RejectEffectError,
)
from effectmq.protocol.exact.tools import WrittenOutcome
from effectmq.protocol.identity.validation import wrong_outcome
from effectmq.protocol.messages.chosen.priority import NORMAL, Priority
from effectmq.protocol.messages.progress import progress_of
from effectmq.protocol.messages.request import Request
from effectmq.protocol.numbers import check_number
from effectmq.protocol.text import printable
from effectmq.protocol.wire.envelope import RuntimeEffectCommand, RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import RuntimeInvocation
from effectmq.protocol.wire.outcome import OUTCOME_CLASSES, RuntimeEffectOutcome

__all__ = [
    "EffectContext",
    "FunctionHandler",
    "Handler",
    "HandlerFunction",
    "HandlerTimeoutError",
    "Lack",
    "NotHere",
    "RepeatableHandler",
    "RetrySleep",
    "TryAgain",
    "call",
    "cannot_execute",
    "check_on_uncertain",
    "check_time_limit",
    "checked_outcome",
    "function_handler",
    "is_async",
    "lacks_of",
    "with_tried",
]


def _to_nobody(text: str) -> None:
    """Discard streamed text: no caller waits for it."""


def _by_nobody(use: Use) -> None:
    """Discard what was used: nothing is recorded here."""


@dataclass(frozen=True, slots=True)
class EffectContext:
    """
    What a handler or a tool may need to know about the effect that it carries out.

    Attributes:
        envelope: The whole envelope.
        effect_id: The effect's id inside its scope.
        attempt: Which attempt this is, from 1.
        deadline_ms: When nobody wants the outcome any more, Unix milliseconds; 0 for never.
        traceparent: W3C trace context of the producer, or empty.
        stream: Sends a piece of text to the waiting caller before the outcome is complete. It
            returns at once, and a piece may get lost, so the outcome must contain everything. Call
            it on the event loop.
        tracestate: What belongs to the trace context, or empty.
        tenant: For whom the effect is done; empty when nobody said.
        version: The version of workers that it is bound to; empty for none.
        priority: Its priority.
        note_use: Notes what a call has used; see ``spend``.
        hooks: The attempt, for the methods of the context; ``None`` outside of a worker.
    """

    envelope: RuntimeEffectEnvelope
    effect_id: str
    attempt: int
    deadline_ms: int
    traceparent: str
    stream: Callable[[str], None] = _to_nobody
    tracestate: str = ""
    tenant: str = ""
    version: str = ""
    priority: Priority = NORMAL
    note_use: Callable[[Use], None] = _by_nobody
    hooks: AttemptHooks | None = None

    @property
    def invocation(self) -> RuntimeInvocation:
        """The invocation of the envelope: which effect this is, and what caused it."""
        return self.envelope.invocation

    def spend(
        self,
        what: str,
        *,
        usd: Decimal | float | str | None = None,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cached_tokens: int = 0,
    ) -> None:
        """
        Note that a call was paid for: of a search engine, or of a model that effectmq does not ask.

        It is written with the record of the effect, or with that of the next attempt.

        Args:
            what: What was paid for; it is counted as a model of this name.
            usd: The price in US dollars; ``None`` when it is not known.
            input_tokens: Tokens of the request, those of the cache included.
            output_tokens: Tokens of the answer.
            cached_tokens: Tokens of the request that came from a cache.

        Raises:
            ValueError: When the price is none, or it is the 1,001st call of one attempt.
        """
        nanos = None if usd is None else nanos_of_price(usd)
        self.note_use(Use(what, input_tokens, output_tokens, cached_tokens, nanos))

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """
        Tell how far the effect is: the waiting caller, who watches it, and its record.

        It returns at once and may be called in any thread, as often as you like: the latest is
        told, at most 5 times a second, and the last one when the attempt ends. Nothing depends on
        it, and any may get lost. Another attempt begins anew.

        Args:
            done: How much is done, a finite number from 0, in any unit.
            total: How much there is in the same unit; ``None`` when that is not known.
            note: What is being done, for people; 200 characters of it are kept.

        Raises:
            ConfigurationError: When a number is none, not finite, negative or above 2⁵³, or the
                note is no text.
        """
        if self.hooks is None:
            progress_of(done, total, note, self.attempt)
        else:
            self.hooks.note_progress(done, total, note)

    @property
    def answer_token(self) -> str:
        """
        The token with which the effect can be answered, once ``wait_for_answer`` was returned.

        Whoever has it can answer, and nobody can read it later: only its hash is kept. Another
        attempt has another one. Put it into the mail or the form of the person who decides.
        """
        return new_token() if self.hooks is None else self.hooks.answer_token()

    def wait_for_answer(self, *, note: str, deadline_s: float) -> WaitForAnswer:
        """
        Hand the effect out: a person or another system gives its outcome, or the deadline does.

        The handler returns what this returns. Nothing is held meanwhile, neither a slot nor a
        connection, and the caller goes on waiting. The worker needs a journal.

        Args:
            note: What is asked, for the person who decides; at most 2,000 characters are kept.
            deadline_s: Seconds from now after which the effect fails with the code
                ``effectmq_unanswered``; not later than the deadline of the effect.

        Raises:
            ConfigurationError: When the note is no text, or the deadline is not above 0 seconds.
        """
        return handed_out(self.answer_token, note, deadline_s)


@dataclass(frozen=True, slots=True)
class RetrySleep:
    """
    The wait before another attempt, as a sleep effect for the journal.

    Attributes:
        envelope: The sleep.
        refused: Makes the outcome when the sleep was cancelled beforehand; it is given the reason.
    """

    envelope: RuntimeEffectEnvelope
    refused: Callable[[str], RuntimeEffectOutcome]


@dataclass(frozen=True, slots=True)
class TryAgain:
    """
    Asks for another attempt after a wait, in place of an outcome.

    Attributes:
        wait_ms: How long to wait.
        problem: What went wrong, for the log.
        promised: Whether the wait must not be shortened.
        counts: Whether this run was an attempt. ``False`` when nothing failed and the handler waits
            for something else: the next run then has the same attempt number, and nothing is
            logged.
        sleep: What to write down of the wait, when it counts as an effect.
    """

    wait_ms: int
    problem: str
    promised: bool = False
    counts: bool = True
    sleep: RetrySleep | None = None


class Lack(NamedTuple):
    """
    Something that this worker lacks for an effect, although it can carry the effect out.

    A handler with a method ``lacks(request)`` returns some of these. While another living worker is
    known to have one of them, the effect goes there; otherwise it is carried out here.

    Attributes:
        needs: The ability that is needed, in the words that workers use among each other.
        version: This worker's version of it; empty when the worker does not have it.
        problem: What is wrong here, for the log.
    """

    needs: str
    version: str
    problem: str


@dataclass(frozen=True, slots=True)
class NotHere:
    """
    Says that this worker cannot carry the effect out: it lacks something, or has another version.

    Workers of two versions run side by side during a rolling deployment, so the effect goes to
    another worker for a while. That is no attempt.

    Attributes:
        needs: The ability that is needed, in the words that workers use among each other, for
            instance ``tool refund``.
        version: This worker's version of it; empty when the worker does not have it.
        problem: What is wrong here, for the log.
        otherwise: Makes the result when no other worker can do it; it is given a sentence about
            what was tried.
    """

    needs: str
    version: str
    problem: str
    otherwise: Callable[[str], RuntimeEffectOutcome]


def cannot_execute(executor: str, command: RuntimeEffectCommand) -> RejectEffectError:
    """The refusal of an effect whose command is of another kind than its message says."""
    return RejectEffectError(
        "runtime_effect_local_executor_mismatch",
        f"{executor} executor cannot execute {command.type} command",
    )


def with_tried(sentence: str, tried: str) -> str:
    """
    A failure's sentence, and behind it what was tried.

    Args:
        sentence: With or without its full stop.
        tried: What ``NotHere.otherwise`` is given; may be empty.
    """
    return f"{sentence.removesuffix('.')}.{tried}" if tried else sentence


class HandlerTimeoutError(HandlerError):
    """
    One attempt ran over its time limit.

    Args:
        limit_s: The limit, in seconds.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        super().__init__(
            f"the handler did not finish within its time limit of {limit_s:g} s; raise the limit "
            "(time_limit_s) or make it faster"
        )


class Handler(Protocol):
    """
    Runs the effects of one kind.

    A handler that is also an asynchronous context manager is entered when its worker starts, and
    left when the worker stops.
    """

    @property
    def kind(self) -> str:
        """The effect kind."""
        ...

    @property
    def retry(self) -> RetryPolicy:
        """What to do when ``run`` raises."""
        ...

    def limit_s(self, request: Request) -> float | None:
        """How long one attempt may run, in seconds; ``None`` takes the worker's default."""
        ...

    def on_uncertain(self, request: Request) -> WhenDoubtful:
        """
        What to do when a worker died while it ran the effect: ``retry``, or ``park`` for at most
        once.

        ``undecided`` when this worker cannot know that, because it does not have the code to run.
        """
        ...

    async def run(
        self, request: Request, context: EffectContext
    ) -> RuntimeEffectOutcome | WrittenOutcome | TryAgain | NotHere | WaitForAnswer:
        """Run one attempt. When it raises, ``retry`` decides what happens."""
        ...

    def timed_out(
        self, request: Request, limit_s: float
    ) -> RuntimeEffectOutcome | WrittenOutcome | TryAgain | HandlerTimeoutError:
        """The result of an attempt that ran over its time limit."""
        ...


class RepeatableHandler:
    """
    The base of handlers whose effects do no harm when they run again.

    They have no time limit of their own. An attempt over the worker's limit is an error like any
    other, and the retry policy decides.
    """

    def limit_s(self, request: Request) -> float | None:
        """``None``: the worker's limit applies."""
        return None

    def on_uncertain(self, request: Request) -> OnUncertain:
        """``retry``: running the effect again does no harm."""
        return "retry"

    def timed_out(
        self, request: Request, limit_s: float
    ) -> RuntimeEffectOutcome | TryAgain | HandlerTimeoutError:
        """A timeout is an error like any other."""
        return HandlerTimeoutError(limit_s)


HandlerFunction = Callable[..., Awaitable[object] | object]


@dataclass(frozen=True, slots=True)
class FunctionHandler:
    """
    A user's function as the handler of a kind.

    The function takes the typed command and, if it wants it, an ``EffectContext``; it returns the
    outcome of its kind, as a model or as plain data. A function that is not ``async`` runs in a
    thread.
    """

    kind: str
    function: HandlerFunction
    wants_context: bool
    retry: RetryPolicy = DEFAULT_RETRY
    time_limit_s: float | None = None
    when_uncertain: OnUncertain = "retry"

    def limit_s(self, request: Request) -> float | None:
        """The limit given at registration."""
        return self.time_limit_s

    def on_uncertain(self, request: Request) -> OnUncertain:
        """The choice made at registration."""
        return self.when_uncertain

    async def run(
        self, request: Request, context: EffectContext
    ) -> RuntimeEffectOutcome | WaitForAnswer:
        """
        Call the function and check what it returned.

        Raises:
            RejectEffectError: When it returned something else than the outcome of its kind.
        """
        command: RuntimeEffectCommand = request.envelope.command
        arguments = (command, context) if self.wants_context else (command,)
        result = await call(self.function, arguments, {})
        if isinstance(result, WaitForAnswer):
            return result
        return checked_outcome(self.kind, result)

    def timed_out(self, request: Request, limit_s: float) -> HandlerTimeoutError:
        """A timeout is an error like any other, for the retry policy to decide."""
        return HandlerTimeoutError(limit_s)


def function_handler(
    kind: str,
    function: HandlerFunction,
    retry: RetryPolicy,
    time_limit_s: float | None,
    on_uncertain: OnUncertain = "retry",
) -> FunctionHandler:
    """
    Make a handler of a function.

    Raises:
        ConfigurationError: When the function does not take one or two positional arguments, the
            policy is no ``RetryPolicy``, the time limit is not above 0 seconds, or ``on_uncertain``
            is unknown.
    """
    check_retry(f"the handler of {kind}", retry)
    check_time_limit(f"the handler of {kind}", time_limit_s)
    check_on_uncertain(f"the handler of {kind}", on_uncertain)
    parameters = list(inspect.signature(function).parameters.values())
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    required_keywords = [
        parameter.name
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    ]
    if not 1 <= len(positional) <= 2 or required_keywords:
        name = getattr(function, "__qualname__", repr(function))
        raise ConfigurationError(
            f"the handler {name} of kind {kind} takes {len(positional)} positional arguments; "
            "expected (command) or (command, context)"
        )
    wants_context = len(positional) == 2
    return FunctionHandler(kind, function, wants_context, retry, time_limit_s, on_uncertain)


def lacks_of(handler: Handler, request: Request) -> list[Lack]:
    """What a handler says that it lacks; empty for a handler without ``lacks``."""
    ask: Callable[[Request], list[Lack]] | None = getattr(handler, "lacks", None)
    return [] if ask is None else ask(request)


def check_time_limit(what: str, limit_s: float | None) -> None:
    """
    Refuse a time limit in which nothing can run.

    Raises:
        ConfigurationError: When it is not more than 0 seconds.
    """
    if limit_s is None:
        return
    check_number(f"the time_limit_s of {what}", limit_s, whole=False)
    if not limit_s > 0:
        raise ConfigurationError(f"{what} has time_limit_s={limit_s!r}; expected seconds above 0")


def check_on_uncertain(what: str, on_uncertain: str) -> None:
    """
    Refuse an unknown value of ``on_uncertain``.

    Raises:
        ConfigurationError: When it is neither ``retry`` nor ``park``.
    """
    if on_uncertain not in ("retry", "park"):
        raise ConfigurationError(
            f"{what} has on_uncertain={on_uncertain!r}; expected 'retry', or 'park' for an effect "
            "that must never run twice"
        )


async def call(
    function: HandlerFunction, arguments: tuple[object, ...], keywords: dict[str, object]
) -> object:
    """
    Call a user's function: on the loop when it is ``async``, else in a thread; see ``threads``.

    Args:
        function: What to call; an awaitable result is awaited.
        arguments: The positional arguments.
        keywords: The keyword arguments.
    """
    if is_async(function):
        return await function(*arguments, **keywords)
    result = await in_thread(partial(_in_thread, function, arguments, keywords))
    return await result if inspect.isawaitable(result) else result


def is_async(function: object) -> TypeGuard[Callable[..., Awaitable[object]]]:
    """Whether calling it only makes a coroutine: such a call needs no thread."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object's, not whether it has one
    )


def _in_thread(
    function: HandlerFunction, arguments: tuple[object, ...], keywords: dict[str, object]
) -> object:
    try:
        return function(*arguments, **keywords)
    except (StopIteration, GeneratorExit, KeyboardInterrupt) as odd:
        # A coroutine cannot raise StopIteration. The other two would stop the worker, and no signal
        # for the worker arrives in this thread.
        raise RuntimeError(f"the function raised {type(odd).__name__}") from odd


def checked_outcome(kind: str, result: object) -> RuntimeEffectOutcome:
    """
    The outcome of a kind, from what a handler returned.

    Raises:
        RejectEffectError: When it is something else; another attempt would run the body again and
            return the same.
    """
    if is_object(result):
        try:
            result = from_tree(RuntimeEffectOutcome, result)
        except MalformedError as problem:
            raise RejectEffectError(
                "runtime_effect_wrong_outcome",
                f"expected a {kind} outcome, got plain data which is none: "
                f"{printable(str(problem))}",
            ) from None
    if isinstance(result, OUTCOME_CLASSES):
        outcome: RuntimeEffectOutcome = result
        if outcome.type != kind:
            raise RejectEffectError(*wrong_outcome(kind, outcome.type))
        return outcome
    raise RejectEffectError(
        "runtime_effect_wrong_outcome",
        f"expected a {kind} outcome, got {printable(type(result).__name__)}; return the outcome "
        "model of the kind, or the same as plain data",
    )
