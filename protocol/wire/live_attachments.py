"""
Attachments in a program: bytes, or a reference to bytes in a store.

Bytes are never in an envelope. They are stored first; an attachment that cannot become a reference
is refused with the wire's code and message before anything is submitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from effectmq.protocol.errors import (
    AttachmentReferenceError,
    AttachmentStoreError,
    PayloadTooLargeError,
)
from effectmq.protocol.text import describe
from effectmq.protocol.wire.attachments import AttachmentRef, MediaType
from effectmq.protocol.wire.media_types import media_type_of

__all__ = ["AttachmentSink", "LiveAttachment", "missing_store", "reference_of"]


class AttachmentSink(Protocol):
    """Stores the bytes of attachments."""

    async def put(self, data: bytes, media_type: MediaType, /) -> AttachmentRef:
        """
        Store an attachment.

        Args:
            data: Its bytes.
            media_type: Their media type.

        Raises:
            AttachmentStoreError: When it could not be stored.
            PayloadTooLargeError: When it is over the size cap.
        """
        ...


@dataclass(frozen=True, slots=True)
class LiveAttachment:
    """
    An attachment in a program.

    Attributes:
        mime: Its MIME type, for instance ``image/png``; used with bytes only.
        data: Its bytes, when it has no reference yet.
        reference: Its reference, when it is in the store already.
    """

    mime: str = ""
    data: bytes | None = None
    reference: AttachmentRef | None = None


def missing_store() -> AttachmentStoreError:
    """Return the error for attachments in a program without a store."""
    return AttachmentStoreError("there is no attachment store here; set EFFECTMQ_ATTACHMENTS")


async def reference_of(store: AttachmentSink | None, attachment: LiveAttachment) -> AttachmentRef:
    """
    Return the reference of an attachment; its bytes are stored when it has none yet.

    Args:
        store: Stores the bytes; without one only references can be sent.
        attachment: The attachment.

    Raises:
        AttachmentReferenceError: When it cannot be sent; carries the wire's code and message.
    """
    if attachment.reference is not None:
        return attachment.reference
    if not attachment.data:
        raise AttachmentReferenceError(
            "runtime_effect_attachment_missing_reference",
            "runtime effect attachment has neither a durable reference nor inline bytes",
        )
    media_type = media_type_of(attachment.mime)
    try:
        if store is None:
            raise missing_store()
        # Without size and label: they would make the same picture another effect.
        return await store.put(attachment.data, media_type)
    except (AttachmentStoreError, PayloadTooLargeError) as problem:
        raise AttachmentReferenceError(
            "runtime_effect_attachment_store",
            "failed to store attachment before runtime effect invocation: " + describe(problem),
        ) from None
