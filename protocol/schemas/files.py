"""The files that describe the wire to other languages, by name."""

from __future__ import annotations

import json

from effectmq.protocol.schemas.asyncapi import ASYNCAPI, asyncapi_document
from effectmq.protocol.schemas.bodies import ANSWERS, CHUNK, ENVELOPE, OUTCOME, body_schemas

__all__ = ["FILES", "schema_files"]

#: The names, without making the files.
FILES = (ENVELOPE, OUTCOME, ANSWERS, CHUNK, ASYNCAPI)


def schema_files() -> dict[str, str]:
    """The text of each file, the same bytes every time."""
    made = {**body_schemas(), ASYNCAPI: asyncapi_document()}
    return {name: json.dumps(made[name], indent=1, ensure_ascii=False) + "\n" for name in FILES}
