"""
Canonical bytes and their hash.

The canonical form is what serde_json prints: no whitespace, raw UTF-8, lowercase ``\\u00xx``
escapes, shortest floats. pydantic-core's writer uses the same printer, so it is used unchanged. A
build that prints any number differently would make hashes that nobody else can check, so the import
fails instead.
"""

from __future__ import annotations

from hashlib import sha256

from pydantic_core import PydanticSerializationError, from_json, to_json
from pydantic_core import __version__ as _writer_version

from effectmq.protocol.encoding.opaque import JsonValue, canonical_value
from effectmq.protocol.errors import ConfigurationError, MalformedError

__all__ = ["canonical_json", "digest", "sha256_hex", "tree_of"]


def canonical_json(tree: JsonValue, *, finite: bool = False) -> bytes:
    """
    Write a tree as compact JSON, object members in the order given.

    Args:
        tree: Plain data. Opaque parts must be canonical already (``opaque.canonical_value``).
        finite: Every number in it is known to be finite: it comes from ``codec.decode_tree``, or
            its numbers come from ``opaque.ordered``. Looking for others in a long text takes longer
            than writing it.

    Raises:
        MalformedError: When it holds NaN, an infinity or half a surrogate pair, or is not JSON.
    """
    try:
        data = to_json(tree, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError) as error:
        raise _why_unwritable(tree, error) from None
    # Far cheaper than visiting every number; text with these words is checked and passes.
    if not finite and (b"NaN" in data or b"Infinity" in data):
        canonical_value(tree)
    return data


def tree_of(canonical: bytes) -> JsonValue:
    """
    Return the tree of a canonical text that this package wrote; all its types are exactly plain.

    Text of others may have other meanings here than on the wire: ``jsontext.parse_json`` has the
    rules for that, and ``codec.assumed_tree`` says when they are not needed.

    Args:
        canonical: From ``canonical_json`` or ``model.canonical_bytes``.
    """
    tree: JsonValue = from_json(canonical)
    return tree


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of *data* as 64 lowercase hex digits."""
    return sha256(data).hexdigest()


def digest(tree: JsonValue) -> str:
    """
    Return ``H(tree)`` of the wire format: SHA-256 over the canonical JSON.

    Raises:
        MalformedError: When the tree cannot be written.
    """
    return sha256(canonical_json(tree)).hexdigest()


def _why_unwritable(tree: JsonValue, error: Exception) -> MalformedError:
    try:
        canonical_value(tree)
    except MalformedError as found:
        return found
    return MalformedError("", f"the value cannot be written as JSON: {error}")


#: Numbers and text that JSON writers are known to print differently, and the form of serde_json.
_TRICKY: list[JsonValue] = [
    1.0, -0.0, 1e15, 1e16, 1.2345678901234568e17, 1e-5, 1e-6, 2.5e-8, 5e-324,
    1.7976931348623157e308, 0.1 + 0.2, 2**64 - 1, -(2**63), "\x00\x1f\x7f\u2028/\"\\\b\t\n\f\r",
]  # fmt: skip
_TRICKY_TEXT = (
    "[1.0,-0.0,1000000000000000.0,1e+16,1.2345678901234568e+17,0.00001,1e-6,2.5e-8,5e-324,"
    "1.7976931348623157e+308,0.30000000000000004,18446744073709551615,-9223372036854775808,"
    '"\\u0000\\u001f\x7f\u2028/\\"\\\\\\b\\t\\n\\f\\r"]'
)


def _check_writer() -> None:
    printed = to_json(_TRICKY).decode()
    if printed != _TRICKY_TEXT:
        raise ConfigurationError(
            f"pydantic-core {_writer_version} prints numbers or text in another form than "
            f"serde_json, so its hashes would not match: found {printed}, expected "
            f"{_TRICKY_TEXT}. Install pydantic 2.13.4 or newer"
        )


_check_writer()
