"""
The producer: submit effects, wait for outcomes.

``submit`` returns when the effect is in a durable queue of the broker. The outcome comes back on
the reply queue of the client's *identity*; a process that restarts under the same identity finds
the outcomes that arrived meanwhile. A client without an identity gets a random one, whose queue the
broker deletes soon after the client is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from effectmq.broker.client.asking.later import no_sooner
from effectmq.broker.client.asking.timeouts import DEFAULT_TIMEOUT_S, FOREVER_S, checked_timeout
from effectmq.broker.client.opened import ClientArguments, OpenedClient
from effectmq.protocol.errors import (
    ConfigurationError,
    TransportClosedError,
)
from effectmq.protocol.kinds import narrowed, route_of
from effectmq.protocol.messages.chosen.priority import NORMAL, Priority, checked_priority

# What follows loads the types of the wire format and all that uses them, which takes several times
# as long as the rest. So it is imported where it is used: when a client is made, not when the class
# is imported.
if TYPE_CHECKING:
    from effectmq.broker.client.fleet.fleet import Fleet
    from effectmq.broker.client.handle import Handle, OnChunk, OnProgress
    from effectmq.broker.client.many.results import EffectResult, Submitted
    from effectmq.broker.client.stream import Pending, Stream
    from effectmq.broker.client.turns.process_scope import ProcessScope
    from effectmq.broker.client.turns.turn import Turn
    from effectmq.protocol.messages.reply import Reply
    from effectmq.protocol.messages.request import Identity
    from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
    from effectmq.protocol.wire.invocation import RuntimeInvocation
    from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
    from effectmq.protocol.wire.scopes import EffectScope

__all__ = ["DEFAULT_TIMEOUT_S", "ClientArguments", "EffectClient"]


class EffectClient(OpenedClient):
    """
    The client: submits effects and receives their outcomes. Use it as an asynchronous context
    manager.

    Args:
        broker: The broker's address, ``amqp://…`` or ``memory://…``; several of a cluster in
            a list, or separated by commas.
        place: Broker, namespace, journal, store and connection together, for instance those of a
            worker; an argument beside it wins.
        topology: Namespace, delay levels and limits together.
        transport: Timeouts and limits of the connection together.
        arguments: ``identity`` names the reply queue, for one live client each; random by default.
            ``content_type`` is the encoding of envelopes, msgpack or JSON; answers have the same.
            ``tenant`` is for whom effects are done, when neither the call nor the effect that is
            carried out here says it; so is ``priority``, which is ``"normal"`` by default.
            ``journal`` is that of the workers: recorded outcomes come from it without a worker, and
            effects can be cancelled. With ``replay="strict"`` nothing is submitted, no broker is
            needed, and a missing record is an error. ``attachments`` is the attachment store or its
            address: large envelopes are then kept out of line, and so may be the answers. The
            others are in docs/settings.md.

    Attributes:
        place: Where it submits to, with nothing left open.
        attachments: The attachment store; ``None`` without one.

    Raises:
        ConfigurationError: When an argument cannot be used.
        MissingExtraError: When the store needs a package that is not installed.
    """

    # Submitting ----------------------------------------------------------------------------------

    async def submit(
        self,
        envelope: RuntimeEffectEnvelope,
        *,
        lane: str | None = None,
        scope: EffectScope | None = None,
        deadline_s: float | None = None,
        delay_s: float | None = None,
        not_before: datetime | None = None,
        debounce: str | None = None,
        debounce_max_s: float | None = None,
        timeout: float | None = None,
        traceparent: str = "",
        tracestate: str = "",
        tenant: str | None = None,
        version: str | None = None,
        priority: Priority | None = None,
    ) -> Handle:
        """
        Publish an effect to the durable queue of its kind.

        Args:
            envelope: The effect.
            lane: The lane of its kind, when the kind is split.
            scope: The effect scope, when it is not the one derived from the invocation.
            deadline_s: Seconds from now after which the outcome is not wanted; inside a handler or
                a tool at most the deadline of its effect, which is the default.
            delay_s: Seconds from now before which no worker begins it.
            not_before: Instead of it the moment, with its time zone.
            debounce: A key: of the effects with it that are asked for within the delay of the one
                before, only the last runs. The others fail with ``effectmq_superseded``. Workers
                need a journal.
            debounce_max_s: For how long that may go on, in seconds from the first of them; by
                default ten times the delay.
            timeout: Seconds to get the broker's confirmation; publishes of unknown fate are
                repeated within it.
            traceparent: W3C trace context to pass on.
            tracestate: W3C trace state to pass on.
            tenant: For whom it is done, at most 128 bytes of printable text; by default the tenant
                of the effect that is carried out here, else the client's.
            version: The version of workers that it is bound to, which alone carry it out; by
                default that of the effect that is carried out here. Empty for none.
            priority: ``"high"``, ``"normal"`` or ``"low"``: which of those that wait is taken
                first. By default that of the effect that is carried out here, else the client's.

        Returns:
            A handle to wait on; the effect is pending from now on, even if this process ends.

        Raises:
            ConfigurationError: When it may not begin before its deadline is over, or is to be
                debounced without a delay.
            InvalidEnvelopeError: When the envelope breaks a rule.
            PayloadTooLargeError: When it is over the size limit.
            AttachmentStoreError: When its body is kept out of line and could not be stored.
            UnroutableError: When no queue takes its kind; names what is missing.
            PublishError: When it was not confirmed in time.
            ParentExpiredError: When the effect that is carried out here has passed its deadline.
            AccessRefusedError: When the user may not publish effects.
            EffectMismatchError: When the journal has its key with another envelope.
            RecordMissingError: With strict replay, when nothing is recorded.
        """
        at_once = delay_s is None and not_before is None
        begins_ms = 0 if at_once else no_sooner(delay_s, not_before)
        said = None
        if debounce is not None or debounce_max_s is not None:
            said, begins_ms = self._debounced(debounce, debounce_max_s, begins_ms)
        request, waiter = self._prepare(
            envelope,
            scope=scope,
            deadline_s=deadline_s,
            not_before_ms=begins_ms,
            debounce=said,
            traceparent=traceparent,
            tracestate=tracestate,
            tenant=tenant,
            version=version,
            priority=priority,
        )
        timeout = checked_timeout(timeout)
        limit_s = self._transport_settings.publish_timeout_s if timeout is None else timeout
        end = asyncio.get_running_loop().time() + limit_s
        if not await self._recalled(request, limit_s):
            route = route_of(request.kind, lane)
            if request.version or request.priority != NORMAL:
                route = narrowed(route, request.version, request.priority)
            await self._publish(request, route, end, limit_s, waiter)
        return self._handle(request.message, waiter)

    async def execute(
        self,
        envelope: RuntimeEffectEnvelope,
        *,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        lane: str | None = None,
        scope: EffectScope | None = None,
        deadline_s: float | None = None,
        delay_s: float | None = None,
        not_before: datetime | None = None,
        debounce: str | None = None,
        debounce_max_s: float | None = None,
        on_chunk: OnChunk | None = None,
        on_progress: OnProgress | None = None,
        traceparent: str = "",
        tracestate: str = "",
        tenant: str | None = None,
        version: str | None = None,
        priority: Priority | None = None,
    ) -> RuntimeEffectOutcome:
        """
        Submit an effect and wait for its outcome.

        Args:
            envelope: The effect.
            timeout: Seconds for everything together, a delay included; ``None`` waits for the
                outcome without a limit.
            lane: The lane of its kind, when the kind is split.
            scope: The effect scope, when it is not the one derived from the invocation.
            deadline_s: Seconds from now after which the outcome is not wanted; inside a handler or
                a tool at most the deadline of its effect, which is the default.
            delay_s: Seconds from now before which no worker begins it.
            not_before: Instead of it the moment, with its time zone.
            debounce: A key: of the effects with it that are asked for within the delay of the one
                before, only the last runs. The others fail with ``effectmq_superseded``. Workers
                need a journal.
            debounce_max_s: For how long that may go on, in seconds from the first of them; by
                default ten times the delay.
            on_chunk: Called with each piece that the effect streams while it runs; may be a
                coroutine function. A recorded outcome has no pieces.
            on_progress: Called when the effect says how far it is; may be a coroutine function,
                too.
            traceparent: W3C trace context to pass on.
            tracestate: W3C trace state to pass on.
            tenant: For whom it is done, at most 128 bytes of printable text; by default the tenant
                of the effect that is carried out here, else the client's.
            version: The version of workers that it is bound to, which alone carry it out; by
                default that of the effect that is carried out here. Empty for none.
            priority: ``"high"``, ``"normal"`` or ``"low"``: which of those that wait is taken
                first. By default that of the effect that is carried out here, else the client's.

        Raises:
            ConfigurationError: When it may not begin before its deadline or ``timeout`` is over.
            EffectFailedError: When a controller error came back.
            EffectMismatchError: When its replay key is recorded with another envelope.
            EffectTimeoutError: When there was no outcome in time; the effect goes on.
            AttachmentStoreError: When its body is kept out of line and could not be stored.
            PublishError: When it could not be submitted.
            ParentExpiredError: When the effect that is carried out here has passed its deadline.
            RecordMissingError: With strict replay, when nothing is recorded.
        """
        loop = asyncio.get_running_loop()
        timeout = checked_timeout(timeout)
        limit_s = self._transport_settings.publish_timeout_s if timeout is None else timeout
        end = loop.time() + limit_s
        at_once = delay_s is None and not_before is None
        begins_ms = 0 if at_once else no_sooner(delay_s, not_before, timeout)
        said = None
        if debounce is not None or debounce_max_s is not None:
            said, begins_ms = self._debounced(debounce, debounce_max_s, begins_ms)
        request, waiter = self._prepare(
            envelope,
            scope=scope,
            deadline_s=deadline_s,
            not_before_ms=begins_ms,
            debounce=said,
            traceparent=traceparent,
            tracestate=tracestate,
            tenant=tenant,
            version=version,
            priority=priority,
        )
        until = None if timeout is None else end
        if waiter.answer is None and (
            self._recall is None or not await self._recalled(request, limit_s)
        ):
            route = route_of(request.kind, lane)
            questions = self._opened_questions()
            if request.version or request.priority != NORMAL:
                route = questions.way(narrowed(route, request.version, request.priority))
            if on_chunk is None and on_progress is None and self.tracing is None:
                # Nothing is to be done between the confirmation and the answer. What the message
                # has as well is let go, and there is no coroutine for the rest: there may be many
                # in flight, for long. ``ask_and_wait`` is the same as one.
                message = outgoing = request.message
                del envelope, request
                if questions.stores_bodies:
                    outgoing = await questions.stored(message, end, limit_s, waiter)
                answer = questions.ask(message, outgoing, route, end, waiter, until)
                try:
                    await answer
                except BaseException:
                    questions.leave(answer, waiter)
                    raise
                if questions.is_open(answer, waiter):
                    await questions.see_to(answer, message, outgoing, route, end, limit_s, waiter)
                if waiter.answer is not None:
                    return self._outcome_in(waiter.effect_id, waiter.answer)
                return await self._outcome(self._handle(message, waiter), until, limit_s)
            await self._publish(request, route, end, limit_s, waiter)
        handle = self._handle(request.message, waiter)
        return await self._outcome(handle, until, limit_s, on_chunk, on_progress)

    def stream(
        self,
        envelope: RuntimeEffectEnvelope,
        *,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        lane: str | None = None,
        scope: EffectScope | None = None,
        deadline_s: float | None = None,
        traceparent: str = "",
        tracestate: str = "",
        tenant: str | None = None,
        version: str | None = None,
        priority: Priority | None = None,
    ) -> Stream[RuntimeEffectOutcome]:
        """
        Submit an effect and read what it streams, then its outcome: ``async for``, ``result()``.

        The arguments and errors are those of ``execute``. The time runs, and the effect is
        submitted, when the first piece or the result is asked for.

        Raises:
            ConfigurationError: When ``timeout`` or ``deadline_s`` is no time.
        """
        from effectmq.broker.client.stream import Pending, Stream

        timeout = checked_timeout(timeout)
        checked_timeout(deadline_s, "deadline_s")
        limit_s = self._transport_settings.publish_timeout_s if timeout is None else timeout

        async def begin() -> Pending:
            started = asyncio.get_running_loop().time()
            handle = await self.submit(
                envelope,
                lane=lane,
                scope=scope,
                deadline_s=deadline_s,
                timeout=limit_s,
                traceparent=traceparent,
                tracestate=tracestate,
                tenant=tenant,
                version=version,
                priority=priority,
            )
            end = None if timeout is None else started + timeout
            return Pending(handle, end, lambda: self._outcome(handle, end, limit_s))

        return Stream(begin, lambda outcome: outcome)

    def map(
        self,
        envelopes: Iterable[RuntimeEffectEnvelope] | AsyncIterable[RuntimeEffectEnvelope],
        *,
        in_flight: int = 100,
        in_order: bool = True,
        progress: bool = False,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        lane: str | None = None,
        deadline_s: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        priority: Priority | None = None,
    ) -> AsyncGenerator[EffectResult]:
        """
        Execute many effects: ``async for result in client.map(envelopes)``.

        An effect that fails, times out or is cancelled fails alone: its result has the ``error``.
        Who leaves the loop stops asking; effects that were submitted go on at the workers, and are
        found under their keys when they are asked for again. Nothing runs on in this program: use
        ``contextlib.aclosing`` to wait for that.

        Args:
            envelopes: The effects, taken one by one as there is room; may have no end.
            in_flight: How many are taken and not handed out, at most.
            in_order: Whether results come in the order of the envelopes. As they are ready, with
                ``False``, none waits for a slower one before it, and all of ``in_flight`` work.
            progress: Whether stderr shows how many are done, when it is a terminal.
            timeout: Seconds for each effect from its submission on; ``None`` for no limit.
            lane: The lane of their kinds, when they are split.
            deadline_s: Seconds from the submission of each after which its outcome is not wanted.
            tenant: For whom they are done; see ``submit``.
            version: The version of workers that they are bound to; see ``submit``.
            priority: Which of those that wait are taken first; see ``submit``.

        Raises:
            ConfigurationError: When an argument cannot be used; by the call itself.
            MalformedError: When an item is no envelope; after the results of those before it, as
                what the iterable raises itself.
            TransportClosedError: When the client is not open any more.
        """
        from effectmq.broker.client.many.asking import checked_in_flight, mapped

        limit = checked_timeout(timeout)
        checked_timeout(deadline_s, "deadline_s")

        async def ask(envelope: RuntimeEffectEnvelope) -> Pending:
            return await self._asked(envelope, limit, lane, deadline_s, tenant, version, priority)

        return mapped(
            envelopes,
            ask,
            in_flight=checked_in_flight(in_flight),
            in_order=in_order,
            progress=progress,
        )

    async def _asked(
        self,
        envelope: RuntimeEffectEnvelope,
        timeout: float | None,
        lane: str | None,
        deadline_s: float | None,
        tenant: str | None,
        version: str | None,
        priority: Priority | None,
    ) -> Pending:
        """An effect that was submitted, and that may be answered already; as in ``execute``."""
        from effectmq.broker.client.stream import Pending

        limit_s = self._transport_settings.publish_timeout_s if timeout is None else timeout
        end = asyncio.get_running_loop().time() + limit_s
        until = None if timeout is None else end
        request, waiter = self._prepare(
            envelope, deadline_s=deadline_s, tenant=tenant, version=version, priority=priority
        )
        if waiter.answer is None and not await self._recalled(request, limit_s):
            route = route_of(request.kind, lane)
            if request.version or request.priority != NORMAL:
                route = narrowed(route, request.version, request.priority)
            if self.tracing is None:
                questions = self._opened_questions()
                await questions.ask_and_wait(request.message, route, end, limit_s, waiter, until)
            else:
                await self._publish(request, route, end, limit_s, waiter)
        handle = self._handle(request.message, waiter)
        return Pending(handle, until, lambda: self._outcome(handle, until, limit_s))

    def submit_many(
        self,
        envelopes: Iterable[RuntimeEffectEnvelope] | AsyncIterable[RuntimeEffectEnvelope],
        *,
        progress: bool = False,
        lane: str | None = None,
        deadline_s: float | None = None,
        timeout: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        priority: Priority | None = None,
    ) -> AsyncGenerator[Submitted]:
        """
        Submit many effects without waiting for each: ``async for one in client.submit_many(…)``.

        As many are unconfirmed at a time as ``publish_window`` says. Each is given, in the order of
        the envelopes, when the broker has confirmed it: its ``handle``, or its ``error``. Queues
        may have them in another order. Who leaves the loop stops submitting.

        Args:
            envelopes: The effects, taken one by one as there is room; may have no end.
            progress: Whether stderr shows how many are submitted, when it is a terminal.
            lane: The lane of their kinds, when they are split.
            deadline_s: Seconds from the submission of each after which its outcome is not wanted.
            tenant: For whom they are done; see ``submit``.
            version: The version of workers that they are bound to; see ``submit``.
            priority: Which of those that wait are taken first; see ``submit``.
            timeout: Seconds for the confirmation of each.

        Raises:
            ConfigurationError: When an argument cannot be used; by the call itself.
            MalformedError: When an item is no envelope; after the handles of those before it, as
                what the iterable raises itself.
            TransportClosedError: When the client is not open any more.
        """
        from effectmq.broker.client.many.asking import submitted

        checked_timeout(timeout)
        checked_timeout(deadline_s, "deadline_s")

        async def submit(envelope: RuntimeEffectEnvelope) -> Handle:
            return await self.submit(
                envelope,
                lane=lane,
                deadline_s=deadline_s,
                timeout=timeout,
                tenant=tenant,
                version=version,
                priority=priority,
            )

        # Twice the window: the next are ready when the broker confirms all of it at once.
        window = self._transport_settings.publish_window
        return submitted(envelopes, submit, in_flight=2 * window, progress=progress)

    def attach(
        self, envelope: RuntimeEffectEnvelope, *, scope: EffectScope | None = None
    ) -> Handle:
        """
        Wait for an effect that was submitted before, without submitting it.

        For a process that restarts under the same identity, and after a replay of a dead letter.
        """
        request, waiter = self._prepare(envelope, scope=scope)
        if self._mailbox.found_mute and waiter.answer is None:
            self._asking_again.look(self._recalled_late(request))
        return self._handle(request.message, waiter)

    def unclaimed(self) -> list[Reply]:
        """Outcomes that arrived under this identity and that this process has not asked for."""
        return self._book.unclaimed()

    async def cancel(
        self,
        effect: RuntimeEffectEnvelope | Handle,
        *,
        reason: str = "",
        scope: EffectScope | None = None,
        timeout: float | None = DEFAULT_TIMEOUT_S,
    ) -> bool:
        """
        Cancel an effect, unless it has its outcome: exactly one of the two is recorded.

        A worker that runs it is told and stops its handler; one that has not begun it never will.
        Callers in this client are answered at once, others when its message is read.

        Args:
            effect: The effect; this client need not have submitted it.
            reason: Recorded with it, for people.
            scope: The effect scope with which the envelope was submitted, if any.
            timeout: Seconds for the journal to decide; None for no limit.

        Returns:
            Whether it is cancelled; ``False`` when it was finished before.

        Raises:
            ConfigurationError: When the client has no journal, which decides this, or only replays
                from one.
            EffectMismatchError: When its key is recorded with another envelope.
            DatabaseUnavailableError: When the journal cannot be written, or not in time; cancelling
                again is safe.
        """
        from effectmq.broker.client.asking.cancelling import announce_cancel
        from effectmq.broker.client.handle import Handle
        from effectmq.broker.store.journal.recall import cancel_error
        from effectmq.protocol.messages.log_names import log_names
        from effectmq.protocol.messages.reply import Reply

        if self._recall is None:
            raise ConfigurationError(
                "cancelling is decided in the journal and this client has none; open it with "
                "journal= or EFFECTMQ_JOURNAL, the address that the workers use"
            )
        if self._strict:
            raise ConfigurationError(
                "this client only replays (replay='strict'), and cancelling would change the "
                "record; use a client that executes"
            )
        limit_s = checked_timeout(timeout)
        # The waiter of an effect that is not awaited here would be dropped, and with it the answer.
        request, _waiter = (
            (effect.request, None)
            if isinstance(effect, Handle)
            else self._prepare(effect, scope=scope)
        )
        error = cancel_error(request.kind, reason)
        if not await self._recall.cancel(request, error, FOREVER_S if limit_s is None else limit_s):
            return False
        self.counters["cancelled"] += 1
        self._book.take(
            Reply(request.effect_id, request.replay_key, request.hash, error, replayed=True)
        )
        if self._transport is not None:
            await announce_cancel(
                self._transport, self._names, request.identity, log_names(request)
            )
        return True

    async def complete(
        self,
        effect: str | RuntimeEffectEnvelope | Handle,
        value: object = None,
        *,
        error: str | None = None,
        code: str = "",
        scope: EffectScope | None = None,
        timeout: float | None = DEFAULT_TIMEOUT_S,
    ) -> bool:
        """
        Answer an effect that its handler handed out, unless it has its outcome: one answer counts.

        The same answer may be given again, for instance after an error of the journal.

        Args:
            effect: The token from its handler's ``answer_token``; or the effect.
            value: Of a tool call, what the tool would have returned, as plain data, checked against
                its type; of another kind, its outcome as plain data.
            error: Why it is refused, in place of a value: a tool call then fails with it, another
                effect ends with a controller error.
            code: The code of that; ``effectmq_answer_refused`` by default.
            scope: The effect scope with which the envelope was submitted, if any.
            timeout: Seconds for the journal to decide; None for no limit.

        Returns:
            Whether it is the outcome; ``False`` when another answer, the deadline or a cancel came
            first.

        Raises:
            AnswerMisfitError: When the value is not of the type; nothing was changed.
            NotHandedOutError: When it does not wait for an answer, or the token is of an attempt
                that did not end.
            ConfigurationError: When the client has no journal, which decides this, or only replays
                from one; or what is no token was given.
            DatabaseUnavailableError: When the journal cannot be used, or not in time; the same
                answer may be given again.
        """
        from effectmq.broker.client.asking.completing import Given, complete
        from effectmq.broker.client.handle import Handle
        from effectmq.broker.store.journal.recall import in_time

        journal = self._opened_journal
        if journal is None or self._strict:
            raise ConfigurationError(
                "answers are decided in the journal and this client has none, or only replays from "
                "one; open it with journal= or EFFECTMQ_JOURNAL, the address that the workers use"
            )
        if isinstance(effect, str):
            which: str | Identity = effect
        elif isinstance(effect, Handle):
            which = effect.request.identity
        else:
            which = self._prepare(effect, scope=scope)[0].identity
        limit_s = checked_timeout(timeout)
        made = await in_time(
            complete(journal, which, Given(value, error, code), self._names, self._broker_now),
            FOREVER_S if limit_s is None else limit_s,
        )
        if made.counts:
            self.counters["completed"] += 1
        else:
            self.counters["completed_late"] += 1
        return made.counts

    # Workers --------------------------------------------------------------------------------------

    def fleet(self, *, by: str = "") -> Fleet:
        """
        The workers of the namespace: see them, and steer them while they run.

        Use it as an asynchronous context manager, while the client is open. The user needs the
        permissions of a worker; those of a producer are not enough.

        Args:
            by: Who asks, noted on pauses and in the workers' logs; for people.

        Raises:
            TransportClosedError: When the client is not open, or only replays.
        """
        if self._transport is None:
            raise TransportClosedError(
                "the client is not connected to a broker; use it inside 'async with Client(...) as "
                "client', and not with replay='strict'"
            )
        from effectmq.broker.client.fleet.fleet import Fleet

        return Fleet(self._transport, self._names, by=by)

    # Invocations --------------------------------------------------------------------------------

    def turn(
        self,
        session_id: str,
        turn_id: str,
        turn_index: int = 0,
        protocol_iteration: int = 0,
        *,
        tenant: str | None = None,
        version: str | None = None,
        priority: Priority | None = None,
    ) -> Turn:
        """
        The effects of one turn of a session, with their invocations and replay keys.

        Args:
            session_id: The session.
            turn_id: The turn; with the session it must be the same when the turn is run again.
            turn_index: Its number in the session, from 0.
            protocol_iteration: Its iteration, from 0.
            tenant: For whom its effects are done; see ``submit``.
            version: The version of workers that its effects are bound to; see ``submit``.
            priority: The priority of its effects; see ``submit``.
        """
        from effectmq.broker.client.turns.turn import Turn

        execute, stream = self.execute, self.stream
        if tenant is not None:
            execute, stream = partial(execute, tenant=tenant), partial(stream, tenant=tenant)
        if version is not None:
            execute, stream = partial(execute, version=version), partial(stream, version=version)
        if priority is not None:
            execute = partial(execute, priority=checked_priority(priority))
            stream = partial(stream, priority=priority)
        return Turn(execute, session_id, turn_id, turn_index, protocol_iteration, stream=stream)

    def process_scope(
        self,
        session_id: str,
        *,
        parent: RuntimeInvocation | None = None,
        tenant: str | None = None,
        version: str | None = None,
        priority: Priority | None = None,
    ) -> ProcessScope:
        """
        Operations on background processes, with their invocations and replay keys.

        Args:
            session_id: The session that asks.
            parent: The invocation that asks; usually an effect of a turn.
            tenant: For whom its effects are done; see ``submit``.
            version: The version of workers that its effects are bound to; see ``submit``.
            priority: The priority of its effects; see ``submit``.
        """
        from effectmq.broker.client.turns.process_scope import ProcessScope

        execute = self.execute
        if tenant is not None:
            execute = partial(execute, tenant=tenant)
        if version is not None:
            execute = partial(execute, version=version)
        if priority is not None:
            execute = partial(execute, priority=checked_priority(priority))
        return ProcessScope(execute, session_id, parent)
