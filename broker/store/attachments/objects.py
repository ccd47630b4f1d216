"""
The port below the attachment store: named bytes, and what every adapter promises.

* A name that was put can be read by everybody at once, whole or not at all: nobody ever sees half
  of what was written, whatever dies on the way.
* Putting a name again replaces it in one step. The store only puts equal bytes under equal names,
  or descriptions of which any will do, so that the order of writers does not matter.
* An adapter raises ``AttachmentStoreError`` and nothing else. It says what was found, and neither
  it nor ``where`` holds a secret.

Adapters: ``memory://``, ``file://`` and ``s3://``. All pass
``tests/conformance/test_attachments.py``.
"""

from __future__ import annotations

from typing import Literal, Protocol

__all__ = ["ObjectStore", "Persistence"]

#: Whether what was put is still there when every process has ended.
Persistence = Literal["ephemeral", "durable"]


class ObjectStore(Protocol):
    """A place for named bytes. Names are made by us: lowercase letters, digits, ``.`` and ``/``."""

    @property
    def where(self) -> str:
        """The place, as it may be shown to people."""
        ...

    @property
    def persistence(self) -> Persistence:
        """Whether it outlives the processes that use it."""
        ...

    async def open(self) -> None:
        """
        Make ready, and find out early what would fail later.

        Raises:
            AttachmentStoreError: When the place cannot be used.
        """
        ...

    async def close(self) -> None:
        """Let go of threads and connections; using it again opens them again."""
        ...

    async def put(self, name: str, data: bytes) -> None:
        """
        Write, whole or not at all; when this returns it is as safe as the place can make it.

        Raises:
            AttachmentStoreError: When it could not be written.
        """
        ...

    async def get(self, name: str, max_bytes: int) -> bytes | None:
        """
        Read.

        Args:
            name: What to read.
            max_bytes: No more than one byte above this is read into memory; whoever gets more than
                this many knows that there is too much.

        Returns:
            The bytes; ``None`` when there is nothing under this name.

        Raises:
            AttachmentStoreError: When it could not be read.
        """
        ...

    async def delete(self, name: str) -> None:
        """
        Delete; what is not there is deleted already.

        Raises:
            AttachmentStoreError: When it could not be deleted.
        """
        ...
