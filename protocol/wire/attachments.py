"""Attachments by reference: a store keeps their bytes under the hash of their content."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import (
    U32,
    U64,
    UNIT,
    AdjacentlyTagged,
    OrAbsent,
    WireModel,
)

__all__ = [
    "AttachmentCreateMeta",
    "AttachmentId",
    "AttachmentMeta",
    "AttachmentRef",
    "ImageMediaType",
    "MediaType",
    "MediaTypeImage",
]

#: A content id: the SHA-256 of the bytes, 64 lowercase hex digits.
AttachmentId = str

ImageMediaType = Annotated[Literal["png", "jpeg", "gif", "webp", "bmp"], UNIT]


class MediaTypeImage(WireModel):
    """An image, as ``{"kind":"image","type":"png"}``."""

    kind: Literal["image"] = "image"
    type: ImageMediaType


#: A union of one: images are the only kind so far, but the tag is required all the same.
MediaType = Annotated[MediaTypeImage, Field(discriminator="kind"), AdjacentlyTagged("kind")]


class AttachmentRef(WireModel):
    """
    Names the bytes of an attachment.

    Attributes:
        width: The width in pixels.
        height: The height in pixels.
    """

    id: AttachmentId
    media_type: MediaType
    byte_len: U64
    width: OrAbsent[U32] = None
    height: OrAbsent[U32] = None
    label: OrAbsent[str] = None


class AttachmentCreateMeta(WireModel):
    """
    What is known of an attachment before its bytes are stored.

    Attributes:
        width: The width in pixels.
        height: The height in pixels.
    """

    media_type: MediaType
    width: OrAbsent[U32] = None
    height: OrAbsent[U32] = None
    label: OrAbsent[str] = None


class AttachmentMeta(WireModel):
    """
    What a store knows of an attachment.

    Attributes:
        width: The width in pixels.
        height: The height in pixels.
    """

    id: AttachmentId
    media_type: MediaType
    byte_len: U64
    width: OrAbsent[U32] = None
    height: OrAbsent[U32] = None
    label: OrAbsent[str] = None
