"""
The rules of a scripted model, as data.

A rule fits when its pattern is found in the last message and the tools that it calls are on offer.
Text may contain ``$text`` (the last message) and every named group of the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import ConfigDict, Field

__all__ = ["ScriptCall", "ScriptFailure", "ScriptRule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptCall:
    """
    A tool call that the model makes.

    Attributes:
        tool: The tool's name.
        arguments: Plain data; every text in it may contain groups, as the reply may.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptFailure:
    """
    How the model fails before it answers.

    Attributes:
        times: How many attempts of an effect fail, counted from its first.
        code: The failure's code.
        message: The sentence of the failure.
        retryable: Whether another attempt may help.
        after_s: What a ``Retry-After`` would say, in seconds.
        after_chars: How much of the reply is streamed before it fails.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    times: Annotated[int, Field(ge=0)] = 1
    code: str = "rate_limited"
    message: str = "the scripted model was told to fail"
    retryable: bool = True
    after_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    after_chars: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptRule:
    """
    An answer, and the messages that it fits.

    Attributes:
        when: A regular expression, searched for in the last message: its text and its tool results.
            The empty one fits everything.
        after: Fits only when the last message has the result of this tool.
        reply: The text of the answer.
        reasoning: Reasoning before the text.
        calls: Tool calls after the text.
        failure: How it fails first.
        piece_chars: How many characters are streamed at a time.
        pause_s: How long to wait before each piece, in seconds.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    when: str = ""
    after: str = ""
    reply: str = ""
    reasoning: str = ""
    calls: tuple[ScriptCall, ...] = ()
    failure: ScriptFailure | None = None
    piece_chars: Annotated[int, Field(ge=1)] = 8
    pause_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def __post_init__(self) -> None:
        try:
            re.compile(self.when)
        except re.error as problem:
            raise ValueError(f"{self.when!r} is no regular expression: {problem}") from None
