"""The tools of MCP servers, for ``Worker.mcp``; needs the extra ``mcp``."""

from __future__ import annotations

from effectmq.consumers.mcp.servers import McpServer
from effectmq.consumers.mcp.source import McpTools

__all__ = ["McpServer", "McpTools"]
