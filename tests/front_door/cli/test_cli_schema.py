"""``effectmq schema``: the documents for other languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from effectmq.protocol.schemas.files import FILES, schema_files
from tests.front_door.cli.command import effectmq


@pytest.mark.parametrize("name", FILES)
def test_each_document_is_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = effectmq(capsys, "schema", name.partition(".")[0])
    assert result.code == 0
    assert result.out == schema_files()[name]
    json.loads(result.out)


def test_all_of_them_are_written_into_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is made when it is not there."""
    folder = tmp_path / "new" / "schema"
    assert effectmq(capsys, "schema", "--to", folder).code == 0
    assert {path.name: path.read_text("utf-8") for path in folder.iterdir()} == schema_files()


def test_a_folder_that_cannot_be_made_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    result = effectmq(capsys, "schema", "--to", tmp_path / "file" / "schema")
    assert result.code == 2
    assert "cannot be written" in result.err


def test_nothing_to_do_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert effectmq(capsys, "schema").code == 2
