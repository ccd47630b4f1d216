"""Spans of publishes, deliveries and attempts, as the SDK of OpenTelemetry gets them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, SpanContext, StatusCode

from effectmq import Client, RetryPolicy, ToolContext, Worker
from effectmq.broker.dead_letters.dead_letters import DeadLetters
from effectmq.broker.dead_letters.filter import EVERY_LETTER
from effectmq.monitoring.traces import Traces
from effectmq.protocol.errors import ConfigurationError, EffectFailedError, ToolCallError
from tests.brokers.provide import Broker
from tests.consumers.stage import (
    AT_ONCE,
    PATIENCE_S,
    Stage,
    code,
    hurry,
    logged,
    outcome,
    staged,
    tool,
)
from tests.waiting import eventually

_SECRET = "4111-1111-1111-1111"


class Spans:
    """A provider of the SDK, and the spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    def traces(self, *, payloads: bool = False) -> Traces:
        """What a client or a worker is given."""
        return Traces(self.provider, payloads=payloads, system="memory")

    def all(self, begins: str) -> list[ReadableSpan]:
        """The spans whose names begin so, in the order in which they began."""
        found = [s for s in self._exporter.get_finished_spans() if s.name.startswith(begins)]
        return sorted(found, key=lambda span: span.start_time or 0)

    async def ended(self, begins: str, count: int = 1) -> list[ReadableSpan]:
        """Wait until so many have ended: a delivery does after its answer is out."""
        await eventually(lambda: len(self.all(begins)) >= count)
        found = self.all(begins)
        assert len(found) == count
        return found

    @property
    def text(self) -> str:
        """Everything that was exported."""
        return "".join(str(span.to_json()) for span in self._exporter.get_finished_spans())


@pytest.fixture
def spans() -> Spans:
    """Spans of one test."""
    return Spans()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A broker in memory."""
    async with staged() as made:
        yield made


def context_of(span: ReadableSpan) -> SpanContext:
    """The context of a span that has one."""
    assert span.context is not None
    return span.context


def assert_chain(chain: Sequence[ReadableSpan]) -> None:
    """Each is the child of the one before, and all are of one trace."""
    for parent, child in pairwise(chain):
        assert child.parent is not None
        assert child.parent.span_id == context_of(parent).span_id
    assert len({context_of(span).trace_id for span in chain}) == 1


def linked(span: ReadableSpan) -> list[int]:
    """The spans that it is linked with."""
    return [link.context.span_id for link in span.links]


async def family(url: str, namespace: str, spans: Spans) -> None:
    """A tool asks for another one; each with publish, delivery and attempt."""
    worker = Worker(url, namespace=namespace, journal="none")
    client = Client(url, namespace=namespace)
    child = Client(url, namespace=namespace)
    for one in (worker, client, child):
        one.tracing = spans.traces()
    parents: list[str] = []

    @worker.tool
    async def outer(ctx: ToolContext) -> int:
        parents.append(ctx.traceparent)
        with spans.tracer.start_as_current_span("my own"):
            return int((await child.turn("s", "t2").tool_call("inner", {}, call_id="c2")).value)

    @worker.tool
    def inner() -> int:
        return 7

    async with AsyncExitStack() as stack:
        await worker.start(["tool_call"])
        stack.push_async_callback(worker.stop, 0.0)
        await stack.enter_async_context(client)
        await stack.enter_async_context(child)
        with spans.tracer.start_as_current_span("the turn"):
            result = await client.turn("s", "t1").tool_call("outer", {}, call_id="c1")
        assert result.value == 7
        deliveries = await spans.ended("consume ", 2)
    destination = f"{namespace}.work:tool_call"
    published = spans.all("publish ")
    chain = [
        *spans.all("the turn"),
        *(published[0], deliveries[0], *spans.all("execute_tool outer"), *spans.all("my own")),
        *(published[1], deliveries[1], *spans.all("execute_tool inner")),
    ]
    assert len(chain) == 8
    assert_chain(chain)
    assert {span.name for span in published} == {f"publish {destination}"}
    queue = f"{namespace}.work.tool_call"
    assert {span.name for span in deliveries} == {f"consume {destination}:{queue}"}
    attempt = spans.all("execute_tool outer")[0]
    own = context_of(attempt)
    (parent,) = parents
    assert parent.startswith(f"00-{own.trace_id:032x}-{own.span_id:016x}-")
    said = dict(attempt.attributes or {})
    assert said["gen_ai.operation.name"] == "execute_tool"
    assert (said["gen_ai.tool.name"], said["gen_ai.tool.call.id"]) == ("outer", "c1")
    assert (said["gen_ai.conversation.id"], said["effectmq.turn.id"]) == ("s", "t1")
    assert said["effectmq.attempt"] == 1
    said = dict(deliveries[0].attributes or {})
    assert said["messaging.operation.type"] == "process"
    assert said["messaging.rabbitmq.destination.routing_key"] == "tool_call"
    assert (said["effectmq.ending"], said["effectmq.session.id"]) == ("answered", "s")


async def test_what_is_asked_for_belongs_to_the_attempt(spans: Spans, namespace: str) -> None:
    """In memory, through a thread and a span of the program's own."""
    await family(f"memory://{namespace}", namespace, spans)


@pytest.mark.one_broker
async def test_the_context_travels_over_rabbitmq(
    spans: Spans, broker: Broker, namespace: str
) -> None:
    """In the header of the message."""
    await family(broker.url, namespace, spans)


@pytest.mark.parametrize("over_a_delay", [False, True])
async def test_each_attempt_is_linked_with_the_one_before(
    spans: Spans, stage: Stage, monkeypatch: pytest.MonkeyPatch, over_a_delay: bool
) -> None:
    """Also when the copy came back over a delay level, perhaps to another worker."""
    if over_a_delay:
        hurry(monkeypatch, 0)
    worker, client = stage.worker(), await stage.client()
    worker.tracing = client.tracing = spans.traces()

    @worker.tool(retry=RetryPolicy(max_attempts=3, base_delay_s=0.01))
    async def flaky(ctx: ToolContext) -> int:
        if ctx.attempt < 3:
            raise RuntimeError(_SECRET)
        return ctx.attempt

    await stage.start(worker)
    assert (await client.execute(tool("flaky"), timeout=PATIENCE_S)).value == 3
    one, two, three = await spans.ended("execute_tool flaky", 3)
    assert [linked(span) for span in (one, two, three)] == [
        [],
        [context_of(one).span_id],
        [context_of(two).span_id],
    ]
    assert [span.status.status_code for span in (one, two)] == [StatusCode.ERROR] * 2
    deliveries = await spans.ended("consume ", 3 if over_a_delay else 1)
    assert {span.parent and span.parent.span_id for span in deliveries} == {
        context_of(spans.all("publish ")[0]).span_id
    }
    assert _SECRET not in spans.text


async def test_a_replayed_dead_letter_is_linked_with_the_attempt_that_failed(
    spans: Spans, stage: Stage
) -> None:
    """The trace of the first time tells why it was parked."""
    worker, client = stage.worker(), await stage.client()
    worker.tracing = client.tracing = spans.traces()

    @worker.handler("exec_code", retry=AT_ONCE)
    async def run(command: object) -> object:
        raise RuntimeError(_SECRET)

    await stage.start(worker)
    with pytest.raises(EffectFailedError):
        await outcome(await client.submit(code()))
    first = (await spans.ended("run exec_code", 3))[-1]
    (failed,) = await spans.ended("consume ")
    assert (failed.attributes or {})["error.type"] == "effectmq_exhausted"
    transport = await stage.transport()
    letters = DeadLetters(transport, stage.topology)
    await letters.replay(EVERY_LETTER)
    again = (await spans.ended("run exec_code", 6))[3]
    assert linked(again) == [context_of(first).span_id]
    assert _SECRET not in spans.text


@pytest.mark.parametrize("ok", [True, False])
async def test_an_answer_from_the_record_is_linked_with_the_attempt_that_gave_it(
    spans: Spans, stage: Stage, tmp_path: Path, ok: bool
) -> None:
    """In another trace, and perhaps after years; whether it was a success or not."""
    worker, client = stage.worker(journal=f"sqlite:///{tmp_path / 'j.db'}"), await stage.client()
    worker.tracing = client.tracing = spans.traces()

    @worker.tool
    async def once() -> int:
        return 1 // ok

    await stage.start(worker)
    for _ in range(2):
        await client.execute(tool("once"), timeout=PATIENCE_S)
    (attempt,) = await spans.ended("execute_tool once")
    first, second = await spans.ended("consume ", 2)
    assert [(span.attributes or {})["effectmq.ending"] for span in (first, second)] == [
        "answered",
        "replayed",
    ]
    assert (linked(first), linked(second)) == ([], [context_of(attempt).span_id])
    assert context_of(first).trace_id != context_of(second).trace_id


@pytest.mark.parametrize("payloads", [False, True])
async def test_payloads_are_in_it_only_when_they_are_asked_for(
    spans: Spans, stage: Stage, payloads: bool
) -> None:
    """Arguments, results, and the texts of errors, which may repeat them."""
    worker, client = stage.worker(), await stage.client()
    worker.tracing = client.tracing = spans.traces(payloads=payloads)

    @worker.tool
    async def pay(card: str, ok: bool) -> str:
        if not ok:
            raise ToolCallError(f"refused {card}", code="refused")
        return f"paid with {card}"

    await stage.start(worker)
    await client.execute(tool("pay", "1", card=_SECRET, ok=True), timeout=PATIENCE_S)
    await client.execute(tool("pay", "2", card=_SECRET, ok=False), timeout=PATIENCE_S)
    good, bad = await spans.ended("execute_tool pay", 2)
    await spans.ended("consume ", 2)
    assert (_SECRET in spans.text) is payloads
    assert ("gen_ai.tool.call.arguments" in (good.attributes or {})) is payloads
    assert (bad.attributes or {})["error.type"] == "refused"
    assert (bad.status.description is None) is not payloads


async def test_a_caller_may_give_the_context(spans: Spans, stage: Stage) -> None:
    """It counts more than the span that is open."""
    worker, client = stage.worker(), await stage.client()
    worker.tracing = client.tracing = spans.traces()

    @worker.tool
    async def nothing() -> None:
        return None

    await stage.start(worker)
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with spans.tracer.start_as_current_span("open"):
        await client.execute(tool("nothing"), timeout=PATIENCE_S, traceparent=given)
    (published,) = spans.all("publish ")
    assert published.parent is not None
    assert f"{published.parent.trace_id:032x}" in given
    (delivered,) = await spans.ended("consume ")
    assert_chain([published, delivered])


async def test_a_strange_context_in_a_message_begins_a_trace(spans: Spans, stage: Stage) -> None:
    """Headers may come from a stranger; the effect is carried out."""
    worker, client = stage.worker(), await stage.client()
    worker.tracing = spans.traces()

    @worker.tool
    async def nothing() -> None:
        return None

    await stage.start(worker)
    await client.execute(tool("nothing"), timeout=PATIENCE_S, traceparent="\x00nonsense " * 20)
    (delivered,) = await spans.ended("consume ")
    assert delivered.parent is None


async def test_an_attempt_over_its_time_ends_as_cancelled(spans: Spans, stage: Stage) -> None:
    """The outcome is the timeout; the span tells what became of the body."""
    worker, client = stage.worker(), await stage.client()
    worker.tracing = spans.traces()

    @worker.tool(time_limit_s=0.01)
    async def slow() -> None:
        await asyncio.Event().wait()

    await stage.start(worker)
    await client.execute(tool("slow"), timeout=PATIENCE_S)
    (attempt,) = await spans.ended("execute_tool slow")
    assert (attempt.attributes or {})["error.type"] == "cancelled"


async def test_a_program_without_an_sdk_passes_on_what_it_was_given(stage: Stage) -> None:
    """Its spans have no context, and none is made up."""
    worker, client = stage.worker(), await stage.client()
    worker.tracing = client.tracing = Traces(NoOpTracerProvider())
    seen: list[str] = []

    @worker.tool
    async def nothing(ctx: ToolContext) -> None:
        seen.append(ctx.traceparent)

    await stage.start(worker)
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await client.execute(tool("nothing", "1"), timeout=PATIENCE_S)
    await client.execute(tool("nothing", "2"), timeout=PATIENCE_S, traceparent=given)
    assert seen == ["", given]


class Breaking(SpanProcessor):
    """A processor with a defect."""

    def __init__(self, at: str) -> None:
        self._at = at

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self._at == "start":
            raise RuntimeError("a defect")

    def on_end(self, span: ReadableSpan) -> None:
        if self._at == "end":
            raise RuntimeError("a defect")


@pytest.mark.parametrize("at", ["start", "end"])
async def test_a_defect_of_a_processor_fails_no_effect(
    spans: Spans, stage: Stage, caplog: pytest.LogCaptureFixture, at: str
) -> None:
    """It is logged; outcomes and failures are what they would be."""
    spans.provider.add_span_processor(Breaking(at))
    worker, client = stage.worker(), await stage.client()
    worker.tracing = client.tracing = spans.traces()

    @worker.tool
    async def half(number: int) -> float:
        return 1 / number

    await stage.start(worker)
    assert (await client.execute(tool("half", "1", number=2), timeout=PATIENCE_S)).value == 0.5
    assert (await client.execute(tool("half", "2", number=0), timeout=PATIENCE_S)).failed
    await eventually(lambda: not worker.counters["defects"] and stage.unsettled("tool_call") == 0)
    assert logged(caplog, "span_failed")


# The setting ------------------------------------------------------------------------------------


def test_the_setting_turns_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """For workers and clients; a client of a worker's place has it from there."""
    assert Worker().tracing is None
    assert Worker(traces="on").tracing is not None
    monkeypatch.setenv("EFFECTMQ_TRACES", "on")
    assert Client().tracing is not None
    assert Client(place=Worker(traces="off").place).tracing is None
    with pytest.raises(ConfigurationError, match="expected 'off', 'on' or 'payloads'"):
        Worker(traces="yes")  # type: ignore[arg-type]


def test_without_it_nothing_of_opentelemetry_is_imported() -> None:
    """Off is free."""
    program = (
        "import sys, effectmq; effectmq.Worker(); effectmq.Client(); "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
