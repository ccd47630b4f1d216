"""Limits that make no sense are refused where they are written."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.consumers.code.settings import CodeSettings
from effectmq.protocol.errors import ConfigurationError


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"time_limit_s": 0}, "time_limit_s is 0; expected more than 0"),
        ({"max_tool_calls": -1}, "max_tool_calls is -1; expected 0 or more"),
        ({"processes": 0}, "processes is 0; expected more than 0"),
        ({"output_bytes": 10, "memory_bytes": 10}, "less output than memory"),
        ({"backend": "pypy"}, "backend is 'pypy'; expected 'monty' or 'cpython'"),
        ({"warm_processes": 9}, "no more processes that wait"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused(wrong: dict[str, Any], words: str) -> None:
    """With its name, what was found, and what was expected."""
    with pytest.raises(ConfigurationError, match=words):
        CodeSettings(**wrong)


def test_none_at_all_is_a_limit_where_it_makes_sense() -> None:
    """No tools, no sleeps, no images."""
    assert CodeSettings(max_tool_calls=0, max_sleeps=0, max_images=0).max_images == 0
