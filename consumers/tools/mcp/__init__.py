"""The tools of MCP servers, for ``Worker.mcp``; needs the extra ``mcp``."""

from __future__ import annotations

from effectmq.consumers.tools.mcp.servers import McpServer
from effectmq.consumers.tools.mcp.source import McpTools

__all__ = ["McpServer", "McpTools"]
