"""The events that a process may emit, and what each of them means for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import (
    EXTERNAL,
    UNIT,
    ExternalVariant,
    Json,
    OrAbsent,
    SortedMap,
    WireModel,
)

__all__ = [
    "LANGUAGE_EVENT_TYPES",
    "STANDARD_EVENT_TYPES",
    "LashSchema",
    "ProcessEventSemanticsSpec",
    "ProcessEventType",
    "ProcessTerminalSpec",
    "ProcessTerminalState",
    "ProcessValueSelector",
    "ProcessValueSelectorConst",
    "ProcessValueSelectorPointer",
    "ProcessValueSelectorPresent",
    "ProcessValueSelectorTemplate",
    "ProcessWakeDedupeKey",
    "ProcessWakeDedupeKeyConst",
    "ProcessWakeDedupeKeySelector",
    "ProcessWakeSpec",
]


class LashSchema(WireModel):
    """
    A JSON schema in the subset that the registry checks.

    Attributes:
        schema_: ``schema`` on the wire; the empty object allows anything.
    """

    schema_: Annotated[Json, Field(alias="schema")]


class ProcessValueSelectorPointer(WireModel):
    """Select the part of the payload that an RFC 6901 pointer names."""

    wire_name: ClassVar[str] = "pointer"
    wire_newtype: ClassVar[bool] = True

    value: Annotated[str, Field(alias="pointer")]


class ProcessValueSelectorConst(WireModel):
    """Select a constant, whatever the payload."""

    wire_name: ClassVar[str] = "const"
    wire_newtype: ClassVar[bool] = True

    value: Annotated[Json, Field(alias="const")]


class ProcessValueSelectorTemplate(ExternalVariant):
    """
    Fill placeholders in a text.

    Attributes:
        template: The text, with ``{name}`` for each field.
        fields: The value of each field, by name.
    """

    wire_name: ClassVar[str] = "template"

    template: str
    fields: Annotated[dict[str, ProcessValueSelector], SortedMap] = Field(
        default_factory=dict[str, Any]
    )


class ProcessValueSelectorPresent(WireModel):
    """Select true or false: whether an RFC 6901 pointer names a part of the payload."""

    wire_name: ClassVar[str] = "present"
    wire_newtype: ClassVar[bool] = True

    value: Annotated[str, Field(alias="present")]


#: ``"payload"`` selects the whole payload.
ProcessValueSelector = Annotated[
    Literal["payload"]
    | ProcessValueSelectorPointer
    | ProcessValueSelectorConst
    | ProcessValueSelectorTemplate
    | ProcessValueSelectorPresent,
    EXTERNAL,
]


class ProcessWakeDedupeKeySelector(WireModel):
    """Wakes with the same selected text count as one."""

    wire_name: ClassVar[str] = "selector"
    wire_newtype: ClassVar[bool] = True

    value: Annotated[ProcessValueSelector, Field(alias="selector")]


class ProcessWakeDedupeKeyConst(WireModel):
    """All wakes of this type count as one."""

    wire_name: ClassVar[str] = "const"
    wire_newtype: ClassVar[bool] = True

    value: Annotated[str, Field(alias="const")]


#: ``"event_identity"`` makes each event's wake a separate one.
ProcessWakeDedupeKey = Annotated[
    Literal["event_identity"] | ProcessWakeDedupeKeySelector | ProcessWakeDedupeKeyConst,
    EXTERNAL,
]

ProcessTerminalState = Annotated[Literal["completed", "failed", "cancelled"], UNIT]


class ProcessTerminalSpec(WireModel):
    """
    The event ends its process.

    Attributes:
        await_output: The part of the payload that is the output; required unless completed.
    """

    state: ProcessTerminalState
    await_output: OrAbsent[ProcessValueSelector] = None


class ProcessWakeSpec(WireModel):
    """
    The event wakes the session that waits for its process.

    Attributes:
        when: The condition: the event wakes only when this selects a truthy value.
        input: The text for the session.
        dedupe_key: The wakes that count as the same.
    """

    when: OrAbsent[ProcessValueSelector] = None
    input: ProcessValueSelector
    dedupe_key: ProcessWakeDedupeKey = "event_identity"


class ProcessEventSemanticsSpec(WireModel):
    """The effects of an event of this type, besides being recorded."""

    terminal: OrAbsent[ProcessTerminalSpec] = None
    wake: OrAbsent[ProcessWakeSpec] = None


class ProcessEventType(WireModel):
    """One type of event that a process may emit."""

    name: str
    payload_schema: LashSchema
    semantics: ProcessEventSemanticsSpec


#: The types of every process; a registration gets the missing ones, in this order.
STANDARD_EVENT_TYPES: tuple[ProcessEventType, ...]

#: More types of processes in the agents' language.
LANGUAGE_EVENT_TYPES: tuple[ProcessEventType, ...]


def _standard() -> tuple[ProcessEventType, ...]:
    return (
        _event_type("process.cancel_requested"),
        _event_type("process.completed", terminal="completed"),
        _event_type("process.failed", terminal="failed"),
        _event_type("process.cancelled", terminal="cancelled"),
    )


def _language() -> tuple[ProcessEventType, ...]:
    text = ProcessValueSelectorPointer(value="/text")
    return (
        _event_type("process.yield"),
        _event_type("process.wake", wake=ProcessWakeSpec(input=text)),
        _event_type("process.signal"),
    )


def _event_type(
    name: str,
    *,
    terminal: ProcessTerminalState | None = None,
    wake: ProcessWakeSpec | None = None,
) -> ProcessEventType:
    spec = None
    if terminal is not None:
        output = ProcessValueSelectorPointer(value="/await_output")
        spec = ProcessTerminalSpec(state=terminal, await_output=output)
    return ProcessEventType(
        name=name,
        payload_schema=LashSchema(schema_={}),
        semantics=ProcessEventSemanticsSpec(terminal=spec, wake=wake),
    )


_MADE = {"STANDARD_EVENT_TYPES": _standard, "LANGUAGE_EVENT_TYPES": _language}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # Made when first asked for: the readers of the types above are large, and most programs
        # never see a process.
        make = _MADE.get(name)
        if make is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, make())
