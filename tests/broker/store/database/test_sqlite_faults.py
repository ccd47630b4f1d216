"""What can happen to a file, and what a worker hears of it; afterwards the same journal works."""

# These tests do to a file what an operator does, and nothing else runs beside them.
# ruff: noqa: ASYNC240

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.sqlite import mounts
from effectmq.broker.store.database.sqlite.adapter import SqliteDatabase
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Granted, Recorded
from effectmq.protocol.errors import ConfigurationError, DatabaseUnavailableError
from tests.conformance.asking import claim_of, effect, finished

_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
connection.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is, in a folder of its own."""
    return tmp_path / "folder" / "journal.db"


def journal_at(path: Path, *, busy_timeout_s: float = 5.0) -> Journal:
    """A journal that waits for so long for another writer."""
    journal = Journal(f"sqlite:///{path}")
    journal.database = SqliteDatabase(f"sqlite:///{path}", busy_timeout_s=busy_timeout_s)
    return journal


@pytest.fixture
async def journal(path: Path) -> AsyncGenerator[Journal]:
    """Open, with one effect recorded."""
    async with journal_at(path, busy_timeout_s=0.2) as opened:
        await finished(opened, effect("before"))
        yield opened


@contextlib.contextmanager
def locked_by_another_process(path: Path) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


async def assert_works(journal: Journal, key: str = "after") -> None:
    """It answers from the record, and takes a new one."""
    assert isinstance(await journal.claim(claim_of(effect("before"))), Recorded)
    await finished(journal, effect(key))
    assert isinstance(await journal.look(effect(key).identity), Recorded)


class TestLocked:
    async def test_a_writer_that_takes_too_long_is_named(
        self, journal: Journal, path: Path
    ) -> None:
        """Nothing is kept, reading goes on, and so does writing when it is gone."""
        with locked_by_another_process(path):
            for _ in range(2):
                with pytest.raises(DatabaseUnavailableError, match="another process has been wri"):
                    await journal.claim(claim_of(effect()))
            assert isinstance(await journal.look(effect("before").identity), Recorded)
        await assert_works(journal)

    async def test_a_writer_that_ends_in_time_is_waited_for(
        self, journal: Journal, path: Path
    ) -> None:
        """Nobody hears of it."""
        async with journal_at(path, busy_timeout_s=60) as patient:
            with locked_by_another_process(path) as holder:
                claim = patient.claim(claim_of(effect()))
                with pytest.raises(DatabaseUnavailableError):
                    await journal.claim(claim_of(effect("other")))
                assert not claim.done()
                holder.communicate("go\n")
                assert isinstance(await claim, Granted)

    async def test_a_new_file_is_not_waited_for_beyond_the_timeout(self, path: Path) -> None:
        """Neither when it is set up."""
        path.parent.mkdir()
        with locked_by_another_process(path), pytest.raises(DatabaseUnavailableError, match="lock"):
            await journal_at(path, busy_timeout_s=0.2).__aenter__()


class TestGone:
    async def test_a_deleted_file_is_noticed_and_never_replaced_by_an_empty_one(
        self, journal: Journal, path: Path
    ) -> None:
        """That would run everything again. Put back, it works."""
        away = path.with_name("elsewhere")
        path.rename(away)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError, match="is gone; put the file back"):
                await journal.claim(claim_of(effect("before")))
            with pytest.raises(DatabaseUnavailableError, match="is gone; put the file back"):
                await journal.look(effect("before").identity)
            assert not path.exists()
        away.rename(path)
        await assert_works(journal)

    async def test_a_reader_that_opens_late_makes_no_file_either(self, path: Path) -> None:
        """The first look comes after the file went."""
        async with SqliteDatabase(f"sqlite:///{path}") as database:
            path.unlink()
            with pytest.raises(DatabaseUnavailableError, match="is gone"):
                await database.read(lambda tx: tx.execute("SELECT 1"))
        assert not path.exists()

    async def test_a_folder_that_is_gone_is_not_made_again(
        self, journal: Journal, path: Path
    ) -> None:
        """A mount that failed must not be written beside."""
        away = path.parent.with_name("elsewhere")
        path.parent.rename(away)
        with pytest.raises(DatabaseUnavailableError, match="is gone"):
            await journal.claim(claim_of(effect()))
        assert not path.parent.exists()
        away.rename(path.parent)
        await assert_works(journal)

    async def test_a_restored_file_is_used_from_then_on(self, journal: Journal, path: Path) -> None:
        """What it does not know has not happened."""
        backup = path.with_name("backup")
        copied(path, backup)
        await finished(journal, effect("later"))
        Path(f"{path}-wal").unlink()
        Path(f"{path}-shm").unlink()
        backup.replace(path)
        assert await journal.look(effect("later").identity) is None
        await assert_works(journal)

    async def test_a_restored_file_is_not_ruined_by_the_log_of_the_former_one(
        self, journal: Journal, path: Path
    ) -> None:
        """SQLite itself would play it in; the sentence says how to restore."""
        backup = path.with_name("backup")
        copied(path, backup)
        await finished(journal, effect("later"))
        backup.replace(path)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError, match=r"journal\.db-wal beside it"):
                await journal.claim(claim_of(effect()))
            with pytest.raises(DatabaseUnavailableError, match="stop all workers"):
                await journal.look(effect().identity)


async def replayed(path: Path) -> None:
    """Open it and ask for everything in it."""
    async with journal_at(path) as journal:
        for number in range(50):
            await journal.claim(claim_of(effect(str(number))))


async def fill(journal: Journal, kept: list[str]) -> None:
    """Record until there is no more room."""
    for number in range(50):
        await finished(journal, effect(str(number)), BIG)
        kept.append(str(number))


def fill_up(filler: Path) -> None:
    """Take all that is left of a disk."""
    with filler.open("wb", 0) as file:
        while True:
            file.write(b"x" * 4096)


def copied(path: Path, target: Path) -> None:
    """A whole copy, as ``sqlite3 .backup`` makes one."""
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)


class TestDamaged:
    async def test_a_corrupted_page_is_named(self, path: Path) -> None:
        """With what to do; nothing of it is answered."""
        async with journal_at(path) as journal:
            await asyncio.gather(*(finished(journal, effect(str(n)), BIG) for n in range(50)))
        with path.open("r+b") as file:
            for page in range(2, path.stat().st_size // 4096):
                file.seek(page * 4096)
                file.write(b"\xff" * 64)
        with pytest.raises(DatabaseUnavailableError, match="damaged: restore it from a backup"):
            await replayed(path)

    async def test_something_else_is_not_overwritten(self, path: Path) -> None:
        """The path may be a mistake."""
        path.parent.mkdir()
        path.write_bytes(b"my precious letter, and no database at all" * 200)
        before = path.read_bytes()
        with pytest.raises(DatabaseUnavailableError, match="something else: choose another path"):
            await journal_at(path).__aenter__()
        assert path.read_bytes() == before

    async def test_a_folder_in_its_place_is_named(self, path: Path) -> None:
        """As what cannot be opened."""
        path.mkdir(parents=True)
        with pytest.raises(DatabaseUnavailableError, match="cannot be used: unable to open"):
            await journal_at(path).__aenter__()

    async def test_a_file_in_place_of_its_folder_is_named(self, path: Path) -> None:
        """Nothing of Python reaches the user raw."""
        path.parent.write_text("a file")
        with pytest.raises(DatabaseUnavailableError, match="look at the file and its folder"):
            await journal_at(path).__aenter__()

    async def test_a_transaction_that_fails_half_way_leaves_nothing(self, journal: Journal) -> None:
        """Whatever failed; the next one is not disturbed."""

        def fails(tx: object) -> None:
            tx.execute("UPDATE effectmq_effects SET status = 'odd'")  # type: ignore[attr-defined]
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            await journal.database.write(fails)
        await assert_works(journal)


BIG = '"' + "x" * 20_000 + '"'


class TestFull:
    async def test_a_full_file_keeps_nothing_by_halves(self, journal: Journal) -> None:
        """What was recorded stays, and room makes it work again."""
        await journal.database.write(lambda tx: tx.execute("PRAGMA max_page_count = 30"))
        kept: list[str] = []
        with pytest.raises(DatabaseUnavailableError, match="make room on the disk"):
            await fill(journal, kept)
        for key in kept:
            found = await journal.claim(claim_of(effect(key)))
            assert found == Recorded("completed", 1, BIG, "")
        await journal.database.write(lambda tx: tx.execute("PRAGMA max_page_count = 100000"))
        await assert_works(journal)

    async def test_a_full_disk_keeps_nothing_by_halves(self, small_disk: Path) -> None:
        """The real thing, with a log that cannot grow."""
        async with journal_at(small_disk / "journal.db") as journal:
            await finished(journal, effect("before"))
            filler = small_disk / "filler"
            with pytest.raises(OSError, match="No space left"):
                fill_up(filler)
            with pytest.raises(DatabaseUnavailableError, match="disk"):
                await fill(journal, [])
            assert isinstance(await journal.look(effect("before").identity), Recorded)
            filler.unlink()
            await assert_works(journal)

    async def test_a_disk_that_became_read_only_is_named(self, small_disk: Path) -> None:
        """At start; the file is left as it is."""
        path = small_disk / "journal.db"
        async with journal_at(path) as journal:
            await finished(journal, effect("before"))
        remount(small_disk, "ro")
        with pytest.raises(DatabaseUnavailableError, match=r"writable|readable"):
            async with journal_at(path) as journal:
                await journal.claim(claim_of(effect()))
        remount(small_disk, "rw")
        async with journal_at(path) as journal:
            await assert_works(journal)


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of one megabyte; only root can have one."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True
    )
    if os.geteuid() != 0 or mounted.returncode != 0:
        pytest.skip("a small disk needs root and the right to mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
        shutil.rmtree(place)


def remount(place: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(place)], check=True)


async def test_a_network_file_system_is_refused_before_anything_is_made(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SQLite's locks would not hold there."""
    (tmp_path / "mounts").write_text(f"server:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "mounts")
    with pytest.raises(ConfigurationError, match=r"network file system \(nfs4\).*PostgreSQL"):
        await journal_at(path).__aenter__()
    assert not path.parent.exists()


async def test_a_commit_is_on_the_disk_when_it_returns(journal: Journal) -> None:
    """Not in the system's memory: this is what makes an answer durable."""
    rows = await journal.database.write(
        lambda tx: (tx.execute("PRAGMA synchronous"), tx.execute("PRAGMA journal_mode"))
    )
    assert rows == ([(2,)], [("wal",)])
    assert journal.database.durable


async def test_only_what_may_be_large_keeps_its_undone_pages_in_files(journal: Journal) -> None:
    """What a statement needs to undo itself is as much as it writes."""
    database, files, memory = journal.database, [(0,)], [(2,)]

    def told(tx: Transaction) -> object:
        return tx.execute("PRAGMA temp_store")

    assert await database.write(told) == memory
    assert await database.write(told, durable=False) == memory
    assert await database.write(told, large=True) == files
    assert await database.write(told) == memory
    assert await database.read(told) == files
