"""What tools return besides plain values, end to end: attachments, requests, host events."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.broker.store.attachments import AttachmentSettings, AttachmentStore
from effectmq.broker.store.attachments.memory import MemoryObjects
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.tools.context import ToolContext
from effectmq.consumers.tools.results.outputs import output_from
from effectmq.consumers.tools.results.special import (
    Attachment,
    FailTurn,
    FinishTurn,
    SwitchAgentFrame,
    ToolReturn,
    stored,
)
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import AttachmentStoreError, ToolCallError
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from effectmq.protocol.wire.tools import (
    ModelToolReturnPartAttachment,
    ModelToolReturnPartText,
    ToolRetryDispositionExhausted,
    ToolRetryDispositionNever,
)
from tests.consumers.stage import PATIENCE_S, Stage, tool

SAFE = RetryPolicy(max_attempts=2, base_delay_s=0, max_delay_s=0)
FAILURE = {
    "class": "external",
    "code": "c",
    "message": "m",
    "source": "tool",
    "retry": {"type": "never"},
}


@pytest.fixture
def app(stage: Stage) -> EffectWorker:
    """A worker with an attachment store."""
    return stage.worker(attachments=f"memory://{stage.url}")


async def call(stage: Stage, app: EffectWorker, name: str) -> RuntimeEffectOutcomeToolCall:
    """Start the worker and call one tool."""
    await stage.start(app)
    client = await stage.client()
    outcome = await client.execute(tool(name), timeout=PATIENCE_S)
    assert isinstance(outcome, RuntimeEffectOutcomeToolCall)
    return outcome


async def test_attachments_go_into_the_store_and_references_into_the_outcome(
    stage: Stage, app: EffectWorker
) -> None:
    """Anywhere in the value; the model gets text and attachments in turn."""

    @app.tool
    async def draw() -> object:
        image = Attachment(b"png", "image/png", width=2, height=3, label="a")
        return {"images": [image, (image,)], "n": 1}

    outcome = await call(stage, app, "draw")
    first, (second,) = outcome.result.output.outcome.payload["images"]  # type: ignore[union-attr, index]
    assert isinstance(first, AttachmentRef)
    assert first == second
    assert (first.byte_len, first.width, first.height, first.label) == (3, 2, 3, "a")
    assert app.attachments is not None
    assert await app.attachments.get(first.id) == b"png"
    kinds = [type(part) for part in outcome.result.model_return.parts]
    text, image = ModelToolReturnPartText, ModelToolReturnPartAttachment
    assert kinds == [text, image, text, image, text]


async def test_a_tool_can_attach_while_it_runs(stage: Stage, app: EffectWorker) -> None:
    """And use the reference as it likes, in a failure for instance."""

    @app.tool
    async def draw(context: ToolContext) -> None:
        reference = await context.attach(b"png", "image/png")
        raw = {"seen": reference, "given": Attachment(b"gif", "image/gif")}
        raise ToolCallError("no", source="policy", raw=raw)

    failure: Any = (await call(stage, app, "draw")).result.output.outcome.payload
    assert (failure.message, failure.source) == ("no", "policy")
    assert {ref.media_type.type for ref in failure.raw.values()} == {"png", "gif"}


@pytest.mark.parametrize(
    ("attachment", "code", "class_"),
    [
        (Attachment(b"", "text/plain"), "runtime_effect_attachment_media_type", "internal"),
        (Attachment(b"12345", "image/png"), "runtime_effect_attachment_store", "resource_limit"),
    ],
)
async def test_what_cannot_be_stored_is_a_failure(
    attachment: Attachment, code: str, class_: str
) -> None:
    """Of the runtime, and trying again gives the same."""
    store = AttachmentStore(MemoryObjects("full"), AttachmentSettings(max_attachment_bytes=4))
    with pytest.raises(ToolCallError) as failed:
        await stored([attachment], store, repeatable=True)
    found = failed.value
    assert (found.code, found.class_, found.source, found.retry) == (code, class_, "runtime", False)


@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_store_out_of_reach_is_worth_another_try(
    repeatable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the tool may run again."""
    store = AttachmentStore(MemoryObjects("gone"))

    async def put(*args: object, **options: object) -> None:
        raise AttachmentStoreError("the store is away")

    monkeypatch.setattr(store, "put", put)
    with pytest.raises(ToolCallError, match="away") as failed:
        await stored(Attachment(b"", "image/png"), store, repeatable=repeatable)
    assert (failed.value.class_, failed.value.retry) == ("unavailable", repeatable)


async def test_without_a_store_an_attachment_is_a_failure_and_a_failure_stays_one(
    stage: Stage,
) -> None:
    """What came with a failure is lost, and it says so."""
    app = stage.worker()

    @app.tool
    async def draw() -> Attachment:
        return Attachment(b"1", "image/png")

    @app.tool
    async def lose() -> None:
        raise ToolCallError("no", raw=[Attachment(b"1", "image/png")])

    failure: Any = (await call(stage, app, "draw")).result.output.outcome.payload
    assert "no attachment store" in failure.message
    client = await stage.client()
    outcome: Any = await client.execute(tool("lose", "2"), timeout=PATIENCE_S)
    failure = outcome.result.output.outcome.payload
    assert failure.message.startswith("no (its attachments are lost: ")
    assert failure.raw is None


async def test_a_value_that_holds_itself_is_refused_as_before() -> None:
    """Looking for attachments does not hide it."""
    value: list[object] = []
    value.append(value)
    assert await stored(value, None, repeatable=False) is value


def test_bytes_never_slip_into_a_value() -> None:
    """An attachment that nobody stored is no value."""
    output: Any = output_from(Attachment(b"text", "image/png"))
    assert output.outcome.payload.code == "invalid_tool_result"


@pytest.mark.parametrize(
    ("result", "tree"),
    [
        (
            FinishTurn({"a": 1}),
            {
                "outcome": {"status": "success", "payload": {"a": 1}},
                "control": {"type": "finish", "value": {"a": 1}},
            },
        ),
        (
            SwitchAgentFrame("f", task="t", initial_nodes=[{"b": 1, "a": 2}]),
            {
                "outcome": {"status": "success", "payload": None},
                "control": {
                    "type": "switch_agent_frame",
                    "frame_id": "f",
                    "initial_nodes": [{"a": 2, "b": 1}],
                    "task": "t",
                },
            },
        ),
        (
            FailTurn("m", code="c", class_="external"),
            {
                "outcome": {"status": "failure", "payload": FAILURE},
                "control": {"type": "fail", "failure": FAILURE},
            },
        ),
        (
            ToolReturn("seen", SwitchAgentFrame("f")),
            {
                "outcome": {"status": "success", "payload": "seen"},
                "control": {"type": "switch_agent_frame", "frame_id": "f"},
            },
        ),
        (
            ToolReturn(1, FailTurn("m", code="c", class_="external")),
            {
                "outcome": {"status": "success", "payload": 1},
                "control": {"type": "fail", "failure": FAILURE},
            },
        ),
        (ToolReturn("plain"), {"outcome": {"status": "success", "payload": "plain"}}),
    ],
)
def test_a_tool_may_ask_something_of_the_session(result: object, tree: object) -> None:
    """By itself, or beside a value."""
    assert to_tree(output_from(result)) == tree


@pytest.mark.parametrize(
    "result",
    [
        FinishTurn(object()),
        FailTurn("m", class_="no such class"),
        SwitchAgentFrame("f", initial_nodes=[object()]),
        ToolReturn(1, FinishTurn(object())),
    ],
)
def test_a_request_that_cannot_be_sent_is_a_failure_of_the_tool(result: object) -> None:
    """As with any other result."""
    output: Any = output_from(result)
    assert output.outcome.payload.code == "invalid_tool_result"
    assert output.control is None


@pytest.mark.parametrize("wrap", [FinishTurn, lambda value: ToolReturn(1, FinishTurn(value))])
async def test_attachments_in_requests_are_stored_too(wrap: Any) -> None:
    """What ends a turn may be a picture."""
    store = AttachmentStore(MemoryObjects("requests"))
    found = await stored(wrap([Attachment(b"1", "image/png")]), store, repeatable=False)
    control: Any = output_from(found).control
    assert isinstance(control.value[0], AttachmentRef)
    failing = await stored(
        FailTurn("m", raw=Attachment(b"1", "image/png")), store, repeatable=False
    )
    control = output_from(failing).control
    assert isinstance(control.failure.raw, AttachmentRef)


async def test_events_travel_with_the_outcome_in_the_order_of_emission(
    stage: Stage, app: EffectWorker
) -> None:
    """With the processes that they started, known then or later."""

    @app.tool
    async def press(context: ToolContext) -> str:
        pressed = context.emit("Button", "ui.button", "pressed", {"x": (1,)})
        context.emit("Button", "ui.button", "released", started_process_ids=["process:2"])
        pressed.started_process_ids.append("process:1")
        return context.call.call_id

    outcome = await call(stage, app, "press")
    assert outcome.result.output.outcome.payload == "c1"
    assert to_tree(outcome)["host_events"] == [
        {
            "resource_type": "Button",
            "alias": "ui.button",
            "event": "pressed",
            "source_type": "ui.button.pressed",
            "payload": {"x": [1]},
            "started_process_ids": ["process:1"],
        },
        {
            "resource_type": "Button",
            "alias": "ui.button",
            "event": "released",
            "source_type": "ui.button.released",
            "payload": None,
            "started_process_ids": ["process:2"],
        },
    ]


async def test_a_failure_keeps_the_events_of_its_last_attempt_only(
    stage: Stage, app: EffectWorker
) -> None:
    """An attempt that is tried again has not happened, as far as the host is concerned."""

    @app.tool(retry=SAFE)
    async def press(context: ToolContext) -> None:
        context.emit("Button", "b", f"pressed-{context.attempt}")
        raise ValueError

    outcome = await call(stage, app, "press")
    assert [event.event for event in outcome.host_events] == ["pressed-2"]
    failure: Any = outcome.result.output.outcome.payload
    assert failure.retry == ToolRetryDispositionExhausted(attempts=2)


async def test_an_event_that_cannot_be_sent_is_the_tools_own_error(
    stage: Stage, app: EffectWorker
) -> None:
    """Found where it was made."""

    @app.tool
    async def press(context: ToolContext) -> None:
        context.emit("Button", "b", "pressed", object())

    outcome = await call(stage, app, "press")
    failure: Any = outcome.result.output.outcome.payload
    assert "host event 'b.pressed' cannot be sent" in failure.message
    assert failure.retry == ToolRetryDispositionNever()
    assert outcome.host_events == []
