"""
The table of docs/settings.md, out of the table of settings.

::

    python -m tests.front_door.settings.page        # write it anew
"""

from __future__ import annotations

import re
from pathlib import Path

from effectmq.settings.table import Owner, Setting, settings_of

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"

_OWNERS: dict[Owner, str] = {
    "place": "Where effects travel and what is kept: `Worker` and `Client`",
    "worker": "`Worker`",
    "client": "`Client`",
    "connection": "Connections: `Worker` and `Client`",
    "code": "Blocks of code: `Worker.code`",
    "process": "Background processes: `Worker.processes`",
    "api": "The HTTP API: `effectmq api`",
    "program": "Its process: `effectmq worker`; a program sets up its own",
    "log": "Logs: every command; a program sets up its own logging",
}
#: Lists are typed without blanks, and a table breaks its lines at blanks.
_COMMA = re.compile(r",(?! )")
_TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)


def table() -> str:
    """Every setting, in Markdown."""
    parts = [f"\n## {title}\n\n{_section(owner)}\n" for owner, title in _OWNERS.items()]
    return "".join(parts) + "\n"


def shown() -> str:
    """The table that the page has."""
    [found] = _TABLE.findall(PAGE.read_text())
    return found


def _section(owner: Owner) -> str:
    head = "| argument | option | variable | unit | default | meaning |\n|---|---|---|---|---|---|"
    return "\n".join((head, *map(_row, settings_of(owner))))


def _row(setting: Setting) -> str:
    argument = "—" if setting.owner in ("program", "log") else f"`{setting.argument}`"
    return (
        f"| {argument} | `{setting.option}` | `{setting.variable}` | {setting.form.unit} "
        f"| {_COMMA.sub(', ', setting.default)} | {setting.meaning} |"
    )


if __name__ == "__main__":
    PAGE.write_text(_TABLE.sub(lambda _: table(), PAGE.read_text()))
