"""Namespaces that share an attachment store: each has its own place, and old references hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.store.attachments import open_attachments
from effectmq.broker.store.attachments.settings import AttachmentSettings
from effectmq.broker.store.attachments.store import AttachmentStore
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import AttachmentMissingError, ConfigurationError
from effectmq.protocol.topology import TopologySettings
from tests.conformance.places import Place
from tests.conformance.test_attachments import place, s3_port

#: Used here, too.
__all__ = ["place", "s3_port"]


def of(place: Place, namespace: str | None) -> AttachmentStore:
    """The store of a namespace at a place."""
    store = open_attachments(place.url, AttachmentSettings(), namespace=namespace)
    assert store is not None
    return store


async def test_what_one_deletes_the_other_has(place: Place) -> None:
    """Also when it is the default namespace that deletes."""
    stores = [of(place, name) for name in ("orders", "orders.test", None)]
    references = [
        await store.put(b"same bytes", "image/png", label=f"of {number}")
        for number, store in enumerate(stores)
    ]
    assert len({reference.id for reference in references}) == 1
    id_ = references[0].id
    for number, store in enumerate(stores):
        assert (await store.describe(id_)).label == f"of {number}"
    await stores[2].delete(id_)
    await stores[0].delete(id_)
    assert await stores[1].get(id_) == b"same bytes"
    for store in (stores[0], stores[2]):
        with pytest.raises(AttachmentMissingError):
            await store.get(id_)
        with pytest.raises(AttachmentMissingError):
            await store.describe(id_)


async def test_what_was_there_before_stays_readable(place: Place) -> None:
    """Attachments and bodies of messages, by whoever was given the reference."""
    old = of(place, None)
    reference = await old.put(b"old", "image/png", label="old")
    body = await old.put_body(b"old body")
    store = of(place, "orders")
    assert await store.get(reference.id) == b"old"
    assert (await store.describe(reference.id)).label == "old"
    assert await store.get_body(body) == b"old body"
    await store.delete(reference.id)
    assert await old.get(reference.id) == b"old"


async def test_bodies_are_apart(place: Place) -> None:
    """One namespace's are not found by another."""
    body = await of(place, "orders").put_body(b"mine")
    with pytest.raises(AttachmentMissingError):
        await of(place, "orders.test").get_body(body)
    with pytest.raises(AttachmentMissingError):
        await of(place, None).get_body(body)


async def test_workers_and_clients_open_the_store_of_their_namespace(tmp_path: Path) -> None:
    """By the address alone; a namespace that the command line gives later counts."""
    url, topology = f"file://{tmp_path}/a", TopologySettings(namespace="shop")
    worker = EffectWorker("memory://places", attachments=url)
    worker.topology = topology
    await worker.start()
    async with EffectClient("memory://places", attachments=url, topology=topology) as client:
        assert worker.attachments is not None
        assert client.attachments is not None
        reference = await worker.attachments.put(b"x", "image/png")
        assert await client.attachments.get(reference.id) == b"x"
    await worker.stop(0.0)
    other = open_attachments(url)
    assert other is not None
    with pytest.raises(AttachmentMissingError):
        await other.get(reference.id)


def test_what_is_no_namespace_is_refused() -> None:
    """It becomes part of a path."""
    for namespace in ("../up", "", "a/b", ".hidden"):
        with pytest.raises(ConfigurationError):
            open_attachments("memory://x", namespace=namespace)
