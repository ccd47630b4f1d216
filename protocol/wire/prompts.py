"""The layout of a system prompt: a template of sections, and slots that plugins fill."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import (
    I32,
    UNIT,
    OmitEmpty,
    OrAbsent,
    SortedMap,
    WireModel,
    is_empty,
)
from effectmq.protocol.wire.tool_definitions import ToolAvailability

__all__ = [
    "PromptBuiltin",
    "PromptContribution",
    "PromptContributionGate",
    "PromptLayer",
    "PromptSlot",
    "PromptSlotLayer",
    "PromptTemplate",
    "PromptTemplateEntry",
    "PromptTemplateEntryBuiltin",
    "PromptTemplateEntrySlot",
    "PromptTemplateEntryText",
    "PromptTemplateSection",
]

PromptBuiltin = Annotated[
    Literal["main_agent_intro", "execution_instructions", "core_guidance"], UNIT
]

PromptSlot = Annotated[
    Literal[
        "intro",
        "execution",
        "guidance",
        "project_instructions",
        "runtime_context",
        "environment",
    ],
    UNIT,
]


class PromptTemplateEntryText(WireModel):
    """Fixed text."""

    kind: Literal["text"] = "text"
    content: str


class PromptTemplateEntryBuiltin(WireModel):
    """Text that the runtime provides."""

    kind: Literal["builtin"] = "builtin"
    builtin: PromptBuiltin


class PromptTemplateEntrySlot(WireModel):
    """The contributions to a slot."""

    kind: Literal["slot"] = "slot"
    slot: PromptSlot


PromptTemplateEntry = Annotated[
    PromptTemplateEntryText | PromptTemplateEntryBuiltin | PromptTemplateEntrySlot,
    Field(discriminator="kind"),
]


class PromptTemplateSection(WireModel):
    """One section of the prompt."""

    title: OrAbsent[str] = None
    entries: OmitEmpty[list[PromptTemplateEntry]] = Field(default_factory=list[Any])


class PromptTemplate(WireModel):
    """The whole prompt, section by section."""

    sections: list[PromptTemplateSection]


class PromptContributionGate(WireModel):
    """
    Shows a contribution only where tools are available.

    Attributes:
        tools: The tools that must all be available; empty means no condition.
        minimum_availability: The availability that each must have.
    """

    tools: OmitEmpty[list[str]] = Field(default_factory=list)
    minimum_availability: ToolAvailability = "off"


def _is_open(value: PromptContributionGate) -> bool:
    return not value.tools


class PromptContribution(WireModel):
    """
    A piece of prompt for a slot.

    Attributes:
        priority: Orders the contributions of a slot.
    """

    slot: PromptSlot
    title: OrAbsent[str] = None
    priority: I32 = 0
    gate: Annotated[PromptContributionGate, Field(exclude_if=_is_open)] = Field(
        default_factory=PromptContributionGate
    )
    content: str


class PromptSlotLayer(WireModel):
    """
    What a layer does to a slot.

    Attributes:
        reset: Whether to drop the contributions of lower layers.
    """

    reset: bool = False
    contributions: OmitEmpty[list[PromptContribution]] = Field(
        default_factory=list[PromptContribution]
    )


class PromptLayer(WireModel):
    """
    A layer of prompt settings.

    Attributes:
        slots: The slots by name. In Lash a hash map, where the order of two or more slots, and so
            the hash, is random; sorted here.
    """

    template: OrAbsent[PromptTemplate] = None
    slots: Annotated[dict[PromptSlot, PromptSlotLayer], SortedMap, Field(exclude_if=is_empty)] = (
        Field(default_factory=dict[PromptSlot, PromptSlotLayer])
    )
