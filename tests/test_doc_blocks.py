"""
The Python blocks of the README and of the pages: checked and, where they can be, run.

A block is a module of its own. One that awaits is the body of a coroutine function. What it uses
and does not show is given in a comment above it, as the lines of a stub::

    <!-- given:
    from effectmq import Client
    client: Client
    -->

``<!-- file: shop.py -->`` above a block gives the module a name that other blocks of the page can
import. ``<!-- prints -->`` between a program and the fence after it says that the program prints
that. White space is not compared, so that long lines can be broken, and ``…`` is any text.
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
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples/README.md",
]

_BLOCK = re.compile(
    r"(?:^<!-- given:\n(?P<given>(?:(?!-->).)*?)^-->\n\s*)?"
    r"(?:^<!-- file: (?P<file>\w+)\.py -->\n\s*)?"
    r"^```python\n(?P<code>.*?)^```$"
    r"(?:(?:(?!^```python).)*?^<!-- prints -->\n\s*^```\w*\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
#: A block shows how a name comes to be, and not what becomes of it then.
_PYRIGHT = "# pyright: strict, reportUnusedVariable=false, reportUnusedExpression=false\n"


@dataclass(frozen=True)
class Block:
    """
    One block of a page.

    Attributes:
        page: The page.
        name: The page and the line, as a module's name; or the name that the page gives it.
        code: What is shown.
        given: What is not shown, as a stub.
        printed: What the page says that it prints; ``None`` where it does not say.
    """

    page: Path
    name: str
    code: str
    given: str
    printed: str | None

    @property
    def module(self) -> str:
        """The block as a module."""
        given = f"from {self.name}_given import *\n" if self.given else ""
        if not awaits(self.code):
            return _PYRIGHT + given + self.code
        body = textwrap.indent(self.code, "    ")
        return f"{_PYRIGHT}{given}async def block() -> None:\n{body}"

    @property
    def is_program(self) -> bool:
        """Whether it is started as ``python FILE``."""
        return "asyncio.run(" in self.code and not self.is_tests

    @property
    def is_tests(self) -> bool:
        """Whether it is run by ``pytest FILE``."""
        return re.search(r"^(?:async )?def test_", self.code, re.MULTILINE) is not None


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
        name = found["file"] or f"{stem}_line_{line}"
        yield Block(page, name, found["code"], found["given"] or "", found["printed"])


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
    names = [block.name for page in PAGES for block in blocks(page)]
    assert sorted(names) == sorted(set(names)), "two pages name one file"


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
    if not block.given and not awaits(block.code) and not block.is_program and not block.is_tests
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


def start(block: Block, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a block as a file, in a folder that has nothing but the files that its page names."""
    for each in blocks(block.page):
        (folder / f"{each.name}.py").write_text(each.code)
    environment = {key: value for key, value in os.environ.items() if "EFFECTMQ" not in key}
    return subprocess.run(
        [sys.executable, *command, f"{block.name}.py"],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT / "src"), "XDG_STATE_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def closely(text: str) -> str:
    """A text without white space."""
    return "".join(text.split())


def fits(printed: str, shown: str) -> bool:
    """Whether a page shows what was printed, but for white space and what it leaves out."""
    pattern = ".*".join(re.escape(part) for part in closely(shown).split("…"))
    return re.fullmatch(pattern, closely(printed)) is not None


#: Where every program says what it prints; that of the README has a test of its own.
PROGRAMS = [
    block for page in PAGES[1:] for block in blocks(page) if block.is_program and not block.given
]
TESTS = [block for page in PAGES for block in blocks(page) if block.is_tests and not block.given]


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: block.name)
def test_a_program_prints_what_its_page_says(block: Block, tmp_path: Path) -> None:
    """As somebody pastes it into a file and starts it."""
    assert block.printed is not None, "say what it prints: <!-- prints --> and a fence after it"
    ran = start(block, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert fits(ran.stdout, block.printed), ran.stdout


@pytest.mark.parametrize("block", TESTS, ids=lambda block: block.name)
def test_tests_that_a_page_shows_pass(block: Block, tmp_path: Path) -> None:
    """With what the page says that they need."""
    ran = start(block, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_what_a_page_shows_is_compared_with_what_was_printed() -> None:
    """But for white space, and for what three dots stand for."""
    assert fits('{"a":1,"b":[2]}\n', '{\n  "a": 1,\n  "b": [2]\n}')
    assert fits("ran in 17 ms\n", "ran in … ms")
    assert not fits("ran in 17 s\n", "ran in … ms")


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
