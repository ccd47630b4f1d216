"""
A real MCP server to start: ``python -m tests.consumers.tools.mcp.server`` on stdin and stdout,
or with a port for streamable HTTP on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from pydantic import BaseModel

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
if __name__ == "__main__":
    # What it has to say is not for the output of the tests.
    logging.disable(logging.CRITICAL)
server = MCPServer("test")


def digest(text: str) -> str:
    """What proves that a secret has arrived, and does not tell it."""
    return hashlib.sha256(text.encode()).hexdigest()


def write(note: str, text: str) -> None:
    """Add to a file."""
    with Path(note).open("a") as file:
        file.write(text)


def written(note: str) -> bool:
    """Whether there is such a file."""
    return Path(note).exists()


class Place(BaseModel):
    """Structured output."""

    city: str
    zip: int


@server.tool(description="Add two numbers.")
def add(a: int, b: int) -> int:
    """Structured as ``{"result": …}``."""
    return a + b


@server.tool()
def find(city: str) -> Place:
    """Find a place."""
    return Place(city=city, zip=53111)


@server.tool(structured_output=False)
def say(text: str) -> str:
    """Say it."""
    return text


@server.tool()
def fail(message: str) -> str:
    """Fail."""
    raise ValueError(message)


@server.tool(structured_output=False)
def picture() -> list[Any]:
    """A text, a picture, and the same picture as a resource."""
    data = base64.b64encode(PNG).decode()
    return [
        TextContent(text="look"),
        ImageContent(data=data, mime_type="image/png"),
        EmbeddedResource(
            resource=BlobResourceContents(uri="mem://a", mime_type="image/png", blob=data)
        ),
        EmbeddedResource(resource=TextResourceContents(uri="mem://b", text="words")),
    ]


@server.tool()
def broken_picture() -> CallToolResult:
    """Fail, with a picture of it."""
    image = ImageContent(data=base64.b64encode(PNG).decode(), mime_type="image/png")
    return CallToolResult(content=[TextContent(text="no"), image], is_error=True)


@server.tool(structured_output=False)
def sound() -> CallToolResult:
    """What the wire of effects cannot carry."""
    return CallToolResult(
        content=[EmbeddedResource(resource=BlobResourceContents(uri="mem://s", blob="AAAA"))]
    )


@server.tool(structured_output=False)
def variable(name: str) -> str:
    """The digest of a variable of the environment."""
    return digest(os.environ.get(name, ""))


@server.tool(structured_output=False)
def header(name: str, context: Context) -> str:
    """The digest of an HTTP header of the request."""
    return digest((context.headers or {}).get(name, ""))


@server.tool(structured_output=False)
async def hang(note: str) -> str:
    """Write the process id into a file, then never end; when cancelled, say so in the file."""
    write(note, f"{os.getpid()}\n")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        write(note, "cancelled\n")
        raise
    return ""


@server.tool(structured_output=False, annotations=ToolAnnotations(read_only_hint=True))
async def watch(note: str) -> str:
    """The same, and harmless."""
    return await hang(note)


@server.tool(structured_output=False)
async def once(note: str) -> str:
    """Hang like ``hang`` the first time, and be done at once afterwards."""
    return "done" if written(note) else await hang(note)


@server.tool(name="odd/name")
def odd() -> None:
    """No tool of ours can have this name."""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run()
