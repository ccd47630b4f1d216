"""White space and quoted text by the rules of Rust, which differ from those of Python."""

from __future__ import annotations

from unicodedata import category

__all__ = ["WHITE_SPACE", "debug_text", "is_blank", "trimmed"]

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


_ESCAPES = {
    "\0": "\\0",
    "\t": "\\t",
    "\n": "\\n",
    "\r": "\\r",
    '"': '\\"',
    "\\": "\\\\",
}


def debug_text(text: str) -> str:
    """
    Return *text* in quotes, as Rust's ``{:?}`` does.

    Characters that are not printable, and those that combine with the one before, are written by
    their number. The Unicode tables of this Python decide which these are; those of Rust may be of
    another version.
    may be of another version.
    """
    return '"' + "".join(map(_debug_character, text)) + '"'


def _debug_character(character: str) -> str:
    known = _ESCAPES.get(character)
    if known is not None:
        return known
    if character.isprintable() and category(character) not in ("Mn", "Me"):
        return character
    return f"\\u{{{ord(character):x}}}"
