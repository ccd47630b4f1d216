"""The definition of a tool: name, contract, visibility, and rules for its execution."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from effectmq.protocol.encoding.narrowing import is_just_dict
from effectmq.protocol.encoding.serde.model import (
    FROM_WIRE,
    UNIT,
    Json,
    OmitEmpty,
    OrAbsent,
    WireModel,
    is_empty,
    is_none,
)
from effectmq.protocol.wire.tool_retry import (
    ToolRetryPolicy,
    ToolRetryPolicyIdempotent,
    ToolRetryPolicyNever,
    ToolRetryPolicySafe,
)

__all__ = [
    "CompactToolContract",
    "SchemaProjectionOverride",
    "SessionToolAccess",
    "ToolActivation",
    "ToolAgentSurface",
    "ToolArgumentProjectionPolicy",
    "ToolArgumentProjectionPolicyMaterializeProjectedValues",
    "ToolArgumentProjectionPolicyPreserveProjectedRefsInField",
    "ToolAvailability",
    "ToolAvailabilityConfig",
    "ToolContract",
    "ToolDefinition",
    "ToolId",
    "ToolManifest",
    "ToolOutputContract",
    "ToolOutputContractFromInputSchema",
    "ToolOutputContractStatic",
    "ToolRetryPolicy",
    "ToolRetryPolicyIdempotent",
    "ToolRetryPolicyNever",
    "ToolRetryPolicySafe",
    "ToolScheduling",
]

ToolId = str

#: From not offered at all to offered with its full contract.
ToolAvailability = Annotated[Literal["off", "searchable", "callable", "showcased"], UNIT]

ToolActivation = Annotated[Literal["always", "internal"], UNIT]

ToolScheduling = Annotated[Literal["parallel", "serial"], UNIT]


class SchemaProjectionOverride(WireModel):
    """
    Another form of a schema for one kind of provider.

    Attributes:
        schema_: ``schema`` on the wire.
    """

    profile: str
    schema_: Annotated[Json, Field(alias="schema")]


class CompactToolContract(WireModel):
    """
    A tool's contract in short form, for prompts.

    Attributes:
        signature: The form of a call.
        returns: The form of the result.
    """

    name: str
    signature: str
    returns: str
    parameters: OmitEmpty[list[Json]] = Field(default_factory=list)
    return_fields: OmitEmpty[list[Json]] = Field(default_factory=list)
    description: OmitEmpty[str] = ""
    examples: OmitEmpty[list[str]] = Field(default_factory=list)


class ToolAvailabilityConfig(WireModel):
    """The visibility of a tool unless another rule decides."""

    base: ToolAvailability


class ToolAgentSurface(WireModel):
    """
    The place of a tool in the language that agents write.

    Attributes:
        module_path: The names of the modules around it, outermost first.
    """

    module_path: OmitEmpty[list[str]] = Field(default_factory=list)
    operation: OrAbsent[str] = None
    authority_type: OrAbsent[str] = None
    aliases: OmitEmpty[list[str]] = Field(default_factory=list)


class ToolArgumentProjectionPolicyMaterializeProjectedValues(WireModel):
    """Projected values are inserted before the tool gets its arguments."""

    kind: Literal["materialize_projected_values"] = "materialize_projected_values"


class ToolArgumentProjectionPolicyPreserveProjectedRefsInField(WireModel):
    """
    Projected values stay references in one argument.

    Attributes:
        field: The argument's name.
    """

    kind: Literal["preserve_projected_refs_in_field"] = "preserve_projected_refs_in_field"
    field: str


ToolArgumentProjectionPolicy = Annotated[
    ToolArgumentProjectionPolicyMaterializeProjectedValues
    | ToolArgumentProjectionPolicyPreserveProjectedRefsInField,
    Field(discriminator="kind"),
]


class ToolOutputContractStatic(WireModel):
    """The output schema is the one in the contract."""

    kind: Literal["static"] = "static"


class ToolOutputContractFromInputSchema(WireModel):
    """
    The caller gives the output schema as an argument.

    Attributes:
        input_field: The argument's name.
        default_schema: Used when the caller gives none.
    """

    kind: Literal["from_input_schema"] = "from_input_schema"
    input_field: str
    default_schema: Annotated[Json, Field(exclude_if=is_none)] = None


ToolOutputContract = Annotated[
    ToolOutputContractStatic | ToolOutputContractFromInputSchema, Field(discriminator="kind")
]


def _is_showcased(value: ToolAvailabilityConfig) -> bool:
    return value.base == "showcased"


def _is_no_surface(value: ToolAgentSurface) -> bool:
    return value == ToolAgentSurface()


def _is_materializing(value: object) -> bool:
    return isinstance(value, ToolArgumentProjectionPolicyMaterializeProjectedValues)


def _is_never(value: object) -> bool:
    return isinstance(value, ToolRetryPolicyNever)


def _is_static(value: object) -> bool:
    return isinstance(value, ToolOutputContractStatic)


def _is_always(value: str) -> bool:
    return value == "always"


def _is_parallel(value: str) -> bool:
    return value == "parallel"


class ToolManifest(WireModel):
    """
    Everything about a tool but its schemas. Members at their defaults are left out.

    Attributes:
        activation: Whether the model may use the tool, or only other code.
        availability_override: Replaces ``availability``.
        scheduling: Whether calls in one batch may overlap.
    """

    id: ToolId
    name: str
    description: OmitEmpty[str] = ""
    compact_contract: OrAbsent[CompactToolContract] = None
    availability: Annotated[ToolAvailabilityConfig, Field(exclude_if=_is_showcased)] = Field(
        default_factory=lambda: ToolAvailabilityConfig(base="showcased")
    )
    activation: Annotated[ToolActivation, Field(exclude_if=_is_always)] = "always"
    availability_override: OrAbsent[ToolAvailability] = None
    agent_surface: Annotated[ToolAgentSurface, Field(exclude_if=_is_no_surface)] = Field(
        default_factory=ToolAgentSurface
    )
    argument_projection: Annotated[
        ToolArgumentProjectionPolicy, Field(exclude_if=_is_materializing)
    ] = Field(default_factory=ToolArgumentProjectionPolicyMaterializeProjectedValues)
    scheduling: Annotated[ToolScheduling, Field(exclude_if=_is_parallel)] = "parallel"
    retry_policy: Annotated[ToolRetryPolicy, Field(exclude_if=_is_never)] = Field(
        default_factory=ToolRetryPolicyNever
    )


def _any_object_schema() -> dict[str, Any]:
    return {"additionalProperties": True, "properties": {}, "type": "object"}


class ToolContract(WireModel):
    """
    The input and the output of a tool, as JSON schemas.

    Attributes:
        output_schema: ``None`` when the output has no schema.
        examples: Example calls, for prompts.
    """

    input_schema: Json = Field(default_factory=_any_object_schema)
    output_schema: Json = None
    input_schema_projections: OmitEmpty[list[SchemaProjectionOverride]] = Field(
        default_factory=list[SchemaProjectionOverride]
    )
    output_schema_projections: OmitEmpty[list[SchemaProjectionOverride]] = Field(
        default_factory=list[SchemaProjectionOverride]
    )
    output_contract: Annotated[ToolOutputContract, Field(exclude_if=_is_static)] = Field(
        default_factory=ToolOutputContractStatic
    )
    examples: OmitEmpty[list[str]] = Field(default_factory=list)


class ToolDefinition(WireModel):
    """A tool: its manifest and its contract, written as one object with the members of both."""

    wire_parts = ("manifest", "contract")

    manifest: ToolManifest
    contract: ToolContract

    @model_validator(mode="before")
    @classmethod
    def _split(cls, value: Any, info: ValidationInfo) -> Any:
        # Only the wire form is flat; each part ignores the members of the other.
        if info.context is FROM_WIRE and is_just_dict(value):
            return {"manifest": value, "contract": value}
        return value

    @model_serializer(mode="wrap")
    def _join(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        parts: dict[str, dict[str, Any]] = write(self)
        return {**parts["manifest"], **parts["contract"]}


def _sorted_set(value: list[str]) -> list[str]:
    return sorted(set(value))


class SessionToolAccess(WireModel):
    """
    The tools of a session in addition to those of its host.

    Attributes:
        tools: Tools of the session itself.
        hidden_tools: Names of the host's tools that it does not see; sorted, each once.
    """

    tools: OmitEmpty[list[ToolDefinition]] = Field(default_factory=list[ToolDefinition])
    hidden_tools: Annotated[list[str], AfterValidator(_sorted_set), Field(exclude_if=is_empty)] = (
        Field(default_factory=list)
    )
