"""The inbox of sessions, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from effectmq.broker.store.sessions import SessionInbox
from effectmq.broker.store.sessions.inbox import MAX_CLAIMED
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.wire.execution import CheckpointDelivery
from effectmq.protocol.wire.messages import MessageOriginPlugin, PluginMessage, TurnCause


@pytest.fixture
async def inbox(database_url: str) -> AsyncIterator[SessionInbox]:
    """An empty one."""
    async with SessionInbox(database_url) as opened:
        yield opened


def message(text: str) -> PluginMessage:
    """A message of a user."""
    return PluginMessage(role="User", content=text)


def cause(number: int) -> TurnCause:
    """A reason to go on."""
    origin = MessageOriginPlugin(plugin_id="p")
    return TurnCause(id=f"cause-{number}", event_type="note", origin=origin, text="because")


def texts(delivery: CheckpointDelivery) -> list[str]:
    """What its messages say."""
    return [one.content for one in delivery.messages]


async def test_what_was_put_is_delivered_once_in_order(inbox: SessionInbox) -> None:
    """Each session has its own, and another checkpoint finds nothing left."""
    for text in ("a", "b"):
        assert await inbox.put_message("s", message(text))
    await inbox.put_message("other", message("c"))
    assert await inbox.waiting("s") == 2
    assert texts(await inbox.claim("s", "first")) == ["a", "b"]
    assert texts(await inbox.claim("s", "second")) == []
    assert await inbox.waiting("s") == 0
    assert await inbox.waiting("other") == 1


async def test_a_checkpoint_that_runs_again_gets_the_same(inbox: SessionInbox) -> None:
    """What came meanwhile waits for the next one."""
    await inbox.put_message("s", message("a"))
    first = await inbox.claim("s", "first")
    await inbox.put_message("s", message("b"))
    assert await inbox.claim("s", "first") == first
    assert texts(await inbox.claim("s", "second")) == ["b"]


async def test_a_source_key_is_taken_once_and_its_first_payload_wins(inbox: SessionInbox) -> None:
    """Also after it was delivered; in another session it is another entry."""
    assert await inbox.put_message("s", message("a"), source_key="k")
    assert not await inbox.put_message("s", message("b"), source_key="k")
    assert texts(await inbox.claim("s", "first")) == ["a"]
    assert not await inbox.put_message("s", message("c"), source_key="k")
    assert await inbox.put_message("other", message("d"), source_key="k")


async def test_messages_of_tools_come_first(inbox: SessionInbox) -> None:
    """Whatever was put earlier, and the same when it is claimed again."""
    await inbox.put_message("s", message("work"))
    await inbox.put_message("s", message("tool"), origin="tool")
    assert texts(await inbox.claim("s", "first")) == ["tool", "work"]
    assert texts(await inbox.claim("s", "first")) == ["tool", "work"]


async def test_a_checkpoint_takes_a_bounded_amount_of_work(inbox: SessionInbox) -> None:
    """The rest comes with the next one."""
    for number in range(MAX_CLAIMED + 3):
        await inbox.put_message("s", message(str(number)))
    first = texts(await inbox.claim("s", "first"))
    assert first == [str(number) for number in range(MAX_CLAIMED)]
    assert len(texts(await inbox.claim("s", "second"))) == 3


async def test_transient_messages_and_causes_have_their_places(inbox: SessionInbox) -> None:
    """A cause is named by its id, so that telling of it twice is telling once."""
    await inbox.put_message("s", message("now only"), transient=True)
    assert await inbox.put_cause("s", cause(1))
    assert not await inbox.put_cause("s", cause(1))
    delivery = await inbox.claim("s", "first")
    assert delivery == CheckpointDelivery(
        messages=[], transient_messages=[message("now only")], turn_causes=[cause(1)]
    )


async def test_many_writers_at_once_lose_nothing(database_url: str) -> None:
    """Numbers are taken side by side, by several connections."""
    async with SessionInbox(database_url) as one, SessionInbox(database_url) as two:
        await asyncio.gather(
            *(
                box.put_message("s", message(f"{name}{number}"))
                for number in range(15)
                for name, box in (("a", one), ("b", two))
            )
        )
        found = texts(await one.claim("s", "first"))
    assert sorted(found) == sorted(f"{name}{number}" for number in range(15) for name in "ab")


async def test_two_checkpoints_at_once_share_nothing(database_url: str) -> None:
    """Every entry goes to one of them."""
    async with SessionInbox(database_url) as one, SessionInbox(database_url) as two:
        for number in range(20):
            await one.put_message("s", message(str(number)))
        taken = await asyncio.gather(one.claim("s", "x"), two.claim("s", "y"))
    assert sorted(text for part in taken for text in texts(part)) == sorted(map(str, range(20)))


async def test_entries_survive_reopening(database_url: str) -> None:
    """They are in the database, not in the object."""
    async with SessionInbox(database_url) as box:
        await box.put_message("s", message("a"))
    async with SessionInbox(database_url) as box:
        assert texts(await box.claim("s", "first")) == ["a"]


async def test_only_what_was_taken_is_pruned(inbox: SessionInbox) -> None:
    """What waits stays, however old it is."""
    await inbox.put_message("s", message("a"))
    await inbox.claim("s", "first")
    await inbox.put_message("s", message("b"))
    assert await inbox.prune(older_than_s=60) == 0
    assert await inbox.prune(older_than_s=0) == 1
    assert await inbox.waiting("s") == 1


async def test_an_age_in_milliseconds_still_works_and_is_told(inbox: SessionInbox) -> None:
    """At the line of the program, with the seconds to write instead."""
    await inbox.put_message("s", message("a"))
    await inbox.claim("s", "first")
    with pytest.warns(DeprecationWarning, match=r"inbox\.prune\(older_than_s=60\.0\)$") as told:
        assert await inbox.prune(60_000) == 0
    assert told[0].filename == __file__
    with pytest.raises(ConfigurationError, match="older_than_s is -1; expected seconds"):
        await inbox.prune(older_than_s=-1)
    without: Any = inbox.prune
    with pytest.raises(TypeError, match="takes one time"):
        await without()


@pytest.mark.parametrize(("session", "key"), [("a\x00b", ""), ("s", "a\x00b")])
async def test_names_that_cannot_be_kept_are_refused(
    inbox: SessionInbox, session: str, key: str
) -> None:
    """With the name, made printable."""
    with pytest.raises(ConfigurationError, match="zero character"):
        await inbox.put_message(session, message("a"), source_key=key)
