"""Media types of attachments: MIME text, and the few kinds of the wire."""

from __future__ import annotations

from effectmq.protocol.errors import AttachmentReferenceError
from effectmq.protocol.text import printable
from effectmq.protocol.wire.attachments import ImageMediaType, MediaType, MediaTypeImage

__all__ = ["media_type_of", "mime_of"]

_IMAGES: dict[str, ImageMediaType] = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/bmp": "bmp",
}


def media_type_of(mime: str) -> MediaType:
    """
    The wire's media type for a MIME type; surrounding space and upper case do not matter.

    Raises:
        AttachmentReferenceError: When the wire has none, with
            ``runtime_effect_attachment_media_type``.
    """
    image = _IMAGES.get(mime.strip().lower())
    if image is None:
        raise AttachmentReferenceError(
            "runtime_effect_attachment_media_type",
            f"attachment media type `{printable(mime, 200)}` cannot be represented durably",
        )
    return MediaTypeImage(type=image)


def mime_of(media_type: MediaType) -> str:
    """The MIME type for a media type of the wire."""
    return f"{media_type.kind}/{media_type.type}"
