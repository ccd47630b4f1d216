"""MIME types and the few kinds that the wire has for them."""

from __future__ import annotations

import pytest

from effectmq.protocol.errors import AttachmentReferenceError
from effectmq.protocol.wire.media_types import media_type_of, mime_of


@pytest.mark.parametrize(
    ("mime", "name"),
    [
        ("image/png", "png"),
        ("image/jpeg", "jpeg"),
        ("image/jpg", "jpeg"),
        ("image/gif", "gif"),
        ("image/webp", "webp"),
        (" IMAGE/Bmp\n", "bmp"),
    ],
)
def test_an_image_has_a_kind_on_the_wire(mime: str, name: str) -> None:
    """Trimmed and in lower case; and back, with one name for jpeg."""
    media_type = media_type_of(mime)
    assert (media_type.kind, media_type.type) == ("image", name)
    assert mime_of(media_type) == f"image/{name}"


@pytest.mark.parametrize("mime", ["", "png", "image/tiff", "text/plain", "image/png; q=1"])
def test_anything_else_is_refused_with_the_wires_words(mime: str) -> None:
    """Code and message are those of the wire format."""
    with pytest.raises(AttachmentReferenceError) as refused:
        media_type_of(mime)
    assert refused.value.code == "runtime_effect_attachment_media_type"
    assert refused.value.message == (
        f"attachment media type `{mime}` cannot be represented durably"
    )
