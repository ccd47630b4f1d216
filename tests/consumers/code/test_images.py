"""Images that code shows."""

from __future__ import annotations

import pytest

from effectmq.consumers.code.data.images import Images, media_type_of
from effectmq.consumers.code.data.values import CodeError
from effectmq.consumers.code.settings import CodeSettings


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (b"\x89PNG\r\n\x1a\n0", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a0", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"BM\x00", "image/bmp"),
        (b"<svg>", None),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"", None),
    ],
)
def test_an_image_is_known_by_its_first_bytes(data: bytes, mime: str | None) -> None:
    """Those five have a form on the wire."""
    assert media_type_of(data) == mime


async def test_one_image_too_many_is_an_exception_in_the_code() -> None:
    """By name."""
    images = Images(None, CodeSettings(max_images=1))
    await images.show(b"BM")
    with pytest.raises(CodeError, match=r"more than 1 images \(max_images\)"):
        await images.show(b"BM")


@pytest.mark.parametrize("label", [5, "x" * 1_001])
async def test_a_label_is_a_short_text(label: object) -> None:
    """The wire has no other, and the outcome not much room."""
    with pytest.raises(CodeError, match="label of an image is a text of at most 1000"):
        await Images(None, CodeSettings()).show(b"BM", label)
