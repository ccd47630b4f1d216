"""
The names under which tools are sent to a provider, and back. Pure.

Each provider takes other names: OpenAI no dots, Gemini no leading digit, none of them a space or
more than 64 characters. A name that all models of a provider take is sent unchanged. Another one is
sent under a name made of it and of its digest. So it is the same in every request of a
conversation, in any order of the tools, and no two tools share one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from effectmq.consumers.llm.hosted.targets import Family
from effectmq.protocol.wire.llm_request import (
    LlmContentBlockToolCall,
    LlmContentBlockToolResult,
    LlmRequestSpec,
)

__all__ = ["ToolNames"]

_MAX_CHARS = 64
_DIGEST_CHARS = 8
_TAKEN: Mapping[Family, re.Pattern[str]] = {
    "openai": re.compile(r"[A-Za-z0-9_-]{1,64}"),
    "anthropic": re.compile(r"[A-Za-z0-9_-]{1,64}"),
    "google": re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}"),
}
_OTHER = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class ToolNames:
    """
    The names of the tools of one request, as the worker and the provider use them.

    Attributes:
        by_own: The name that is sent, by the tool's own name.
        by_sent: The tool's own name, by the name that is sent.
    """

    by_own: Mapping[str, str]
    by_sent: Mapping[str, str]

    @classmethod
    def of(cls, spec: LlmRequestSpec, family: Family) -> Self:
        """The names of a request: those of its tools, and of the calls and results in it."""
        own = dict.fromkeys(name for name in _names(spec) if name)
        taken = {name for name in own if _TAKEN[family].fullmatch(name)}
        by_own = {name: name for name in taken}
        for name in own:
            if name not in taken:
                by_own[name] = _made(name, set(by_own.values()))
        return cls(by_own, {sent: name for name, sent in by_own.items()})

    def sent(self, name: str) -> str:
        """The name that is sent for a tool."""
        return self.by_own.get(name, name)

    def own(self, name: str) -> str:
        """The tool that the provider means."""
        return self.by_sent.get(name, name)


def _names(spec: LlmRequestSpec) -> Iterable[str]:
    yield from (tool.name for tool in spec.tools)
    for message in spec.messages:
        for block in message.blocks:
            if isinstance(block, LlmContentBlockToolCall | LlmContentBlockToolResult):
                yield block.tool_name or ""


def _made(name: str, taken: set[str]) -> str:
    """
    A name that every provider takes; with more of the digest when a tool has that name already.
    """
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    words = _OTHER.sub("_", name).strip("_")
    for chars in range(_DIGEST_CHARS, len(digest) + 1):
        end = f"_{digest[:chars]}"
        begin = words[: max(0, _MAX_CHARS - len(end) - 1)]
        made = f"{begin or 'tool'}{end}"[-_MAX_CHARS:]
        made = made if made[0].isalpha() or made[0] == "_" else f"_{made}"[:_MAX_CHARS]
        if made not in taken:
            return made
    return f"t_{digest}"[:_MAX_CHARS]
