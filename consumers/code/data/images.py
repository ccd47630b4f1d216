"""
Images that code shows: from bytes, or from attachments of tools.
"""

from __future__ import annotations

from typing import Protocol

from effectmq.consumers.code.data.values import CodeError
from effectmq.consumers.code.settings import CodeSettings
from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.errors import MalformedError, PayloadTooLargeError
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.execution import ExecImage
from effectmq.protocol.wire.tool_value import decode_tool_value

__all__ = ["ImageStore", "Images", "media_type_of"]

#: Larger ones would make the outcome too large, which carries each byte as a number.
_INLINE_BYTES = 32 * 1024

_LABEL_CHARS = 1_000

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
)


class ImageStore(Protocol):
    """Stores bytes under the hash of their content."""

    async def put(self, data: bytes, media_type: str) -> AttachmentRef:
        """Store bytes; the same bytes give the same reference."""
        ...


def media_type_of(data: bytes) -> str | None:
    """The MIME type of an image by its first bytes; ``None`` when it is unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for start, mime in _SIGNATURES if data.startswith(start)), None)


class Images:
    """
    The images that one block has shown.

    Args:
        store: Keeps the bytes; without one, small images are sent in the outcome.
        settings: The limits.

    Attributes:
        made: Images whose bytes came from the code.
        printed: Attachments that were shown again.
    """

    def __init__(self, store: ImageStore | None, settings: CodeSettings) -> None:
        self.made: list[ExecImage] = []
        self.printed: list[AttachmentRef] = []
        self._store = store
        self._settings = settings

    async def show(self, image: object, label: object = "") -> None:
        """
        Show an image.

        Args:
            image: The bytes, or an attachment of a tool.
            label: The label of the image.

        Raises:
            CodeError: When it is not an image, is too large, or there are too many.
        """
        if not isinstance(label, str) or len(label) > _LABEL_CHARS:
            raise CodeError(
                "TypeError", f"the label of an image is a text of at most {_LABEL_CHARS} characters"
            )
        label = label.encode(errors="backslashreplace").decode()
        if len(self.made) + len(self.printed) >= self._settings.max_images:
            raise CodeError(
                "RuntimeError",
                f"the block showed more than {self._settings.max_images} images (max_images)",
            )
        if isinstance(image, bytes):
            self.made.append(await self._kept(image, label))
        else:
            self.printed.append(_reference(image))

    async def _kept(self, data: bytes, label: str) -> ExecImage:
        limit = self._settings.image_bytes if self._store else _INLINE_BYTES
        mime = media_type_of(data)
        if mime is None:
            raise CodeError(
                "ValueError", "these bytes are not an image; expected PNG, JPEG, GIF, WebP or BMP"
            )
        if len(data) > limit:
            raise CodeError(
                "ValueError", f"the image has {len(data)} bytes and the limit is {limit}"
            )
        if self._store is None:
            return ExecImage(mime=mime, data=list(data), label=label)
        try:
            reference = await self._store.put(data, mime)
        except PayloadTooLargeError as problem:
            raise CodeError(
                "ValueError",
                f"the image has {problem.size_bytes} bytes and the limit is {problem.limit_bytes}",
            ) from None
        return ExecImage(mime=mime, reference=reference, label=label)


def _reference(image: object) -> AttachmentRef:
    value: object = None
    if is_object(image):
        try:
            value = decode_tool_value(image)
        except MalformedError as problem:
            raise CodeError("ValueError", f"this is not an attachment: {problem}") from None
    if not isinstance(value, AttachmentRef):
        raise CodeError(
            "TypeError", "an image is shown from its bytes, or from an attachment of a tool"
        )
    return value
