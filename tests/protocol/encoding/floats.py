"""A second printer of floats, written from the contract's table and from nothing else."""

from __future__ import annotations

from decimal import Decimal

__all__ = ["float_text"]


def float_text(value: float) -> str:
    """Print a finite float as the table of the contract says."""
    # repr gives the shortest digits that round-trip; only their arrangement differs.
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).rstrip("0")
    exponent += len(digits) - len(text)
    minus = "-" if sign else ""
    if not text:
        return f"{minus}0.0"
    scientific = exponent + len(text) - 1
    if -5 <= scientific <= 15:
        return minus + _positional(text, exponent)
    mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
    return f"{minus}{mantissa}e{'+' if scientific > 0 else ''}{scientific}"


def _positional(text: str, exponent: int) -> str:
    if exponent >= 0:
        return text + "0" * exponent + ".0"
    point = len(text) + exponent
    if point > 0:
        return f"{text[:point]}.{text[point:]}"
    return "0." + "0" * -point + text
