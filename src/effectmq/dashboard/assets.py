"""
The files that pages load: scripts, styles, the icon.

Their address has a digest of all of them, so that a browser keeps them for ever and still never
mixes those of two releases. A page names every module that it will need, so that they come at once
and not one after another.
"""

from __future__ import annotations

import re
from functools import cache
from hashlib import sha256
from pathlib import Path, PurePosixPath

from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

__all__ = ["asset_route", "folder", "modules_of"]

_FILES = Path(__file__).parent / "assets"
_IMPORT = re.compile(r'^import\b[^;"]*"(\.[^"]+)"', re.MULTILINE)
_FOR_EVER = "public, max-age=31536000, immutable"


@cache
def folder() -> str:
    """The path under which the files are: ``/assets/`` and the digest."""
    digest = sha256()
    for file in sorted(_FILES.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(_FILES).as_posix().encode())
            digest.update(file.read_bytes())
    return f"/assets/{digest.hexdigest()[:16]}"


@cache
def modules_of(page: str) -> tuple[str, ...]:
    """The modules that a page needs, each under the folder of the files."""
    found: dict[str, None] = {}
    pending = ["shell.js", f"pages/{page}.js"]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found[name] = None
        text = (_FILES / name).read_text(encoding="utf-8")
        pending += [_joined(name, target) for target in _IMPORT.findall(text)]
    return tuple(sorted(found))


def _joined(module: str, target: str) -> str:
    parts = list(PurePosixPath(module).parent.parts)
    for step in target.split("/"):
        if step == "..":
            parts.pop()
        elif step != ".":
            parts.append(step)
    return "/".join(parts)


def asset_route() -> BaseRoute:
    """Serves the files."""
    return Mount(folder(), _Kept(directory=_FILES), name="assets")


class _Kept(StaticFiles):
    """Files that never change under their address."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with one file."""
        answer = await super().get_response(path, scope)
        answer.headers["Cache-Control"] = _FOR_EVER
        return answer
