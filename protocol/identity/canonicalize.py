"""One line of JSON to its canonical form and hash, or to a sentence about its error."""

from __future__ import annotations

from typing import Final, Literal

from effectmq.protocol.encoding.canonical import canonical_json, sha256_hex
from effectmq.protocol.encoding.codec import HARD_MAX_BODY_BYTES, Limits, parse_within
from effectmq.protocol.encoding.opaque import MAX_DEPTH, canonical_value
from effectmq.protocol.encoding.serde.model import canonical_bytes, from_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.identity.validation import envelope_problem
from effectmq.protocol.wire.envelope import ENVELOPE_MEMBERS, RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome

__all__ = ["CANONICALIZE_LIMITS", "canonicalize_line"]


#: The size limit is that of a body, but ten times as many elements are allowed.
CANONICALIZE_LIMITS: Final = Limits(
    max_body_bytes=HARD_MAX_BODY_BYTES, max_depth=MAX_DEPTH, max_elements=1_000_000
)


def canonicalize_line(
    kind: Literal["envelope", "outcome", "value"],
    line: str | bytes,
    limits: Limits = CANONICALIZE_LIMITS,
) -> dict[str, str]:
    """
    Canonicalise one document; never raises because of its content.

    Args:
        kind: How to read it: as an envelope, an outcome, or any JSON value.
        line: The document.
        limits: The limits of size, depth and number of elements.

    Returns:
        ``canonical`` (text) and ``sha256``; for an envelope also ``validation``, which is ``ok``
        or the code of the first rule that it breaks. Or ``error``, a sentence.
    """
    try:
        return _canonicalized(kind, line, limits)
    except MalformedError as error:
        return {"error": str(error)}


def _canonicalized(kind: str, line: str | bytes, limits: Limits) -> dict[str, str]:
    members = ENVELOPE_MEMBERS if kind == "envelope" else None
    tree = parse_within(line, limits, members)
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
