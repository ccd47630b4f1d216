"""Which file systems are on another host."""

from __future__ import annotations

from pathlib import Path

import pytest

from effectmq.broker.store.database.sqlite import mounts as module
from effectmq.broker.store.database.sqlite.mounts import network_filesystem

MOUNTS = r"""
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/local ext4 rw 0 0
//server/share /mnt/with\040blank cifs rw 0 0
sshfs /mnt/ssh fuse.sshfs rw 0 0
ceph-fuse /mnt/ceph fuse.ceph-fuse rw 0 0
overlay /mnt/overlay fuse.fuse-overlayfs rw 0 0
tmpfs /tmp tmpfs rw 0 0
C:\134 /mnt/c 9p rw 0 0
old /twice nfs rw 0 0
new /twice ext4 rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/lib/journal.db", None),
        ("/home/me/journal.db", "nfs4"),
        ("/homestead/journal.db", None),
        ("/home/local/journal.db", None),
        ("/mnt/with blank/deep/er/journal.db", "cifs"),
        ("/mnt/ssh/journal.db", "fuse.sshfs"),
        ("/mnt/ceph/journal.db", "fuse.ceph-fuse"),
        ("/mnt/overlay/journal.db", None),
        ("/tmp/journal.db", None),
        ("/mnt/c/journal.db", "9p"),
        ("/twice/journal.db", None),
    ],
)
def test_the_deepest_and_latest_mount_decides(path: str, expected: str | None) -> None:
    """Blanks in mount points are written as octal numbers."""
    assert network_filesystem(Path(path), MOUNTS) == expected


def test_a_link_is_followed_to_where_the_file_is(tmp_path: Path) -> None:
    """A local name may lead to another host."""
    (tmp_path / "link").symlink_to("/home/me")
    assert network_filesystem(tmp_path / "link" / "journal.db", MOUNTS) == "nfs4"


def test_without_a_list_of_mounts_nothing_is_claimed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not every system has one."""
    monkeypatch.setattr(module, "_MOUNTS", tmp_path / "missing")
    assert network_filesystem(tmp_path) is None
