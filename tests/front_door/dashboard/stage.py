"""A dashboard over a broker, with a worker and effects of which some were given up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from effectmq import (
    Client,
    EffectContext,
    RejectEffectError,
    RetryEffectError,
    RetryPolicy,
    ToolCall,
    WaitForAnswer,
    Worker,
)
from effectmq.api.access.tokens import NO_TOKENS, Tokens
from effectmq.broker.place import Place
from effectmq.dashboard.app import create_dashboard
from effectmq.protocol import (
    ExecResponse,
    LlmContentBlockText,
    LlmMessage,
    LlmOutputPartText,
    LlmRequestSpec,
    LlmResponse,
    LlmUsage,
    Ok,
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandLlmCall,
    RuntimeEffectOutcomeExecCode,
    RuntimeEffectOutcomeLlmCall,
)
from effectmq.protocol.errors import EffectmqError
from tests.brokers.proxy import ChaosProxy

T = TypeVar("T")

#: Text that must stay text: markup, and a mark that turns the line around.
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\u202egnp.exe"
LONG = "A" * (1024 * 1024)
#: What the handler refuses, so that it is parked.
WRONG = "wrong"
#: What says this again and again until it is cancelled.
SPEAKING = f"say {HOSTILE} "
#: What fails twice, and then does not.
UNSTEADY = "again and again"
#: What goes on until it is cancelled.
ENDLESS = "while True: pass"


class Stage:
    """
    What tests see.

    Attributes:
        url: Where the dashboard is.
        place: What it shows.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, place: Place, url: str) -> None:
        self._loop = loop
        self.place = place
        self.url = url

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry something out on the loop of the dashboard."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def park(self, session: str, *codes: str) -> None:
        """Let blocks be given up, all at once."""
        self.do(_parked(self.place, session, codes))


@contextmanager
def staged(place: Place, tokens: Tokens = NO_TOKENS, *, works: bool = True) -> Generator[Stage]:
    """A dashboard in a thread of its own, with a worker unless it is to be without."""
    found: list[Stage] = []
    there, over = threading.Event(), threading.Event()

    async def main() -> None:
        async with _served(place, tokens, works=works) as url:
            found.append(Stage(asyncio.get_running_loop(), place, url))
            there.set()
            await asyncio.to_thread(over.wait)

    def run() -> None:
        try:
            asyncio.run(main())
        finally:
            there.set()

    thread = threading.Thread(target=run, name="dashboard of a test")
    thread.start()
    try:
        assert there.wait(30), "the dashboard did not start"
        assert found, "the dashboard did not start; its thread has ended"
        yield found[0]
    finally:
        over.set()
        thread.join(30)


@contextmanager
def proxied(broker: str) -> Generator[tuple[str, Callable[[Callable[[ChaosProxy], None]], None]]]:
    """A line to a broker, in a thread of its own: its address, and how to tell it something."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy of a test")
    thread.start()

    def do(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    proxy = do(ChaosProxy.to(broker).__aenter__())

    def tell(what: Callable[[ChaosProxy], None]) -> None:
        async def told() -> None:
            what(proxy)

        do(told())

    try:
        yield proxy.url(broker), tell
    finally:
        do(proxy.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


@asynccontextmanager
async def _served(place: Place, tokens: Tokens, *, works: bool) -> AsyncGenerator[str]:
    server = uvicorn.Server(
        uvicorn.Config(create_dashboard(place, tokens), port=0, log_config=None, access_log=False)
    )
    worker = _worker(place)
    if works:
        await worker.__aenter__()
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(20):
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving
        if works:
            await worker.__aexit__(None, None, None)


async def _speak(context: EffectContext) -> None:
    """Say it until it is cancelled."""
    context.progress(3, 12, HOSTILE)
    while True:
        context.stream(HOSTILE)
        await asyncio.sleep(0.05)


def _worker(place: Place) -> Worker:
    worker = Worker(place=place, name="test-worker")

    async def add(a: int, b: int) -> int:
        return a + b

    async def echo(text: str) -> str:
        return text

    async def ask(question: str, context: EffectContext) -> int | WaitForAnswer:
        return context.wait_for_answer(note=question, deadline_s=3_600)

    async def execute(
        command: RuntimeEffectCommandExecCode, context: EffectContext
    ) -> RuntimeEffectOutcomeExecCode:
        if command.code.startswith(WRONG):
            raise RejectEffectError("bad_block", f"cannot run {command.code[:300]}")
        if command.code == UNSTEADY and context.attempt < 3:
            raise RetryEffectError("not yet", after_s=0.01)
        if command.code == SPEAKING:
            await _speak(context)
        if command.code == ENDLESS:
            await asyncio.Event().wait()
        response = ExecResponse(
            observations=[command.code],
            observation_truncation=[],
            tool_calls=[],
            images=[],
            printed_images=[],
            duration_ms=1,
        )
        return RuntimeEffectOutcomeExecCode(result=Ok(response))

    async def answer(
        command: RuntimeEffectCommandLlmCall, context: EffectContext
    ) -> RuntimeEffectOutcomeLlmCall:
        response = LlmResponse(
            full_text="yes",
            parts=[LlmOutputPartText(text="yes")],
            usage=LlmUsage(
                input_tokens=1_234, output_tokens=56, cached_input_tokens=0, reasoning_tokens=0
            ),
            terminal_reason="stop",
        )
        return RuntimeEffectOutcomeLlmCall(result=Ok(response), text_streamed=False)

    worker.tool(add)
    worker.tool(echo)
    worker.tool(ask)
    worker.handler("exec_code", retry=RetryPolicy(max_attempts=3))(execute)
    worker.handler("llm_call")(answer)
    return worker


async def _parked(place: Place, session: str, codes: tuple[str, ...]) -> None:
    async def one(client: Client, number: int, code: str) -> None:
        with suppress(EffectmqError):
            await client.turn(session, f"t-{number}").exec_code(code, timeout=20)

    async with Client(place=place) as client:
        await asyncio.gather(*(one(client, number, code) for number, code in enumerate(codes)))


async def begun(place: Place, session: str, code: str = ENDLESS) -> None:
    """An effect that goes on until it is cancelled."""
    async with Client(place=place) as client:
        turn = client.turn(session, "turn-1")
        with suppress(EffectmqError):
            await turn.exec_code(code, timeout=0.5)


async def asked(place: Place, session: str, *questions: str) -> None:
    """Calls that a person answers."""
    async with Client(place=place) as client:
        calls = [ToolCall("ask", {"question": each}, each) for each in questions]
        for envelope in client.turn(session, "turn-1").tool_envelopes(calls):
            await client.submit(envelope)


async def a_turn(place: Place, session: str, text: str = "hello") -> None:
    """A model, two tools and a block."""
    async with Client(place=place) as client:
        turn = client.turn(session, "turn-1")
        block = LlmContentBlockText(text=text, cache_breakpoint=False)
        request = LlmRequestSpec(
            model="gpt-4o-mini",
            messages=[LlmMessage(role="User", blocks=[block])],
            attachments=[],
            tools=[],
            tool_choice="None",
        )
        await turn.llm_call(request, timeout=20)
        await turn.tool_call("add", {"a": 1, "b": 2}, call_id="call-1", timeout=20)
        await turn.tool_call("echo", {"text": text}, call_id="call-2", timeout=20)
        await turn.exec_code("1 + 1", timeout=20)


def place_at(broker: str, namespace: str, folder: Path) -> Place:
    return Place.of(
        {
            "broker": broker,
            "namespace": namespace,
            "journal": f"sqlite:///{folder}/journal.db",
            "max_body_bytes": 4 * 1024 * 1024,
        }
    )
