"""
From a request on the wire to a request of pydantic-ai: messages, settings, parameters. No I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings as ClientSettings
from pydantic_ai.settings import ThinkingLevel
from pydantic_ai.tools import ToolDefinition

from effectmq.consumers.llm.hosted.conversation import messages_from
from effectmq.consumers.llm.hosted.targets import Target
from effectmq.consumers.llm.hosted.tool_names import ToolNames
from effectmq.consumers.llm.port import Prompt, unfit
from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.text import printable
from effectmq.protocol.wire.llm_request import (
    LlmContentBlockText,
    LlmOutputSpecJsonSchema,
    LlmRequestSpec,
    LlmToolSpec,
)

__all__ = ["Question", "question_from"]

_EFFORTS: Mapping[str, ThinkingLevel] = {
    "off": False,
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_CHOICES: Mapping[str, Literal["auto", "none", "required"]] = {
    "Auto": "auto",
    "None": "none",
    "Required": "required",
}
_JSON_OBJECT = OutputObjectDefinition(json_schema={"type": "object"}, name="object")
_ASK_FOR_JSON = "Answer with one JSON object and nothing else."
#: The limit of OpenAI, in characters.
_MAX_CACHE_KEY = 64


@dataclass(frozen=True, slots=True)
class Question:
    """A request in pydantic-ai's terms."""

    messages: list[ModelMessage]
    settings: ClientSettings
    parameters: ModelRequestParameters


def question_from(prompt: Prompt, target: Target, names: ToolNames | None = None) -> Question:
    """
    Translate a request.

    Args:
        prompt: The request, and the bytes of its attachments.
        target: The provider and model that it is for.
        names: The names under which its tools are sent; by default those that the provider takes.

    Raises:
        ModelCallError: When the request contradicts itself, or asks for something that no model can
            do; its code is ``invalid_request``.
    """
    spec = prompt.request
    names = names or ToolNames.of(spec, target.family)
    return Question(
        messages=messages_from(prompt, target, names),
        settings=_settings(spec, target),
        parameters=_parameters(spec, target, names),
    )


def _settings(spec: LlmRequestSpec, target: Target) -> ClientSettings:
    found: dict[str, Any] = {}
    if spec.generation.output_token_cap is not None:
        found["max_tokens"] = spec.generation.output_token_cap
    if spec.tools:
        found["tool_choice"] = _CHOICES[spec.tool_choice]
    elif spec.tool_choice == "Required":
        raise unfit("the request requires a tool call and offers no tools; expected tools")
    if spec.model_variant:
        found.update(_thinking(_effort(spec.model_variant, target), target))
    if spec.session_id and target.keyed_cache:
        found["openai_prompt_cache_key"] = _cache_key(spec.session_id)
    if target.family == "anthropic" and _caches_system(spec):
        found["anthropic_cache_instructions"] = True
    # Its members depend on the provider, and the library has a type for each of them.
    return cast("ClientSettings", found)


def _effort(variant: str, target: Target) -> str:
    known = {**{name: name for name in _EFFORTS}, **target.variants}
    if variant not in known:
        raise unfit(
            f"the model has no variant {printable(variant, 100)!r}; expected one of "
            f"{', '.join(known)}, or a name listed under variants of the model"
        )
    return known[variant]


def _thinking(effort: str, target: Target) -> dict[str, Any]:
    if target.thinks:
        return {"thinking": _EFFORTS[effort]}
    if target.family == "openai":
        # A name that the library does not know, for the user's own server, which will check it.
        return {"openai_reasoning_effort": "none" if effort == "off" else effort}
    raise unfit(
        "the request asks for a reasoning effort, and the model takes none; leave model_variant "
        "out, or ask another model"
    )


def _cache_key(session_id: str) -> str:
    if len(session_id) <= _MAX_CACHE_KEY:
        return session_id
    return hashlib.sha256(session_id.encode()).hexdigest()


def _caches_system(spec: LlmRequestSpec) -> bool:
    blocks = [
        block for message in spec.messages for block in message.blocks if message.role == "System"
    ]
    return any(
        isinstance(block, LlmContentBlockText) and block.cache_breakpoint for block in blocks
    )


def _parameters(spec: LlmRequestSpec, target: Target, names: ToolNames) -> ModelRequestParameters:
    tools = [_tool(tool, target, names) for tool in spec.tools]
    output = spec.output_spec
    if output is None:
        return ModelRequestParameters(function_tools=tools)
    if not isinstance(output, LlmOutputSpecJsonSchema):
        return ModelRequestParameters(
            function_tools=tools,
            output_mode="prompted",
            output_object=_JSON_OBJECT,
            prompted_output_template=_ASK_FOR_JSON,
        )
    schema = output.value
    wanted = OutputObjectDefinition(
        json_schema=_schema(schema.schema_, "the output schema"),
        name=schema.name,
        strict=schema.strict,
    )
    mode: Literal["native", "prompted"] = "native" if target.native_schema else "prompted"
    return ModelRequestParameters(function_tools=tools, output_mode=mode, output_object=wanted)


def _tool(tool: LlmToolSpec, target: Target, names: ToolNames) -> ToolDefinition:
    projected = [
        projection.schema_
        for projection in tool.input_schema_projections
        if projection.profile == target.family
    ]
    schema = projected[0] if projected else tool.input_schema
    what = f"the input schema of tool {printable(tool.name, 100)!r}"
    return ToolDefinition(
        name=names.sent(tool.name),
        description=tool.description or None,
        parameters_json_schema=_schema(schema, what),
    )


def _schema(schema: object, what: str) -> dict[str, Any]:
    if not is_object(schema):
        raise unfit(f"{what} is not a JSON object; expected a JSON Schema")
    return schema
