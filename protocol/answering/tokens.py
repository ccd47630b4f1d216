"""The token that gives the right to answer one effect; only its hash is kept."""

from __future__ import annotations

import re

from effectmq.protocol.encoding.canonical import sha256_hex
from effectmq.protocol.errors import ConfigurationError

__all__ = ["TOKEN_BYTES", "checked_token", "token_hash", "token_of"]

#: How many random bytes a token has.
TOKEN_BYTES = 32
#: Tells what it is wherever it is found, so that a scanner of secrets can know it.
_PREFIX = "eqa_"
_TOKEN = re.compile(rf"{_PREFIX}[0-9a-f]{{{TOKEN_BYTES * 2}}}", re.ASCII)


def token_of(random_bytes: bytes) -> str:
    """The token that is made of random bytes."""
    return f"{_PREFIX}{random_bytes.hex()}"


def checked_token(token: str) -> str:
    """
    A token as it was given, if it can be one.

    Raises:
        ConfigurationError: When it cannot; it is not shown.
    """
    if _TOKEN.fullmatch(token) is None:
        raise ConfigurationError(
            f"what was given is no token of a handed-out effect; expected {_PREFIX} and "
            f"{TOKEN_BYTES * 2} hexadecimal digits, as its handler got it"
        )
    return token


def token_hash(token: str) -> str:
    """What is kept of a token: SHA-256, hexadecimal."""
    return sha256_hex(token.encode())
