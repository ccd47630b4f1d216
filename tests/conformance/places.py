"""Where attachments can be: each adapter of the store, with a way to damage what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from effectmq.broker.store.attachments import AttachmentSettings, AttachmentStore, open_attachments
from effectmq.broker.store.attachments.memory import MemoryObjects
from effectmq.broker.store.attachments.objects import ObjectStore, Persistence
from effectmq.broker.store.attachments.s3 import S3Objects

__all__ = ["DirectoryPlace", "MemoryPlace", "Place", "S3Place", "opened"]


class Place(Protocol):
    """One place, which every ``open`` shows anew."""

    persistence: Persistence
    url: str

    async def replace(self, name: str, data: bytes) -> None:
        """Put something else in the place of an object, as somebody with a key could."""
        ...


class MemoryPlace:
    """``memory://`` under a name that no other test uses."""

    persistence: Persistence = "ephemeral"

    def __init__(self, name: str) -> None:
        self.url = f"memory://{name}"
        self._name = name

    async def replace(self, name: str, data: bytes) -> None:
        """Replace."""
        MemoryObjects(self._name).objects[name] = data


class DirectoryPlace:
    """A directory that is made by the store."""

    persistence: Persistence = "durable"

    def __init__(self, root: Path) -> None:
        self.url = f"file://{root}"
        self._root = root

    async def replace(self, name: str, data: bytes) -> None:
        """Replace."""
        (self._root / name).write_bytes(data)


class S3Place:
    """A bucket of a server on this machine."""

    persistence: Persistence = "durable"

    def __init__(self, port: int, bucket: str) -> None:
        endpoint = f"http://127.0.0.1:{port}"
        self.url = f"s3://{bucket}/some/prefix?endpoint={endpoint}"
        self._objects: ObjectStore = S3Objects(bucket, prefix="some/prefix", endpoint=endpoint)

    async def replace(self, name: str, data: bytes) -> None:
        """Replace."""
        await self._objects.put(name, data)


def opened(place: Place, **settings: int) -> AttachmentStore:
    """A store at the place, as another process would have it."""
    store = open_attachments(place.url, AttachmentSettings(**settings))
    assert store is not None
    return store
