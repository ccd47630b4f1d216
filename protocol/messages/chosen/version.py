"""
The version of workers that an effect is bound to.

It is a header beside the envelope and no part of the effect: neither the hash nor the replay key
knows it. It is also a part of the names of queues, so it is short and has few characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import HeaderValue
from effectmq.protocol.text import printable

__all__ = ["checked_version", "known_version", "read_version"]

_VERSION = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.:+-]{{0,{names.MAX_VERSION_BYTES - 1}}}")
_EXPECTED = (
    f"expected at most {names.MAX_VERSION_BYTES} letters, digits and _.:+-, beginning with a "
    "letter or a digit"
)


def checked_version(version: object) -> str:
    """
    A version that a program or a person gives; empty for none.

    Raises:
        ConfigurationError: When it cannot be one.
    """
    if isinstance(version, str) and (not version or _VERSION.fullmatch(version)):
        return version
    raise ConfigurationError(
        f"the version is {printable(repr(version), 100)}; {_EXPECTED}, such as '2' or '2026-11'"
    )


def read_version(headers: Mapping[str, HeaderValue]) -> str:
    """
    The version of a message from a stranger; empty when it is bound to none.

    Raises:
        MalformedError: When the header is no version.
    """
    version = headers.get(names.VERSION, "")
    if isinstance(version, str) and (not version or _VERSION.fullmatch(version)):
        return version
    raise MalformedError(names.VERSION, f"found {printable(repr(version), 100)}, {_EXPECTED}")


def known_version(headers: Mapping[str, HeaderValue]) -> str:
    """The version of a message that is shown or mended, where nothing is refused."""
    try:
        return read_version(headers)
    except MalformedError:
        return ""
