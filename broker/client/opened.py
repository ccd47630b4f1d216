"""
A client that is made, opened and left: what it is made of, its connection, and its way to the
broker and to the journal.

What a program asks a client for is in ``client.py``.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Self, Unpack

from effectmq.broker.opening import opened_by
from effectmq.broker.place import (
    Place,
    PlaceArguments,
    Said,
    checked_arguments,
    first_said,
    unfolded,
)
from effectmq.protocol.encoding.content_types import JSON, MSGPACK
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseError,
    EffectError,
    EffectTimeoutError,
    TransportClosedError,
)
from effectmq.protocol.messages.chosen.priority import NORMAL, Priority, checked_priority
from effectmq.protocol.text import printable
from effectmq.protocol.topology import Names, TopologySettings

# What follows loads the types of the wire format and all that uses them, which takes several times
# as long as the rest. So it is imported where it is used: when a client is made, not when the class
# is imported.
if TYPE_CHECKING:
    from effectmq.broker.client.asking.debouncing import Debouncing
    from effectmq.broker.client.asking.publishing import Questions
    from effectmq.broker.client.handle import Handle, OnChunk, OnProgress
    from effectmq.broker.client.replies.book import Waiter
    from effectmq.broker.metrics.instruments import Reading
    from effectmq.broker.store.attachments.large_bodies import LargeBodies
    from effectmq.broker.store.journal.journal import Journal
    from effectmq.broker.store.journal.recall import Recall
    from effectmq.broker.tracing import Tracing
    from effectmq.broker.transports.port import Transport
    from effectmq.broker.transports.settings import TransportSettings
    from effectmq.protocol.messages.chosen.debounce import Debounce
    from effectmq.protocol.messages.message import Message
    from effectmq.protocol.messages.request import Request
    from effectmq.protocol.wire.outcome import RuntimeEffectOutcome

__all__ = ["ClientArguments", "OpenedClient"]


#: A client without an identity cannot come back for its replies.
_ANONYMOUS_EXPIRES_MS = 600_000
#: Extra time after a caller's limit, to find out what became of its effect, in seconds.
_LAST_LOOK_S = 0.5


class ClientArguments(PlaceArguments, total=False):
    """The arguments of a client by name; docs/settings.md says what each means."""

    identity: str | None
    content_type: str | None
    tenant: str | None
    priority: Priority | None


class OpenedClient:
    """
    The life of a client, as an asynchronous context manager.

    Args:
        broker: The broker's address, or several of a cluster.
        place: Broker, namespace, journal, store and connection together.
        topology: Namespace, delay levels and limits together.
        transport: Timeouts and limits of the connection together.
        arguments: By name, as ``EffectClient`` has them.

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
        from effectmq.broker.client.asking.again import AskingAgain
        from effectmq.broker.client.asking.sealing import Sealing
        from effectmq.broker.client.handle import outcome_in
        from effectmq.broker.client.replies.book import ReplyBook
        from effectmq.broker.client.replies.mailbox import Mailbox
        from effectmq.broker.store.attachments import open_attachments
        from effectmq.broker.store.attachments.large_bodies import LargeBodies
        from effectmq.protocol.messages.chosen.tenant import checked_tenant

        own = checked_arguments("Client", arguments, ClientArguments.__optional_keys__)
        said = self._resolve(
            first_said(
                {"broker": broker},
                own,
                unfolded(place=place, topology=topology, transport=transport),
            )
        )
        content_type = str(said.get("content_type", MSGPACK))
        if content_type not in (MSGPACK, JSON):
            raise ConfigurationError(
                f"the content type is {printable(content_type, 100)!r}; expected {MSGPACK} or "
                f"{JSON}"
            )
        self.tenant = checked_tenant(said.get("tenant", ""))
        self.priority: Priority = checked_priority(said.get("priority", NORMAL))
        identity = str(said.get("identity", ""))
        self._anonymous = not identity
        self.identity = identity or f"anonymous-{secrets.token_hex(6)}"
        self.place = Place.of(said)
        self.topology = self.place.topology
        if self._anonymous:
            self.topology = replace(self.topology, reply_expires_ms=_ANONYMOUS_EXPIRES_MS)
        #: The library of traces; ``None`` for none. To be set before it is opened.
        self.tracing: Tracing | None = self._tracing_of(self.place)
        self.counters: Counter[str] = Counter()
        self._names = Names(self.topology.namespace)
        self._transport_settings = self.place.connection_of(f"effectmq client {self.identity}")
        self._content_type = content_type
        self._strict = self.place.replay == "strict"
        self._opened_journal: Journal | None = None
        self._recall: Recall | None = None
        self._debouncing: Debouncing | None = None
        store = self.place.attachments
        self.attachments = (
            open_attachments(store, namespace=self.topology.namespace)
            if isinstance(store, str)
            else store
        )
        limits = self.place.limits
        self._bodies: LargeBodies | None = None
        sealed_limits = limits
        if self.attachments is not None:
            most = self._transport_settings.max_body_bytes
            self._bodies = LargeBodies(self.attachments, max_inline_bytes=most)
            sealed_limits = self._bodies.limits(limits)
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
        # Called for each effect, where an import would take longer than the call.
        self._outcome_in = outcome_in
        self._prepare = Sealing(
            self._book,
            self._bodies,
            reply_to=self._mailbox.queue,
            content_type=content_type,
            tenant=self.tenant,
            priority=self.priority,
            limits=sealed_limits,
        ).sealed

    @staticmethod
    def _resolve(arguments: Said) -> Said:
        """The arguments that count; the front door also reads the environment."""
        return arguments

    @staticmethod
    def _tracing_of(place: Place) -> Tracing | None:
        """The library of traces of a place; the front door knows one."""
        return None

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
        from effectmq.broker.client.metrics import client_readings
        from effectmq.broker.metrics.transports import transport_readings

        yield from client_readings(self.counters, self._book)
        yield from transport_readings("client", self._transport)

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
        from effectmq.broker.store.journal.choice import open_journal
        from effectmq.broker.store.journal.recall import Recall

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
        from effectmq.broker.client.asking.publishing import Questions
        from effectmq.broker.transports import open_transport

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

    async def _ask_again(self, waiter: Waiter) -> None:
        asked, limit_s = waiter.asked, self._transport_settings.publish_timeout_s
        if asked is None:
            return
        request = asked.request
        if request.deadline_ms and time.time() * 1_000 >= request.deadline_ms:
            return
        if not await self._recalled(request, limit_s):
            end = asyncio.get_running_loop().time() + limit_s
            await self._publish(request, asked.route, end, limit_s, waiter)

    # The way of an effect -----------------------------------------------------------------------

    async def _broker_now(self) -> Transport | None:
        return self._transport

    async def _publish(
        self, request: Request, route: str, end: float, limit_s: float, waiter: Waiter
    ) -> None:
        questions = self._opened_questions()
        if self.tracing is None:
            await questions.publish(request.message, route, end, limit_s, waiter)
            return
        from effectmq.broker.tracing import open_span

        span = self.tracing.submitting(request, self._names.work_exchange, route)
        with open_span(span) as traced:
            message = (traced or request).message
            await questions.publish(message, route, end, limit_s, waiter)

    def _opened_questions(self) -> Questions:
        if self._questions is None:
            raise TransportClosedError(
                "the client is not open; use it inside 'async with Client(...) as client'"
            )
        return self._questions

    def _handle(self, message: Message, waiter: Waiter) -> Handle:
        from effectmq.broker.client.handle import Handle

        return Handle(message, waiter, self._book)

    async def _recalled(self, request: Request, timeout_s: float) -> bool:
        """Whether the journal had the answer, which is then in the reply book."""
        if self._recall is None:
            return False
        reply = await self._recall.reply(request, timeout_s)
        if reply is not None:
            self._book.take(reply)
        return reply is not None

    async def _recalled_late(self, request: Request) -> bool:
        """Whether the journal has an outcome that did not arrive in time; a last, short look."""
        try:
            return await self._recalled(request, _LAST_LOOK_S)
        except (EffectError, DatabaseError):
            return False

    async def _outcome(
        self,
        handle: Handle,
        end: float | None,
        limit_s: float,
        on_chunk: OnChunk | None = None,
        on_progress: OnProgress | None = None,
    ) -> RuntimeEffectOutcome:
        """What comes until the end, or else out of the journal, or else what is known."""
        loop = asyncio.get_running_loop()
        try:
            left_s = None if end is None else max(0.0, end - loop.time())
            return await handle.outcome(left_s, on_chunk=on_chunk, on_progress=on_progress)
        except EffectTimeoutError:
            recorded = None
            if self._recall is not None:
                if await self._recalled_late(handle.request):
                    return await handle.outcome(0)
                recorded = False
            raise EffectTimeoutError(handle.effect_id, limit_s, recorded) from None

    def _debounced(
        self, key: str | None, max_s: float | None, begins_ms: int
    ) -> tuple[Debounce, int]:
        """What is said of an effect of which only the last of several runs, and when it begins."""
        if self._debouncing is None:
            # Few clients ever need it.
            from effectmq.broker.client.asking.debouncing import Debouncing

            self._debouncing = Debouncing()
        return self._debouncing.said(key, max_s, begins_ms)
