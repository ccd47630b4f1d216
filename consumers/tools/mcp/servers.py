"""An MCP server, and how its tools are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

from effectmq.broker.store.journal.records import OnUncertain
from effectmq.consumers.handler import check_on_uncertain, check_time_limit
from effectmq.consumers.tools.registry import check_choices, is_tool_name
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable
from effectmq.protocol.wire.tool_retry import ToolRetryPolicy, ToolRetryPolicyNever

__all__ = ["McpServer"]

_EXPECTED = "expected a command as a list, for instance ['python', 'server.py'], or http://host/mcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """
    One MCP server; either ``command`` or ``url`` is given.

    Attributes:
        command: The command to start, with its arguments; never through a shell.
        url: The address of a running server, which speaks streamable HTTP.
        prefix: The beginning of its tools' names in this worker.
        only: The tools to take, without prefix; ``None`` for all.
        env: Variables for the command.
        cwd: The folder in which the command is started.
        headers: HTTP headers.
        retry_policy: When a failure is tried again.
        time_limit_s: How long one attempt may run; ``None`` takes the worker's default.
        connect_timeout_s: How long it may take to start and to list its tools, in seconds.
        on_uncertain: What to do when a worker died while a tool ran.
        lane: The lane of calls of its tools; empty for the common one.
    """

    # Command, address, variables and headers may hold secrets, so none of them is printed.
    command: tuple[str, ...] = field(default=(), repr=False)
    url: str = field(default="", repr=False)
    prefix: str = ""
    only: frozenset[str] | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    cwd: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    retry_policy: ToolRetryPolicy = field(default_factory=ToolRetryPolicyNever)
    time_limit_s: float | None = None
    connect_timeout_s: float = 15.0
    on_uncertain: OnUncertain = "retry"
    lane: str = ""

    @classmethod
    def of(cls, server: str | Sequence[str], **options: Any) -> Self:
        """
        The server of an address or a command.

        Args:
            server: The address, or the command and its arguments.
            **options: The other attributes.

        Raises:
            ConfigurationError: When an argument cannot be used.
        """
        if isinstance(server, str):
            return cls(url=server, **options)
        return cls(command=tuple(server), **options)

    def __post_init__(self) -> None:
        """Refuse unusable attributes at registration, before a call needs the server."""
        if self.url:
            self._check_url()
        else:
            self._check_command()
        check_time_limit(str(self), self.time_limit_s)
        check_time_limit(f"the connection to {self}", self.connect_timeout_s)
        check_on_uncertain(str(self), self.on_uncertain)
        check_choices(str(self), self.retry_policy, self.lane)
        if self.prefix and not is_tool_name(f"{self.prefix}x"):
            raise ConfigurationError(
                f"the prefix {printable(self.prefix, 100)!r} of {self} cannot begin a tool's "
                "name; expected letters, digits, _ - and ."
            )

    def _check_url(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            usable = usable and parts.port != 0
        except ValueError:
            raise ConfigurationError(
                f"the address of an MCP server is malformed; {_EXPECTED}"
            ) from None
        if not usable:
            raise ConfigurationError(
                f"the address of an MCP server begins with {printable(parts.scheme, 20)!r} or "
                f"names no host; {_EXPECTED}"
            )
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError(
                "the address of an MCP server holds a user or a password; remove them, and use "
                "headers={'Authorization': …} instead"
            )
        if self.env or self.cwd is not None:
            raise ConfigurationError(
                f"{self} is started by somebody else, so env= and cwd= do not apply; leave them out"
            )
        for name, value in self.headers.items():
            if not (f"{name}{value}".isascii() and f"{name}{value}".isprintable()):
                raise ConfigurationError(
                    f"the header {printable(name, 100)!r} of {self} has characters that HTTP does "
                    "not allow; expected printable ASCII"
                )

    def _check_command(self) -> None:
        if not self.command or not all(map(_is_word, self.command)):
            raise ConfigurationError(
                "the command of an MCP server is an empty list, or has a word that is not text or "
                f"has a zero character; {_EXPECTED}"
            )
        if not self.command[0]:
            raise ConfigurationError(f"the command of an MCP server is empty; {_EXPECTED}")
        if self.headers:
            raise ConfigurationError(
                f"{self} is a command, which takes no headers; give it variables with env="
            )

    @property
    def where(self) -> str:
        """The server in a form without secrets, for people."""
        if self.url:
            parts = urlsplit(self.url)
            return printable(SplitResult(parts.scheme, parts.netloc, parts.path, "", "").geturl())
        # Further arguments, and options, may be keys.
        words = [word for word in self.command[:2] if not word.startswith("-")]
        return printable(" ".join(words))

    def __str__(self) -> str:
        """The server as a phrase, for errors and the log."""
        return f"the MCP server {self.where!r}"


def _is_word(word: object) -> bool:
    return isinstance(word, str) and "\0" not in word
