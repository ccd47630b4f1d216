"""The example documents of the contract, section 11."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.protocol.encoding.canonical import canonical_json, sha256_hex
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from tests.protocol.documents import examples, wire_types

#: Re-encodes without its explicit null, as it does on the other side.
_LOSES_NULL = "O24"


def _shuffled(value: Any) -> Any:
    """The same document with all members in reverse."""
    if isinstance(value, dict):
        return {key: _shuffled(item) for key, item in reversed(value.items())}
    if isinstance(value, list):
        return [_shuffled(item) for item in value]
    return value


def _reencoded(type_name: str, tree: Any) -> str:
    type_ = wire_types()[type_name]
    if isinstance(tree, list):
        return f"[{','.join(_reencoded(type_name, item) for item in tree)}]"
    model = from_tree(type_, tree)
    return canonical_json(model if isinstance(model, str) else to_tree(model)).decode()


@pytest.mark.parametrize("label", examples())
def test_the_example_reencodes_to_itself(label: str) -> None:
    """Decoding and encoding give back the recorded bytes, whatever the order of members was."""
    example = examples()[label]
    document = example["document"]
    if "sha256" in example:
        assert sha256_hex(document.encode()) == example["sha256"]
    expected = document.replace('"raw":null,', "") if label == _LOSES_NULL else document
    tree = parse_json(document)
    assert _reencoded(example["type"], tree) == expected
    assert _reencoded(example["type"], _shuffled(tree)) == expected


def test_all_examples_were_copied() -> None:
    """67 documents are recorded with their hash, and 15 small ones without."""
    with_hash = [example for example in examples().values() if "sha256" in example]
    assert (len(with_hash), len(examples())) == (67, 82)
