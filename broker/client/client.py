"""
The producer: submit effects, wait for outcomes.

``submit`` returns when the effect is in a durable queue of the broker. The outcome comes back on
the reply queue of the client's *identity*; a process that restarts under the same identity finds
the outcomes that arrived meanwhile. A client without an identity gets a random one, whose queue the
broker deletes soon after the client is gone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Self, Unpack

from effectmq.broker.client.asking.again import AskingAgain
from effectmq.broker.client.asking.cancelling import announce_cancel
from effectmq.broker.client.asking.publishing import Questions
from effectmq.broker.client.asking.timeouts import DEFAULT_TIMEOUT_S, FOREVER_S, checked_timeout
from effectmq.broker.client.handle import Handle, OnChunk
from effectmq.broker.client.metrics import client_readings
from effectmq.broker.client.replies.book import Asked, ReplyBook, ReplyKey
from effectmq.broker.client.replies.mailbox import Mailbox
from effectmq.broker.client.stream import Pending, Stream
from effectmq.broker.client.turns.process_scope import ProcessScope
from effectmq.broker.client.turns.turn import Turn
from effectmq.broker.inheritance import inherited
from effectmq.broker.metrics.instruments import Reading
from effectmq.broker.metrics.transports import transport_readings
from effectmq.broker.opening import opened_by
from effectmq.broker.place import (
    Place,
    PlaceArguments,
    Said,
    first_said,
    refuse_unknown,
    unfolded,
)
from effectmq.broker.store.attachments import open_attachments
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.store.journal.choice import open_journal
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.recall import Recall, cancel_error
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.encoding.codec import JSON, MSGPACK, Limits
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseError,
    EffectError,
    EffectTimeoutError,
    TransportClosedError,
)
from effectmq.protocol.kinds import route_of
from effectmq.protocol.messages.log_names import log_names
from effectmq.protocol.messages.reply import Reply
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import printable
from effectmq.protocol.topology import (
    Names,
    TopologySettings,
)
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import RuntimeInvocation
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from effectmq.protocol.wire.scopes import EffectScope

__all__ = ["DEFAULT_TIMEOUT_S", "ClientArguments", "EffectClient"]

logger = logging.getLogger("effectmq.client")

#: A client without an identity cannot come back for its replies.
_ANONYMOUS_EXPIRES_MS = 600_000
#: Extra time after a caller's limit, to find out what became of its effect, in seconds.
_LAST_LOOK_S = 0.5


class ClientArguments(PlaceArguments, total=False):
    """The arguments of a client by name; docs/settings.md says what each means."""

    identity: str | None
    content_type: str | None


class EffectClient:
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

    def __init__(
        self,
        broker: str | Sequence[str] | None = None,
        *,
        place: Place | None = None,
        topology: TopologySettings | None = None,
        transport: TransportSettings | None = None,
        **arguments: Unpack[ClientArguments],
    ) -> None:
        refuse_unknown("Client", arguments, ClientArguments.__optional_keys__)
        said = self._resolve(
            first_said(
                {"broker": broker},
                arguments,
                unfolded(place=place, topology=topology, transport=transport),
            )
        )
        content_type = str(said.get("content_type", MSGPACK))
        if content_type not in (MSGPACK, JSON):
            raise ConfigurationError(
                f"the content type is {printable(content_type, 100)!r}; expected {MSGPACK} or "
                f"{JSON}"
            )
        identity = str(said.get("identity", ""))
        self._anonymous = not identity
        self.identity = identity or f"anonymous-{secrets.token_hex(6)}"
        self.place = Place.of(said)
        self.topology = self.place.topology
        if self._anonymous:
            self.topology = replace(self.topology, reply_expires_ms=_ANONYMOUS_EXPIRES_MS)
        self.counters: Counter[str] = Counter()
        self._names = Names(self.topology.namespace)
        self._transport_settings = self.place.connection_of(f"effectmq client {self.identity}")
        self._content_type = content_type
        self._strict = self.place.replay == "strict"
        self._opened_journal: Journal | None = None
        self._recall: Recall | None = None
        store = self.place.attachments
        self.attachments = (
            open_attachments(store, namespace=self.topology.namespace)
            if isinstance(store, str)
            else store
        )
        limits = Limits(max_body_bytes=self._transport_settings.max_body_bytes)
        self._bodies: LargeBodies | None = None
        self._sealing = limits
        if self.attachments is not None:
            most = self._transport_settings.max_body_bytes
            self._bodies = LargeBodies(self.attachments, max_inline_bytes=most)
            self._sealing = self._bodies.limits(limits)
        self._book = ReplyBook(self.counters)
        recorded = self.journal is not None
        self._asking_again = AskingAgain(
            self._book, self._ask_again, recorded=recorded, counters=self.counters
        )
        self._mailbox = Mailbox(
            self.identity,
            self.topology,
            self._book,
            self._bodies,
            limits,
            recorded=recorded,
            on_away=self._asking_again.begin,
            counters=self.counters,
        )
        self._transport: Transport | None = None
        self._questions: Questions | None = None

    @staticmethod
    def _resolve(arguments: Said) -> Said:
        """The arguments that count; the front door also reads the environment."""
        return arguments

    @property
    def broker(self) -> str:
        """The broker's address."""
        return self.place.broker

    @property
    def journal(self) -> str | None:
        """The journal's address; ``None`` without one."""
        return self.place.journal

    def readings(self) -> Iterator[Reading]:
        """
        The metrics of this client as they are now; ``broker.metrics.catalog`` defines each.

        An exporter reads them when it is asked. Nothing is counted for that alone.
        """
        yield from client_readings(self.counters, self._book)
        if self._transport is not None:
            yield from transport_readings("client", self._transport.counters)

    # Life ----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """
        Connect and begin to receive; what is away is tried again within the connect timeout.

        Raises:
            BrokerError: When the broker cannot be used.
            ReplyQueueInUseError: When another live client has this identity.
            DatabaseError: When the journal cannot be used.
            AttachmentStoreError: When the attachment store cannot be used.
        """
        journal = open_journal(self.journal, self._names.namespace)
        end = asyncio.get_running_loop().time() + self._transport_settings.connect_timeout_s
        if journal is not None:
            await opened_by(end, journal.__aenter__)
            self._opened_journal = journal
            self._recall = Recall(journal, self.counters, strict=self._strict)
        try:
            if not self._strict:
                if self.attachments is not None:
                    await opened_by(end, self.attachments.__aenter__)
                await opened_by(end, self._connect)
        except BaseException:
            await self._close_attachments()
            await self._close_journal()
            raise
        self._book.open()
        return self

    async def _connect(self) -> None:
        transport = open_transport(self.broker, self._transport_settings)
        await transport.__aenter__()
        try:
            await self._mailbox.open(transport)
        except BaseException:
            await transport.__aexit__()
            raise
        self._transport = transport
        self._questions = Questions(
            transport,
            self.topology,
            self._book,
            self._bodies,
            try_s=self._transport_settings.publish_timeout_s,
            counters=self.counters,
        )

    async def _close_journal(self) -> None:
        journal, self._opened_journal, self._recall = self._opened_journal, None, None
        if journal is not None:
            await journal.__aexit__()

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop receiving and disconnect; outcomes that arrive later wait in the reply queue."""
        transport, self._transport = self._transport, None
        questions, self._questions = self._questions, None
        try:
            if questions is not None:
                await questions.close()
            await self._asking_again.close()
            await self._mailbox.close()
        finally:
            self._book.close()
            if transport is not None:
                if self._anonymous and not self._book.owed:
                    # No process can come back to it, and a quorum queue uses resources.
                    await self._mailbox.delete(transport)
                await transport.__aexit__()
            await self._close_attachments()
            await self._close_journal()

    async def _close_attachments(self) -> None:
        if self.attachments is not None:
            await self.attachments.__aexit__()

    async def _ask_again(self, asked: Asked) -> None:
        request, limit_s = asked.request, self._transport_settings.publish_timeout_s
        if request.deadline_ms and time.time() * 1_000 >= request.deadline_ms:
            return
        if not await self._recalled(request, limit_s):
            end = asyncio.get_running_loop().time() + limit_s
            await self._publish(request, asked.route, end, limit_s)

    # Submitting ----------------------------------------------------------------------------------

    async def submit(
        self,
        envelope: RuntimeEffectEnvelope,
        *,
        lane: str | None = None,
        scope: EffectScope | None = None,
        deadline_s: float | None = None,
        timeout: float | None = None,
        traceparent: str = "",
        tracestate: str = "",
    ) -> Handle:
        """
        Publish an effect to the durable queue of its kind.

        Args:
            envelope: The effect.
            lane: The lane of its kind, when the kind is split.
            scope: The effect scope, when it is not the one derived from the invocation.
            deadline_s: Seconds from now after which the outcome is not wanted; inside a handler or
                a tool at most the deadline of its effect, which is the default.
            timeout: Seconds to get the broker's confirmation; publishes of unknown fate are
                repeated within it.
            traceparent: W3C trace context to pass on.
            tracestate: W3C trace state to pass on.

        Returns:
            A handle to wait on; the effect is pending from now on, even if this process ends.

        Raises:
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
        request, handle = self._prepare(
            envelope,
            scope=scope,
            deadline_s=deadline_s,
            traceparent=traceparent,
            tracestate=tracestate,
        )
        timeout = checked_timeout(timeout)
        limit_s = self._transport_settings.publish_timeout_s if timeout is None else timeout
        end = asyncio.get_running_loop().time() + limit_s
        if not await self._recalled(request, limit_s):
            await self._publish(request, route_of(request.kind, lane), end, limit_s)
        return handle

    async def execute(
        self,
        envelope: RuntimeEffectEnvelope,
        *,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        lane: str | None = None,
        scope: EffectScope | None = None,
        deadline_s: float | None = None,
        on_chunk: OnChunk | None = None,
        traceparent: str = "",
        tracestate: str = "",
    ) -> RuntimeEffectOutcome:
        """
        Submit an effect and wait for its outcome.

        Args:
            envelope: The effect.
            timeout: Seconds for everything together; ``None`` waits for the outcome without a
                limit.
            lane: The lane of its kind, when the kind is split.
            scope: The effect scope, when it is not the one derived from the invocation.
            deadline_s: Seconds from now after which the outcome is not wanted; inside a handler or
                a tool at most the deadline of its effect, which is the default.
            on_chunk: Called with each piece that the effect streams while it runs; may be a
                coroutine function. A recorded outcome has no pieces.
            traceparent: W3C trace context to pass on.
            tracestate: W3C trace state to pass on.

        Raises:
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
        request, handle = self._prepare(
            envelope,
            scope=scope,
            deadline_s=deadline_s,
            traceparent=traceparent,
            tracestate=tracestate,
        )
        if not handle.done and not await self._recalled(request, limit_s):
            await self._publish(request, route_of(request.kind, lane), end, limit_s)
        return await self._outcome(handle, None if timeout is None else end, limit_s, on_chunk)

    async def _outcome(
        self, handle: Handle, end: float | None, limit_s: float, on_chunk: OnChunk | None = None
    ) -> RuntimeEffectOutcome:
        """What comes until the end, or else out of the journal, or else what is known."""
        loop = asyncio.get_running_loop()
        try:
            left_s = None if end is None else max(0.0, end - loop.time())
            return await handle.outcome(left_s, on_chunk=on_chunk)
        except EffectTimeoutError:
            if await self._recalled_late(handle.request):
                return await handle.outcome(0)
            recorded = None if self._recall is None else False
            raise EffectTimeoutError(handle.effect_id, limit_s, recorded) from None

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
    ) -> Stream[RuntimeEffectOutcome]:
        """
        Submit an effect and read what it streams, then its outcome: ``async for``, ``result()``.

        The arguments and errors are those of ``execute``. The time runs, and the effect is
        submitted, when the first piece or the result is asked for.

        Raises:
            ConfigurationError: When ``timeout`` or ``deadline_s`` is no time.
        """
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
            )
            end = None if timeout is None else started + timeout
            return Pending(handle, end, lambda: self._outcome(handle, end, limit_s))

        return Stream(begin, lambda outcome: outcome)

    async def _recalled_late(self, request: Request) -> bool:
        """Whether the journal has an outcome that did not arrive in time; a last, short look."""
        try:
            return await self._recalled(request, _LAST_LOOK_S)
        except (EffectError, DatabaseError):
            return False

    def attach(
        self, envelope: RuntimeEffectEnvelope, *, scope: EffectScope | None = None
    ) -> Handle:
        """
        Wait for an effect that was submitted before, without submitting it.

        For a process that restarts under the same identity, and after a replay of a dead letter.
        """
        request, handle = self._prepare(envelope, scope=scope)
        if self._mailbox.found_mute and not handle.done:
            self._asking_again.look(self._recalled_late(request))
        return handle

    def unclaimed(self) -> list[Reply]:
        """Outcomes that arrived under this identity and that this process has not asked for."""
        return self._book.unclaimed()

    def _prepare(
        self,
        envelope: RuntimeEffectEnvelope,
        *,
        scope: EffectScope | None = None,
        deadline_s: float | None = None,
        traceparent: str = "",
        tracestate: str = "",
    ) -> tuple[Request, Handle]:
        deadline_s = checked_timeout(deadline_s, "deadline_s")
        now = time.time()
        parent = inherited()
        own_ms = int((now + deadline_s) * 1_000) if deadline_s is not None else 0
        traceparent, tracestate = parent.trace(traceparent, tracestate)
        request = Request.seal(
            envelope,
            reply_to=self._mailbox.queue,
            content_type=self._content_type,
            scope=scope,
            deadline_ms=parent.earlier(own_ms),
            timestamp_s=int(now),
            traceparent=traceparent,
            tracestate=tracestate,
            out_of_line=self._bodies is not None,
            limits=self._sealing,
        )
        # The place for the answer is made before the effect is published.
        waiter = self._book.wait_for(ReplyKey.of_request(request))
        return request, Handle(request, waiter, self._book)

    async def _recalled(self, request: Request, timeout_s: float) -> bool:
        """Whether the journal had the answer, which is then in the reply book."""
        if self._recall is None:
            return False
        reply = await self._recall.reply(request, timeout_s)
        if reply is not None:
            self._book.take(reply)
        return reply is not None

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
        handle = effect if isinstance(effect, Handle) else self._prepare(effect, scope=scope)[1]
        request = handle.request
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

    async def _publish(self, request: Request, route: str, end: float, limit_s: float) -> None:
        if self._questions is None:
            raise TransportClosedError(
                "the client is not open; use it inside 'async with Client(...) as client'"
            )
        await self._questions.publish(request, route, end, limit_s)

    # Invocations --------------------------------------------------------------------------------

    def turn(
        self,
        session_id: str,
        turn_id: str,
        turn_index: int = 0,
        protocol_iteration: int = 0,
    ) -> Turn:
        """
        The effects of one turn of a session, with their invocations and replay keys.

        Args:
            session_id: The session.
            turn_id: The turn; with the session it must be the same when the turn is run again.
            turn_index: Its number in the session, from 0.
            protocol_iteration: Its iteration, from 0.
        """
        return Turn(
            self.execute, session_id, turn_id, turn_index, protocol_iteration, stream=self.stream
        )

    def process_scope(
        self, session_id: str, *, parent: RuntimeInvocation | None = None
    ) -> ProcessScope:
        """
        Operations on background processes, with their invocations and replay keys.

        Args:
            session_id: The session that asks.
            parent: The invocation that asks; usually an effect of a turn.
        """
        return ProcessScope(self.execute, session_id, parent)
