"""
Objects as files of a directory, local or mounted.

A file is written under a temporary name in the same folder, synchronised to the disk, and renamed;
then the folder is, and the one above it, which has the folder's name. So a file with the name of an
object is always complete, whatever crashes and whoever writes the same object at the same time. A
process that is killed in between can leave a file ``.….tmp``, which nobody reads. Files can be read
by user and group; the umask of the process may exclude the group.

All work is done in separate threads, so that neither a slow disk nor a tool that keeps the event
loop's threads busy delays anything else. What is done there uses few functions of ``os``: between
two of them a thread waits for its turn.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TypeVar

from effectmq.broker.store.attachments.objects import Found, Persistence
from effectmq.protocol.errors import AttachmentStoreError

__all__ = ["DirectoryObjects"]

_THREADS = 4
_FILE_MODE = 0o660
_FOLDER_MODE = 0o770

_Result = TypeVar("_Result")

#: Advice for failures that somebody can mend.
#: These need a change; a full disk or a lost mount is worth waiting for.
_LASTING = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space (docs/attachments.md says what may go)",
    errno.EDQUOT: "the quota is used up; raise it or free some space",
    errno.EROFS: "the file system is read-only; mount it for writing",
    errno.EACCES: "permission is denied; let this user read and write there",
    errno.EPERM: "permission is denied; let this user read and write there",
    errno.ENOTDIR: "part of the path is not a directory; name a directory",
    errno.EEXIST: "there is a file in the place of a directory; name a directory",
    errno.EISDIR: "there is a directory in the place of a file; use an empty directory",
    errno.EMFILE: "this process has too many files open; raise its limit (ulimit -n)",
    errno.EIO: "the disk reported an error; check it",
    errno.ESTALE: "the network file system has gone away; mount it again",
}


class DirectoryObjects:
    """
    An object store in a directory, local or mounted.

    Args:
        root: The directory; made when it does not exist.
    """

    persistence: Persistence = "durable"

    def __init__(self, root: Path) -> None:
        self.where = f"file://{root}"
        self._root = root
        self._threads: ThreadPoolExecutor | None = None
        self._mark = secrets.token_hex(8)
        self._numbers = count()

    async def open(self) -> None:
        """
        Make the directory and write a file there, so that a wrong setting is found at the start.
        """
        await self._run("used", self._probe)

    async def close(self) -> None:
        """End the threads after the work under way."""
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)

    async def put(self, name: str, data: bytes) -> None:
        """Write a file."""
        await self._run("written to", lambda: self._write(f"{self._root}/{name}", data))

    async def get(self, name: str, max_bytes: int) -> Found | None:
        """Read a file."""
        return await self._run("read", lambda: _read(f"{self._root}/{name}", max_bytes))

    async def delete(self, name: str) -> None:
        """Delete a file."""
        await self._run("deleted from", lambda: (self._root / name).unlink(missing_ok=True))

    async def _run(self, done: str, work: Callable[[], _Result]) -> _Result:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "effectmq-attachments")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as problem:
            why = _ADVICE.get(problem.errno or 0) or (problem.strerror or "it failed").lower()
            raise AttachmentStoreError(
                f"the attachment store {self.where} could not be {done}: {why}",
                lasting=problem.errno in _LASTING,
            ) from None

    def _probe(self) -> None:
        _make_folder(self._root)
        probe = self._root / self._temporary("")
        probe.touch(_FILE_MODE)
        probe.unlink()

    def _temporary(self, name: str) -> str:
        """A name that no other write has; a forked process has the same mark."""
        return f".{name}.{self._mark}-{os.getpid():x}-{next(self._numbers):x}.tmp"

    def _write(self, path: str, data: bytes) -> None:
        folder, name = os.path.split(path)
        temporary = f"{folder}/{self._temporary(name)}"
        try:
            self._write_through(temporary, Path(folder), data)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(folder)
        if Path(folder) != self._root:
            # Somebody else may have made it just now.
            _sync_folder(os.path.dirname(folder))

    def _write_through(self, temporary: str, folder: Path, data: bytes) -> None:
        try:
            descriptor = os.open(temporary, _NEW, _FILE_MODE)
        except FileNotFoundError:
            if folder != self._root:
                _make_folder(folder.parent)
            folder.mkdir(_FOLDER_MODE, exist_ok=True)
            descriptor = os.open(temporary, _NEW, _FILE_MODE)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def _read(path: str, max_bytes: int) -> Found | None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        size = min(os.fstat(descriptor).st_size, max_bytes)
        return Found.of(_read_all(descriptor, size))
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, size: int) -> bytes:
    """
    So many bytes, or one more when there are more.

    One read is enough, unless the file system gives less at a time.
    """
    data = os.read(descriptor, size + 1)
    if len(data) >= size:
        return data
    pieces = [data]
    left = size + 1 - len(data)
    while left and (more := os.read(descriptor, left)):
        pieces.append(more)
        left -= len(more)
    return b"".join(pieces)


def _make_folder(path: Path) -> None:
    """Make a folder with its parents, each of them on the disk when this returns."""
    if path.is_dir():
        return
    _make_folder(path.parent)
    path.mkdir(_FOLDER_MODE, exist_ok=True)
    _sync_folder(path.parent)


def _sync_folder(path: str | Path) -> None:
    """Synchronise a folder: without this, a power cut may lose a file's name but not its bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
