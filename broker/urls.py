"""URLs of brokers and journals, as they may be shown to people."""

from __future__ import annotations

import re

__all__ = ["mask_url"]

# Greedy up to the last "@" on purpose: a password with an unescaped "/", "?" or "@" makes a URL
# that no parser takes apart as it was meant, and so does a forgotten slash. Masking too much is
# ugly; too little is a leak.
_PASSWORD = re.compile(r"^([^:/?#]*:/{1,2}[^:/@]*):.*@", re.DOTALL)

# libpq takes the password as a parameter, too.
_SECRET_PARAMETER = re.compile(r"([?&][^=&]*(?:passw|secret|token)[^=&]*=)[^&#]*", re.IGNORECASE)


def mask_url(url: str) -> str:
    """
    The URL with its password replaced by ``***``, for messages and logs.

    Never raises: what is shown in an error is often a URL that is wrong.
    """
    return _SECRET_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))
