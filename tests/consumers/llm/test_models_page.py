"""What ``docs/models.md`` shows works, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from effectmq import Client, Worker
from effectmq.consumers.llm.models import ModelSettings
from effectmq.consumers.llm.reading import failures
from effectmq.consumers.llm.script import ScriptFailure, ScriptRule

_PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text()


def snippets() -> list[str]:
    """The pieces of Python on the page."""
    return re.findall(r"```python\n(.*?)```", _PAGE, re.DOTALL)


async def test_the_worker_and_the_producer_of_the_page_work_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In memory; the first attempt of the second rule fails, as the page says."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-used")
    names: dict[str, Any] = {}
    for snippet in snippets():
        exec(compile(snippet, "docs/models.md", "exec"), names)
    async with names["app"], Client() as client:
        text = await names["ask"](client, "hello there")
    assert text == "Hello from hello there"
    assert capsys.readouterr().out == "Hello from hello there"
    other = Worker()
    names["add_models"](other, {"demo": {"provider": "scripted"}}, {})
    assert other.kinds == ("sleep", "llm_call", "direct")


@pytest.mark.parametrize("settings", [ModelSettings, ScriptRule, ScriptFailure])
def test_every_setting_is_on_the_page(settings: Any) -> None:
    """By its name."""
    names = set(settings.__dataclass_fields__)
    assert {name for name in names if not re.search(rf"\b{name}\b", _PAGE)} == set()


def test_every_code_of_the_error_table_is_on_the_page() -> None:
    """Those of the providers, as the module's own table has them."""
    codes = set(re.findall(r"``(\w+)`` ", failures.__doc__ or ""))
    assert len(codes) > 10
    assert {code for code in codes if f"`{code}`" not in _PAGE} == set()
