"""Rust's idea of white space, which is not Python's."""

from __future__ import annotations

__all__ = ["WHITE_SPACE", "is_blank", "trimmed"]

#: Unicode ``White_Space``. ``str.strip`` also takes U+001C to U+001F, which are not in it.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def trimmed(text: str) -> str:
    """Return *text* as Rust's ``trim`` does."""
    return text.strip(WHITE_SPACE)


def is_blank(text: str) -> bool:
    """Tell whether nothing is left of *text* after trimming."""
    return not text.strip(WHITE_SPACE)
