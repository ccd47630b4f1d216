"""
``effectmq completion``: a script with which a shell completes commands, options and choices.

The script contains everything, so that no key press starts Python; after an upgrade it must be made
again.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from effectmq.cli.arguments.options import Commands, add_command
from effectmq.cli.arguments.parsers import Parser
from effectmq.cli.terminal.output import write_text

__all__ = ["Place", "configure", "run", "scripts"]

_DESCRIPTION = """\
Print a script that completes commands, options and choices in your shell:

  cd ~/.local/share/bash-completion/completions
  effectmq completion bash > effectmq
  effectmq completion zsh > ~/.zfunc/_effectmq
  effectmq completion fish > ~/.config/fish/completions/effectmq.fish

For zsh, fpath+=~/.zfunc stands before compinit. The script starts no Python
when a key is pressed. Make it anew after an upgrade."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    The words that may follow some words.

    Attributes:
        path: The typed command and its action; empty before the command.
        words: Commands or actions, and options.
        choices: By option, its values, where they are known.
    """

    path: str
    words: tuple[str, ...]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


def configure(commands: Commands) -> None:
    """Add the parser."""
    parser = add_command(
        commands, "completion", "print a script that completes in your shell", _DESCRIPTION
    )
    parser.add_argument("shell", choices=tuple(scripts), metavar="SHELL", help=", ".join(scripts))
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """Print the script."""
    # Needs the whole command line, as no other command does; that imports this module.
    from effectmq.cli import COMMANDS, parser_of

    write_text(scripts[args.shell](list(_places(parser_of(COMMANDS)))))
    return 0


def _places(parser: Parser, path: str = "") -> Iterator[Place]:
    yield Place(path, (*parser.words, *parser.options), parser.choices)
    for name, inner in parser.nested.items():
        yield from _places(inner, f"{path} {name}".strip())


def _bash(found: list[Place]) -> str:
    return f"""\
# effectmq completion bash
_effectmq() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
    local place="" word known=""
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$place $word" in
            {_paths(found)}) place="$place $word" ;;
        esac
    done
    case "$place $before" in
{_cases(_choices(found), lambda words: f"known={shlex.quote(' '.join(words))}")}
        *) case "$place" in
{_cases(_words(found), lambda words: f"known={shlex.quote(' '.join(words))}")}
        esac ;;
    esac
    COMPREPLY=($(compgen -W "$known" -- "$current"))
}}
complete -o default -F _effectmq effectmq"""


def _zsh(found: list[Place]) -> str:
    return f"""\
#compdef effectmq
_effectmq() {{
    local place="" word
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        case "$place $word" in
            {_paths(found)}) place="$place $word" ;;
        esac
    done
    case "$place ${{words[CURRENT-1]}}" in
{_cases(_choices(found), lambda words: f"compadd -- {' '.join(words)} && return")}
    esac
    case "$place" in
{_cases(_words(found), lambda words: f"compadd -- {' '.join(words)} && return")}
    esac
    _files
}}
# Out of a folder of functions the first call reads this file, and means the function.
if [ "$funcstack[1]" = _effectmq ]; then
    _effectmq "$@"
else
    compdef _effectmq effectmq
fi"""


def _fish(found: list[Place]) -> str:
    lines = [
        "# effectmq completion fish",
        "function __effectmq_place",
        '    set -l place ""',
        "    for word in (commandline -opc)[2..-1]",
        '        switch "$place $word"',
        f"            case {' '.join(shlex.quote(f' {one.path}') for one in found if one.path)}",
        '                set place "$place $word"',
        "        end",
        "    end",
        '    test "$place" = "$argv[1]"',
        "end",
    ]
    for one in found:
        at = shlex.quote(f"__effectmq_place {shlex.quote(_behind(one))}")
        for word in one.words:
            if word.startswith("--"):
                takes = one.choices.get(word)
                values = f" -x -a {shlex.quote(' '.join(takes))}" if takes else ""
                lines.append(f"complete -c effectmq -n {at} -l {word.removeprefix('--')}{values}")
        plain = [word for word in one.words if not word.startswith("-")]
        if plain:
            lines.append(f"complete -c effectmq -n {at} -f -a {shlex.quote(' '.join(plain))}")
    return "\n".join(lines)


#: The writer of the script, by shell.
scripts: Mapping[str, Callable[[list[Place]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}


def _behind(place: Place) -> str:
    """A path in the form of the scripts: each word after a blank."""
    return f" {place.path}" if place.path else ""


def _paths(found: list[Place]) -> str:
    return "|".join(shlex.quote(_behind(one)) for one in found if one.path)


def _words(found: list[Place]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for one in found:
        yield _behind(one), one.words


def _choices(found: list[Place]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for one in found:
        for option, words in one.choices.items():
            yield f"{_behind(one)} {option}", words


def _cases(
    found: Iterator[tuple[str, tuple[str, ...]]], said: Callable[[tuple[str, ...]], str]
) -> str:
    return "\n".join(f"        {shlex.quote(path)}) {said(words)} ;;" for path, words in found)
