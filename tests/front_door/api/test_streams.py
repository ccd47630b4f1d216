"""What a running effect streams, over HTTP."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from effectmq import Client, EffectContext, RetryEffectError, Worker
from effectmq.api.access.tokens import NO_TOKENS, Tokens
from effectmq.api.app import create_app
from effectmq.api.context import Context
from effectmq.api.models.effects import EffectProgress
from effectmq.api.problems import ProblemError
from effectmq.api.views import streams
from effectmq.api.views.costs import effect_views
from effectmq.broker.place import Place
from effectmq.broker.store.journal.archive.summaries import EffectFilter
from effectmq.protocol.messages.request import Identity
from tests.front_door.api.stage import staged
from tests.waiting import eventually

DONE = {"type": "exec_code", "result": {"Err": "the end"}}


class Speaker:
    """A worker that says what it is told to say."""

    def __init__(self, place: Place) -> None:
        self.worker = Worker(place=place, shutdown_grace_s=1.0)
        self.words: asyncio.Queue[str | None] = asyncio.Queue()
        self.began = 0

        @self.worker.handler("exec_code")
        async def speak(command: object, context: EffectContext) -> object:
            self.began += 1
            while (word := await self.words.get()) is not None:
                if word.startswith("progress "):
                    context.progress(int(word.split()[1]), 12, "pages")
                    continue
                if word == "later":
                    raise RetryEffectError("once more", after_s=0.01)
                context.stream(word)
            return DONE


class Listener:
    """Reads the events of a stream; the client of the tests reads bodies only as a whole."""

    def __init__(self, stream: AsyncGenerator[bytes]) -> None:
        self._stream = stream

    async def next(self) -> tuple[str, Any]:
        async with asyncio.timeout(20):
            async for event in self._stream:
                lines = dict(
                    line.split(": ", 1)
                    for line in event.decode().splitlines()
                    if line[:1] not in ("", ":")
                )
                if "event" in lines:
                    return lines["event"], json.loads(lines["data"])
        return "", None

    async def close(self) -> None:
        await self._stream.aclose()


@pytest.fixture
async def here() -> AsyncIterator[tuple[Context, Speaker]]:
    address = f"memory://{secrets.token_hex(4)}"
    place = Place.of({"broker": address, "journal": address})
    app = create_app(place, NO_TOKENS)
    speaker = Speaker(place)
    async with speaker.worker, app.router.lifespan_context(app):
        yield app.state.effectmq, speaker


async def begun(here: Context, speaker: Speaker, client: Client) -> tuple[Any, Identity]:
    asked = asyncio.create_task(client.turn("s", "t").exec_code("tell", timeout=20))
    await eventually(lambda: speaker.began == 1)
    (found,) = (await (await here.connections.archive()).search(EffectFilter(), limit=1)).effects
    return asked, found[0].identity


async def test_a_stream_goes_over_attempts_to_the_end(here: tuple[Context, Speaker]) -> None:
    context, speaker = here
    async with Client(place=context.connections.place) as client:
        asked, identity = await begun(context, speaker, client)
        listener = Listener(context.streams.listen(identity))
        assert await listener.next() == ("hello", {})
        # The next event is asked for, so that the watching begins.
        coming = asyncio.create_task(listener.next())
        watched = speaker.worker._running._chunks.watches.by_effect  # type: ignore[union-attr]
        await eventually(lambda: identity in watched)
        speaker.words.put_nowait("one\n\nevent: end\u2028")
        name, said = await coming
        assert (name, said) == (
            "text",
            {"attempt": 1, "number": 0, "chunks": 1, "text": "one\n\nevent: end\u2028"},
        )
        speaker.words.put_nowait("later")
        await eventually(lambda: speaker.began == 2)
        coming = asyncio.create_task(listener.next())
        await eventually(lambda: identity in watched)
        speaker.words.put_nowait("two")
        name, said = await coming
        assert (said["attempt"], said["text"]) == (2, "two")
        speaker.words.put_nowait(None)
        assert await listener.next() == ("end", {"status": "failed"})
        assert await listener.next() == ("", None)
        await asked


async def test_progress_comes_beside_text_and_is_on_the_record(
    here: tuple[Context, Speaker],
) -> None:
    """Whoever counts chunks sees no gap."""
    context, speaker = here
    async with Client(place=context.connections.place) as client:
        asked, identity = await begun(context, speaker, client)
        listener = Listener(context.streams.listen(identity))
        await listener.next()
        coming = asyncio.create_task(listener.next())
        watched = speaker.worker._running._chunks.watches.by_effect  # type: ignore[union-attr]
        await eventually(lambda: identity in watched)
        speaker.words.put_nowait("progress 3")
        assert await coming == ("text", {"attempt": 1, "number": 0, "chunks": 1, "text": ""})
        told = {"attempt": 1, "done": 3, "total": 12, "note": "pages"}
        assert await listener.next() == ("progress", told)
        speaker.words.put_nowait(None)
        assert (await listener.next())[0] == "end"
        await asked
        archive = await context.connections.archive()
        (effect,) = (await archive.search(EffectFilter(), limit=1)).effects
        (view,) = await effect_views(archive, [effect[0]], [effect[1]])
        assert EffectProgress.model_validate(view["progress"]).done == 3
        assert view["progress"].items() >= told.items()


async def test_who_leaves_is_forgotten_and_a_server_that_stops_waits_for_nobody(
    here: tuple[Context, Speaker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_MOST_LISTENERS", 1)
    context, speaker = here
    async with Client(place=context.connections.place) as client:
        asked, identity = await begun(context, speaker, client)
        listener = Listener(context.streams.listen(identity))
        await listener.next()
        with pytest.raises(ProblemError, match="1 streams of effects are read already"):
            context.streams.listen(identity)
        await listener.close()
        listener = Listener(context.streams.listen(identity))
        await listener.next()
        coming = asyncio.create_task(listener.next())
        watched = speaker.worker._running._chunks.watches.by_effect  # type: ignore[union-attr]
        await eventually(lambda: identity in watched)
        context.streams.end()
        assert await coming == ("", None)
        speaker.words.put_nowait(None)
        await asked


async def test_an_effect_that_has_ended_ends_its_stream_for_a_reader_too() -> None:
    """Over HTTP, with a token that may only look; without one nobody sees anything."""
    tokens = Tokens.read("reader:read:a-token-of-a-reader")
    async with staged(tokens) as stage:
        speaker = Speaker(stage.place)
        speaker.words.put_nowait(None)
        async with speaker.worker, Client(place=stage.place) as client:
            await client.turn("s", "t").exec_code("tell", timeout=20)
        assert (await stage.get("/effects/anything/stream")).status_code == 401
        stage.http.headers["Authorization"] = "Bearer a-token-of-a-reader"
        (effect,) = (await stage.get("/effects")).json()["effects"]
        answer = await stage.get(f"/effects/{effect['id']}/stream")
        nothing = await stage.get("/effects/nothing-like-it/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith('event: end\ndata: {"status": "failed"}\n\n')
    assert (nothing.status_code, nothing.json()["code"]) == (404, "no_such_effect")
