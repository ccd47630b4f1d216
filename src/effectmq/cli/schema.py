"""``effectmq schema``: JSON Schemas and AsyncAPI of the messages, for other languages."""

from __future__ import annotations

import argparse
from pathlib import Path

from effectmq.cli.arguments.options import Commands, add_command
from effectmq.cli.terminal.output import stdout_bytes
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import describe

__all__ = ["configure", "run"]

_DESCRIPTION = """\
Print the JSON Schema of one sort of message, or the AsyncAPI 3 document. With
--to, write all of them into a folder, where they refer to each other by their
names.

envelope: the body of a request, which a producer publishes
outcome:  the result of an effect
answers:  the body of a message on a reply queue, a list of outcomes
chunk:    a piece of streamed text"""

_FILES = {
    "envelope": "envelope.schema.json",
    "outcome": "outcome.schema.json",
    "answers": "answers.schema.json",
    "chunk": "chunk.schema.json",
    "asyncapi": "asyncapi.json",
}


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = add_command(
        commands, "schema", "print the JSON Schemas and the AsyncAPI document", _DESCRIPTION
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("document", nargs="?", choices=sorted(_FILES), help="the document to print")
    what.add_argument("--to", metavar="FOLDER", help="write all of them here")
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Print one document, or write all.

    Raises:
        ConfigurationError: When the folder cannot be written to.
    """
    # Imported here: it loads every wire type, which other commands do not need.
    from effectmq.protocol.schemas.files import schema_files

    files = schema_files()
    if args.to is None:
        stdout_bytes().write(files[_FILES[args.document]].encode())
        return 0
    _write(Path(args.to), files)
    return 0


def _write(folder: Path, files: dict[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as problem:
        raise ConfigurationError(
            f"the schemas cannot be written to {folder}: {describe(problem)}; name a folder that "
            "can be written to"
        ) from None
