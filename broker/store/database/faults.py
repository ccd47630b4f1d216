"""
What an exception of a store means.

Every exception means exactly one of three things. *Unavailable*: the store, or the way to it, has a
problem, so asking again helps once that is mended. *Unstorable*: the value cannot be kept, so
asking again gives the same. *Defect*: the program is wrong.

Tables are used in place of ``except`` clauses, so that every class of a driver has an answer, also
one that a later version adds. They have names, so that no driver must be imported.
"""

from __future__ import annotations

from asyncio import CancelledError
from concurrent.futures import CancelledError as CancelledOnThread
from typing import Literal

from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseError,
    EffectmqError,
    InvalidEnvelopeError,
    NotStorableError,
)

__all__ = ["Verdict", "raisable", "verdict_of"]

Verdict = Literal["unavailable", "unstorable", "defect"]

#: The first class that fits is used.
_OURS: tuple[tuple[type[BaseException], Verdict], ...] = (
    (NotStorableError, "unstorable"),
    (InvalidEnvelopeError, "unstorable"),
    (DatabaseError, "unavailable"),
    # Found by an adapter that reconnects: another server or file than at the start.
    (ConfigurationError, "unavailable"),
    (EffectmqError, "defect"),
    (CancelledError, "unavailable"),
    (CancelledOnThread, "unavailable"),
    # Includes time-outs and lost connections.
    (OSError, "unavailable"),
    (EOFError, "unavailable"),
    # Invalid text, and numbers beyond 64 bits.
    (UnicodeError, "unstorable"),
    (OverflowError, "unstorable"),
)

#: By package and class of a driver's exception. Classes that are not listed mean unavailable: they
#: come from the server or the file.
_DRIVERS = ("sqlite3", "psycopg")
_BY_CLASS: dict[str, Verdict] = {
    "DataError": "unstorable",
    "IntegrityError": "unstorable",
    "ProgrammingError": "defect",
    "NotSupportedError": "defect",
}

#: By class of SQLSTATE, which is more exact than the exception's class. Wrong tables (42) mean
#: unavailable: somebody changed them under a running worker, and its effects are not the cause.
_BY_STATE: dict[str, Verdict] = {
    "07": "defect",
    "0A": "defect",
    "21": "defect",
    "22": "unstorable",
    "23": "unstorable",
    "24": "defect",
    "26": "defect",
    "34": "defect",
    "44": "unstorable",
    "54": "unstorable",
    "P0": "unstorable",
}


def verdict_of(problem: BaseException) -> Verdict:
    """The meaning of an exception from a store, or from the way to it."""
    for type_, verdict in _OURS:
        if isinstance(problem, type_):
            return verdict
    driver = _driver_class(problem)
    if driver is None:
        return "defect"
    state: object = getattr(problem, "sqlstate", None)
    if isinstance(state, str):
        return _BY_STATE.get(state[:2], "unavailable")
    return _BY_CLASS.get(driver, "unavailable")


def raisable(problem: Exception) -> Exception:
    """The exception in a form that a future accepts: a ``StopIteration`` would leave it pending."""
    if isinstance(problem, StopIteration):
        return RuntimeError(f"StopIteration({problem}) where no iterator is")
    return problem


def _driver_class(problem: BaseException) -> str | None:
    """
    The DB-API class of a driver's exception; ``None`` when it is not a driver's.

    Drivers have a class for each SQLSTATE, derived from those of the DB-API.
    """
    names = [
        type_.__name__
        for type_ in type(problem).__mro__
        if type_.__module__.partition(".")[0] in _DRIVERS
    ]
    if not names:
        return None
    return next((name for name in names if name in _BY_CLASS), names[0])
