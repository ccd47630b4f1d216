"""The provider and model that a request is for, as far as its translation depends on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic_ai.models import Model

from effectmq.consumers.llm.models import ModelSettings

__all__ = ["REDACTED", "Family", "Target"]

Family = Literal["openai", "anthropic", "google"]

#: The id that pydantic-ai gives to reasoning that Anthropic hides.
REDACTED = "redacted_thinking"

_FAMILIES: Mapping[str, Family] = {"anthropic": "anthropic", "google": "google"}


@dataclass(frozen=True, slots=True)
class Target:
    """
    The provider and model that a request is for.

    Attributes:
        family: Decides which replay fields the provider reads; names its schema projections.
        system: pydantic-ai's name of the provider, which marks the data that it made.
        canonical_system: The provider whose keys verify signed and encrypted data.
        native_schema: Whether the provider enforces output schemas itself.
        thinks: Whether the model is known to take a reasoning effort.
        keyed_cache: Whether the provider caches by a key of the conversation.
        variants: The row's own names for reasoning efforts.
    """

    family: Family
    system: str
    canonical_system: str | None = None
    native_schema: bool = True
    thinks: bool = True
    keyed_cache: bool = False
    variants: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, model: Model, settings: ModelSettings) -> Target:
        """The target of a client and its row."""
        provider = model.provider
        return cls(
            family=_FAMILIES.get(settings.provider, "openai"),
            system=model.system,
            canonical_system=provider.canonical_system if provider else None,
            native_schema=bool(model.profile.get("supports_json_schema_output", False)),
            thinks=bool(model.profile.get("supports_thinking", False)),
            keyed_cache=settings.provider in ("openai", "openai-chat"),
            variants=settings.variants,
        )
