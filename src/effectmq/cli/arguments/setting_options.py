"""Options made from the table of settings, and their values on a command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from effectmq.broker.place import Place
from effectmq.settings.resolution import resolved_for_command
from effectmq.settings.table import SETTINGS, Owner, Setting, settings_of

__all__ = ["add_named_options", "add_setting_options", "place_of", "said_of", "words_of"]

_TITLES: dict[Owner, str] = {
    "place": "where it works",
    "client": "client",
    "worker": "worker",
    "connection": "connection",
    "code": "blocks of code, on a worker that runs them",
    "log": "logging",
    "process": "background processes, on a worker that runs them",
    "program": "its process",
    "api": "who may ask, and where; what it asks",
}
_BY_NAME = {setting.name: setting for setting in SETTINGS}


def add_setting_options(parser: argparse.ArgumentParser, *owners: Owner) -> None:
    """Add an option for each setting of these owners."""
    for owner in owners:
        group = parser.add_argument_group(_TITLES[owner])
        for setting in settings_of(owner):
            _add(group, setting)


def add_named_options(
    parser: argparse.ArgumentParser, title: str, names: Sequence[str], **helps: str
) -> None:
    """
    Add the options of a few settings.

    Args:
        parser: The parser.
        title: The title of the group.
        names: The names of the settings.
        helps: Other help texts, by name.
    """
    group = parser.add_argument_group(title)
    for name in names:
        _add(group, _BY_NAME[name], helps.get(name, ""))


def _add(
    group: argparse._ArgumentGroup,  # pyright: ignore[reportPrivateUsage]
    setting: Setting,
    said: str = "",
) -> None:
    def read(text: str) -> object:
        try:
            return setting.read(text)
        except ValueError as problem:
            raise argparse.ArgumentTypeError(str(problem)) from None

    meaning = (said or setting.meaning).replace("`", "")
    group.add_argument(
        setting.option,
        dest=setting.name,
        type=read,
        metavar=setting.form.metavar,
        help=f"{meaning}; default: {setting.variable}, else {setting.default}".replace("%", "%%"),
    )


def said_of(args: argparse.Namespace, *owners: Owner) -> dict[str, Any]:
    """The settings on the command line, by the names of arguments."""
    said = {setting.name: getattr(args, setting.name, None) for setting in settings_of(*owners)}
    return {name: value for name, value in said.items() if value not in (None, "")}


def words_of(args: argparse.Namespace, *owners: Owner) -> Iterable[str]:
    """The words of a command line with the same settings."""
    said = said_of(args, *owners)
    for name, value in said.items():
        yield _BY_NAME[name].option
        yield _BY_NAME[name].form.write(value)


def place_of(args: argparse.Namespace) -> Place:
    """
    The place of a command, from its options and the environment; resolved once for each command.

    Raises:
        ConfigurationError: When an option or a variable cannot be used.
    """
    found = getattr(args, "place", None)
    if not isinstance(found, Place):
        found = Place.of(resolved_for_command(said_of(args, "place", "connection")))
        args.place = found
    return found
