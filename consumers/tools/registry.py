"""
Tools as the worker keeps them: what a model is told of one, and what runs when it is called.

Where the body comes from is not known here: ``functions`` makes tools of typed functions, and
``mcp`` of what an MCP server offers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from effectmq.broker.store.journal.records import OnUncertain
from effectmq.consumers.handler import EffectContext
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable
from effectmq.protocol.topology import check_name
from effectmq.protocol.wire.llm_request import LlmToolSpec
from effectmq.protocol.wire.tool_definitions import (
    ToolContract,
    ToolDefinition,
    ToolManifest,
    ToolRetryPolicy,
    ToolRetryPolicyIdempotent,
    ToolRetryPolicyNever,
    ToolRetryPolicySafe,
)

__all__ = ["BadArgumentsError", "Tool", "ToolBody", "check_choices", "is_tool_name"]


class BadArgumentsError(Exception):
    """
    The arguments of a call do not fit the tool's signature.

    Args:
        problems: One phrase for each argument that is wrong.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class ToolBody(Protocol):
    """What runs when a tool is called."""

    async def __call__(self, args: object, context: EffectContext) -> object:
        """
        Carry out one attempt at a call.

        Args:
            args: The arguments as the call has them, not validated.
            context: Of the call.

        Raises:
            BadArgumentsError: When the arguments do not fit; nothing was done.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tool:
    """
    One tool.

    Attributes:
        name: What a ``tool_call`` names.
        description: What it does, for the model.
        input_schema: JSON Schema of the arguments.
        body: What runs.
        retry_policy: When a failure is tried again.
        time_limit_s: How long one attempt may run; ``None`` takes the worker's default.
        on_uncertain: What to do when a worker died while it ran.
        lane: The lane of ``tool_call`` that its calls take; empty for the common one.
        output_schema: JSON Schema of the value; empty when nothing is said about it.
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    body: ToolBody
    retry_policy: ToolRetryPolicy = field(default_factory=ToolRetryPolicyNever)
    time_limit_s: float | None = None
    on_uncertain: OnUncertain = "retry"
    lane: str = ""
    output_schema: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its arguments, in the order of the schema."""
        return tuple(self.input_schema.get("properties", ()))

    @property
    def repeatable(self) -> bool:
        """Whether its retry policy ever runs it twice."""
        return not isinstance(self.retry_policy, ToolRetryPolicyNever)

    async def invoke(self, args: object, context: EffectContext) -> object:
        """
        Carry out one attempt at a call.

        Raises:
            BadArgumentsError: When the arguments do not fit; nothing was done.
            Exception: Whatever the body raises.
        """
        return await self.body(args, context)

    def spec(self) -> LlmToolSpec:
        """The tool as a request to a model tells of it."""
        return LlmToolSpec(
            name=self.name,
            description=self.description,
            input_schema=self.input_schema,
            output_schema=self.output_schema,
            input_schema_projections=[],
            output_schema_projections=[],
        )

    def definition(self) -> ToolDefinition:
        """The tool as a session's own tools are written down."""
        return ToolDefinition(
            manifest=ToolManifest(
                id=f"tool:{self.name}",
                name=self.name,
                description=self.description,
                retry_policy=self.retry_policy,
            ),
            contract=ToolContract(input_schema=self.input_schema, output_schema=self.output_schema),
        )


def check_choices(what: str, retry: object, lane: object) -> None:
    """
    Refuse a retry policy or a lane that a call could only find out to be none.

    Args:
        what: Whose they are, for the sentence.
        retry: Its retry policy.
        lane: Its lane; empty for the common one.

    Raises:
        ConfigurationError: With what was expected.
    """
    if not isinstance(retry, _POLICIES):
        raise ConfigurationError(
            f"the retry of {what} is {printable(repr(retry), 100)}; expected a retry policy: "
            "RetryPolicy(max_attempts=…, base_delay_s=…, max_delay_s=…)"
        )
    if not isinstance(lane, str):
        raise ConfigurationError(f"the lane of {what} is {lane!r}; expected its name as text")
    if lane:
        check_name(f"the lane of {what}", lane)


_POLICIES = (ToolRetryPolicyNever, ToolRetryPolicySafe, ToolRetryPolicyIdempotent)


def is_tool_name(name: str) -> bool:
    """
    Whether it can be a tool's name: letters, digits, ``_ - .``, no digit first.

    Providers take fewer; a name that one of them refuses is sent to it under another.
    """
    return name.replace("-", "_").replace(".", "_").isidentifier()
