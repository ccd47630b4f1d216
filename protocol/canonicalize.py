"""One line of JSON to its canonical form and hash, or to what is wrong with it."""

from __future__ import annotations

from typing import Literal

from effectmq.protocol.canonical import canonical_json, sha256_hex
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.jsontext import parse_json
from effectmq.protocol.model import canonical_bytes, from_tree
from effectmq.protocol.opaque import canonical_value
from effectmq.protocol.validation import envelope_problem
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome

__all__ = ["canonicalize_line"]


def canonicalize_line(
    kind: Literal["envelope", "outcome", "value"], line: str | bytes
) -> dict[str, str]:
    """
    Canonicalise one document; never raises because of what is in it.

    Args:
        kind: How to read it: as an envelope, an outcome, or any JSON value.
        line: The document.

    Returns:
        ``canonical`` (text) and ``sha256``; for an envelope also ``validation``, which is ``ok``
        or the code of the first rule that it breaks. Or ``error``, a sentence.
    """
    try:
        return _canonicalized(kind, line)
    except MalformedError as error:
        return {"error": str(error)}


def _canonicalized(kind: str, line: str | bytes) -> dict[str, str]:
    tree = parse_json(line)
    found: dict[str, str] = {}
    if kind == "envelope":
        envelope = from_tree(RuntimeEffectEnvelope, tree)
        data = canonical_bytes(envelope)
        problem = envelope_problem(envelope)
        found["validation"] = problem[0] if problem else "ok"
    elif kind == "outcome":
        data = canonical_bytes(from_tree(RuntimeEffectOutcome, tree))
    else:
        data = canonical_json(canonical_value(tree))
    return {"canonical": data.decode(), "sha256": sha256_hex(data), **found}
