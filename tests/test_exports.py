"""The public names: exactly these, and every module says what it offers."""

from __future__ import annotations

import inspect
import pkgutil
import re
from importlib import import_module

import pytest

import effectmq

#: Add to this list; never take away from it.
PUBLIC = [
    "AccessRefusedError",
    "Attachment",
    "CheckpointContext",
    "CheckpointDelivery",
    "Chunk",
    "Client",
    "CodeSettings",
    "EffectContext",
    "EffectFailedError",
    "EffectTimeoutError",
    "EffectmqError",
    "FailTurn",
    "FinishTurn",
    "Handle",
    "OutcomeFailedError",
    "Place",
    "ProcessRunnerSettings",
    "ProcessScope",
    "RejectEffectError",
    "RetryEffectError",
    "RetryPolicy",
    "RunningProcess",
    "RuntimeEffectEnvelope",
    "SwitchAgentFrame",
    "ToolCall",
    "ToolCallError",
    "ToolContext",
    "ToolReturn",
    "TransportSettings",
    "Turn",
    "UnroutableError",
    "Worker",
    "WorkerSettings",
    "whole_boundary",
]

_WORDS = re.compile(r"(\D+)(\d*)")

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(effectmq.__path__, "effectmq.")
    if not found.name.endswith("__main__")
)


def isort_style(name: str) -> tuple[int, list[tuple[str, int]]]:
    """Constants, then classes, then the rest, numbers by their size: as the linter sorts them."""
    group = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return group, [(word, int(number or 0)) for word, number in _WORDS.findall(name)]


def test_the_top_level_is_exactly_these_names() -> None:
    """Whatever is here, somebody depends on."""
    assert effectmq.__all__ == PUBLIC == sorted(PUBLIC, key=isort_style)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_is_there_and_documented(name: str) -> None:
    """Loaded when it is first asked for, and listed."""
    value = getattr(effectmq, name)
    assert inspect.getdoc(value)
    assert name in dir(effectmq)
    assert getattr(effectmq, name) is value


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="Clinet"):
        _ = effectmq.Clinet


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_offers(name: str) -> None:
    """A docstring, and an ``__all__`` that is sorted and true; a package may be empty."""
    module = import_module(name)
    offered = list(getattr(module, "__all__", ()))
    if offered or not hasattr(module, "__path__"):
        assert module.__doc__
    assert offered or hasattr(module, "__path__")
    assert offered == sorted(set(offered), key=isort_style)
    assert all(hasattr(module, found) for found in offered)
