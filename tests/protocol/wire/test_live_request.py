"""A request to a model, from a program's form to the wire's and back."""

from __future__ import annotations

import secrets

import pytest

from effectmq.broker.store.attachments import AttachmentStore, open_attachments
from effectmq.protocol.encoding.serde.model import canonical_bytes, stable_hash
from effectmq.protocol.errors import AttachmentReferenceError
from effectmq.protocol.wire.attachments import AttachmentRef, MediaTypeImage
from effectmq.protocol.wire.live_attachments import LiveAttachment
from effectmq.protocol.wire.llm_events import (
    LlmProviderTraceEvent,
    LlmStreamEvent,
    LlmStreamEventDelta,
)
from effectmq.protocol.wire.llm_request import (
    LlmAttachmentSpec,
    LlmContentBlockImage,
    LlmMessage,
    LlmRequest,
    LlmRequestSpec,
)
from tests.protocol.documents import example, examples

_PICTURE = b"\1\2\3\4"
_MESSAGES = [LlmMessage(role="User", blocks=[LlmContentBlockImage(attachment_idx=0)])]


@pytest.fixture
def store() -> AttachmentStore:
    """A store of its own, in memory."""
    made = open_attachments(f"memory://{secrets.token_hex(4)}")
    assert made is not None
    return made


def _specs() -> list[LlmRequestSpec]:
    envelopes = [
        example(label) for label, row in examples().items() if row["type"].endswith("Envelope")
    ]
    requests = [getattr(envelope.command, "request", None) for envelope in envelopes]
    return [request for request in requests if isinstance(request, LlmRequestSpec)]


async def test_a_request_of_the_wire_goes_out_and_comes_back_with_the_same_bytes() -> None:
    """References need no store, and callbacks leave no trace."""
    specs = _specs()
    assert len(specs) >= 3
    for spec in specs:
        live = spec.into_request(lambda event: None, lambda event: None)
        assert canonical_bytes(await LlmRequestSpec.from_request(live, None)) == canonical_bytes(
            spec
        )


async def test_bytes_are_stored_and_become_references(store: AttachmentStore) -> None:
    """Equal bytes make equal requests; what is not given stands in its place as a null."""
    request = LlmRequest("m", _MESSAGES, [LiveAttachment("image/png", _PICTURE)])
    spec = await LlmRequestSpec.from_request(request, store)
    (attachment,) = spec.attachments
    assert await store.get(attachment.reference.id) == _PICTURE
    assert (spec.model, spec.messages, spec.tools, spec.tool_choice) == ("m", _MESSAGES, [], "Auto")
    again = await LlmRequestSpec.from_request(request, store)
    assert stable_hash(spec) == stable_hash(again)


async def test_an_attachment_that_cannot_be_sent_refuses_the_request() -> None:
    """With the wire's code, before anything is submitted."""
    request = LlmRequest("m", _MESSAGES, [LiveAttachment("image/png")])
    with pytest.raises(AttachmentReferenceError) as refused:
        await LlmRequestSpec.from_request(request, None)
    assert refused.value.code == "runtime_effect_attachment_missing_reference"


def test_callbacks_are_put_on_a_request_of_the_wire() -> None:
    """They are called as they are, and do not count when requests are compared."""
    heard: list[LlmStreamEvent] = []
    traced: list[LlmProviderTraceEvent] = []
    spec = _specs()[0]
    live = spec.into_request(heard.append, traced.append)
    assert live.stream_events is not None
    assert live.provider_trace is not None
    live.stream_events(LlmStreamEventDelta("Once"))
    live.provider_trace(LlmProviderTraceEvent("acme", "delta", "{}"))
    assert heard == [LlmStreamEventDelta("Once")]
    assert traced == [LlmProviderTraceEvent("acme", "delta", "{}")]
    silent = spec.into_request()
    assert (silent.stream_events, silent.provider_trace) == (None, None)
    assert silent == live


def test_an_attachment_of_the_wire_is_a_reference_with_its_mime_type() -> None:
    """Its bytes are still in the store."""
    reference = AttachmentRef(id="0" * 64, media_type=MediaTypeImage(type="gif"), byte_len=1)
    assert LlmAttachmentSpec(reference=reference).into_attachment() == LiveAttachment(
        mime="image/gif", reference=reference
    )
