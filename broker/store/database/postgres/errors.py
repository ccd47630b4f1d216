"""What PostgreSQL and its driver say, as sentences with advice and without the password."""

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

#: By class of SQLSTATE: what to do.
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

#: A refused connection has no SQLSTATE, only words.
_BY_WORDS = {
    "authentication failed": "check user and password",
    "no password supplied": "check user and password",
    "pg_hba.conf": "let this host and user in (pg_hba.conf), or check sslmode",
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


#: A server that is full, busy, starting or read-only for now is worth waiting for; these are not.
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
    """The address itself makes no sense to the driver, whatever the server would say."""
    # It quotes the piece that it cannot read, and that may well be the password.
    said = re.sub(r'"[^"]*"', '"…"', _said(url, problem))
    return ConfigurationError(
        f"the journal's address {mask_url(url)} cannot be used: {said}; expected "
        "postgresql://user:password@host:port/database, with special characters as %XX"
    )


def encoding_problem(url: str, found: str) -> ConfigurationError:
    """The database cannot hold every text."""
    return ConfigurationError(
        f"the database of the journal {mask_url(url)} has the encoding {printable(found, 50)}; "
        "expected UTF8, because effects hold text of any kind. Make another one: "
        "createdb --template template0 --encoding UTF8 NAME"
    )


def meant(url: str, problem: Exception) -> Exception:
    """What an error of the driver, or of the function that it ran, is to the caller."""
    match verdict_of(problem):
        case "unavailable":
            return unavailable(url, problem)
        case "unstorable":
            return not_storable(url, problem)
        case "defect":
            return problem


def not_storable(url: str, problem: Exception) -> NotStorableError:
    """What was to be kept cannot be; the server's details, which quote it, are left out."""
    diagnosis: str | None = getattr(getattr(problem, "diag", None), "message_primary", None)
    said = printable(hide_secrets(diagnosis or str(problem), url), _MAX_CHARACTERS)
    return NotStorableError(
        f"the journal {mask_url(url)} cannot keep this: {said}; asking again gives the same"
    )


def unavailable(
    url: str, problem: Exception, *, cut_after_s: float | None = None
) -> DatabaseUnavailableError:
    """
    Nothing was kept.

    Args:
        url: Where.
        problem: What the driver raised.
        cut_after_s: How long we waited before we cut the connection ourselves, if we did.
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
    """Whether it was kept is not known."""
    return DatabaseUnavailableError(
        f"the journal {mask_url(url)} was lost in the moment of a commit, which may have been "
        f"kept or not: {_said(url, problem)}; trying again is safe"
    )


def _advice(problem: Exception, said: str) -> str:
    state: str | None = getattr(problem, "sqlstate", None)
    if state is not None:
        return _BY_STATE.get(state[:2], "look into the server's log")
    return next((advice for words, advice in _BY_WORDS.items() if words in said), _DEFAULT_ADVICE)


def _is_lasting(problem: Exception, said: str) -> bool:
    """Whether somebody has to change something, rather than start something."""
    state: str | None = getattr(problem, "sqlstate", None)
    if state is not None:
        return state[:2] in _LASTING_STATES
    return any(words in said for words in _LASTING_WORDS)


def _said(url: str, problem: Exception) -> str:
    text = " ".join(str(problem).split()) or type(problem).__name__
    return printable(hide_secrets(text, url), _MAX_CHARACTERS)
