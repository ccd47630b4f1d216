"""Programs that import from a place that a module had before still find it, and are told."""

from __future__ import annotations

import importlib
import sys
import warnings

import pytest

from effectmq.moved import MOVED

#: Packages that were modules: their path stayed.
PACKAGES = {
    "effectmq.broker.client": "EffectClient",
    "effectmq.broker.client.replies": "ReplyBook",
    "effectmq.broker.client.turns": "Turn",
    "effectmq.cli.submit": "configure",
    "effectmq.consumers.tools": "Tool",
    "effectmq.consumers.tools.functions": "tool_from",
    "effectmq.consumers.tools.results": "Attachment",
    "effectmq.consumers.llm.hosted": "HostedModel",
    "effectmq.consumers.code.monty": "MontyEngine",
}


@pytest.mark.parametrize("old", sorted(MOVED))
def test_a_module_is_found_at_its_old_place_and_the_new_place_is_named(old: str) -> None:
    """The names are the same objects, so that `isinstance` and `except` go on working."""
    home = importlib.import_module(MOVED[old])
    sys.modules.pop(old, None)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        module = importlib.import_module(old)
    assert any(f"import from {MOVED[old]}." in str(warning.message) for warning in told)
    for name in getattr(home, "__all__", []):
        assert getattr(module, name) is getattr(home, name)


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_gives_the_names_that_it_had_as_a_module(package: str) -> None:
    """Asking for a name that there is not is the usual error."""
    module = importlib.import_module(package)
    with pytest.warns(DeprecationWarning, match="has moved"):
        assert getattr(module, PACKAGES[package]).__module__.startswith(package)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = module.nothing_like_it
