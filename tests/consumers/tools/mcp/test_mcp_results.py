"""From what an MCP server answered to the value of a tool."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.consumers.tools.mcp.results import value_of
from effectmq.consumers.tools.results import Attachment
from effectmq.protocol.errors import ToolCallError

TEXT = {"type": "text", "text": "a"}
IMAGE = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
LINK = {"type": "resource_link", "uri": "mem://a", "name": "a", "_meta": {}}


@pytest.mark.parametrize(
    ("result", "value"),
    [
        ({}, None),
        ({"content": []}, None),
        ({"content": [TEXT]}, "a"),
        ({"content": [TEXT, TEXT]}, ["a", "a"]),
        ({"content": [TEXT], "structuredContent": {"b": 1}}, {"b": 1}),
        ({"content": [TEXT], "structuredContent": None}, None),
        ({"content": [LINK]}, {"type": "resource_link", "uri": "mem://a", "name": "a"}),
        ({"content": [{"type": "resource", "resource": {"text": "t"}}]}, "t"),
    ],
)
def test_structured_data_wins_over_the_texts_that_repeat_it(
    result: dict[str, Any], value: object
) -> None:
    """One piece of content is itself, several are a list."""
    assert value_of(result) == value


def test_pictures_are_attachments_beside_the_data() -> None:
    """Their bytes do not belong into a value."""
    data, image = value_of({"content": [TEXT, IMAGE], "structuredContent": {"b": 1}})  # type: ignore[misc]
    assert data == {"b": 1}
    assert isinstance(image, Attachment)
    assert (image.data, image.media_type) == (b"\0\0\0", "image/png")


def test_an_error_is_a_failure_with_everything_that_came_with_it() -> None:
    """The texts are its message."""
    result = {"isError": True, "content": [TEXT, IMAGE, TEXT], "structuredContent": {"b": 1}}
    with pytest.raises(ToolCallError, match="a\na") as failed:
        value_of(result, repeatable=True)
    data, image = failed.value.raw  # type: ignore[misc]
    assert data == {"b": 1}
    assert isinstance(image, Attachment)
    assert failed.value.retry
    with pytest.raises(ToolCallError, match="without a word") as failed:
        value_of({"isError": True})
    assert failed.value.raw is None
    assert not failed.value.retry


def test_data_that_is_no_base64_is_the_servers_fault() -> None:
    """And not taken for what could be read of it."""
    with pytest.raises(ToolCallError, match="base64") as failed:
        value_of({"content": [{**IMAGE, "data": "A!"}]})
    assert failed.value.class_ == "external"


def test_a_picture_that_is_too_large_leaves_the_text() -> None:
    """It is named with its size, and with the setting to raise."""
    text, named = value_of({"content": [TEXT, IMAGE]}, room_bytes=2)  # type: ignore[misc]
    assert text == "a"
    assert named["bytes"] == 3
    assert "max_attachment_bytes" in named["left_out"]


@pytest.mark.parametrize("data", [None, True, 7, ["AAAA"]])
def test_data_that_is_no_text_is_no_base64(data: object) -> None:
    """Their names in Python would be."""
    block = {"type": "image", "data": data, "mimeType": "image/png"}
    with pytest.raises(ToolCallError, match="expected base64"):
        value_of({"content": [block]})
