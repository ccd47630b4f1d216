"""
From what an MCP server answered to what a tool returns. Pure.

A server may answer with structured data, with content for a model (texts, images, resources), or
with both, where the texts repeat the data. The tool's value is the structured data when there is
any, else the content: a single piece as itself, several as a list. Images become attachments.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, cast

from effectmq.consumers.tool_results import Attachment
from effectmq.protocol.errors import ToolCallError
from effectmq.protocol.text import printable

__all__ = ["value_of"]


def value_of(result: dict[str, Any], *, repeatable: bool = False) -> object:
    """
    The value of a tool.

    Args:
        result: A ``CallToolResult`` of MCP as plain data.
        repeatable: Whether a failure of the tool may be tried again.

    Returns:
        Plain data with ``Attachment`` objects in it.

    Raises:
        ToolCallError: When the result says that the tool failed, or cannot be understood.
    """
    pieces = [_piece(block) for block in cast("list[dict[str, Any]]", result.get("content", []))]
    if result.get("isError"):
        raise _failed(pieces, result.get("structuredContent"), repeatable)
    if "structuredContent" not in result:
        return pieces[0] if len(pieces) == 1 else (pieces or None)
    attachments = [piece for piece in pieces if isinstance(piece, Attachment)]
    structured: object = result["structuredContent"]
    return [structured, *attachments] if attachments else structured


def _failed(pieces: list[object], structured: object, repeatable: bool) -> ToolCallError:
    texts = [piece for piece in pieces if isinstance(piece, str)]
    others = [piece for piece in pieces if not isinstance(piece, str)]
    raw = others if structured is None else [structured, *others]
    return ToolCallError(
        "\n".join(texts) or "the tool failed without a word",
        code="mcp_tool_error",
        retry=repeatable,
        raw=raw or None,
    )


def _piece(block: dict[str, Any]) -> object:
    """One block of content as a value."""
    match block.get("type"):
        case "text":
            return str(block.get("text", ""))
        case "image" | "audio":
            return _attachment(block.get("data"), block.get("mimeType"), None)
        case "resource":
            resource = cast("dict[str, Any]", block.get("resource", {}))
            if "blob" not in resource:
                return str(resource.get("text", ""))
            return _attachment(resource["blob"], resource.get("mimeType"), resource.get("uri"))
        case _:
            # A link to a resource, or something newer: the model can read it as it is.
            return {name: value for name, value in block.items() if name != "_meta"}


def _attachment(data: object, mime: object, label: object) -> Attachment:
    try:
        decoded = base64.b64decode(str(data), validate=True)
    except (binascii.Error, ValueError):
        raise ToolCallError(
            "the MCP server sent data that is no base64", code="mcp_error", class_="external"
        ) from None
    media_type = str(mime or "application/octet-stream")
    return Attachment(decoded, media_type, label=None if label is None else printable(str(label)))
