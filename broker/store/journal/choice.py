"""The journal and its use: arguments that client and worker share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

if TYPE_CHECKING:
    from effectmq.broker.store.journal.journal import Journal

__all__ = ["ReplayMode", "checked_replay", "chosen_journal", "open_journal"]

#: ``execute`` runs effects without a record; ``strict`` never runs any.
ReplayMode = Literal["execute", "strict"]

_NONE = "none"


def chosen_journal(url: str | None) -> str | None:
    """The address, or ``None`` for no journal."""
    return None if url is None or url.lower() == _NONE else url


def checked_replay(replay: str, journal: str | None) -> ReplayMode:
    """
    The replay mode.

    Raises:
        ConfigurationError: When the mode is unknown, or there is no journal for it.
    """
    if replay == "execute":
        return "execute"
    if replay != "strict":
        raise ConfigurationError(
            f"replay is {printable(replay, 100)!r}; expected 'execute' or 'strict'"
        )
    if journal is None:
        raise ConfigurationError(
            "replay='strict' answers from a journal and none was given; name it with journal= or "
            "EFFECTMQ_JOURNAL"
        )
    return "strict"


def open_journal(url: str | None, namespace: str) -> Journal | None:
    """
    The journal of a namespace at an address, not opened yet; ``None`` for none.

    Raises:
        ConfigurationError: When the address is of an unknown kind.
        MissingExtraError: When the driver of PostgreSQL is needed and not installed.
    """
    if url is None:
        return None
    # Not at the top: a client seldom has one.
    from effectmq.broker.store.journal.journal import Journal

    return Journal(url, namespace=namespace)
