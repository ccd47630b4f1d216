"""
Which value of a setting counts: that of the command line, then the argument, then the variable,
then the default.

It is resolved once, when a ``Worker`` or a ``Client`` is made. The command line is known by then:
it names the module that makes the worker, and is read before that is imported.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from effectmq.broker.place import DEFAULT_BROKER, Said, first_said, values_of
from effectmq.protocol.topology import DEFAULT_NAMESPACE
from effectmq.protocol.urls import memory_name
from effectmq.settings.default_journal import default_journal
from effectmq.settings.environment import read_environment, state_variables
from effectmq.settings.table import Owner, settings_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "command_line",
    "resolved_for_client",
    "resolved_for_command",
    "resolved_for_part",
    "resolved_for_worker",
]

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
    The settings of a client, which has no journal unless one is named.

    Raises:
        ConfigurationError: When a variable cannot be used.
    """
    return first_said(_spoken(arguments), read_environment())


def resolved_for_worker(arguments: Said) -> dict[str, object]:
    """
    The settings of a worker, which has a journal even when none is named.

    The default is a file of this user, which the commands for journals know. With a broker in
    memory, which ends with the program, the journal is in memory and ends with it, too.

    Raises:
        ConfigurationError: When a variable cannot be used.
    """
    said = first_said(_COMMAND_LINE.get(), _spoken(arguments), read_environment())
    return _with_journal(said, _journal_beside(said.get("broker", DEFAULT_BROKER)))


def resolved_for_command(said: Said) -> dict[str, object]:
    """
    The settings of a command that looks at earlier work: a journal in memory has none of it.

    Raises:
        ConfigurationError: When a variable cannot be used.
    """
    return _with_journal(first_said(said, read_environment()), None)


def resolved_for_part(
    part: Owner, whole: DataclassInstance | None, arguments: Said
) -> dict[str, object]:
    """
    The settings of a part of a worker, by the names of its arguments.

    Args:
        part: The owner of its rows in the table.
        whole: Settings that were given together; they set all of their fields.
        arguments: Settings that were given one by one, which win.

    Raises:
        ConfigurationError: When a variable cannot be used.
    """
    together = {} if whole is None else values_of(whole)
    return first_said(
        _of_part(part, _COMMAND_LINE.get()),
        arguments,
        together,
        _of_part(part, read_environment()),
    )


def _of_part(part: Owner, said: Said) -> Said:
    rows = settings_of(part)
    return {row.argument: said[row.name] for row in rows if said.get(row.name) is not None}


def _with_journal(said: dict[str, object], beside: str | None) -> dict[str, object]:
    if "journal" not in said:
        namespace = str(said.get("namespace", DEFAULT_NAMESPACE))
        said["journal"] = beside or default_journal(state_variables(), namespace)
        said["journal_is_default"] = True
    return said


def _journal_beside(broker: object) -> str | None:
    """The journal of the same name, when the broker is in memory."""
    return broker if isinstance(broker, str) and memory_name(broker) is not None else None


def _spoken(arguments: Said) -> Said:
    """Without the addresses that are empty, which say nothing."""
    silent = [name for name in ("broker", "identity", "journal") if arguments.get(name) == ""]
    return {name: value for name, value in arguments.items() if name not in silent}
