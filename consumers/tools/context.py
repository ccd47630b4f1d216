"""
The context of a tool call: what a tool may know of its call, and do while it runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from effectmq.broker.store.attachments.store import AttachmentStore
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.tools.results.plain_data import plain
from effectmq.consumers.tools.results.special import Attachment, stored
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.tools import PreparedToolCall, ToolHostEventEffectOutcome

__all__ = ["HostEvent", "ToolContext"]


@dataclass(slots=True)
class HostEvent:
    """
    An event of a tool; processes that it started can be added until the tool returns.

    Attributes:
        resource_type: The type of the thing, for instance ``Button``.
        alias: The name of the thing, for instance ``ui.button``.
        event: What happened, for instance ``pressed``.
        payload: Plain data.
        started_process_ids: The processes that it started.
    """

    resource_type: str
    alias: str
    event: str
    payload: object = None
    started_process_ids: list[str] = field(default_factory=list[str])

    def outcome(self) -> ToolHostEventEffectOutcome:
        """The event in the form of the outcome."""
        return ToolHostEventEffectOutcome(
            resource_type=self.resource_type,
            alias=self.alias,
            event=self.event,
            source_type=f"{self.alias}.{self.event}",
            payload=self.payload,
            started_process_ids=list(self.started_process_ids),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext(EffectContext):
    """
    The context of one attempt at one tool call.

    Attributes:
        call: The prepared call: id, arguments, and data of its preparation.
        attachments: The worker's attachment store; ``None`` without one.
        host_events: The events so far.
    """

    call: PreparedToolCall
    attachments: AttachmentStore | None = None
    host_events: list[HostEvent] = field(default_factory=list[HostEvent])

    @classmethod
    def of(
        cls, context: EffectContext, call: PreparedToolCall, attachments: AttachmentStore | None
    ) -> Self:
        """The context of a call, from the context of its effect."""
        return cls(
            envelope=context.envelope,
            effect_id=context.effect_id,
            attempt=context.attempt,
            deadline_ms=context.deadline_ms,
            traceparent=context.traceparent,
            stream=context.stream,
            tracestate=context.tracestate,
            tenant=context.tenant,
            version=context.version,
            priority=context.priority,
            note_use=context.note_use,
            hooks=context.hooks,
            call=call,
            attachments=attachments,
        )

    def emit(
        self,
        resource_type: str,
        alias: str,
        event: str,
        payload: object = None,
        *,
        started_process_ids: Iterable[str] = (),
    ) -> HostEvent:
        """
        Tell the host that something happened.

        The events are in the outcome, in the order of these calls, whether the tool succeeds or
        fails. The events of an attempt that is tried again are dropped.

        Args:
            resource_type: The type of the thing.
            alias: The name of the thing.
            event: What happened; ``{alias}.{event}`` is the event's source type.
            payload: Anything that has a JSON form.
            started_process_ids: The processes that it started, as far as they are known now.

        Raises:
            ValueError: When the payload has no JSON form.
        """
        try:
            data = plain(payload)
            emitted = HostEvent(resource_type, alias, event, data, list(started_process_ids))
            emitted.outcome()
        except (ValueError, TypeError, RecursionError) as problem:
            raise ValueError(
                f"the host event {printable(f'{alias}.{event}', 200)!r} cannot be sent: "
                f"{describe(problem)}"
            ) from None
        self.host_events.append(emitted)
        return emitted

    async def attach(
        self,
        data: bytes,
        media_type: str,
        *,
        width: int | None = None,
        height: int | None = None,
        label: str | None = None,
    ) -> AttachmentRef:
        """
        Store an attachment now, and get its reference; the result is that of returning an
        ``Attachment``.

        Args:
            data: The bytes.
            media_type: MIME type, for instance ``image/png``.
            width: The width in pixels.
            height: The height in pixels.
            label: A name for people.

        Raises:
            ToolCallError: When it cannot be stored.
        """
        attachment = Attachment(data, media_type, width=width, height=height, label=label)
        reference = await stored(attachment, self.attachments, repeatable=False)
        assert isinstance(reference, AttachmentRef)
        return reference
