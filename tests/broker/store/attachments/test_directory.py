"""Files of the attachment store: whole or not at all, and what a file system can do to them."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from effectmq.broker.store.attachments.directory import DirectoryObjects
from effectmq.broker.store.attachments.objects import Found
from effectmq.protocol.errors import AttachmentStoreError


def files(root: Path) -> list[str]:
    """Every file below a directory."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_a_written_object_is_one_file_and_nothing_else(tmp_path: Path) -> None:
    """Nothing temporary stays behind, nor does the probe of opening."""
    objects = DirectoryObjects(tmp_path / "store")
    await objects.open()
    await objects.put("a/b/c", b"1")
    await objects.put("a/b/c", b"2")
    assert files(tmp_path) == ["store/a/b/c"]
    assert await objects.get("a/b/c", 10) == Found.of(b"2")


async def test_nobody_else_on_the_machine_can_read_it(tmp_path: Path) -> None:
    """Users outside the group see neither names nor bytes."""
    objects = DirectoryObjects(tmp_path / "store")
    await objects.put("a/b", b"1")
    for path in (tmp_path / "store", tmp_path / "store/a", tmp_path / "store/a/b"):
        assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO == 0


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "the quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission is denied"),
        (errno.EIO, "the disk reported an error"),
        (errno.ENOLCK, "no locks available"),
    ],
)
async def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    """The old bytes, no half of the new ones, and a sentence that says what to do."""
    objects = DirectoryObjects(tmp_path)
    await objects.put("a", b"old")

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        with pytest.raises(AttachmentStoreError) as failed:
            await objects.put("a", b"new")
    assert advice in str(failed.value)
    assert f"file://{tmp_path} could not be written to" in str(failed.value)
    assert files(tmp_path) == ["a"]
    assert await objects.get("a", 10) == Found.of(b"old")


async def test_a_file_in_the_place_of_the_directory_shows_at_start(tmp_path: Path) -> None:
    """When it is opened, and when it is used without having been opened."""
    (tmp_path / "file").write_bytes(b"")
    objects = DirectoryObjects(tmp_path / "file" / "store")
    for use in (objects.open, lambda: objects.put("a", b"1"), lambda: objects.get("a", 1)):
        with pytest.raises(AttachmentStoreError, match="name a directory"):
            await use()


async def test_it_can_be_used_again_after_closing(tmp_path: Path) -> None:
    """A store may be shared by a client and a worker that close it at different times."""
    objects = DirectoryObjects(tmp_path)
    await objects.put("a", b"1")
    await objects.close()
    await objects.close()
    assert await objects.get("a", 1) == Found.of(b"1")
    await objects.close()


async def test_bytes_then_the_name_then_the_folders_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order, whoever has made the folders; and with nothing done twice."""
    objects = DirectoryObjects(tmp_path / "store")
    done: list[str] = []

    def path_of(descriptor: int) -> str:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path))

    def sync(descriptor: int, fsync: Callable[[int], None] = os.fsync) -> None:
        done.append(path_of(descriptor))
        fsync(descriptor)

    def replace(source: str, target: str, rename: Callable[[str, str], None] = os.replace) -> None:
        done.append("renamed")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    await objects.put("a/b/c", b"1")
    first, done[:] = done[:], []
    await objects.put("a/b/d", b"2")
    for written, above, name in ((first, [".", "store"], "c"), (done, [], "d")):
        made, (file, *rest) = written[: len(above)], written[len(above) :]
        assert made == above
        assert file.startswith(f"store/a/b/.{name}.")
        assert rest == ["renamed", "store/a/b", "store/a"]


async def test_a_folder_that_is_taken_away_is_made_again(tmp_path: Path) -> None:
    """Somebody tidies up while a worker runs."""
    objects = DirectoryObjects(tmp_path)
    await objects.put("a/b/c", b"1")
    shutil.rmtree(tmp_path / "a")
    await objects.put("a/b/c", b"2")
    assert await objects.get("a/b/c", 1) == Found.of(b"2")


@pytest.mark.parametrize("at_a_time", [1, 3])
async def test_a_file_system_may_take_and_give_a_part_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    """Nothing is lost, and nothing is read beyond the limit."""
    objects = DirectoryObjects(tmp_path)
    with monkeypatch.context() as slow:
        read, write = os.read, os.write
        slow.setattr(os, "read", lambda file, size: read(file, min(size, at_a_time)))
        slow.setattr(os, "write", lambda file, data: write(file, bytes(data[:at_a_time])))
        await objects.put("a", b"0123456789")
        for most, expected in ((20, b"0123456789"), (10, b"0123456789"), (4, b"01234")):
            assert await objects.get("a", most) == Found.of(expected)
    assert (tmp_path / "a").read_bytes() == b"0123456789"
