"""What is registered while a worker runs: it counts at once, or is refused with a sentence."""

from __future__ import annotations

import pytest

from effectmq.consumers.handler import EffectContext
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError
from tests.consumers.stage import Stage


def register_all_late(app: EffectWorker) -> None:
    """Each in turn, after the start."""
    with pytest.raises(ConfigurationError, match="runs already, and does not take exec_code"):

        @app.handler("exec_code")
        async def code(command: object, context: EffectContext) -> object: ...

    with pytest.raises(ConfigurationError, match=r"does not take tool_call\.slow .* tool 'pay'"):

        @app.tool(name="pay", lane="slow")
        def pay() -> int:
            return 1

    with pytest.raises(ConfigurationError, match=r"runs already.* call mcp\(\) before"):
        app.mcp(["nothing"])


async def test_what_would_do_nothing_is_refused_and_leaves_nothing(stage: Stage) -> None:
    app = stage.worker()

    @app.tool
    def first() -> int:
        return 1

    kinds, routes = app.kinds, app.routes
    await stage.start(app)
    register_all_late(app)
    assert (app.kinds, app.routes, set(app.tools)) == (kinds, routes, {"first"})
    await app.stop()

    # Stopped, it takes anything, and has it from its next start on.
    @app.handler("exec_code")
    async def code(command: object, context: EffectContext) -> object: ...

    await stage.start(app)
    assert "exec_code" in app.kinds


async def test_a_tool_of_a_route_that_is_taken_counts_at_once(stage: Stage) -> None:
    app = stage.worker()

    @app.tool
    def first() -> int:
        return 1

    await stage.start(app)

    @app.tool
    def second() -> int:
        return 2

    client = await stage.client()
    assert await client.turn("s", "t").call(second) == 2


async def test_who_chose_its_routes_is_not_bothered(stage: Stage) -> None:
    """A module of a program may register everything, late, in workers that each take a part."""
    app = stage.worker()
    await stage.start(app, ["sleep"])

    @app.handler("exec_code")
    async def code(command: object, context: EffectContext) -> object: ...

    @app.tool(lane="slow")
    def pay() -> int:
        return 1

    assert "exec_code" in app.kinds


async def test_a_start_that_failed_leaves_a_worker_that_takes_anything(stage: Stage) -> None:
    app = stage.worker()
    with pytest.raises(ConfigurationError, match="no handler"):
        await app.start(["process"])
    app.use(await stage.transport())

    @app.handler("exec_code")
    async def code(command: object, context: EffectContext) -> object: ...

    await stage.start(app)
    with pytest.raises(ConfigurationError, match="started already"):
        await app.start()
