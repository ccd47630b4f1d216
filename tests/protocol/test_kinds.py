"""Kinds and routes."""

from __future__ import annotations

import pytest

from effectmq.protocol.kinds import EFFECT_KINDS, kind_of, route_of


def test_the_kinds_are_those_of_the_wire_format_in_its_order() -> None:
    """T6 of the contract."""
    assert EFFECT_KINDS == (
        "llm_call",
        "direct",
        "tool_call",
        "process",
        "exec_code",
        "checkpoint",
        "sync_execution_surface",
        "sleep",
    )


@pytest.mark.parametrize("kind", EFFECT_KINDS)
def test_a_route_is_a_kind_with_or_without_a_lane(kind: str) -> None:
    """A lane splits a kind and does not change it, dots in its name included."""
    assert route_of(kind, None) == route_of(kind, "") == kind
    assert route_of(kind, "gpu.big") == f"{kind}.gpu.big"
    assert kind_of(route_of(kind, "gpu.big")) == kind_of(kind) == kind
