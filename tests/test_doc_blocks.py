"""
The Python blocks of the README and of the pages: checked and, where they can be, run.

A block is a module of its own. One that awaits is the body of a coroutine function. What it uses
and does not show is given in a comment above it, as the lines of a stub::

    <!-- given:
    from effectmq import Client
    client: Client
    -->
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from effectmq.protocol.errors import MissingExtraError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(
    r"(?:^<!-- given:\n(?P<given>(?:(?!-->).)*?)^-->\n\s*)?^```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
#: A block shows how a name comes to be, and not what becomes of it then.
_PYRIGHT = "# pyright: strict, reportUnusedVariable=false, reportUnusedExpression=false\n"


@dataclass(frozen=True)
class Block:
    """
    One block of a page.

    Attributes:
        name: The page and the line, as a module's name.
        code: What is shown.
        given: What is not shown, as a stub.
    """

    name: str
    code: str
    given: str

    @property
    def module(self) -> str:
        """The block as a module."""
        given = f"from {self.name}_given import *\n" if self.given else ""
        if not awaits(self.code):
            return _PYRIGHT + given + self.code
        body = textwrap.indent(self.code, "    ")
        return f"{_PYRIGHT}{given}async def block() -> None:\n{body}"


def awaits(code: str) -> bool:
    """Whether the block awaits outside of a function, as a notebook would."""
    try:
        compile(code, "block", "exec", dont_inherit=True)
    except SyntaxError:
        compile(code, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        return True
    return False


def blocks(page: Path) -> Iterator[Block]:
    """The Python blocks of a page."""
    text = page.read_text()
    stem = re.sub(r"\W", "_", str(page.relative_to(ROOT).with_suffix("")))
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("code")) + 1
        yield Block(f"{stem}_line_{line}", found["code"], found["given"] or "")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All blocks as modules, in a folder."""
    folder = tmp_path_factory.mktemp("blocks")
    for block in (block for page in PAGES for block in blocks(page)):
        (folder / f"{block.name}.py").write_text(block.module)
        if block.given:
            (folder / f"{block.name}_given.pyi").write_text(block.given)
    return folder


def check(*command: str, folder: Path) -> None:
    """Run a checker, and show what it found."""
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    ran = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_block_is_found() -> None:
    """A fence that is written otherwise would be passed over in silence."""
    for page in PAGES:
        fences = re.findall(r"^\s*```\s*py.*$", page.read_text(), re.MULTILINE)
        assert len(fences) == len(list(blocks(page))), page


@pytest.mark.timeout(300)
def test_mypy_takes_every_block(written: Path) -> None:
    """In strict mode, with the plugin of pydantic; a body may be left out with three dots."""
    (written / "mypy.ini").write_text(
        "[mypy]\nstrict = true\nplugins = pydantic.mypy\ndisable_error_code = empty-body\n"
    )
    files = sorted(path.name for path in written.glob("*.py"))
    check("mypy", "--cache-dir", str(ROOT / ".mypy_cache" / "blocks"), *files, folder=written)


@pytest.mark.timeout(300)
def test_pyright_takes_every_block(written: Path) -> None:
    """In strict mode."""
    settings = {"include": ["."], "typeCheckingMode": "strict", "extraPaths": [str(ROOT / "src")]}
    (written / "pyrightconfig.json").write_text(json.dumps(settings))
    check("pyright", "--pythonpath", sys.executable, folder=written)


#: Those that make what they show and start nothing.
STANDALONE = [
    block
    for page in PAGES
    for block in blocks(page)
    if not block.given and not awaits(block.code) and "asyncio.run(" not in block.code
]


@pytest.mark.parametrize("block", STANDALONE, ids=lambda block: block.name)
def test_a_block_that_needs_nothing_runs(
    block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Names exist, arguments are taken, tools and handlers can be registered."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.chdir(tmp_path)
    code = compile(block.code, block.name, "exec", dont_inherit=True)
    try:
        exec(code, {"__name__": block.name})
    except MissingExtraError as problem:
        pytest.skip(str(problem))


def test_the_first_block_of_the_readme_says_what_it_says(tmp_path: Path) -> None:
    """As somebody pastes it into a file."""
    first = next(blocks(ROOT / "README.md"))
    ran = subprocess.run(
        [sys.executable, "-c", first.code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "EFFECTMQ_JOURNAL": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    three, failure = ran.stdout.splitlines()
    assert three == "3"
    assert failure.startswith(
        "tool 'add' failed with invalid_tool_args (invalid_request): invalid arguments for tool add"
    )
