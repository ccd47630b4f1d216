"""Makes the request of an effect, and the place for its answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from effectmq.broker.client.asking.later import check_in_time
from effectmq.broker.client.asking.timeouts import checked_timeout
from effectmq.broker.client.replies.book import ReplyBook, Waiter
from effectmq.broker.inheritance import inherited
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.messages.chosen.priority import Priority, checked_priority
from effectmq.protocol.messages.chosen.tenant import checked_tenant
from effectmq.protocol.messages.chosen.version import checked_version
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.scopes import EffectScope

if TYPE_CHECKING:
    from effectmq.protocol.messages.chosen.debounce import Debounce

__all__ = ["Sealing"]


class Sealing:
    """
    Seals the effects of a client.

    Args:
        book: Has the places for answers.
        bodies: Keeps large bodies out of line; ``None`` without a store.
        reply_to: The client's reply queue.
        content_type: The encoding of envelopes.
        tenant: For whom effects are done, when nothing else says so.
        priority: Their priority, likewise.
        limits: The size limit.
    """

    def __init__(
        self,
        book: ReplyBook,
        bodies: LargeBodies | None,
        *,
        reply_to: str,
        content_type: str,
        tenant: str,
        priority: Priority,
        limits: Limits,
    ) -> None:
        self._book = book
        self._out_of_line = bodies is not None
        self._stored_above = 0 if bodies is None else bodies.threshold_bytes
        self._reply_to = reply_to
        self._content_type = content_type
        self._tenant = tenant
        self._priority: Priority = priority
        self._limits = limits

    def sealed(
        self,
        envelope: RuntimeEffectEnvelope,
        *,
        scope: EffectScope | None = None,
        deadline_s: float | None = None,
        not_before_ms: int = 0,
        debounce: Debounce | None = None,
        traceparent: str = "",
        tracestate: str = "",
        tenant: str | None = None,
        version: str | None = None,
        priority: Priority | None = None,
    ) -> tuple[Request, Waiter]:
        """
        The request of an effect, and the waiter for its answer, made before it is published.

        Args:
            envelope: The effect.
            scope: As in ``EffectClient.submit``, and so are the others but for one.
            deadline_s: See there.
            not_before_ms: When it may begin, Unix milliseconds; 0 for at once.
            debounce: With which others only the last runs; ``None`` for none.
            traceparent: See there.
            tracestate: See there.
            tenant: See there.
            version: See there.
            priority: See there.
        """
        deadline_s = checked_timeout(deadline_s, "deadline_s")
        now = time.time()
        parent = inherited()
        own_ms = 0 if deadline_s is None else int((now + deadline_s) * 1_000)
        traceparent, tracestate = parent.trace(traceparent, tracestate)
        request = Request.seal(
            envelope,
            reply_to=self._reply_to,
            content_type=self._content_type,
            scope=scope,
            tenant=(parent.tenant or self._tenant if tenant is None else checked_tenant(tenant)),
            version=parent.version if version is None else checked_version(version),
            priority=(
                parent.priority or self._priority
                if priority is None
                else checked_priority(priority)
            ),
            deadline_ms=parent.earlier(own_ms),
            not_before_ms=not_before_ms,
            debounce=debounce,
            timestamp_s=int(now),
            traceparent=traceparent,
            tracestate=tracestate,
            out_of_line=self._out_of_line,
            stored_above=self._stored_above,
            limits=self._limits,
        )
        if not_before_ms:
            check_in_time(not_before_ms, request.deadline_ms)
        return request, self._book.wait_for((request.effect_id, request.replay_key, request.hash))
