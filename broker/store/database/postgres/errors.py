"""Errors of PostgreSQL and its driver, as sentences with advice and without the password."""

from __future__ import annotations

import re

from effectmq.broker.store.database.faults import verdict_of
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    NotStorableError,
)
from effectmq.protocol.text import printable
from effectmq.protocol.urls import hide_secrets, mask_url

__all__ = [
    "address_problem",
    "encoding_problem",
    "lost_in_commit",
    "meant",
    "not_storable",
    "unavailable",
]

_MAX_CHARACTERS = 500
_DEFAULT_ADVICE = "check that the server runs and takes connections"

#: Advice by class of SQLSTATE.
_BY_STATE = {
    "08": _DEFAULT_ADVICE,
    "25": "the server takes no writes: it is a standby, or set to read only; name the primary",
    "28": "check user and password",
    "3D": "create the database, or name another one",
    "3F": "create the schema, or name another one",
    "42": "run: effectmq journal migrate, as a user who may create tables",
    "53": "the server is out of connections, memory or disk",
    "55": "another session has held the rows for too long; find it (pg_stat_activity) and end it",
    "57": "the server is busy, stopping or starting; trying again may help",
}

#: Advice by words: a refused connection has no SQLSTATE.
_BY_WORDS = {
    "authentication failed": "check user and password",
    "no password supplied": "check user and password",
    "pg_hba.conf": "allow this host and user (pg_hba.conf), or check sslmode",
    "too many connections": "raise the limit of connections, or run fewer workers",
    "too many clients": "raise max_connections, or run fewer workers",
    "connection slots": "raise max_connections, or run fewer workers",
    "role ": "check the user",
    "database ": "create the database, or name another one",
    "starting up": "wait until it has started",
    "shutting down": "wait until it is back",
    "resolve host": "check the host name",
    "unsupported startup parameter": (
        "the pooler does not take it: name settings in the address (options=-cname%3Dvalue), not "
        "in PGOPTIONS"
    ),
    "SSL": "check sslmode and the certificates",
}


#: A server that is full, busy, starting or read-only for a time is worth waiting for; these are
#: not.
_LASTING_STATES = ("22", "28", "3D", "3F", "42")
_LASTING_WORDS = (
    "authentication failed",
    "no password supplied",
    "pg_hba.conf",
    "does not exist",
    "Name or service not known",
    "SSL",
)


def address_problem(url: str, problem: Exception) -> ConfigurationError:
    """The error for an address that the driver cannot read."""
    # The driver quotes the part that it cannot read, which may be the password.
    said = re.sub(r'"[^"]*"', '"…"', _said(url, problem))
    return ConfigurationError(
        f"the journal's address {mask_url(url)} cannot be used: {said}; expected "
        "postgresql://user:password@host:port/database, with special characters as %XX"
    )


def encoding_problem(url: str, found: str) -> ConfigurationError:
    """The error for a database that cannot hold every text."""
    return ConfigurationError(
        f"the database of the journal {mask_url(url)} has the encoding {printable(found, 50)}; "
        "expected UTF8, because effects hold text of any kind. Make another one: "
        "createdb --template template0 --encoding UTF8 NAME"
    )


def meant(url: str, problem: Exception) -> Exception:
    """An error of the driver, or of the function that it ran, for the caller."""
    match verdict_of(problem):
        case "unavailable":
            return unavailable(url, problem)
        case "unstorable":
            return not_storable(url, problem)
        case "defect":
            return problem


def not_storable(url: str, problem: Exception) -> NotStorableError:
    """The error for a value that cannot be kept, without the server's details, which quote it."""
    diagnosis: str | None = getattr(getattr(problem, "diag", None), "message_primary", None)
    said = printable(hide_secrets(diagnosis or str(problem), url), _MAX_CHARACTERS)
    return NotStorableError(
        f"the journal {mask_url(url)} cannot keep this: {said}; asking again gives the same"
    )


def unavailable(
    url: str, problem: Exception, *, cut_after_s: float | None = None
) -> DatabaseUnavailableError:
    """
    The error when nothing was kept.

    Args:
        url: The address of the database.
        problem: The exception of the driver.
        cut_after_s: The wait after which the connection was cut from this side; ``None`` when it
            was not.
    """
    where = mask_url(url)
    if cut_after_s is not None:
        return DatabaseUnavailableError(
            f"the journal {where} gave no answer for {cut_after_s:g} s; {_DEFAULT_ADVICE}"
        )
    said = _said(url, problem)
    return DatabaseUnavailableError(
        f"the journal {where} cannot be used: {said}; {_advice(problem, said)}",
        lasting=_is_lasting(problem, said),
    )


def lost_in_commit(url: str, problem: Exception) -> DatabaseUnavailableError:
    """The error when it is unknown whether the transaction was kept."""
    return DatabaseUnavailableError(
        f"the connection to the journal {mask_url(url)} was lost during a commit, which may have "
        f"been kept or not: {_said(url, problem)}; trying again is safe"
    )


def _advice(problem: Exception, said: str) -> str:
    state: str | None = getattr(problem, "sqlstate", None)
    if state is not None:
        return _BY_STATE.get(state[:2], "look into the server's log")
    return next((advice for words, advice in _BY_WORDS.items() if words in said), _DEFAULT_ADVICE)


def _is_lasting(problem: Exception, said: str) -> bool:
    """Whether a setting must be changed, so that waiting is useless."""
    state: str | None = getattr(problem, "sqlstate", None)
    if state is not None:
        return state[:2] in _LASTING_STATES
    return any(words in said for words in _LASTING_WORDS)


def _said(url: str, problem: Exception) -> str:
    text = " ".join(str(problem).split()) or type(problem).__name__
    return printable(hide_secrets(text, url), _MAX_CHARACTERS)
