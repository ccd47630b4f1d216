"""The model of a session, its limits, and its prompt."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from effectmq.protocol.encoding.opaque import last_values
from effectmq.protocol.encoding.rust_text import trimmed
from effectmq.protocol.encoding.serde.model import NonZeroUsize, OrAbsent, Usize, WireModel
from effectmq.protocol.wire.prompts import PromptLayer

__all__ = ["ModelLimits", "ModelSpec", "SessionPolicy"]


class ModelLimits(WireModel):
    """The limits of a model, in tokens. No other members are allowed."""

    model_config = ConfigDict(extra="forbid")

    context_window_tokens: NonZeroUsize
    input_token_capacity: OrAbsent[NonZeroUsize] = None
    output_token_capacity: OrAbsent[NonZeroUsize] = None


class ModelSpec(WireModel):
    """
    A model and its limits. No other members are allowed.

    Attributes:
        variant: A variant of the model, for instance a reasoning effort.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    variant: OrAbsent[str] = None
    limits: ModelLimits


def _unknown_model() -> ModelSpec:
    return ModelSpec(id="", limits=ModelLimits(context_window_tokens=1))


def _is_empty_layer(value: PromptLayer) -> bool:
    return value.template is None and not value.slots


class SessionPolicy(WireModel):
    """
    The rules of a session. No other members are allowed; it is read as a JSON value first.

    Attributes:
        provider_id: The provider; surrounding white space is removed.
        autonomous: Whether no person is there to answer questions.
        max_turns: ``None`` for no limit.
    """

    model_config = ConfigDict(extra="forbid")
    wire_through_value = True

    model: ModelSpec = Field(default_factory=_unknown_model)
    provider_id: Annotated[str, AfterValidator(trimmed)] = ""
    session_id: str | None = None
    autonomous: bool = False
    max_turns: Usize | None = None
    prompt: Annotated[PromptLayer, Field(exclude_if=_is_empty_layer)] = Field(
        default_factory=PromptLayer
    )

    @model_validator(mode="before")
    @classmethod
    def _read_value(cls, value: Any) -> Any:
        if isinstance(value, dict) and "provider" in value:
            raise PydanticCustomError(
                "wire_value",
                "{problem}",
                {
                    "problem": "legacy serialized provider config is not supported in session "
                    "state; persist provider_id only"
                },
            )
        return last_values(value)
