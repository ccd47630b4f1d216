"""Surfaces: the worker's tools and its prompt provider, as the model is told of them."""

from __future__ import annotations

import pytest

from effectmq.consumers.handler import EffectContext
from effectmq.consumers.sessions import PromptProvider, SurfaceHandler
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err, Ok
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandSyncExecutionSurface,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSyncExecutionSurface
from tests.consumers.stage import Stage, effect, outcome


def sync(*, update: bool) -> RuntimeEffectEnvelope:
    """Ask for the surface."""
    command = RuntimeEffectCommandSyncExecutionSurface(update_machine_config=update)
    return effect("sync_execution_surface", command, "1")


def serving(stage: Stage, prompt: PromptProvider | str) -> EffectWorker:
    """A worker with two tools."""
    app = stage.worker()

    @app.tool
    async def multiply(a: int, b: int = 2) -> int:
        """Multiply two numbers."""
        return a * b

    @app.tool
    async def greet(name: str) -> str:
        """Say hello."""
        return f"hello {name}"

    app.add(SurfaceHandler(lambda: app.tools, prompt))
    return app


async def ask(stage: Stage, *, update: bool) -> RuntimeEffectOutcomeSyncExecutionSurface:
    """The outcome."""
    client = await stage.client()
    given = await outcome(await client.submit(sync(update=update)))
    assert isinstance(given, RuntimeEffectOutcomeSyncExecutionSurface)
    return given


async def test_nothing_is_said_when_nothing_is_to_be_updated(stage: Stage) -> None:
    """Ok with null."""
    await stage.start(serving(stage, "You are helpful."))
    assert (await ask(stage, update=False)).result == Ok(None)


async def test_the_surface_has_the_prompt_and_every_tool(stage: Stage) -> None:
    """Tools by name, with the schema of their signatures."""
    await stage.start(serving(stage, "You are helpful."))
    result = (await ask(stage, update=True)).result
    assert isinstance(result, Ok)
    assert result.ok is not None
    assert result.ok.system_prompt == "You are helpful."
    greet, multiply = result.ok.tool_specs
    assert (greet.name, greet.description) == ("greet", "Say hello.")
    assert multiply.input_schema["required"] == ["a"]
    assert multiply.input_schema["properties"]["b"]["default"] == 2


async def test_a_provider_is_asked_for_each_session(stage: Stage) -> None:
    """It sees whose prompt it is; a function that is not async will do."""

    def provider(context: EffectContext) -> str:
        return f"for {context.invocation.scope.session_id}"

    await stage.start(serving(stage, provider))
    result = (await ask(stage, update=True)).result
    assert isinstance(result, Ok)
    assert result.ok is not None
    assert result.ok.system_prompt == "for s1"


@pytest.mark.parametrize("given", [RuntimeError("no template"), 17])
async def test_a_provider_that_fails_is_an_outcome(stage: Stage, given: object) -> None:
    """The turn is told; nothing is parked."""

    async def provider(context: EffectContext) -> object:
        if isinstance(given, Exception):
            raise given
        return given

    await stage.start(serving(stage, provider))  # type: ignore[arg-type]
    result = (await ask(stage, update=True)).result
    assert isinstance(result, Err)
    assert "no template" in result.err or "returned int; expected text" in result.err
    assert stage.letters() == []
