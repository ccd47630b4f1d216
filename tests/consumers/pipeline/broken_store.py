"""A store in memory that can be broken and mended."""

from __future__ import annotations

import secrets

from effectmq.broker.store.attachments import AttachmentSettings, AttachmentStore
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.store.attachments.memory import MemoryObjects
from effectmq.broker.store.attachments.objects import Found
from effectmq.protocol.errors import AttachmentStoreError

__all__ = ["BreakableObjects", "make_bodies"]


class BreakableObjects(MemoryObjects):
    """
    Attributes:
        broken: While it is set, nothing can be written or read.
        unreadable: While it is set, nothing can be read.
        refused: How often that was tried.
    """

    def __init__(self) -> None:
        super().__init__(secrets.token_hex(6))
        self.broken = False
        self.unreadable = False
        self.refused = 0

    def _check(self, fails: bool) -> None:
        if fails:
            self.refused += 1
            raise AttachmentStoreError("the store is down")

    async def put(self, name: str, data: bytes) -> None:
        """Keep, when it is not broken."""
        self._check(self.broken)
        await super().put(name, data)

    async def get(self, name: str, max_bytes: int) -> Found | None:
        """Read, when it is not broken."""
        self._check(self.broken or self.unreadable)
        return await super().get(name, max_bytes)


def make_bodies(
    threshold_bytes: int = 200, max_body_bytes: int = 4_000_000
) -> tuple[LargeBodies, BreakableObjects]:
    """A claim check with a low threshold, and what is below it."""
    objects = BreakableObjects()
    settings = AttachmentSettings(
        body_threshold_bytes=threshold_bytes, max_body_bytes=max_body_bytes
    )
    return LargeBodies(AttachmentStore(objects, settings)), objects
