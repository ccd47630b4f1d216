"""
Text from strangers, made safe to print.

Effect names, exception messages and broker replies end up in logs, tables and dead letters. They
may hold newlines, terminal escapes or an address with a password, and be of any length.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ["describe", "is_group", "printable"]

_MAX_CHARACTERS = 1_000
#: How many exceptions of a group are described, and in how many characters each.
_MOST_INNER = 5
_MAX_INNER = 300
#: How far to look for a secret that begins before the cut and ends after it.
_LOOK_AHEAD = 512
#: Up to the last "@" when there is a colon: a password with an unescaped "/" or "@" makes an
#: address that no parser splits correctly. Masking too much is better than a leak.
_URL_SECRET = re.compile(r"(:/{1,2})(?:[^:/?#@\s]*:\S*|[^@/\s]*)@")
#: Each secret's name has one of them, in any spelling that the pattern takes for it: without "i",
#: whose dotless form has no other case.
_HINTS = ("author", "key", "token", "secret", "passw")
_NAMED_SECRET = re.compile(
    r"(?i)\b(authorization|api[-_ ]?key|access[-_ ]?token|token|secret|passw(?:or)?d)"
    r"(['\"]?\s*[:=]\s*['\"]?)((?:bearer|basic)\s+)?[^\s'\",;&]+"
)


def printable(text: str, limit: int = _MAX_CHARACTERS) -> str:
    """
    The text on one line, without control characters and passwords in addresses.

    Args:
        text: Any text.
        limit: How many characters to keep, escapes included; the rest is counted.
    """
    start = text[: limit + _LOOK_AHEAD]
    clean = start
    # Nearly every text has neither, and finding that out takes a tenth of the time.
    if "@" in clean:
        clean = _URL_SECRET.sub(r"\1***@", clean)
    if (":" in clean or "=" in clean) and _may_name_secret(clean):
        clean = _NAMED_SECRET.sub(r"\1\2***", clean)
    if not clean.isprintable():
        clean = "".join(
            character if character.isprintable() else repr(character)[1:-1] for character in clean
        )
    cut = len(clean) - limit + len(text) - len(start)
    return f"{clean[:limit]}… ({cut} more characters)" if len(clean) > limit else clean


def _may_name_secret(text: str) -> bool:
    """Whether the pattern may find something; ids have colons, and it takes ten times as long."""
    folded = text.casefold()
    return any([hint in folded for hint in _HINTS])  # noqa: C419  A generator takes twice as long.


def is_group(error: BaseException | None) -> TypeIs[BaseExceptionGroup[BaseException]]:
    """Whether an exception is a group of others."""
    return isinstance(error, BaseExceptionGroup)


def describe(error: BaseException) -> str:
    """
    An exception as a phrase, such as ``ValueError: text``; effectmq's own errors are sentences and
    stand alone.

    For a group, the first few exceptions inside are described, at any depth: the group's own text
    only says how many there are.
    """
    if is_group(error):
        return _described_group(error)
    return _described(error)


def _described_group(group: BaseExceptionGroup[BaseException]) -> str:
    inner: list[BaseException] = []
    pending: list[BaseException] = [group]
    count = 0
    while pending:
        error = pending.pop()
        if is_group(error):
            pending.extend(reversed(error.exceptions))
            continue
        count += 1
        if len(inner) < _MOST_INNER:
            inner.append(error)
    said = "; ".join(printable(_described(error), _MAX_INNER) for error in inner)
    rest = f"; and {count - len(inner)} more" if count > len(inner) else ""
    return f"{_described(group)}: {said}{rest}"


def _described(error: BaseException) -> str:
    try:
        text = printable(str(error))
    except Exception:
        # The caller handles an error, and must not get another one from here.
        text = "its text cannot be read"
    name = type(error).__name__
    if type(error).__module__.startswith("effectmq."):
        return text or name
    return f"{name}: {text}" if text else name
