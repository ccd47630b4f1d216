"""
The port below the attachment store: named bytes, and the promises of every adapter.

* A stored object can be read by everybody at once, complete or not at all: nobody sees a part of
  it, whatever crashes.
* Storing a name again replaces the object in one step. The store only puts equal bytes, or
  equivalent descriptions, under equal names, so that the order of writers does not matter.
* An adapter raises ``AttachmentStoreError`` and nothing else. Neither its text nor ``where`` has a
  secret.

Adapters: ``memory://``, ``file://`` and ``s3://``. All pass
``tests/conformance/test_attachments.py``.
"""

from __future__ import annotations

import asyncio
from typing import Literal, NamedTuple, Protocol, Self

from effectmq.protocol.encoding.canonical import sha256_hex

__all__ = ["Found", "ObjectStore", "Persistence", "digest"]

#: Whether stored objects remain when every process has ended.
Persistence = Literal["ephemeral", "durable"]


#: Hashing less than this is faster than starting a thread for it.
_HASHED_HERE_BYTES = 256 * 1024


async def digest(data: bytes) -> str:
    """SHA-256 as lowercase hex, without holding up the event loop."""
    if len(data) <= _HASHED_HERE_BYTES:
        return sha256_hex(data)
    return await asyncio.to_thread(sha256_hex, data)


class Found(NamedTuple):
    """
    An object that was read.

    Attributes:
        data: Its bytes.
        sha256: Their hash, lowercase hex: computed of these bytes, wherever they were read.
    """

    data: bytes
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Bytes that were just read, hashed in this thread."""
        return cls(data, sha256_hex(data))


class ObjectStore(Protocol):
    """A store of named bytes. Names have lowercase letters, digits, ``.`` and ``/`` only."""

    @property
    def where(self) -> str:
        """The place, in a form that may be shown to people."""
        ...

    @property
    def persistence(self) -> Persistence:
        """Whether it outlives the processes that use it."""
        ...

    async def open(self) -> None:
        """
        Prepare the store, and find problems early.

        Raises:
            AttachmentStoreError: When the place cannot be used.
        """
        ...

    async def close(self) -> None:
        """Close threads and connections; using the store opens them again."""
        ...

    async def put(self, name: str, data: bytes) -> None:
        """
        Write an object, complete or not at all; when this returns it is as safe as the place can
        make it.

        Raises:
            AttachmentStoreError: When it could not be written.
        """
        ...

    async def get(self, name: str, max_bytes: int) -> Found | None:
        """
        Read an object.

        Args:
            name: Its name.
            max_bytes: At most one byte more than this is read; a longer result shows that the
                object is too large.

        Returns:
            The bytes with their hash; ``None`` when there is nothing under this name.

        Raises:
            AttachmentStoreError: When it could not be read.
        """
        ...

    async def delete(self, name: str) -> None:
        """
        Delete an object; does nothing when it does not exist.

        Raises:
            AttachmentStoreError: When it could not be deleted.
        """
        ...
