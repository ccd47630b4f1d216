"""What can be registered as an MCP server, and what is said of one."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.consumers.tools.mcp import McpServer, connection
from effectmq.consumers.tools.mcp.connection import reason_of
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError, MissingExtraError


@pytest.mark.parametrize(
    ("server", "options", "words"),
    [
        ([], {}, "is an empty list, or has a word"),
        ([""], {}, "is empty"),
        (["a\0"], {}, "has a zero character"),
        ("python server.py", {}, "expected a command as a list"),
        ("ftp://host/mcp", {}, "begins with 'ftp'"),
        ("http:///mcp", {}, "names no host"),
        ("http://[::1/mcp", {}, "malformed"),
        ("http://host:99999/mcp", {}, "malformed"),
        ("https://me:s3cret@host/mcp", {}, "Authorization"),
        ("http://host/mcp", {"env": {"A": "s3cret"}}, "env= and cwd="),
        ("http://host/mcp", {"cwd": "/"}, "env= and cwd="),
        ("http://host/mcp", {"headers": {"x": "s3cret\n"}}, "header 'x'"),
        (["a"], {"headers": {"x": "s3cret"}}, "takes no headers"),
        (["a"], {"prefix": "a b"}, "prefix 'a b'"),
        (["a"], {"time_limit_s": 0.0}, "time_limit_s"),
        (["a"], {"connect_timeout_s": -1.0}, "the connection to"),
        (["a"], {"on_uncertain": "hope"}, "on_uncertain"),
        (["a"], {"lane": "a b"}, "lane"),
        (["a"], {"retry_policy": "safe"}, "retry"),
    ],
)
def test_what_cannot_work_is_refused_with_a_sentence(
    server: Any, options: dict[str, Any], words: str
) -> None:
    """When it is registered; and without whatever may be secret."""
    with pytest.raises(ConfigurationError, match=words) as refused:
        McpServer.of(server, **options)
    assert "s3cret" not in str(refused.value)


def test_a_server_is_shown_without_its_secrets() -> None:
    """Arguments and variables, headers and queries may all be keys."""
    command = McpServer.of(["npx", "server", "s3cret", "--key=s3cret"], env={"K": "s3cret"})
    assert command.where == "npx server"
    assert McpServer.of(["serve", "--key"]).where == "serve"
    address = McpServer.of("https://host:8443/mcp?key=s3cret#s3cret", headers={"k": "s3cret"})
    assert str(address) == "the MCP server 'https://host:8443/mcp'"
    assert "s3cret" not in f"{command!r}{address!r}{command}{address}"


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the server is registered."""
    monkeypatch.setattr(connection, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"effectmq\[mcp\]"):
        EffectWorker("memory://").mcp(["server"])


def test_a_worker_with_a_handler_for_tool_calls_takes_no_server() -> None:
    """The handler would hide its tools."""
    worker = EffectWorker("memory://")

    @worker.handler("tool_call")
    async def run(command: object) -> None: ...

    with pytest.raises(ConfigurationError, match="handler already"):
        worker.mcp(["server"])


def test_reasons_are_phrases_without_the_words_of_others() -> None:
    """Those may hold addresses and what was received."""
    group = ExceptionGroup("several", [ExceptionGroup("more", [ValueError("s3cret")])])
    assert reason_of(group, 5) == "ValueError"
    assert reason_of(TimeoutError("s3cret"), 5) == "it did not answer within 5 s"
    assert reason_of(FileNotFoundError(2, "No such file or directory", "x"), 5) == (
        "No such file or directory"
    )
