"""How often a call of a tool is tried, as the wire tells it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import U32, U64, WireModel

__all__ = [
    "ToolRetryPolicy",
    "ToolRetryPolicyIdempotent",
    "ToolRetryPolicyNever",
    "ToolRetryPolicySafe",
]


class ToolRetryPolicyNever(WireModel):
    """The tool runs once."""

    type: Literal["never"] = "never"


class ToolRetryPolicySafe(WireModel):
    """
    The tool may run again after a failure that says so.

    Attributes:
        max_attempts: The number of attempts, the first one included.
        base_delay_ms: The wait before the second attempt, in milliseconds; it doubles each time.
        max_delay_ms: The longest wait in milliseconds; 0 for no limit.
    """

    type: Literal["safe"] = "safe"
    max_attempts: U32
    base_delay_ms: U64
    max_delay_ms: U64


class ToolRetryPolicyIdempotent(WireModel):
    """
    As ``safe``, but only for calls that have an id.

    Attributes:
        max_attempts: The number of attempts, the first one included.
        base_delay_ms: The wait before the second attempt, in milliseconds; it doubles each time.
        max_delay_ms: The longest wait in milliseconds; 0 for no limit.
    """

    type: Literal["idempotent"] = "idempotent"
    max_attempts: U32
    base_delay_ms: U64
    max_delay_ms: U64


ToolRetryPolicy = Annotated[
    ToolRetryPolicyNever | ToolRetryPolicySafe | ToolRetryPolicyIdempotent,
    Field(discriminator="type"),
]
