"""A worker's process keeps freed memory for a while, and gives it back."""

from __future__ import annotations

import pytest

from effectmq.cli.program.heap import allocator, keeping_freed_memory
from tests.waiting import eventually


class Library:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []
        self.trims: list[int] = []

    def mallopt(self, name: int, value: int) -> int:
        self.told.append((name, value))
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.trims.append(pad)
        return 0


async def test_freed_memory_is_kept_and_given_back_when_nobody_needs_it() -> None:
    """As long as the worker runs, and not after it."""
    library = Library()
    async with keeping_freed_memory(library, give_back_s=0.01):
        assert {name for name, _ in library.told} == {-1, -3}
        await eventually(lambda: len(library.trims) >= 2)
    assert len(library.told) == 2


async def test_the_library_of_this_machine_takes_what_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where there is glibc; elsewhere nothing is done."""
    for name in ("LD_PRELOAD", "GLIBC_TUNABLES", "PYTHONMALLOC"):
        monkeypatch.delenv(name, raising=False)
    library = allocator()
    if library is None:
        pytest.skip("this machine has no glibc")
    assert library.malloc_trim(0) in (0, 1)


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD", "GLIBC_TUNABLES"])
async def test_whoever_has_decided_is_left_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By glibc's own variables, or with another allocator."""
    monkeypatch.setenv(name, "1")
    library = allocator()
    assert library is None
    async with keeping_freed_memory(library):
        pass
