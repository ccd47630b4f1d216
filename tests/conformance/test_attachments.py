"""What every attachment store promises, wherever its bytes are."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Generator
from pathlib import Path

import pytest

from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import (
    AttachmentCorruptError,
    AttachmentMissingError,
    AttachmentReferenceError,
    MalformedError,
    PayloadTooLargeError,
)
from effectmq.protocol.messages.body_reference import BodyReference, body_reference
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names
from effectmq.protocol.wire.attachments import AttachmentMeta, AttachmentRef, MediaTypeImage
from tests.conformance.places import DirectoryPlace, MemoryPlace, Place, S3Place, opened
from tests.conformance.s3_server import CREDENTIALS, create_bucket, s3_server

PNG = MediaTypeImage(type="png")
DATA = bytes([1, 2, 3, 4])
#: As the wire format prints it.
DATA_ID = "9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a"
UNKNOWN_ID = "0" * 64


@pytest.fixture(scope="session")
def s3_port(tmp_path_factory: pytest.TempPathFactory) -> Generator[int]:
    """A server for the whole session."""
    with s3_server(tmp_path_factory.mktemp("s3")) as port:
        yield port


@pytest.fixture(params=["memory", "directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Each adapter in turn, empty."""
    name = f"t-{secrets.token_hex(4)}"
    if request.param == "memory":
        return MemoryPlace(name)
    if request.param == "directory":
        return DirectoryPlace(tmp_path / "not" / "there yet")
    for variable, value in CREDENTIALS.items():
        monkeypatch.setenv(variable, value)
    port = request.getfixturevalue("s3_port")
    create_bucket(port, name)
    return S3Place(port, name)


def lies_at(folder: str, id_: str) -> str:
    """The name of an object."""
    return f"{folder}/{id_[:2]}/{id_[2:4]}/{id_}"


# Statement 40 of the wire format ------------------------------------------------------------------


async def test_bytes_and_metadata_come_back(place: Place) -> None:
    """What was put is what is got, and what was said of it is what is told."""
    async with opened(place) as store:
        reference = await store.put(DATA, "image/png", width=3, height=2, label="größe\n\0")
        assert reference == AttachmentRef(
            id=DATA_ID, media_type=PNG, byte_len=4, width=3, height=2, label="größe\n\0"
        )
        assert await store.get(DATA_ID) == DATA
        assert await store.describe(DATA_ID) == AttachmentMeta(**dict(reference))


@pytest.mark.parametrize("size", [0, 1, 300_000, 6_000_000])
async def test_any_size_comes_back(place: Place, size: int) -> None:
    """Nothing at all, and more than one part of what libraries send in parts."""
    data = secrets.token_bytes(size)
    async with opened(place) as store:
        reference = await store.put(data, PNG)
        assert reference.byte_len == size
        assert reference.id == hashlib.sha256(data).hexdigest()
        assert await store.get(reference.id) == data


async def test_equal_bytes_have_equal_ids_and_other_bytes_others(place: Place) -> None:
    """However they are described; the last description is told."""
    async with opened(place) as store:
        first = await store.put(DATA, "image/png", label="first")
        second = await store.put(bytes(DATA), " IMAGE/JPG ", label="second")
        other = await store.put(DATA + b"5", "image/png")
        assert first.id == second.id != other.id
        described = await store.describe(first.id)
        assert (described.media_type.type, described.label) == ("jpeg", "second")
        assert await store.get(other.id) == DATA + b"5"


async def test_an_unknown_id_is_not_found(place: Place) -> None:
    """For its bytes and for its description."""
    async with opened(place) as store:
        for ask in (store.get, store.describe):
            with pytest.raises(AttachmentMissingError, match="is not in the store") as missing:
                await ask(UNKNOWN_ID)
            assert missing.value.attachment_id == UNKNOWN_ID


async def test_persistence_is_told(place: Place) -> None:
    """Whether it outlives the processes."""
    assert opened(place).persistence == place.persistence


async def test_everything_survives_reopening(place: Place) -> None:
    """Another store at the same place has it."""
    async with opened(place) as store:
        await store.put(DATA, PNG, label="kept")
    async with opened(place) as store:
        assert await store.get(DATA_ID) == DATA
        assert (await store.describe(DATA_ID)).label == "kept"


# Beyond it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "id_", ["", "..", "../../etc/passwd", DATA_ID.upper(), DATA_ID[1:], DATA_ID + "\n", "é" * 64]
)
async def test_what_is_no_id_leads_nowhere(place: Place, id_: str) -> None:
    """It never becomes a path."""
    async with opened(place) as store:
        await store.put(DATA, PNG)
        for ask in (store.get, store.describe, store.delete):
            with pytest.raises(AttachmentMissingError, match="64 lowercase hex digits"):
                await ask(id_)


async def test_a_deleted_attachment_is_gone(place: Place) -> None:
    """And deleting it again is nothing."""
    async with opened(place) as store:
        await store.put(DATA, PNG)
        for _ in range(2):
            await store.delete(DATA_ID)
        for ask in (store.get, store.describe):
            with pytest.raises(AttachmentMissingError):
                await ask(DATA_ID)


@pytest.mark.parametrize("damage", [b"", b"\1\2\3\5", b"\1\2\3\4\5"])
async def test_damaged_bytes_are_never_given_out(place: Place, damage: bytes) -> None:
    """They are hashed again; putting the original mends it."""
    async with opened(place) as store:
        await store.put(DATA, PNG)
        await place.replace(lies_at("attachments", DATA_ID), damage)
        with pytest.raises(AttachmentCorruptError, match="was damaged or replaced") as corrupt:
            await store.get(DATA_ID)
        assert corrupt.value.attachment_id == DATA_ID
        await store.put(DATA, PNG)
        assert await store.get(DATA_ID) == DATA


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"id":"x"}',
        b'{"id":"' + b"1" * 64 + b'","media_type":{"kind":"image","type":"png"},"byte_len":4}',
    ],
)
async def test_a_damaged_description_is_an_error(place: Place, damage: bytes) -> None:
    """And does not touch the bytes."""
    async with opened(place) as store:
        await store.put(DATA, PNG)
        await place.replace(f"{lies_at('attachments', DATA_ID)}.json", damage)
        with pytest.raises(AttachmentCorruptError, match="description"):
            await store.describe(DATA_ID)
        assert await store.get(DATA_ID) == DATA


async def test_no_more_than_the_limit_is_stored_or_read(place: Place) -> None:
    """What lies there may be larger than anything we would write."""
    async with opened(place, max_attachment_bytes=4, max_body_bytes=4) as store:
        await store.put(DATA, PNG)
        assert await store.get(DATA_ID) == DATA
        with pytest.raises(PayloadTooLargeError, match="5 bytes and the limit is 4"):
            await store.put(DATA + b"5", PNG)
        with pytest.raises(PayloadTooLargeError, match="5 bytes and the limit is 4"):
            await store.put_body(DATA + b"5")
    async with opened(place) as store:
        large = await store.put(DATA + b"5", PNG)
    async with opened(place, max_attachment_bytes=4) as store:
        with pytest.raises(AttachmentCorruptError, match="more than the 4 bytes"):
            await store.get(large.id)


async def test_a_media_type_that_the_wire_does_not_have_is_refused(place: Place) -> None:
    """Before anything is stored."""
    async with opened(place) as store:
        with pytest.raises(AttachmentReferenceError) as refused:
            await store.put(DATA, "image/tiff")
        assert refused.value.code == "runtime_effect_attachment_media_type"
        with pytest.raises(AttachmentMissingError):
            await store.get(DATA_ID)


async def test_writers_of_the_same_bytes_do_not_disturb_each_other(place: Place) -> None:
    """Nor those who read meanwhile: there is all or nothing."""
    data = secrets.token_bytes(200_000)
    async with opened(place) as one, opened(place) as other:
        reference = await one.put(data, PNG)
        puts = [store.put(data, PNG) for store in (one, other) for _ in range(8)]
        gets = [store.get(reference.id) for store in (one, other) for _ in range(8)]
        found = await asyncio.gather(*puts, *gets)
        assert found == [reference] * 16 + [data] * 16


# Bodies -------------------------------------------------------------------------------------------


async def test_a_body_comes_back_and_is_no_attachment(place: Place) -> None:
    """They are kept apart, because bodies may go after some time."""
    async with opened(place) as store:
        reference = await store.put_body(DATA)
        assert reference == BodyReference(DATA_ID, 4)
        assert await store.get_body(reference) == DATA
        with pytest.raises(AttachmentMissingError):
            await store.get(DATA_ID)


async def test_a_body_is_checked_before_it_is_given_out(place: Place) -> None:
    """Its hash, its size, and that it is there at all."""
    async with opened(place, max_body_bytes=4) as store:
        await store.put_body(DATA)
        with pytest.raises(MalformedError, match="says that the body is 3 bytes, but it has 4"):
            await store.get_body(BodyReference(DATA_ID, 3))
        with pytest.raises(MalformedError, match="5 bytes, kept out of line, and the limit is 4"):
            await store.get_body(BodyReference(DATA_ID, 5))
        with pytest.raises(AttachmentMissingError, match="the body 0000"):
            await store.get_body(BodyReference(UNKNOWN_ID, 4))
        for damage in (b"\1\2\3\5", DATA * 1_000):
            await place.replace(lies_at("bodies", DATA_ID), damage)
            with pytest.raises(AttachmentCorruptError):
                await store.get_body(BodyReference(DATA_ID, 4))


# Over the transports ------------------------------------------------------------------------------


async def test_a_message_without_its_body_passes_every_broker(
    transport: Transport, names: Names
) -> None:
    """Claimed, published, delivered and fetched, it is the message that it was."""
    store = opened(MemoryPlace(f"t-{secrets.token_hex(4)}"), body_threshold_bytes=10)
    bodies = LargeBodies(store)
    original = Message(body=b"0123456789!", headers={"effect-hash": "h"}, reply_to="me")
    small = await bodies.outgoing(original)
    await transport.publish(names.work_exchange, "tool_call", small)
    consumer = await transport.consume(names.work_queue("tool_call"), prefetch=1)
    async with asyncio.timeout(20):
        delivery = await anext(aiter(consumer))
    delivery.ack()
    found = delivery.message
    assert (found.body, body_reference(found)) == (b"", body_reference(small))
    whole = await bodies.incoming(found)
    assert (whole.body, whole.headers) == (original.body, original.headers)
    assert whole.reply_to == "me"
