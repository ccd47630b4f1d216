"""For whom effects are done: said by the call, inherited, or the client's own."""

from __future__ import annotations

import pytest

from effectmq import Client, ToolContext, Worker
from effectmq.broker.inheritance import Inheritance, carrying_out, detached, inherited
from effectmq.protocol.errors import ConfigurationError

PATIENCE_S = 30.0


async def test_a_tenant_is_the_calls_or_the_parents_or_the_clients() -> None:
    """A child of an effect is done for the same tenant, whatever its worker's client is for."""
    worker = Worker("memory://tenants")
    found: dict[str, str] = {}

    @worker.tool
    async def leaf(who: str, context: ToolContext) -> None:
        found[who] = context.tenant

    @worker.tool
    async def parent(who: str, context: ToolContext) -> None:
        found[who] = context.tenant
        turn = client.turn("s", f"{who}-child")
        await turn.tool_call("leaf", {"who": f"{who}'s child"}, call_id="c", timeout=PATIENCE_S)

    async with worker, Client("memory://tenants", tenant="house") as client:
        for who, tenant in (("a", "acme"), ("b", None), ("c", "")):
            turn = client.turn("s", who, tenant=tenant)
            await turn.tool_call("parent", {"who": who}, call_id="c", timeout=PATIENCE_S)
        branch = client.turn("s", "d", tenant="branched").branch("x")
        await branch.tool_call("leaf", {"who": "branch"}, call_id="c", timeout=PATIENCE_S)
    assert found == {
        "a": "acme",
        "a's child": "acme",
        "b": "house",
        "b's child": "house",
        "c": "",
        "c's child": "house",
        "branch": "branched",
    }


async def test_what_outlives_its_parent_is_for_the_same_tenant() -> None:
    """Only the deadline is left behind."""
    with carrying_out(Inheritance(5, tenant="acme")), detached():
        assert inherited() == Inheritance(tenant="acme")


def test_a_variable_names_the_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    """As every setting; the argument wins."""
    monkeypatch.setenv("EFFECTMQ_TENANT", "of the variable")
    assert Client("memory://").tenant == "of the variable"
    assert Client("memory://", tenant="own").tenant == "own"


async def test_a_tenant_that_cannot_be_one_is_refused_before_anything_is_sent() -> None:
    """By the client, and by each call."""
    with pytest.raises(ConfigurationError, match="more than 128 bytes"):
        Client("memory://", tenant="x" * 129)
    async with Client("memory://tenants-refused") as client:
        turn = client.turn("s", "t", tenant="a\nb")
        with pytest.raises(ConfigurationError, match="printed"):
            await turn.tool_call("leaf", {}, call_id="c", timeout=PATIENCE_S)
