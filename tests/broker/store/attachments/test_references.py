"""Attachments of a request to a model, out and in again, with the wire's codes."""

from __future__ import annotations

import secrets

import pytest

from effectmq.broker.store.attachments import AttachmentSettings, AttachmentStore, open_attachments
from effectmq.broker.store.attachments.references import (
    LiveAttachment,
    attachment_specs,
    load_attachments,
    resolution_failure,
)
from effectmq.protocol.errors import AttachmentError, AttachmentReferenceError
from effectmq.protocol.wire.attachments import AttachmentRef, MediaTypeImage

DATA = b"\1\2\3\4"


@pytest.fixture
def store() -> AttachmentStore:
    """A small one of its own."""
    made = open_attachments(
        f"memory://{secrets.token_hex(4)}", AttachmentSettings(max_attachment_bytes=10)
    )
    assert made is not None
    return made


async def test_bytes_are_stored_and_become_a_reference_without_extras(
    store: AttachmentStore,
) -> None:
    """Size and label are unset, so that equal bytes make equal requests; in order."""
    kept = AttachmentRef(
        id="0" * 64, media_type=MediaTypeImage(type="gif"), byte_len=1, label="mine"
    )
    specs = await attachment_specs(
        store,
        [LiveAttachment("image/png", DATA), LiveAttachment(reference=kept)],
    )
    first, second = (spec.reference for spec in specs)
    assert (first.media_type.type, first.byte_len, first.width, first.label) == (
        "png",
        4,
        None,
        None,
    )
    assert second == kept
    assert await load_attachments(store, specs[:1]) == [DATA]


@pytest.mark.parametrize(
    ("attachment", "code", "message"),
    [
        (
            LiveAttachment("image/png"),
            "runtime_effect_attachment_missing_reference",
            "runtime effect attachment has neither a durable reference nor inline bytes",
        ),
        (
            LiveAttachment("image/tiff", DATA),
            "runtime_effect_attachment_media_type",
            "attachment media type `image/tiff` cannot be represented durably",
        ),
        (
            LiveAttachment("image/png", DATA * 3),
            "runtime_effect_attachment_store",
            "failed to store attachment before runtime effect invocation: the attachment is 12",
        ),
    ],
)
async def test_what_cannot_be_sent_is_refused_with_the_wires_code(
    store: AttachmentStore, attachment: LiveAttachment, code: str, message: str
) -> None:
    """Before anything is submitted."""
    with pytest.raises(AttachmentReferenceError) as refused:
        await attachment_specs(store, [attachment])
    assert refused.value.code == code
    assert refused.value.message.startswith(message)


async def test_without_a_store_bytes_cannot_be_sent() -> None:
    """References can."""
    with pytest.raises(AttachmentReferenceError, match="set EFFECTMQ_ATTACHMENTS") as refused:
        await attachment_specs(None, [LiveAttachment("image/png", DATA)])
    assert refused.value.code == "runtime_effect_attachment_store"


@pytest.mark.parametrize("there", [True, False])
async def test_what_cannot_be_loaded_is_an_outcome_of_the_call(
    store: AttachmentStore, there: bool
) -> None:
    """With the store's own words, and never tried again by itself."""
    specs = await attachment_specs(store, [LiveAttachment("image/png", DATA)])
    if there:
        await store.delete(specs[0].reference.id)
    with pytest.raises(AttachmentError) as failed:
        await load_attachments(store if there else None, specs)
    error = resolution_failure(failed.value)
    assert (error.code, error.terminal_reason, error.retryable) == (
        "attachment_resolution_failed",
        "provider_error",
        False,
    )
    assert (error.raw, error.request_body) == (None, None)
    assert error.message == str(failed.value)
