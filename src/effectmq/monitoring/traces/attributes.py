"""
The names and attributes of spans: those of OpenTelemetry's conventions for messaging and for
generative AI, and our own, which begin with ``effectmq.``. Pure.
"""

from __future__ import annotations

from typing import Any

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.serde.model import Ok, to_tree
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import printable
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandDirect,
    RuntimeEffectCommandLlmCall,
    RuntimeEffectCommandToolCall,
)
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcome,
    RuntimeEffectOutcomeDirect,
    RuntimeEffectOutcomeLlmCall,
    RuntimeEffectOutcomeToolCall,
)

__all__ = ["Attributes", "attempt_name", "of_attempt", "of_message", "of_outcome", "of_request"]

Attributes = dict[str, str | int | bool | float]

#: Names come from outside; payloads, when they are asked for, are cut.
_MOST_NAME = 200
_MOST_PAYLOAD = 32_000


def of_message(message: Message, system: str, destination: str, route: str) -> Attributes:
    """What every span of a message has."""
    return {
        "messaging.system": system,
        "messaging.destination.name": destination,
        "messaging.rabbitmq.destination.routing_key": route,
        "messaging.message.conversation_id": printable(message.correlation_id, _MOST_NAME),
        "messaging.message.body.size": len(message.body),
    }


def of_request(request: Request) -> Attributes:
    """What names an effect."""
    scope = request.envelope.invocation.scope
    return {
        "effectmq.kind": request.kind,
        "effectmq.effect.id": printable(request.effect_id, _MOST_NAME),
        "effectmq.session.id": printable(scope.session_id, _MOST_NAME),
        "effectmq.turn.id": printable(scope.turn_id or "", _MOST_NAME),
        "effectmq.replay_key": printable(request.replay_key, _MOST_NAME),
        "effectmq.hash": request.hash,
    }


def attempt_name(request: Request) -> str:
    """The name of an attempt's span; it has few different values."""
    command = request.envelope.command
    match command:
        case RuntimeEffectCommandToolCall():
            return f"execute_tool {printable(command.call.tool_name, _MOST_NAME)}"
        case RuntimeEffectCommandLlmCall() | RuntimeEffectCommandDirect():
            return f"chat {printable(command.request.model, _MOST_NAME)}"
        case _:
            return f"run {command.type}"


def of_attempt(request: Request, *, payloads: bool) -> Attributes:
    """What is known when an attempt begins."""
    found = of_request(request)
    found["effectmq.attempt"] = request.attempt
    found["gen_ai.conversation.id"] = found["effectmq.session.id"]
    command = request.envelope.command
    match command:
        case RuntimeEffectCommandToolCall():
            found["gen_ai.operation.name"] = "execute_tool"
            found["gen_ai.tool.name"] = printable(command.call.tool_name, _MOST_NAME)
            found["gen_ai.tool.type"] = "function"
            if command.call.call_id:
                found["gen_ai.tool.call.id"] = printable(command.call.call_id, _MOST_NAME)
            if payloads:
                found["gen_ai.tool.call.arguments"] = _json(command.call.args)
        case RuntimeEffectCommandLlmCall() | RuntimeEffectCommandDirect():
            found["gen_ai.operation.name"] = "chat"
            found["gen_ai.request.model"] = printable(command.request.model, _MOST_NAME)
            if payloads:
                found["gen_ai.input.messages"] = _json(
                    [to_tree(one) for one in command.request.messages]
                )
        case _:
            if payloads:
                found["effectmq.command"] = _json(to_tree(command))
    return found


def of_outcome(outcome: RuntimeEffectOutcome, *, payloads: bool) -> Attributes:
    """What is known when there is an outcome."""
    found: Attributes = {}
    match outcome:
        case RuntimeEffectOutcomeToolCall():
            if payloads:
                found["gen_ai.tool.call.result"] = _json(to_tree(outcome.result.output))
        case RuntimeEffectOutcomeLlmCall() | RuntimeEffectOutcomeDirect():
            if isinstance(outcome.result, Ok):
                response = outcome.result.ok
                usage = response.usage
                found["gen_ai.usage.input_tokens"] = usage.input_tokens
                found["gen_ai.usage.output_tokens"] = usage.output_tokens
                found["gen_ai.usage.cache_read.input_tokens"] = usage.cached_input_tokens
                found["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
                if payloads:
                    found["gen_ai.output.messages"] = _json(
                        [to_tree(one) for one in response.parts]
                    )
        case _:
            if payloads:
                found["effectmq.outcome"] = _json(to_tree(outcome))
    return found


def _json(tree: Any) -> str:
    try:
        return canonical_json(tree).decode()[:_MOST_PAYLOAD]
    except EffectmqError as problem:
        # What cannot be encoded is the pipeline's to refuse; a trace must not fail an effect.
        return f"cannot be shown: {problem}"
