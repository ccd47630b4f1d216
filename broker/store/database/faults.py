"""
What an exception of a store means for what was asked of it.

Every exception means exactly one of three things. *Unavailable*: the store, or the way to it, is at
fault, so asking again helps once that is mended. *Unstorable*: what was to be kept is at fault, so
asking again gives the same. *Defect*: the program is at fault.

Tables in place of ``except`` clauses, so that no class of a driver is without an answer, also one
that a later version of it adds; and by name, so that no driver has to be loaded to ask.
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

#: The first that fits counts.
_OURS: tuple[tuple[type[BaseException], Verdict], ...] = (
    (NotStorableError, "unstorable"),
    (InvalidEnvelopeError, "unstorable"),
    (DatabaseError, "unavailable"),
    # Found by an adapter that connects anew: another server or file than at the start.
    (ConfigurationError, "unavailable"),
    (EffectmqError, "defect"),
    (CancelledError, "unavailable"),
    (CancelledOnThread, "unavailable"),
    # Time-outs and lost connections are among them.
    (OSError, "unavailable"),
    (EOFError, "unavailable"),
    # Text that is none, and numbers beyond 64 bits.
    (UnicodeError, "unstorable"),
    (OverflowError, "unstorable"),
)

#: By package and class of a driver's exception. What is not listed is unavailable: there, it is the
#: server or the file that speaks.
_DRIVERS = ("sqlite3", "psycopg")
_BY_CLASS: dict[str, Verdict] = {
    "DataError": "unstorable",
    "IntegrityError": "unstorable",
    "ProgrammingError": "defect",
    "NotSupportedError": "defect",
}

#: By class of SQLSTATE, which says more than the exception's own class. That the tables are not as
#: they should be (42) is unavailable: somebody changed them under a running worker, and its effects
#: are not to blame.
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
    """What an exception means that came from a store, or from the way to it."""
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
    """The exception, in a form that a future takes: one ``StopIteration`` would leave it open."""
    if isinstance(problem, StopIteration):
        return RuntimeError(f"StopIteration({problem}) where no iterator is")
    return problem


def _driver_class(problem: BaseException) -> str | None:
    """
    The class of the DB-API that a driver's exception belongs to; ``None`` when it is no driver's.

    Drivers have a class of their own for each state, below those of the DB-API.
    """
    names = [
        type_.__name__
        for type_ in type(problem).__mro__
        if type_.__module__.partition(".")[0] in _DRIVERS
    ]
    if not names:
        return None
    return next((name for name in names if name in _BY_CLASS), names[0])
