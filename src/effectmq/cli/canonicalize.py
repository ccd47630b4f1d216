"""``effectmq canonicalize``: canonical text and hash of documents, for authors of encoders."""

from __future__ import annotations

import argparse
from typing import BinaryIO, Literal

from effectmq.cli.arguments.options import Commands, add_command
from effectmq.cli.terminal.lines import MAX_LINE_BYTES, Line, Source, batches, opened
from effectmq.cli.terminal.output import json_line, stdout_bytes
from effectmq.protocol.identity.canonicalize import canonicalize_line

__all__ = ["canonicalize", "configure", "run"]

Kind = Literal["envelope", "outcome", "value"]

_DESCRIPTION = """\
Read one JSON document a line and print one JSON object a line: "canonical"
(the canonical JSON as text) and "sha256" (of its UTF-8 bytes); for an
envelope also "validation", which is "ok" or the code of the first rule that
it breaks. A line that cannot be read gives {"error": sentence}.

The output has as many lines as the input, in the same order, always in UTF-8.
Exit code: 0 when every line could be read, 1 when one could not."""


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = add_command(
        commands, "canonicalize", "print canonical JSON and hashes of documents", _DESCRIPTION
    )
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="default: stdin")
    parser.add_argument(
        "--type",
        choices=("envelope", "outcome", "value"),
        default="envelope",
        help="how to read the documents; value is any JSON; default: envelope",
    )
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """
    Canonicalise every line.

    Raises:
        ConfigurationError: When the file cannot be read.
    """
    with opened(args.file) as source:
        return 1 if canonicalize(args.type, source, stdout_bytes()) else 0


def canonicalize(kind: Kind, source: Source, output: BinaryIO) -> int:
    """
    Canonicalise every line of a stream.

    Args:
        kind: How to read them.
        source: The documents.
        output: Gets one line for each.

    Returns:
        How many lines could not be read.
    """
    errors = 0
    for batch in batches(source):
        for line in batch:
            answer = _answer(kind, line)
            errors += "error" in answer
            output.write(json_line(answer))
        # The sender of these lines may wait at a pipe for the answers.
        output.flush()
    return errors


def _answer(kind: Kind, line: Line) -> dict[str, str]:
    if line.too_long:
        return {"error": f"the line is longer than {MAX_LINE_BYTES} bytes"}
    return canonicalize_line(kind, line.data)
