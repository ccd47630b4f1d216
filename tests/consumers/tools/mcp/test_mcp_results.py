"""From what an MCP server answered to the value of a tool."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.consumers.tools.mcp.results import value_of
from effectmq.consumers.tools.results.special import Attachment
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
        ({"content": [], "structuredContent": {"b": 1}}, {"b": 1}),
        ({"content": [], "structuredContent": None}, None),
        ({"content": [TEXT], "structuredContent": None}, "a"),
        ({"content": [LINK]}, {"type": "resource_link", "uri": "mem://a", "name": "a"}),
        ({"content": [{"type": "resource", "resource": {"text": "t"}}]}, "t"),
    ],
)
def test_a_result_is_its_content_or_its_structured_data(
    result: dict[str, Any], value: object
) -> None:
    """One piece of content is itself, several are a list."""
    assert value_of(result) == value


def told(structured: object, *texts: str) -> object:
    """The value of structured data with texts beside it."""
    content = [{"type": "text", "text": text} for text in texts]
    return value_of({"content": content, "structuredContent": structured})


@pytest.mark.parametrize(
    ("structured", "texts"),
    [
        ({"b": 1, "c": [None]}, ['{"c":[null],"b":1}']),
        ({"b": 1}, ['{\n  "b": 1.0\n}']),
        ({"b": 1}, ["", "  \n"]),
        ({"result": 3}, ["3"]),
        ({"result": 3}, ['{"result": 3}', "3"]),
        ({"result": "fine"}, ["fine"]),
        ({"result": "fine"}, ['"fine"']),
        ({"result": None}, ["null"]),
        ({"result": True}, ["true"]),
        ({"result": [1, "a", {"b": 2}]}, ["1", "a", '{"b": 2}']),
        ({"result": [[1, 2], [3], None]}, ["1", "2", "3"]),
        ({"result": [1, 2]}, ["[1, 2]"]),
        ([1, 2], ["1", "2"]),
        ("fine", ["fine"]),
    ],
)
def test_texts_that_only_spell_the_structured_data_are_left_away(
    structured: object, texts: list[str]
) -> None:
    """As the protocol, and each library in its way, has servers send it twice."""
    assert told(structured, *texts) == structured


@pytest.mark.parametrize(
    ("structured", "texts"),
    [
        ({"b": 1}, ["3 rows were left out"]),
        ({"b": 1}, ['{"b": 2}']),
        ({"b": 1}, ['{"b": true}']),
        ({"b": 1}, ['{"b": 1} and more']),
        ({"b": 1}, ["1"]),
        ({"b": 1}, ["NaN", "[" * 10_000]),
        ({"result": [True]}, ["1"]),
        ({"result": ["red", "blue"]}, ["red"]),
        ({"result": ["red", "blue"]}, ["blue", "red"]),
        ({}, ["done"]),
        ([], ["done"]),
    ],
)
def test_texts_that_say_something_else_stand_beside_the_structured_data(
    structured: object, texts: list[str]
) -> None:
    """In their order, behind it."""
    assert told(structured, *texts) == [structured, *texts]


def test_pieces_beside_structured_data_keep_their_order() -> None:
    """Only the text that repeats it is gone."""
    twice = {"type": "text", "text": '{"b": 1}'}
    content = [TEXT, twice, LINK, {"type": "text", "text": "z"}]
    found = value_of({"content": content, "structuredContent": {"b": 1}})
    link = {"type": "resource_link", "uri": "mem://a", "name": "a"}
    assert found == [{"b": 1}, "a", link, "z"]


def test_pictures_are_attachments_beside_the_data() -> None:
    """Their bytes do not belong into a value."""
    twice = {"type": "text", "text": '{"b": 1}'}
    data, image = value_of({"content": [twice, IMAGE], "structuredContent": {"b": 1}})  # type: ignore[misc]
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
    with pytest.raises(ToolCallError, match="gave no reason") as failed:
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
