"""Objects in this process, for ``memory://``: shared by name, gone with the process."""

from __future__ import annotations

from effectmq.broker.store.attachments.objects import Persistence

__all__ = ["MemoryObjects"]

_PLACES: dict[str, dict[str, bytes]] = {}


class MemoryObjects:
    """
    An object store in the memory of this process.

    Args:
        name: Everybody in this process who opens this name sees the same objects.
    """

    persistence: Persistence = "ephemeral"

    def __init__(self, name: str) -> None:
        self.where = f"memory://{name}"
        #: The objects themselves, to look at them and to damage them in tests.
        self.objects = _PLACES.setdefault(name, {})

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do: others may go on using the name."""

    async def put(self, name: str, data: bytes) -> None:
        """Keep."""
        self.objects[name] = data

    async def get(self, name: str, max_bytes: int) -> bytes | None:
        """Read."""
        data = self.objects.get(name)
        return None if data is None else data[: max_bytes + 1]

    async def delete(self, name: str) -> None:
        """Forget."""
        self.objects.pop(name, None)
