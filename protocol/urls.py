"""URLs of brokers and journals: how to show them to people, and which mean this process."""

from __future__ import annotations

import re
from urllib.parse import unquote

__all__ = ["hide_secrets", "mask_url", "memory_name"]

_MEMORY = re.compile(r"(?i:memory)://([A-Za-z0-9_.-]*)/?")
_DEFAULT_NAME = "default"

# Greedy up to the last "@" on purpose: a password with an unescaped "/", "?" or "@" makes a URL
# that no parser splits correctly, and so does a missing slash. Masking too much is better than a
# leak.
_PASSWORD = re.compile(r"^([^:/?#]*:/{1,2}[^:/@]*):.*@", re.DOTALL)

_PASSWORD_ITSELF = re.compile(r"^([^:/?#]*:/{1,2}[^:/@]*):(.*)@", re.DOTALL)

# libpq takes the password as a parameter, too.
_SECRET_PARAMETER = re.compile(r"([?&][^=&]*(?:passw|secret|token)[^=&]*=)[^&#]*", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"[?&][^=&]*(?:passw|secret|token)[^=&]*=([^&#]*)", re.IGNORECASE)
_SHORTEST_SECRET = 3

# Several addresses are separated by a comma with a scheme behind it.
_ANOTHER = re.compile(r"(,\s*)(?=[A-Za-z][A-Za-z0-9+.-]*:/)")
# Half a password, when it contained the comma: no port looks like this.
_NO_PORT = re.compile(r"^([^:/?#]*:/{1,2}[^:/@\[]*):(?!\d*(?:[/?#,\s]|$)).*", re.DOTALL)


def mask_url(url: str) -> str:
    """
    The URL with its password replaced by ``***``, for messages and logs.

    Never raises: an error often shows a URL that is wrong. When there are several addresses, each
    is masked.
    """
    parts = _ANOTHER.split(url)
    if len(parts) == 1:
        return _masked(url)
    return "".join(
        _NO_PORT.sub(r"\1:***", part) if "@" not in part else _masked(part) for part in parts
    )


def _masked(url: str) -> str:
    return _SECRET_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))


def memory_name(url: str) -> str | None:
    """The name that an address inside this process has; ``None`` when it is no such address."""
    found = _MEMORY.fullmatch(url)
    return None if found is None else found[1] or _DEFAULT_NAME


def hide_secrets(text: str, url: str) -> str:
    """
    A library's text about a URL, without the URL's password or any part of it.

    A library that misreads a URL quotes a wrong part as the host or the port, which may be half of
    the password. So every part between delimiters is hidden, unless it is too short to be found.
    """
    each = [url, *_ANOTHER.split(url)]
    found = [match[2] for match in map(_PASSWORD_ITSELF.match, each) if match]
    found += [match[1] for match in _SECRET_VALUE.finditer(url)]
    parts = {part for secret in found for part in (secret, unquote(secret))}
    parts |= {part for secret in parts for part in re.split(r"[@/:?#&=]", secret)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_SECRET:
            text = text.replace(part, "***")
    return text
