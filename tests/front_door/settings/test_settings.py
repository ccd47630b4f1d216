"""The table of settings: whole, the same everywhere, and what counts when several say something."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

import effectmq.cli.api
import effectmq.cli.run
import effectmq.cli.submit.command
import effectmq.cli.worker
from effectmq import Client, TransportSettings, Worker, WorkerSettings
from effectmq.broker.client.client import ClientArguments
from effectmq.cli.arguments.logging_options import add_logging_options
from effectmq.cli.arguments.setting_options import words_of
from effectmq.consumers.arguments import WorkerArguments
from effectmq.consumers.code.handler import CodeHandler
from effectmq.consumers.code.settings import CodeArguments, CodeSettings
from effectmq.consumers.processes.runner import ProcessRunner
from effectmq.consumers.processes.settings import ProcessArguments, ProcessRunnerSettings
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.topology import TopologySettings
from effectmq.settings.environment import read_environment
from effectmq.settings.resolution import command_line
from effectmq.settings.table import SETTINGS, Setting, settings_of
from tests.front_door.settings import page

PARTS = list(settings_of("code", "process"))
WORKERS = list(settings_of("place", "worker", "connection"))
LOGS = list(settings_of("log"))
CLIENTS = list(settings_of("place", "client", "connection"))
#: The settings that are arguments of a worker, a client or a part of a worker.
ARGUMENTS = [setting for setting in SETTINGS if setting.owner not in ("api", "program", "log")]

#: A text of each setting that is no default, and the value that it means.
SAID: dict[str, tuple[str, object]] = {
    "broker": ("memory://said", "memory://said"),
    "namespace": ("said", "said"),
    "journal": ("sqlite:////said.db", "sqlite:////said.db"),
    "attachments": ("memory://said", "memory://said"),
    "replay": ("strict", "strict"),
    "delay_levels_s": ("500,2s,1m", (0.5, 2.0, 60.0)),
    "delivery_limit": ("7", 7),
    "reply_expires_s": ("2w", 1_209_600.0),
    "identity": ("said", "said"),
    "content_type": ("application/json", "application/json"),
    "tenant": ("acme", "acme"),
    "priority": ("low", "low"),
    "name": ("said", "said"),
    "app_version": ("7.1", "7.1"),
    "worker_version": ("2.1", "2.1"),
    "http": ("127.0.0.1:0", "127.0.0.1:0"),
    "concurrency": ("3", 3),
    "route_concurrency": ("llm_call=64, tool_call.gpu=1", {"llm_call": 64, "tool_call.gpu": 1}),
    "time_limit_s": ("1h30m", 5_400.0),
    "kill_grace_s": ("250ms", 0.25),
    "shutdown_grace_s": ("90", 90.0),
    "max_crashes": ("0", 0),
    "max_deaths": ("5", 5),
    "elsewhere_s": ("0", 0.0),
    "max_reply_bytes": ("5000", 5_000),
    "blocked_loop_s": ("1m", 60.0),
    "lease_s": ("45s", 45.0),
    "reply_keep_s": ("1d", 86_400.0),
    "traces": ("payloads", "payloads"),
    "max_abandoned": ("2", 2),
    "log_every": ("100", 100),
    "max_waiting": ("7", 7),
    "max_body_bytes": ("2000000", 2_000_000),
    "connect_timeout_s": ("3s", 3.0),
    "publish_timeout_s": ("4s", 4.0),
    "reconnect_max_s": ("5s", 5.0),
    "heartbeat_s": ("1m", 60),
    "publish_window": ("9", 9),
    "code_backend": ("cpython", "cpython"),
    "code_time_limit_s": ("3s", 3.0),
    "code_wait_limit_s": ("2m", 120.0),
    "code_memory_bytes": ("33554432", 33_554_432),
    "code_output_bytes": ("1000", 1_000),
    "code_state_bytes": ("2000", 2_000),
    "code_max_tool_calls": ("0", 0),
    "code_parallel_calls": ("2", 2),
    "code_processes": ("2", 2),
    "code_warm_processes": ("3", 3),
    "code_blocks_per_process": ("7", 7),
    "process_concurrency": ("5", 5),
    "process_host_profile_id": ("said", "said"),
    "process_lease_s": ("1h", 3_600.0),
    "process_renew_s": ("5s", 5.0),
    "process_sweep_s": ("2s", 2.0),
    "process_cancel_grace_s": ("9s", 9.0),
    "process_shutdown_grace_s": ("1m", 60.0),
    "process_elsewhere_s": ("0", 0.0),
    "management": ("http://host:15672", "http://host:15672"),
    "api_address": ("127.0.0.1:0", "127.0.0.1:0"),
    "api_tokens": ("@/tokens", "@/tokens"),
    "api_hosts": ("ops.example", "ops.example"),
    "gc": ("python", "python"),
    "log_level": ("debug", "DEBUG"),
    "log_format": ("json", "json"),
}

#: Fields of settings that are arguments only, since what fits is a matter of the program that is
#: written and not of the machine that it runs on.
CODE_ONLY = {
    "argument_bytes",
    "error_chars",
    "image_bytes",
    "kept_states",
    "max_images",
    "max_recursion_depth",
    "max_sleeps",
    "observation_chars",
    "observation_lines",
    "records_bytes",
}


def code(**arguments: Any) -> CodeHandler:
    """What runs the code of a worker."""
    return Worker().code(**arguments)


def processes(**arguments: Any) -> ProcessRunner:
    """What runs the processes of a worker."""
    return Worker().processes(**arguments).runner


def found(made: Made, name: str) -> object:
    """What a worker, a client or a part of a worker has as a setting."""
    if isinstance(made, CodeHandler | ProcessRunner):
        return getattr(made.settings, name)
    place = made.place
    if name == "reply_expires_s":
        return place.topology.reply_expires_ms / 1_000
    if name == "delay_levels_s":
        return tuple(level / 1_000 for level in place.topology.delay_levels_ms)
    if name == "content_type":
        return made._content_type  # type: ignore[union-attr]
    holders: list[Any] = [place.topology, place.transport, place, made]
    if isinstance(made, Worker):
        holders = [made.settings, place.topology, made, place.transport, place]
    if name == "attachments":
        holders = [place]
    return next(getattr(holder, name) for holder in holders if hasattr(holder, name))


Made: TypeAlias = Worker | Client | CodeHandler | ProcessRunner
Make: TypeAlias = Callable[..., Made]


def parser_of(command: Any) -> argparse.ArgumentParser:
    """The parser that a command has."""
    commands = argparse.ArgumentParser().add_subparsers()
    command.configure(commands)
    [parser] = commands.choices.values()
    return parser


def any_command(commands: Any) -> None:
    """Every command has these."""
    add_logging_options(commands.add_parser("any"))


# The table --------------------------------------------------------------------------------------


def test_the_page_has_the_table() -> None:
    """``python -m tests.front_door.settings.page`` writes it anew."""
    assert page.shown() == page.table()


def test_every_field_of_the_settings_classes_is_in_it() -> None:
    """A new field is an argument, an option and a variable, or is named here with its reason."""
    classes = (WorkerSettings, TransportSettings, TopologySettings)
    names = {each.name for kind in classes for each in fields(kind)}
    names -= {"name"}  # of a connection: it is that of its client or worker
    names -= {"delay_levels_ms", "reply_expires_ms"}  # end with _s here
    names -= {"max_length"}  # for a policy of the broker, which can be changed later
    assert names <= {setting.name for setting in SETTINGS}
    of_parts = {
        each.name for kind in (CodeSettings, ProcessRunnerSettings) for each in fields(kind)
    }
    assert of_parts - {setting.argument for setting in PARTS} == CODE_ONLY


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [(CodeArguments, CodeSettings), (ProcessArguments, ProcessRunnerSettings)],
)
def test_a_part_takes_each_field_as_an_argument(arguments: Any, settings: Any) -> None:
    """Also those that have neither option nor variable."""
    assert arguments.__optional_keys__ == {each.name for each in fields(settings)}


@pytest.mark.parametrize(
    ("kind", "arguments", "settings"),
    [(Worker, WorkerArguments, WORKERS), (Client, ClientArguments, CLIENTS)],
    ids=["Worker", "Client"],
)
def test_constructors_take_what_is_in_it(
    kind: type[object], arguments: Any, settings: list[Setting]
) -> None:
    """By the same names, and nothing else but whole values."""
    whole = {"place", "settings", "topology", "transport", "arguments"}
    taken = set(inspect.signature(kind).parameters) - whole
    former = {"delay_levels_ms"}
    assert taken | arguments.__optional_keys__ == {each.argument for each in settings} | former


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        (effectmq.cli.worker, [*WORKERS, *PARTS, *settings_of("program")]),
        (effectmq.cli.submit.command, CLIENTS),
        (effectmq.cli.run, CLIENTS),
        (effectmq.cli.api, list(settings_of("place", "connection", "api"))),
        (SimpleNamespace(configure=any_command), LOGS),
    ],
    ids=["worker", "submit", "run", "api", "logs"],
)
def test_commands_have_its_options(command: Any, settings: list[Setting]) -> None:
    """With the variable and the default in the help."""
    options = {
        option: action for action in parser_of(command)._actions for option in action.option_strings
    }
    for setting in settings:
        assert f"{setting.variable}, else {setting.default}" in (options[setting.option].help or "")


def test_this_test_knows_all_of_it() -> None:
    assert set(SAID) == {setting.name for setting in SETTINGS}


# What is said -----------------------------------------------------------------------------------


def both(setting: Setting) -> list[Make]:
    """Who has a setting."""
    kinds: dict[str, list[Make]] = {
        "worker": [Worker],
        "client": [Client],
        "code": [code],
        "process": [processes],
    }
    return kinds.get(setting.owner, [Worker, Client])


def journal_for(setting: Setting) -> dict[str, Any]:
    """Strict replay needs one."""
    return {"journal": "sqlite:////j.db"} if setting.name == "replay" else {}


@pytest.mark.parametrize("setting", ARGUMENTS, ids=lambda setting: setting.name)
def test_a_variable_says_it(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read with the units that options have."""
    text, value = SAID[setting.name]
    monkeypatch.setenv(setting.variable, text)
    for kind in both(setting):
        assert found(kind(**journal_for(setting)), setting.argument) == value


@pytest.mark.parametrize("setting", ARGUMENTS, ids=lambda setting: setting.name)
def test_an_argument_beats_the_variable(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the argument is what the default would be."""
    default = found(both(setting)[0](**journal_for(setting)), setting.argument)
    monkeypatch.setenv(setting.variable, SAID[setting.name][0])
    if default is None:
        default = {} if setting.name == "route_concurrency" else "none"
    for kind in both(setting):
        arguments: dict[str, Any] = {**journal_for(setting), setting.argument: default}
        expected = None if default == "none" else default
        assert found(kind(**arguments), setting.argument) == expected


@pytest.mark.parametrize("setting", WORKERS + PARTS, ids=lambda setting: setting.name)
def test_an_option_beats_the_argument(setting: Setting) -> None:
    """The command line has the last word; a reloaded worker gets the same once more."""
    text, value = SAID[setting.name]
    parser = parser_of(effectmq.cli.worker)
    args = parser.parse_args(["m:app", setting.option, text])
    again = list(words_of(args, "place", "worker", "connection", "code", "process"))
    assert getattr(parser.parse_args(["m:app", *again]), setting.name) == value
    with command_line({setting.name: getattr(args, setting.name)}):
        arguments: dict[str, Any] = {setting.argument: "x" if isinstance(value, str) else 1}
        made = both(setting)[0](**{**arguments, **journal_for(setting)})
        assert found(made, setting.argument) == value


def test_nothing_said_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable says nothing, and one in other letters is another one."""
    monkeypatch.setenv("EFFECTMQ_CONCURRENCY", "")
    monkeypatch.setenv("EFFECTMQ_BROKER", "")
    monkeypatch.setenv("effectmq_max_deaths", "9")
    assert read_environment() == {}
    app = Worker(namespace=None, journal=None, concurrency=None)
    assert app.settings == WorkerSettings()
    assert (app.broker, app.topology) == ("memory://", TopologySettings())


def test_a_whole_value_says_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its defaults, too; an argument of its own counts more."""
    monkeypatch.setenv("EFFECTMQ_MAX_DEATHS", "9")
    monkeypatch.setenv("EFFECTMQ_HEARTBEAT", "9")
    settings, transport = WorkerSettings(time_limit_s=5), TransportSettings(publish_window=2)
    app = Worker(settings=settings, transport=transport, concurrency=8)
    assert app.settings == WorkerSettings(time_limit_s=5, concurrency=8)
    assert app.place.transport == transport


def test_a_whole_value_of_a_part_says_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise; and what reaches the parts by variables has to fit together."""
    monkeypatch.setenv("EFFECTMQ_CODE_TIME_LIMIT", "9s")
    monkeypatch.setenv("EFFECTMQ_PROCESS_LEASE", "4s")
    whole = CodeSettings(processes=2)
    assert Worker().code(whole, time_limit_s=3).settings == replace(whole, time_limit_s=3)
    with pytest.raises(ConfigurationError, match="renew_s is 30 and lease_s is 4"):
        Worker().processes()
    monkeypatch.setenv("EFFECTMQ_PROCESS_RENEW", "1s")
    assert processes().settings == ProcessRunnerSettings(lease_s=4, renew_s=1)


def test_the_default_journal_belongs_to_the_namespace_that_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever says it; and it is known that nobody chose it, whatever its address."""
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    monkeypatch.setenv("EFFECTMQ_NAMESPACE", "variable")
    with command_line({"namespace": "option"}):
        app = Worker("amqp://localhost", namespace="argument")
    assert (app.journal, app.place.journal_is_default) == (
        "sqlite:////state/effectmq/option.db",
        True,
    )
    chosen = Worker(namespace="option", journal=app.journal)
    assert (chosen.journal, chosen.place.journal_is_default) == (app.journal, False)
    assert Client().journal is None


def test_beside_a_broker_in_memory_the_default_journal_is_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both end with the program; a journal that somebody names counts all the same."""
    for app in (Worker(), Worker("memory://mine"), Worker("MEMORY://mine/")):
        assert app.journal == app.broker
        assert app.place.journal_is_default
        assert Client(place=app.place).journal == app.broker
    monkeypatch.setenv("EFFECTMQ_JOURNAL", "sqlite:///named.db")
    assert (Worker().journal, Worker().place.journal_is_default) == ("sqlite:///named.db", False)


# What is wrong ----------------------------------------------------------------------------------


def test_every_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found and what was expected; nothing of the library below."""
    monkeypatch.setenv("EFFECTMQ_MAX_DEATHS", "many")
    monkeypatch.setenv("EFFECTMQ_LEASE", "0")
    monkeypatch.setenv("EFFECTMQ_DELAY_LEVELS", "5s,soon")
    with pytest.raises(ConfigurationError) as caught:
        Worker()
    assert "EFFECTMQ_MAX_DEATHS: found 'many', expected a whole number" in str(caught.value)
    assert "EFFECTMQ_LEASE: lease_s is 0.0; expected seconds above 0" in str(caught.value)
    assert "EFFECTMQ_DELAY_LEVELS: found '5s,soon', expected times" in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_a_slip_in_a_variable_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once; what is not like a setting belongs to somebody else."""
    monkeypatch.setenv("EFFECTMQ_CONCURENCY", "8")
    monkeypatch.setenv("EFFECTMQ_COLOUR_OF_MY_APP", "red")
    assert Worker().settings == Worker().settings == WorkerSettings()
    [told] = [record.getMessage() for record in caplog.records]
    assert "EFFECTMQ_CONCURENCY is no setting" in told
    assert "EFFECTMQ_CONCURRENCY is one" in told


@pytest.mark.parametrize("name", ["BROKER", "JOURNAL", "ATTACHMENTS"])
def test_passwords_are_in_no_message(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is wrong."""
    monkeypatch.setenv(f"EFFECTMQ_{name}", "s3://user:hunter2@host")
    monkeypatch.setenv("EFFECTMQ_MAX_DEATHS", "many")
    with pytest.raises(ConfigurationError) as caught:
        Client()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "text", "sentence"),
    [
        ("--max-deaths", "0", "max_deaths is 0; expected 1 or more"),
        ("--max-deaths", "9" * 30, "expected a whole number"),
        ("--time-limit", "soon", "expected a time"),
        ("--heartbeat", "1.5", "expected whole seconds"),
        ("--route-concurrency", "llm_call=64,tool=1", "route_concurrency names 'tool'"),
        ("--route-concurrency", "llm_call=0", "route_concurrency of llm_call is 0"),
        ("--route-concurrency", "64", "expected numbers by route"),
        ("--replay", "maybe", "expected execute or strict"),
        ("--delay-levels", "5s,1s", "expected ascending"),
        ("--namespace", "a b", "namespace is 'a b'"),
        ("--code-time-limit", "0", "time_limit_s is 0.0; expected more than 0"),
        ("--code-backend", "pypy", "expected monty or cpython"),
        ("--process-lease", "0", "lease_s is 0.0; expected seconds above 0"),
    ],
)
def test_a_wrong_option_is_a_sentence(
    option: str, text: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser_of(effectmq.cli.worker).parse_args(["m:app", option, text])
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("kind", [Worker, Client])
def test_a_misspelt_argument_is_a_type_error(kind: Any) -> None:
    """As everywhere in Python."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'concurency'"):
        kind(concurency=3)


# One place --------------------------------------------------------------------------------------


def test_a_client_can_be_at_the_place_of_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given beside it counts more, and variables do not reach it."""
    app = Worker(
        "memory://here",
        namespace="mine",
        journal=f"sqlite:///{tmp_path}/j.db",
        attachments="memory://store",
        heartbeat_s=30,
        reply_expires_s=60,
    )
    monkeypatch.setenv("EFFECTMQ_BROKER", "memory://there")
    assert Client(place=app.place).place == app.place
    other = Client(place=app.place, namespace="yours").place
    assert (other.broker, other.topology.namespace) == ("memory://here", "yours")
    assert other.transport == app.place.transport


@pytest.mark.parametrize("kind", [Worker, Client])
def test_delay_levels_in_milliseconds_still_work_and_are_told(kind: Any) -> None:
    """At the line of the program, with the seconds to write instead."""
    name = kind.__name__
    sentence = rf"write {name}\(delay_levels_s=\[0\.5, 60\.0\]\)$"
    with pytest.warns(DeprecationWarning, match=sentence) as told:
        made = kind(delay_levels_ms=[500, 60_000])
    assert told[0].filename == __file__
    assert made.topology == replace(kind().topology, delay_levels_ms=(500, 60_000))
    assert kind(delay_levels_s=(0.5, 60)).topology == made.topology
    assert kind(place=made.place).place == made.place
    with pytest.raises(TypeError, match="takes one of delay_levels_s and delay_levels_ms"):
        kind(delay_levels_s=[1], delay_levels_ms=[1_000])


@pytest.mark.parametrize(
    ("levels", "sentence"),
    [
        (5, "expected seconds in a list or a tuple"),
        ("5s", "expected seconds in a list or a tuple"),
        ([], "expected ascending"),
        ([5, 1], "expected ascending"),
        ([0.0001], "expected ascending"),
        ([-1], "expected seconds from 0"),
        ([float("nan")], "one of delay_levels_s is nan"),
        (["1s"], "one of delay_levels_s is '1s'"),
    ],
)
def test_what_are_no_delay_levels_is_refused(levels: Any, sentence: str) -> None:
    """Found, expected, and never an error of Python's."""
    with pytest.raises(ConfigurationError, match=sentence):
        Worker(delay_levels_s=levels)
