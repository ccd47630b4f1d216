"""
Tools as a worker keeps them: what a model is told of a tool, and what runs at a call.

The source of the body is not known here: ``functions`` makes tools of typed functions, and ``mcp``
of the tools of an MCP server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from effectmq.broker.store.journal.records import OnUncertain
from effectmq.consumers.handler import EffectContext
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable
from effectmq.protocol.topology import check_name
from effectmq.protocol.wire.tool_retry import (
    ToolRetryPolicy,
    ToolRetryPolicyIdempotent,
    ToolRetryPolicyNever,
    ToolRetryPolicySafe,
)

if TYPE_CHECKING:
    from effectmq.protocol.wire.llm_request import LlmToolSpec
    from effectmq.protocol.wire.tool_definitions import ToolDefinition

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
    """The body of a tool, which runs when the tool is called."""

    async def __call__(self, args: object, context: EffectContext) -> object:
        """
        Carry out one attempt at a call.

        Args:
            args: The arguments of the call, not validated.
            context: The context of the call.

        Raises:
            BadArgumentsError: When the arguments do not fit; nothing was done.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tool:
    """
    One tool.

    Attributes:
        name: The name that a ``tool_call`` uses.
        description: What it does, for the model.
        input_schema: The JSON Schema of the arguments.
        body: What runs at a call.
        retry_policy: When a failure is tried again.
        time_limit_s: How long one attempt may run, in seconds; ``None`` takes the worker's default.
        on_uncertain: What to do when a worker died while it ran.
        lane: The lane of its calls; empty for the common one.
        output_schema: The JSON Schema of the value; empty when it is unknown.
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
        """Whether its retry policy may run it twice."""
        return not isinstance(self.retry_policy, ToolRetryPolicyNever)

    async def invoke(self, args: object, context: EffectContext) -> object:
        """
        Carry out one attempt at a call.

        Raises:
            BadArgumentsError: When the arguments do not fit; nothing was done.
            Exception: An exception of the body.
        """
        return await self.body(args, context)

    def spec(self) -> LlmToolSpec:
        """The tool as a model's request describes it."""
        # A worker that only runs tools sees no request of a model.
        from effectmq.protocol.wire.llm_request import LlmToolSpec

        return LlmToolSpec(
            name=self.name,
            description=self.description,
            input_schema=self.input_schema,
            output_schema=self.output_schema,
            input_schema_projections=[],
            output_schema_projections=[],
        )

    def definition(self) -> ToolDefinition:
        """The tool as a session's own tools describe it."""
        from effectmq.protocol.wire.tool_definitions import (
            ToolContract,
            ToolDefinition,
            ToolManifest,
        )

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
    Refuse a retry policy or a lane that would fail at the first call.

    Args:
        what: The tool or server that has them, for the error.
        retry: Its retry policy.
        lane: Its lane; empty for the common one.

    Raises:
        ConfigurationError: When one of them cannot be used.
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
    Whether a name can be a tool's: letters, digits, ``_ - .``, not beginning with a digit.

    Providers take fewer names; one that a provider refuses is sent to it under another name.
    """
    return name.replace("-", "_").replace(".", "_").isidentifier()
