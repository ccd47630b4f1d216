"""The input of a turn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import U8, Json, OrAbsent, SortedMap, WireModel

__all__ = [
    "InputItem",
    "InputItemImageRef",
    "InputItemText",
    "ProtocolTurnOptions",
    "TurnInput",
]


class InputItemText(WireModel):
    """Text from the user."""

    type: Literal["text"] = "text"
    text: str


class InputItemImageRef(WireModel):
    """
    An image from the user.

    Attributes:
        id: Its key in ``image_blobs``.
    """

    type: Literal["image_ref"] = "image_ref"
    id: str


InputItem = Annotated[InputItemText | InputItemImageRef, Field(discriminator="type")]


class ProtocolTurnOptions(WireModel):
    """Options of a protocol plugin for every turn."""

    payload: Json = Field(default_factory=dict[str, Any])


class TurnInput(WireModel):
    """
    The input of a turn.

    Attributes:
        image_blobs: The bytes of images, as numbers, by id. In Lash a hash map, where the order of
            two or more images, and so the hash, is random; sorted here.
    """

    items: list[InputItem]
    image_blobs: Annotated[dict[str, list[U8]], SortedMap] = Field(
        default_factory=dict[str, list[int]]
    )
    protocol_turn_options: OrAbsent[ProtocolTurnOptions] = None
    trace_turn_id: OrAbsent[str] = None
