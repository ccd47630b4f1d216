"""
Attachments of a request to a model: bytes become references, and references bytes again.

What fails on the way out is refused with the wire's codes before anything is submitted; what fails
on the way in is an error of the model call, which is an outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from effectmq.broker.store.attachments.store import AttachmentStore
from effectmq.protocol.errors import (
    AttachmentError,
    AttachmentReferenceError,
    AttachmentStoreError,
    PayloadTooLargeError,
)
from effectmq.protocol.text import describe
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.llm_request import LlmAttachmentSpec
from effectmq.protocol.wire.llm_response import LlmCallError
from effectmq.protocol.wire.media_types import media_type_of

__all__ = ["LiveAttachment", "attachment_specs", "load_attachments", "resolution_failure"]


@dataclass(frozen=True, slots=True)
class LiveAttachment:
    """
    An attachment as a program has it.

    Attributes:
        mime: Its MIME type, for instance ``image/png``; used with bytes only.
        data: Its bytes, when it has no reference yet.
        reference: Its reference, when it is in the store already.
    """

    mime: str = ""
    data: bytes | None = None
    reference: AttachmentRef | None = None


async def attachment_specs(
    store: AttachmentStore | None, attachments: Sequence[LiveAttachment]
) -> list[LlmAttachmentSpec]:
    """
    The attachments of a request, with references in place of bytes.

    Args:
        store: Where bytes go; without one only references can be sent.
        attachments: In the order that ``Image.attachment_idx`` counts.

    Raises:
        AttachmentReferenceError: When one cannot be sent; carries the wire's code and message.
    """
    return [
        LlmAttachmentSpec(reference=await _reference(store, attachment))
        for attachment in attachments
    ]


async def _reference(store: AttachmentStore | None, attachment: LiveAttachment) -> AttachmentRef:
    if attachment.reference is not None:
        return attachment.reference
    if not attachment.data:
        raise AttachmentReferenceError(
            "runtime_effect_attachment_missing_reference",
            "runtime effect attachment has neither a durable reference nor inline bytes",
        )
    media_type = media_type_of(attachment.mime)
    try:
        # Size and label are not part of it: they would make another effect of the same picture.
        return await _required(store).put(attachment.data, media_type)
    except (AttachmentStoreError, PayloadTooLargeError) as problem:
        raise AttachmentReferenceError(
            "runtime_effect_attachment_store",
            "failed to store attachment before runtime effect invocation: " + describe(problem),
        ) from None


async def load_attachments(
    store: AttachmentStore | None, attachments: Sequence[LlmAttachmentSpec]
) -> list[bytes]:
    """
    The bytes of a request's attachments, checked against their references.

    Raises:
        AttachmentError: When one cannot be had; see ``resolution_failure``.
    """
    return [await _required(store).get(attachment.reference.id) for attachment in attachments]


def resolution_failure(problem: AttachmentError) -> LlmCallError:
    """What an ``llm_call`` or ``direct`` gives when an attachment could not be loaded."""
    return LlmCallError(
        message=describe(problem),
        retryable=False,
        code="attachment_resolution_failed",
        terminal_reason="provider_error",
    )


def _required(store: AttachmentStore | None) -> AttachmentStore:
    if store is None:
        raise AttachmentStoreError("there is no attachment store here; set EFFECTMQ_ATTACHMENTS")
    return store
