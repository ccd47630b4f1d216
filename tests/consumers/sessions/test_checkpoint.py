"""Checkpoints through a whole worker: inbox, hooks, their order, and their failures."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from effectmq.broker.store.sessions import SessionInbox
from effectmq.consumers.sessions import CheckpointAbortError, CheckpointContext, CheckpointHandler
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err, Ok
from effectmq.protocol.errors import ConfigurationError, DatabaseUnavailableError
from effectmq.protocol.wire.envelope import RuntimeEffectCommandCheckpoint, RuntimeEffectEnvelope
from effectmq.protocol.wire.execution import CheckpointDelivery
from effectmq.protocol.wire.messages import PluginMessage
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome, RuntimeEffectOutcomeCheckpoint
from tests.consumers.stage import AT_ONCE, Stage, effect, outcome


def checkpoint(
    effect_id: str = "1",
    kind: Literal["after_work", "before_completion"] = "after_work",
    session_id: str = "s1",
) -> RuntimeEffectEnvelope:
    """A checkpoint of a turn."""
    command = RuntimeEffectCommandCheckpoint(checkpoint=kind)
    return effect("checkpoint", command, effect_id, session_id)


def message(text: str) -> PluginMessage:
    """A message of a user."""
    return PluginMessage(role="User", content=text)


def delivery(*texts: str) -> CheckpointDelivery:
    """These messages."""
    return CheckpointDelivery(
        messages=[message(text) for text in texts], transient_messages=[], turn_causes=[]
    )


def delivered(given: RuntimeEffectOutcome) -> CheckpointDelivery:
    """What a checkpoint brought."""
    assert isinstance(given, RuntimeEffectOutcomeCheckpoint)
    assert isinstance(given.result, Ok)
    return given.result.ok


def failed(given: RuntimeEffectOutcome) -> tuple[str, str]:
    """Code and message of a checkpoint that failed."""
    assert isinstance(given, RuntimeEffectOutcomeCheckpoint)
    assert isinstance(given.result, Err)
    return given.result.err.code, given.result.err.message


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database of this test's own."""
    return f"sqlite:///{tmp_path}/journal.db"


def serving(stage: Stage, url: str, *hooks: object) -> tuple[EffectWorker, SessionInbox]:
    """A worker with an inbox and hooks."""
    app = stage.worker(journal=url)
    inbox = SessionInbox(url)
    app.use(inbox)
    app.add(CheckpointHandler(inbox, tuple(hooks), retry=AT_ONCE))  # type: ignore[arg-type]
    return app, inbox


async def test_messages_come_in_the_order_of_the_contract(stage: Stage, url: str) -> None:
    """What tools left, then queued work, then what hooks add."""

    def plain(facts: CheckpointContext) -> CheckpointDelivery:
        return delivery(f"hook {facts.session_id} {facts.turn_id} {facts.checkpoint}")

    async def silent(facts: CheckpointContext) -> None:
        assert len(facts.delivered.messages) == 3

    app, inbox = serving(stage, url, plain, silent)
    await stage.start(app)
    await inbox.put_message("s1", message("work"))
    await inbox.put_message("s1", message("tool"), origin="tool")
    client = await stage.client()
    given = delivered(await outcome(await client.submit(checkpoint(kind="before_completion"))))
    assert given == delivery("tool", "work", "hook s1 t1 before_completion")


async def test_a_checkpoint_is_recorded_and_takes_nothing_twice(stage: Stage, url: str) -> None:
    """Asked again it brings the same; the next one brings what came since."""
    app, inbox = serving(stage, url)
    await stage.start(app)
    await inbox.put_message("s1", message("a"))
    client = await stage.client()
    first = await outcome(await client.submit(checkpoint()))
    await inbox.put_message("s1", message("b"))
    other = await stage.client()
    assert await outcome(await other.submit(checkpoint())) == first
    assert delivered(await outcome(await client.submit(checkpoint("2")))) == delivery("b")


async def test_a_body_that_runs_again_brings_the_same(stage: Stage, url: str) -> None:
    """An attempt that failed behind the claim loses nothing of it."""
    attempts = 0

    async def hook(facts: CheckpointContext) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            # As if the database went away: tried again, unlike any other failure of a hook.
            raise SystemExit

    app, inbox = serving(stage, url, hook)
    await stage.start(app)
    await inbox.put_message("s1", message("a"))
    client = await stage.client()
    assert delivered(await outcome(await client.submit(checkpoint()))) == delivery("a")
    assert attempts == 2


async def test_a_hook_can_stop_the_turn(stage: Stage, url: str) -> None:
    """With its own code; nothing is parked, because it is an outcome."""

    def stop(facts: CheckpointContext) -> None:
        raise CheckpointAbortError("budget_spent", "no money left")

    app, _ = serving(stage, url, stop)
    await stage.start(app)
    client = await stage.client()
    given = failed(await outcome(await client.submit(checkpoint())))
    assert given == ("budget_spent", "no money left")
    assert stage.letters() == []


@pytest.mark.parametrize("result", [ValueError("broken"), 17])
async def test_a_hook_that_fails_is_an_outcome_too(stage: Stage, url: str, result: object) -> None:
    """Whether it raises or returns nonsense."""

    async def hook(facts: CheckpointContext) -> object:
        if isinstance(result, Exception):
            raise result
        return result

    app, _ = serving(stage, url, hook)
    await stage.start(app)
    client = await stage.client()
    code, text = failed(await outcome(await client.submit(checkpoint())))
    assert code == "plugin_checkpoint"
    assert "broken" in text or "returned int; expected a CheckpointDelivery" in text


async def test_hooks_work_without_an_inbox(stage: Stage) -> None:
    """A host that keeps its messages elsewhere needs none."""
    app = stage.worker()
    handler = CheckpointHandler()

    @handler.hook
    async def hook(facts: CheckpointContext) -> CheckpointDelivery:
        return delivery("from elsewhere")

    app.add(handler)
    await stage.start(app)
    client = await stage.client()
    given = delivered(await outcome(await client.submit(checkpoint())))
    assert given == delivery("from elsewhere")


async def test_resources_live_as_long_as_the_worker(stage: Stage, url: str) -> None:
    """Opened before the first effect, closed after the last, and not to be added in between."""
    app, inbox = serving(stage, url)
    await stage.start(app)
    await inbox.put_message("s1", message("a"))
    with pytest.raises(ConfigurationError, match="runs already"):
        app.use(inbox)
    await app.stop()
    with pytest.raises(DatabaseUnavailableError):
        await inbox.put_message("s1", message("b"))
