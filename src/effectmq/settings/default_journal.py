"""Where the journal of a user is, when nobody says where."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["default_journal"]


def default_journal(variables: Mapping[str, str], namespace: str) -> str:
    """
    The address of the journal of this user and namespace: a SQLite file among the user's state.

    Args:
        variables: The environment: ``XDG_STATE_HOME`` when it is an absolute path, as its
            specification asks, else ``~/.local/state``.
        namespace: Prefix of the queues whose effects it keeps; each has a journal of its own.
    """
    given = variables.get("XDG_STATE_HOME", "")
    state = given if given.startswith("/") else f"{variables.get('HOME') or '~'}/.local/state"
    return f"sqlite:///{state.rstrip('/')}/effectmq/{namespace}.db"
