"""
What counts, of all that is said about a setting: the command line, then the argument, then the
variable, then the default.

Resolved once, when a ``Worker`` or a ``Client`` is made. The command line is known by then: it
names the module that makes the worker, and is read before that is imported.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from effectmq.broker.place import Said, first_said
from effectmq.protocol.topology import DEFAULT_NAMESPACE
from effectmq.settings.default_journal import default_journal
from effectmq.settings.environment import read_environment, state_variables

__all__ = ["command_line", "resolved_for_client", "resolved_for_worker"]

_NOTHING: Said = {}
_COMMAND_LINE: ContextVar[Said] = ContextVar("effectmq command line", default=_NOTHING)


@contextmanager
def command_line(said: Said) -> Generator[None]:
    """Let the options of a command line have the last word on the workers that are made inside."""
    token = _COMMAND_LINE.set(said)
    try:
        yield
    finally:
        _COMMAND_LINE.reset(token)


def resolved_for_client(arguments: Said) -> dict[str, object]:
    """
    What counts for a client, which has no journal unless one is named.

    Raises:
        ConfigurationError: When a variable cannot be used.
    """
    return first_said(_spoken(arguments), read_environment())


def resolved_for_worker(arguments: Said) -> dict[str, object]:
    """
    What counts for a worker, which keeps a file of this user's when no journal is named.

    Raises:
        ConfigurationError: When a variable cannot be used.
    """
    said = first_said(_COMMAND_LINE.get(), _spoken(arguments), read_environment())
    if "journal" not in said:
        namespace = str(said.get("namespace", DEFAULT_NAMESPACE))
        said["journal"] = default_journal(state_variables(), namespace)
        said["journal_is_default"] = True
    return said


def _spoken(arguments: Said) -> Said:
    """Without the addresses that are empty, which say nothing."""
    silent = [name for name in ("broker", "identity", "journal") if arguments.get(name) == ""]
    return {name: value for name, value in arguments.items() if name not in silent}
