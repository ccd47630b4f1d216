"""The recorded documents of the wire format, and the types they are of."""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from effectmq.protocol import wire
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import from_tree

_DATA = Path(__file__).parent / "data"


@cache
def vectors() -> list[dict[str, str]]:
    """The recorded encodings and refusals, as lines of the vector files."""
    files = (_DATA / name for name in ("lash-vectors.jsonl", "lash-vectors-more.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


@cache
def examples() -> dict[str, dict[str, str]]:
    """The example documents of the contract, by label."""
    lines = (_DATA / "lash-examples.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["label"]: line for line in map(json.loads, lines)}


@cache
def wire_types() -> dict[str, Any]:
    """Every public name of the wire modules."""
    modules = (
        import_module(f"{wire.__name__}.{found.name}") for found in iter_modules(wire.__path__)
    )
    return {name: getattr(module, name) for module in modules for name in module.__all__}


def example(label: str) -> Any:
    """One example document, decoded as the type it is of."""
    found = examples()[label]
    return from_tree(wire_types()[found["type"]], parse_json(found["document"]))
