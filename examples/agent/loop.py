"""
The loop of an agent: one turn, from a question to an answer.

::

    surface ─▶ model ─▶ tools, code, processes, sleep ─▶ checkpoint ─┐
                 ▲                                                   │
                 └───────────────────────────────────────────────────┘

There is no state to save and nothing to resume. Everything that happens is an effect, its replay
key is made of session, turn and number, and what is recorded is not done again. So whoever runs the
same turn again, after a crash or for fun, comes by itself to the point where the last one ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from effectmq import Client, EffectFailedError
from effectmq.protocol import (
    Err,
    LlmContentBlock,
    LlmContentBlockText,
    LlmContentBlockToolCall,
    LlmContentBlockToolResult,
    LlmMessage,
    LlmOutputPartText,
    LlmOutputPartToolCall,
    LlmRequestSpec,
    LlmResponse,
    LlmToolSpec,
    ProcessAwaitOutputSuccess,
    ProcessExecutionContext,
    ProcessHandleDescriptor,
    ProcessInputLashlangProcess,
    ProcessProvenance,
    ProcessRegistration,
    ProcessScope,
    ProcessStartGrant,
    Result,
    arguments_from_model,
)
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.wire.process_event_types import LANGUAGE_EVENT_TYPES
from effectmq.protocol.wire.process_registration import LashlangProcessRef

#: Seconds for any one effect, waiting for somebody to take over after a crash included.
_PATIENCE_S = 60.0
_MOST_ROUNDS = 20


class AgentError(Exception):
    """The turn cannot go on; the sentence says why."""


class Agent:
    """
    One turn.

    Args:
        client: With the journal of the workers, what is recorded is answered without them.
        session_id: The conversation.
        turn_id: The turn, unlike that of any other; the same when it is run again.
        model: A row of the workers' table of models.
        say: Is told what happens.
    """

    def __init__(
        self,
        client: Client,
        session_id: str,
        turn_id: str,
        *,
        model: str = "agent",
        say: Callable[[str, str], None] = lambda kind, text: None,
    ) -> None:
        self._client = client
        self._turn = client.turn(session_id, turn_id)
        self._model = model
        self._say = say
        self._own = {
            "run_code": self._run_code,
            "start_process": self._start_process,
            "wait_for_process": self._wait_for_process,
            "remind_me": self._remind_me,
        }

    async def answer(self, question: str) -> str:
        """
        Answer a question.

        Raises:
            AgentError: When the model says no, the turn comes to no end, or there is no surface.
            EffectmqError: When an effect cannot be submitted or carried out, or failed.
        """
        outcome = await self._turn.sync_execution_surface(
            update_machine_config=True, timeout=_PATIENCE_S
        )
        surface = outcome.value
        if surface is None:
            raise AgentError("the workers tell of no prompt and no tools; give them a surface")
        self._say("surface", ", ".join(tool.name for tool in surface.tool_specs))
        tools = [*surface.tool_specs, *OWN_TOOLS]
        messages = [_text("System", surface.system_prompt), _text("User", question)]
        for _ in range(_MOST_ROUNDS):
            response = await self._ask(messages, tools)
            messages.append(LlmMessage(role="Assistant", blocks=_as_blocks(response)))
            calls = [part for part in response.parts if isinstance(part, LlmOutputPartToolCall)]
            if calls:
                messages.append(LlmMessage(role="User", blocks=await self._carry_out(calls, tools)))
            news = await self._checkpoint("after_work" if calls else "before_completion")
            messages += news
            if not calls and not news:
                return response.full_text
            self._turn.protocol_iteration += 1
        raise AgentError(f"the model wants more after {_MOST_ROUNDS} rounds; ask for less")

    async def title(self, question: str) -> str:
        """Give the conversation a title, with a model call outside of it."""
        request = self._request([_text("User", f"Title: {question}")], [])
        outcome = await self._turn.direct(request, usage_source="title", timeout=_PATIENCE_S)
        self._say("direct", outcome.value)
        return outcome.value

    # The model ---------------------------------------------------------------------------------

    async def _ask(self, messages: list[LlmMessage], tools: list[LlmToolSpec]) -> LlmResponse:
        outcome = await self._turn.llm_call(self._request(messages, tools), timeout=_PATIENCE_S)
        response: LlmResponse = _good(outcome.result)
        self._say("model", response.full_text)
        return response

    def _request(self, messages: list[LlmMessage], tools: list[LlmToolSpec]) -> LlmRequestSpec:
        return LlmRequestSpec(
            model=self._model, messages=messages, attachments=[], tools=tools, tool_choice="Auto"
        )

    async def _checkpoint(self, kind: Any) -> list[LlmMessage]:
        """What has come in for the session meanwhile, as messages."""
        outcome = await self._turn.checkpoint(kind, timeout=_PATIENCE_S)
        delivery = outcome.value
        texts = [message.content for message in delivery.messages + delivery.transient_messages]
        texts += [cause.text for cause in delivery.turn_causes]
        self._say("checkpoint", "; ".join(texts).replace("\n", " ") or "nothing new")
        return [_text("User", text) for text in texts]

    # What the model asks for --------------------------------------------------------------------

    async def _carry_out(
        self, calls: list[LlmOutputPartToolCall], tools: list[LlmToolSpec]
    ) -> list[LlmContentBlock]:
        """Workers' tools side by side, as one batch; then the loop's own, one after another."""
        workers = [call for call in calls if call.tool_name not in self._own]
        results = await self._tools(workers, tools)
        for call in calls:
            if call.tool_name in self._own:
                results[call.call_id] = await self._own_tool(call)
        return [
            LlmContentBlockToolResult(
                call_id=call.call_id, content=results[call.call_id], tool_name=call.tool_name
            )
            for call in calls
        ]

    async def _tools(
        self, calls: list[LlmOutputPartToolCall], tools: list[LlmToolSpec]
    ) -> dict[str, str]:
        outcomes = await self._turn.tool_calls_from_model(calls, tools=tools, timeout=_PATIENCE_S)
        results: dict[str, str] = {}
        for call, outcome in zip(calls, outcomes, strict=True):
            parts = outcome.result.model_return.parts
            results[call.call_id] = "".join(part.text for part in parts if part.type == "text")
            self._say("tool", f"{call.tool_name}: {results[call.call_id]}")
        return results

    async def _own_tool(self, call: LlmOutputPartToolCall) -> str:
        try:
            arguments = arguments_from_model(call)
            result = await self._own[call.tool_name](call.call_id, **arguments)
        except (MalformedError, TypeError, ValueError, EffectFailedError, AgentError) as problem:
            result = f"error: {problem}"  # for the model, which can put it right
        return result

    async def _run_code(self, call_id: str, code: str) -> str:
        outcome = await self._turn.exec_code(code, timeout=_PATIENCE_S)
        response = _good(outcome.result)
        text = "".join(response.observations) + (response.error or "")
        self._say("code", text.strip())
        return text

    async def _start_process(self, call_id: str, name: str, args: dict[str, Any]) -> str:
        me = ProcessScope(session_id=self._turn.session_id)
        registration = ProcessRegistration(
            id=f"{self._turn.turn_id}:{call_id}",
            input=ProcessInputLashlangProcess(
                module_ref="examples.agent.worker",
                process_ref=LashlangProcessRef(component=name, pos=0),
                required_surface_ref="any",
                process_name=name,
                args=args,
            ),
            event_types=[*LANGUAGE_EVENT_TYPES],
            provenance=ProcessProvenance(owner_scope=me, host_profile_id="default"),
        )
        await self._processes().start(
            registration,
            grant=ProcessStartGrant(owner_scope=me, descriptor=ProcessHandleDescriptor(label=name)),
            context=ProcessExecutionContext(wake_target_scope=me),
            timeout=_PATIENCE_S,
        )
        self._say("process", f"{registration.id} started")
        return registration.id

    async def _wait_for_process(self, call_id: str, process_id: str) -> str:
        outcome: Any = await self._processes().wait(process_id, timeout=_PATIENCE_S)
        output = outcome.result.output
        good = isinstance(output, ProcessAwaitOutputSuccess)
        text = str(output.value if good else output.message)
        self._say("process", f"{process_id} ended: {text}")
        return text

    async def _remind_me(self, call_id: str, after_ms: int, about: str) -> str:
        await self._turn.sleep(duration_s=after_ms / 1_000, timeout=_PATIENCE_S + after_ms / 1_000)
        self._say("sleep", f"{after_ms} ms are over")
        return about

    def _processes(self) -> Any:
        # On behalf of the turn, so that the operations belong to it.
        parent = self._turn.invocation("process")
        return self._client.process_scope(self._turn.session_id, parent=parent)


def _spec(name: str, description: str, /, **types: str) -> LlmToolSpec:
    return LlmToolSpec(
        name=name,
        description=description,
        input_schema={
            "type": "object",
            "properties": {argument: {"type": type_} for argument, type_ in types.items()},
            "required": [*types],
        },
        output_schema={},
        input_schema_projections=[],
        output_schema_projections=[],
    )


#: What the loop itself offers the model, besides the tools of the workers.
OWN_TOOLS = [
    _spec("run_code", "Run Python; it can call the other tools as functions.", code="string"),
    _spec("start_process", "Start a program in the background.", name="string", args="object"),
    _spec("wait_for_process", "Wait until a process has ended.", process_id="string"),
    _spec("remind_me", "Pause, and be told again.", after_ms="integer", about="string"),
]


def _good(result: Result[Any, Any]) -> Any:
    """What came back, if it is not an error."""
    if isinstance(result, Err):
        error = result.err
        raise AgentError(error if isinstance(error, str) else f"{error.code}: {error.message}")
    return result.ok


def _text(role: Any, text: str) -> LlmMessage:
    return LlmMessage(role=role, blocks=[LlmContentBlockText(text=text, cache_breakpoint=False)])


def _as_blocks(response: LlmResponse) -> list[LlmContentBlock]:
    """What the model said, as it goes back to it."""
    blocks: list[LlmContentBlock] = []
    for part in response.parts:
        match part:
            case LlmOutputPartText():
                blocks.append(LlmContentBlockText(text=part.text, cache_breakpoint=False))
            case LlmOutputPartToolCall():
                blocks.append(LlmContentBlockToolCall(**dict(part)))
            case _:
                pass  # reasoning need not go back
    return blocks
