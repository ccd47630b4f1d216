"""The command line as a whole: exit codes, help, and how errors are shown."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import effectmq.cli as cli
from effectmq.cli import COMMANDS, module_of, parser_of
from effectmq.cli.arguments.parsers import Parser
from effectmq.protocol.errors import (
    AccessRefusedError,
    BrokerUnreachableError,
    ConfigurationError,
    EffectmqError,
    TopologyError,
    VirtualHostError,
)
from tests.brokers.provide import Broker
from tests.front_door.cli.command import effectmq

_PROGRAM = Path(sys.executable).with_name("effectmq")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` shows each command with its line, and exits 0."""
    result = effectmq(capsys, "--help")
    assert result.code == 0
    assert all(name in result.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_module_with_a_parser(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command in the table exists, has help of its own, and a ``run``."""
    result = effectmq(capsys, name, "--help")
    assert result.code == 0
    assert f"effectmq {name}" in result.out
    assert inspect.iscoroutinefunction(import_module(module_of(name)).run)


def _with_nested(parser: Parser) -> Iterator[Parser]:
    yield parser
    for inner in parser.nested.values():
        yield from _with_nested(inner)


def test_every_help_fits_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of commands and actions: descriptions are shown with the lines that they have."""
    monkeypatch.setenv("COLUMNS", "80")
    parsers = list(_with_nested(parser_of(COMMANDS)))
    assert {parser.prog for parser in parsers} >= {"effectmq dead replay", "effectmq worker"}
    too_wide = [
        (parser.prog, line)
        for parser in parsers
        for line in parser.format_help().splitlines()
        if len(line) > 80
    ]
    assert not too_wide


def test_without_a_command_the_help_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """No command at all is a usage error."""
    result = effectmq(capsys)
    assert result.code == 2
    assert "COMMAND" in result.err
    assert not result.out


@pytest.mark.parametrize(
    "words", [["wroker"], ["run"], ["run", "--concurrency", "0", "x"], ["--log-level", "LOUD"]]
)
def test_a_mistake_in_the_command_line_exits_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What argparse refuses is a usage error, said on stderr."""
    result = effectmq(capsys, *words)
    assert result.code == 2
    assert "error:" in result.err


def test_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` prints the distribution's version."""
    result = effectmq(capsys, "--version")
    assert (result.code, result.out) == (0, f"effectmq {version('effectmq')}\n")


def _failing(monkeypatch: pytest.MonkeyPatch, problem: BaseException) -> None:
    async def run(args: object) -> int:
        raise problem

    monkeypatch.setattr("effectmq.cli.fleet.queues.run", run)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError, 2),
        (AccessRefusedError, 2),
        (VirtualHostError, 2),
        (TopologyError, 2),
        (BrokerUnreachableError, 1),
        (EffectmqError, 1),
    ],
)
def test_an_error_of_ours_is_one_sentence(
    error: type[EffectmqError],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No traceback, no control characters, no password; 2 for what trying again cannot mend."""
    _failing(monkeypatch, error("line\none \x1b[31m amqp://u:geheim@h/"))
    result = effectmq(capsys, "queues")
    assert result.code == code
    assert result.err == "effectmq: line\\none \\x1b[31m amqp://***@h/\n"


def test_an_interrupt_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C exits 130 and says nothing."""
    _failing(monkeypatch, KeyboardInterrupt())
    result = effectmq(capsys, "queues")
    assert (result.code, result.out, result.err) == (130, "", "")


def test_a_defect_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not ours is not hidden behind a sentence."""
    _failing(monkeypatch, ZeroDivisionError("defect"))
    with pytest.raises(ZeroDivisionError):
        effectmq(capsys, "queues")


def test_logging_options_may_stand_anywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the command, behind it, and behind the action of a command."""
    seen: list[tuple[str, str]] = []

    async def run(args: argparse.Namespace) -> int:
        seen.append((args.log_level, args.log_format))
        return 0

    monkeypatch.setattr("effectmq.cli.topology.command.run", run)
    for words in (
        ["--log-level", "error", "--log-json", "topology", "plan"],
        ["topology", "--log-level", "ERROR", "--log-format", "json", "plan"],
        ["topology", "plan", "--log-json", "--log-level", "ERROR"],
    ):
        assert effectmq(capsys, *words).code == 0
    assert seen == [("ERROR", "json")] * 3


def test_variables_say_what_is_logged_unless_the_command_line_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the other variables are: this command may not need them."""
    seen: list[tuple[str, str | None]] = []

    async def run(args: argparse.Namespace) -> int:
        seen.append((args.log_level, args.log_format))
        return 0

    monkeypatch.setattr("effectmq.cli.topology.command.run", run)
    monkeypatch.setattr("effectmq.cli.worker.run", run)
    for words in (["topology", "plan"], ["worker", "app:app"]):
        assert effectmq(capsys, *words).code == 0
    monkeypatch.setenv("EFFECTMQ_LOG_LEVEL", "debug")
    monkeypatch.setenv("EFFECTMQ_LOG_FORMAT", "json")
    monkeypatch.setenv("EFFECTMQ_CONCURRENCY", "many")
    for words in (
        ["topology", "plan"],
        ["worker", "app:app"],
        ["--log-level", "ERROR", "worker", "app:app"],
        ["topology", "plan", "--log-format", "text"],
    ):
        assert effectmq(capsys, *words).code == 0
    assert seen == [
        ("WARNING", None),
        ("INFO", None),
        ("DEBUG", "json"),
        ("DEBUG", "json"),
        ("ERROR", "json"),
        ("DEBUG", "text"),
    ]


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("EFFECTMQ_LOG_LEVEL", "found 'LOUD', expected DEBUG, INFO, WARNING or ERROR"),
        ("EFFECTMQ_LOG_FORMAT", "found 'LOUD', expected text or json"),
    ],
)
def test_a_variable_that_says_nothing_of_logs_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    sentence: str,
) -> None:
    """Before anything runs."""
    monkeypatch.setenv(variable, "LOUD")
    result = effectmq(capsys, "topology", "plan")
    assert (result.code, result.out) == (2, "")
    assert f"{variable}: {sentence}. Correct the variable, or unset it" in result.err


def test_only_the_module_of_the_command_is_imported() -> None:
    """Another command's imports must not slow down this one, nor ``--help``."""
    code = (
        "import sys; from effectmq.cli import main; main(['--help']); "
        "print([name for name in sys.modules if name.startswith('effectmq.cli.')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert not any(f"effectmq.cli.{name}'" in done.stderr for name in COMMANDS)


#: What a command needs when it runs, each slower to load than all of the help.
_HEAVY = ("aio_pika", "asyncio", "importlib.metadata", "logging", "pydantic", "pydantic_core")


@pytest.mark.parametrize("words", [["--help"], [], ["wroker"]], ids=" ".join)
def test_help_loads_nothing_that_only_running_needs(words: list[str]) -> None:
    """Whoever asks how a command is called is answered before the libraries are loaded."""
    code = (
        "import sys; from effectmq.cli import main; "
        f"main({words!r}); print(sorted({set(_HEAVY)!r} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "usage: effectmq" in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_console_script_gives_the_exit_code(tmp_path: Path) -> None:
    """The installed program runs, and passes on what ``main`` returns."""
    done = subprocess.run(
        [_PROGRAM, "run", str(tmp_path / "missing.jsonl")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("effectmq: ")
    assert "missing.jsonl cannot be read" in done.stderr
    assert not done.stdout


#: What writes to stdout by every way that there is.
_WRITERS = (
    ("--help",),
    ("--version",),
    ("worker", "--help"),
    ("canonicalize", "--type", "value", "values.jsonl"),
    ("doctor", "--broker", "memory://"),
    ("doctor", "--broker", "memory://", "--json"),
    ("queues", "--broker", "memory://"),
    ("topology", "plan", "--json"),
    ("demo",),
)


def _written_to(
    stdout: int, words: tuple[str, ...], folder: Path
) -> subprocess.CompletedProcess[str]:
    (folder / "values.jsonl").write_text('{"a": 1}\n' * 20_000)
    return subprocess.run(
        [_PROGRAM, *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        cwd=folder,
        check=False,
    )


@pytest.mark.parametrize("words", _WRITERS, ids=" ".join)
def test_a_reader_that_goes_away_is_no_error(words: tuple[str, ...], tmp_path: Path) -> None:
    """``effectmq … | head`` ends without a word on stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = _written_to(writing, words, tmp_path)
    finally:
        os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", _WRITERS, ids=" ".join)
def test_a_full_disk_is_a_sentence(words: tuple[str, ...], tmp_path: Path) -> None:
    """Whatever was being written, buffered or not, and at the exit of Python too."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = _written_to(full, words, tmp_path)
    finally:
        os.close(full)
    assert done.stderr.splitlines()[-1].startswith(
        "effectmq: the output cannot be written: No space left on device"
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("words", _WRITERS, ids=" ".join)
def test_a_stdout_that_is_closed_is_a_sentence(words: tuple[str, ...], tmp_path: Path) -> None:
    """As under a supervisor that gives none; what is printed goes into no other file either."""
    done = _closed(words, ">&-", tmp_path)
    assert "the output cannot be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == 1


@pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-"])
def test_other_streams_may_be_closed(closed: str, tmp_path: Path) -> None:
    """What is said to nobody does not come between the results."""
    done = _closed(("doctor", "--broker", "memory://", "--json"), closed, tmp_path)
    assert done.returncode == 0
    assert {"check", "status", "detail"} == set(json.loads(done.stdout.splitlines()[0]))
    assert _closed(("run", "nothing.jsonl"), closed, tmp_path).stdout == ""


def _closed(words: tuple[str, ...], closed: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "values.jsonl").write_text('{"a": 1}\n')
    command = shlex.join([str(_PROGRAM), *words])
    return subprocess.run(
        ["/bin/sh", "-c", f"{command} {closed}"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        check=False,
    )


@pytest.mark.one_broker
@pytest.mark.parametrize("words", [("doctor",), ("doctor", "--json"), ("queues",)], ids=" ".join)
def test_what_cannot_be_written_ends_the_connections_too(
    broker: Broker, words: tuple[str, ...], tmp_path: Path
) -> None:
    """In good order, and without what Python says of tasks that are left behind."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = _written_to(full, (*words, "--broker", broker.url), tmp_path)
    finally:
        os.close(full)
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == 1


def test_the_exit_codes_have_names() -> None:
    """Other commands use the same numbers."""
    assert (cli.EXIT_OK, cli.EXIT_FAILED, cli.EXIT_USAGE) == (0, 1, 2)


def test_a_stray_word_with_a_password_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """A complaint about the command line repeats what was typed, without its secrets."""
    result = effectmq(capsys, "dead", "list", "amqp://agent:hunter2@broker/")
    assert result.code == 2
    assert "hunter2" not in result.err
