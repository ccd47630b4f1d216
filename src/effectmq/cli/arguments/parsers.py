"""The parser of the command line, on top of argparse."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from effectmq.cli.arguments.suggestions import did_you_mean
from effectmq.protocol.encoding.narrowing import is_dict
from effectmq.protocol.text import printable

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

__all__ = ["Parser", "VersionAction"]


class Parser(argparse.ArgumentParser):
    """
    A parser of the command line that suggests what was probably meant.

    Its errors repeat the typed words, which may be an address with a password, so they are masked.
    """

    def error(self, message: str) -> NoReturn:
        """Print the error, and exit."""
        super().error(printable(message))

    def parse_whole(self, words: list[str]) -> argparse.Namespace:
        """Parse, and refuse unknown words with a suggestion."""
        args, left = self.parse_known_args(words)
        if left:
            chosen = self._chosen(words)
            meant = "".join(did_you_mean(word, chosen.options) for word in left[:1])
            chosen.error(f"unrecognized arguments: {' '.join(left)}{meant}")
        return args

    @property
    def options(self) -> list[str]:
        """Its options, in the form in which they are typed."""
        return [option for action in self._actions for option in action.option_strings]

    @property
    def words(self) -> list[str]:
        """The allowed words that are not options, when there is a list of them."""
        return [
            str(choice)
            for action in self._actions
            if action.choices is not None and not action.option_strings
            for choice in action.choices
        ]

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """The allowed values of its options, where there is a list of them."""
        return {
            option: tuple(map(str, action.choices))
            for action in self._actions
            if action.choices is not None
            for option in action.option_strings
        }

    @property
    def nested(self) -> dict[str, Parser]:
        """The parsers of its commands or actions, by name."""
        found = [action.choices for action in self._actions if is_dict(action.choices)]
        return {
            str(name): parser
            for choices in found
            for name, parser in choices.items()
            if isinstance(parser, Parser)
        }

    def _chosen(self, words: list[str]) -> Parser:
        """The parser of the command, and of its action, that these words name."""
        for place, word in enumerate(words):
            if word in self.nested:
                return self.nested[word]._chosen(words[place + 1 :])
        return self

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(each) for each in action.choices]
            word = printable(str(value), 40)
            raise argparse.ArgumentError(
                action,
                f"found {word!r}, expected one of {', '.join(known)}{did_you_mean(word, known)}",
            )

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        # The library's own method ignores errors of writing, and reports success.
        if message:
            (file or sys.stderr).write(message)


class VersionAction(argparse.Action):
    """Prints the version and exits, as the library's own does, which wants it for any command."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, help: str = "show the version, and exit"
    ) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS)
        self.help = help

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Look the version up only now: that takes longer than the help of all commands."""
        from effectmq.broker.version import version

        parser._print_message(f"{parser.prog} {version()}\n", sys.stdout)
        parser.exit()
