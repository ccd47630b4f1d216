"""
What the site has beyond the pages of docs/.

Pages of the repository that stand outside docs/ are pages of the site too, and so is each file that
a page points to: the site is whole without the host of the repository. Links are written as they
work in the repository, and changed here to where their target is on the site.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

__all__ = ["on_files", "on_page_markdown"]

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

#: Pages outside docs/, by where they are on the site. Its home stands for the README.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples/index.md",
}

#: The languages of the files that pages point to, by their suffix.
LANGUAGES = {".json": "json", ".jsonl": "json", ".py": "python", ".ts": "ts", ".yml": "yaml"}

#: A block of code, which is left as it is; a link within the repository; a comment; code in a row
#: of a table.
_PARTS = re.compile(
    r"(?P<block>^[ ]*```.*?^[ ]*```$)"
    r"|\]\((?P<target>(?![a-z]+:|#)[^()\s]+)\)"
    r"|(?P<comment>^<!--.*?-->\n)"
    r"|(?P<code>`[^`\n]*\\\|[^`\n]*`)",
    re.MULTILINE | re.DOTALL,
)

#: What a page names the file that a block is; see ``tests/test_doc_blocks.py``.
_FILE = re.compile(r"^<!-- file: (?P<name>\S+) -->\n\s*^```python$", re.MULTILINE)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/, and those of the files that pages point to."""
    for source, place in PAGES.items():
        if (ROOT / source).exists() and files.get_file_from_path(place) is None:
            files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    pages = [Path(str(file.abs_src_path)) for file in files.documentation_pages()]
    for path in sorted(set(_pointed_to(pages))):
        files.append(
            File.generated(
                config, _place(path), content=_shown(path), inclusion=InclusionLevel.NOT_IN_NAV
            )
        )
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Change links to where their target is on the site, name files, leave comments out."""
    if page.file.abs_src_path is None:
        return markdown
    source = Path(page.file.abs_src_path)

    def changed(part: re.Match[str]) -> str:
        if part["comment"]:
            return ""
        if part["code"]:  # GitHub wants the bar escaped there, and Python-Markdown shows the escape
            return part[0].replace("\\|", "|")
        if not part["target"]:
            return part[0]
        return f"]({_link(part['target'], source, Path(page.file.src_uri))})"

    return _PARTS.sub(changed, _FILE.sub(r'```python title="\g<name>"', markdown))


def _pointed_to(pages: Iterable[Path]) -> Iterator[Path]:
    """The files of the repository that are no pages and that these pages point to."""
    for page in pages:
        for part in _PARTS.finditer(page.read_text(encoding="utf-8")):
            if part["target"]:
                path = _resolved(part["target"].partition("#")[0], page)
                if path.is_file() and not path.is_relative_to(DOCS) and _name(path) not in PAGES:
                    yield path


def _link(target: str, source: Path, page: Path) -> str:
    """A link of a file of the repository, as it is from a page of the site."""
    name, mark, anchor = target.partition("#")
    path = _resolved(name, source)
    if not path.is_relative_to(ROOT) or not path.exists():
        return target  # the build names it
    return os.path.relpath(_place(path), page.parent) + mark + anchor


def _resolved(name: str, source: Path) -> Path:
    """The file that a link means; of a folder, its README."""
    path = (source.parent / name).resolve()
    return path / "README.md" if path.is_dir() else path


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _place(path: Path) -> str:
    """Where a file of the repository is on the site."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    return PAGES.get(_name(path), f"files/{_name(path)}.md")


def _shown(path: Path) -> str:
    """A file of the repository as a page."""
    language = LANGUAGES.get(path.suffix, "text")
    return f"# {_name(path)}\n\n````{language}\n{path.read_text(encoding='utf-8')}````\n"
