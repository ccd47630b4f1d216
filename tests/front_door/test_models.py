"""``Worker.models``: a table, what the environment adds to it, and an answer."""

from __future__ import annotations

import secrets

import pytest

from effectmq import Client, Worker
from effectmq.broker.store.attachments import open_attachments
from effectmq.protocol.encoding.serde.tagging import Ok
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.wire.envelope import RuntimeEffectCommandLlmCall, RuntimeEffectEnvelope
from effectmq.protocol.wire.llm_request import LlmAttachmentSpec, LlmContentBlockImage
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeLlmCall
from tests.consumers.llm.asking import KEY, message, spec
from tests.consumers.llm.dialects import chat_events
from tests.consumers.llm.server import FakeProvider


async def test_an_image_in_the_store_reaches_the_model_and_the_answer_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked again under the same key, the journal answers, and the model is not asked."""
    name = secrets.token_hex(4)
    monkeypatch.setenv("EFFECTMQ_BROKER", f"memory://{name}")
    monkeypatch.setenv("EFFECTMQ_ATTACHMENTS", f"memory://{name}")
    monkeypatch.setenv("MY_KEY", KEY)
    store = open_attachments(f"memory://{name}")
    assert store is not None
    async with FakeProvider(chat_events("A ", "cat")) as server:
        row = {"provider": "openai-compatible", "base_url": server.url, "api_key_env": "MY_KEY"}
        app = Worker()
        app.models({"eyes": row})
        async with app, Client() as client:
            reference = await store.put(b"\1\2\3\4", "image/png")
            request = spec(
                message("User", "what is it?", LlmContentBlockImage(attachment_idx=0)),
                model="eyes",
                attachments=[LlmAttachmentSpec(reference=reference)],
            )
            envelope = RuntimeEffectEnvelope(
                invocation=client.turn("s", "t").invocation("llm_call"),
                command=RuntimeEffectCommandLlmCall(request=request),
            )
            first = await client.execute(envelope)
        async with app, Client() as another:
            assert await another.execute(envelope) == first
    assert isinstance(first, RuntimeEffectOutcomeLlmCall)
    assert isinstance(first.result, Ok)
    assert first.result.ok.full_text == "A cat"
    (seen,) = server.seen
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert "data:image/png;base64,AQIDBA==" in str(seen.body)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"m": {"provider": "none"}}, "models.m.provider"),
        ({"m": {"provider": "google", "api_key_env": "NOT_SET"}}, "NOT_SET is not set"),
    ],
)
def test_a_table_that_cannot_be_used_is_said_before_anything_starts(
    table: dict[str, object], words: str
) -> None:
    """And nothing is registered."""
    app = Worker()
    with pytest.raises(ConfigurationError, match=words):
        app.models(table)
    assert app.kinds == ("sleep",)
