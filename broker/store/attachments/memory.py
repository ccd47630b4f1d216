"""Objects in this process, for ``memory://``: shared by name, gone with the process."""

from __future__ import annotations

from effectmq.broker.store.attachments.objects import Found, Persistence, digest

__all__ = ["MemoryObjects"]

_PLACES: dict[str, dict[str, bytes]] = {}


class MemoryObjects:
    """
    An object store in the memory of this process.

    Args:
        name: All users of this name in the process share the same objects.
    """

    persistence: Persistence = "ephemeral"

    def __init__(self, name: str) -> None:
        self.where = f"memory://{name}"
        #: The objects, so that tests can look at them and damage them.
        self.objects = _PLACES.setdefault(name, {})

    async def open(self) -> None:
        """Do nothing: memory is ready."""

    async def close(self) -> None:
        """Do nothing: others may still use the name."""

    async def put(self, name: str, data: bytes) -> None:
        """Keep an object."""
        self.objects[name] = data

    async def get(self, name: str, max_bytes: int) -> Found | None:
        """Read an object."""
        kept = self.objects.get(name)
        if kept is None:
            return None
        data = kept[: max_bytes + 1]
        return Found(data, await digest(data))

    async def delete(self, name: str) -> None:
        """Remove an object."""
        self.objects.pop(name, None)
