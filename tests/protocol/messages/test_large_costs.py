"""What a large effect costs on each side, counted: passes over its text, and copies of it."""

from __future__ import annotations

import hashlib
import sys
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable
from types import FrameType

import pytest

from effectmq.consumers.pipeline.reading.bodies import read_stored
from effectmq.protocol.encoding import canonical
from effectmq.protocol.encoding.content_types import JSON, MSGPACK
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.messages.request import Request, known_sha256, read_request
from effectmq.protocol.wire.envelope import RuntimeEffectCommandLlmCall, RuntimeEffectEnvelope
from tests.consumers.llm.asking import spec
from tests.consumers.pipeline.broken_store import make_bodies
from tests.consumers.stage import code, effect, tool

_TEXT = "abc def " * 110_000


def _model_call() -> RuntimeEffectEnvelope:
    return effect("llm_call", RuntimeEffectCommandLlmCall(request=spec(_TEXT)), "1")


_LARGE = {
    "tool_call": lambda: tool("count", text=_TEXT),
    "exec_code": lambda: code(_TEXT),
    "llm_call": _model_call,
}


def c_calls(work: Callable[[], object]) -> Counter[str]:
    """How often each function of C is called."""
    found: Counter[str] = Counter()

    def count(_frame: FrameType, event: str, called: object) -> None:
        if event == "c_call":
            found[getattr(called, "__name__", "")] += 1

    former = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(former)
    return found


async def hashed(work: Callable[[], Awaitable[None]]) -> list[int]:
    """The sizes of all that is hashed, in whatever thread, but for what is small."""
    sizes: list[int] = []

    def count(data: bytes) -> object:
        if len(data) > 1_000:
            sizes.append(len(data))
        return hashlib.sha256(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canonical, "sha256", count)
        await work()
    return sizes


def copies(work: Callable[[], object]) -> float:
    """How many texts of this size are held at once, above what was there before."""
    tracemalloc.start()
    try:
        kept = work()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kept is not None
    return peak / len(_TEXT)


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
@pytest.mark.parametrize("kind", _LARGE)
def test_each_side_hashes_a_text_once_and_prints_it_once(kind: str, content_type: str) -> None:
    """The canonical bytes are what is hashed; a parsed text is one that was printed here."""
    envelope = _LARGE[kind]()
    request = Request.seal(envelope, content_type=content_type)
    for side in (
        lambda: Request.seal(envelope, content_type=content_type),
        lambda: read_request(request.message),
    ):
        found = c_calls(side)
        assert found["openssl_sha256"] == 1
        assert found["to_json"] == 1
        assert found["from_json"] <= 1


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
@pytest.mark.parametrize("kind", _LARGE)
async def test_with_a_store_each_side_hashes_a_text_once(kind: str, content_type: str) -> None:
    """What is stored was hashed for the effect, and what is read was hashed by the store."""
    bodies, _ = make_bodies()
    envelope = _LARGE[kind]()
    sealed = request = Request.seal(envelope)
    small = sealed.message

    async def producer() -> None:
        nonlocal sealed, small
        sealed = Request.seal(
            envelope, content_type=content_type, stored_above=bodies.threshold_bytes
        )
        small = await bodies.outgoing(sealed.message, known_sha256(sealed.message))

    async def worker() -> None:
        nonlocal request
        found = await read_stored(bodies, small, Limits(), now_ms=1, levels_ms=(1,))
        assert isinstance(found, Request)
        request = found

    for side in (producer, worker):
        assert await hashed(side) == [len(sealed.message.body)]
    assert request.hash == sealed.hash
    assert request.canonical == sealed.canonical
    assert request.envelope == envelope


@pytest.mark.parametrize("kind", _LARGE)
def test_each_side_holds_few_copies_of_a_text(kind: str) -> None:
    """The canonical bytes, the body, and what is filled while they are made."""
    envelope = _LARGE[kind]()
    request = Request.seal(envelope)
    assert copies(lambda: Request.seal(envelope)) < 5.5
    assert copies(lambda: read_request(request.message)) < 4.5


@pytest.mark.parametrize(
    ("kind", "most"), [("tool_call", 1.5), ("exec_code", 1.5), ("llm_call", 2.5)]
)
def test_with_a_store_each_side_holds_fewer(kind: str, most: float) -> None:
    """The canonical bytes are the body; of a model call, its parts are looked at in a copy."""
    envelope = _LARGE[kind]()
    stored = Request.seal(envelope, stored_above=1_000)
    assert copies(lambda: Request.seal(envelope, stored_above=1_000)) < most
    assert copies(lambda: read_request(stored.message)) < 2.5
