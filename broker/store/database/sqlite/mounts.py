"""Whether a file is on this host: SQLite's locks and its shared memory do not cross a network."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["network_filesystem"]

_MOUNTS = Path("/proc/self/mounts")
# Clustered file systems are included: several hosts use them, and share no memory.
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|ncpfs|9p|afs|coda|davfs\d?|ceph|glusterfs|lustre|beegfs\w*|gpfs|gfs2"
    r"|ocfs2|pvfs2|orangefs|panfs|wekafs|vboxsf|vmhgfs|prl_fs|fuse\.[\w.-]+"
)
#: File systems in user space that are on this host.
_LOCAL = re.compile(r"fuse\.(fuse-overlayfs|unionfs\w*|mergerfs|snapfuse|squashfuse|bindfs|lxcfs)")


def network_filesystem(path: Path, mounts: str | None = None) -> str | None:
    """
    The type of the network file system of a path; ``None`` when it is a local one.

    Args:
        path: The file, which need not exist.
        mounts: The content of ``/proc/self/mounts``; read when not given. Without such a file the
            type is unknown, and the path counts as local.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text()
        except OSError:
            return None
    place = path.resolve()
    best, found = -1, ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(_unescaped(fields[1]))
        depth = len(point.parts)
        if depth >= best and place.is_relative_to(point):
            best, found = depth, fields[2]
    return found if _NETWORK.fullmatch(found) and not _LOCAL.fullmatch(found) else None


def _unescaped(field: str) -> str:
    """A path of which the kernel writes blanks and backslashes as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field)
