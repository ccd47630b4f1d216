"""Finding the worker: each way to fail has a sentence of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from effectmq import Worker
from effectmq.broker.client.client import EffectClient
from effectmq.cli.program.loading import load_worker
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.topology import TopologySettings
from effectmq.settings.resolution import command_line

Write = Callable[[str], str]

_APP = "from effectmq import Worker\napp = Worker('memory://')\nother = Worker('memory://')\n"


def _refusal(target: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_worker(target)
    return str(caught.value)


def test_a_worker_in_the_current_folder_is_found(write_module: Write) -> None:
    """A console script has another folder on its path; the user's comes first all the same."""
    name = write_module(_APP)
    assert isinstance(load_worker(f"{name}:app"), Worker)
    assert sys.path[0] == str(Path.cwd())


def test_a_worker_inside_of_an_object_is_found(write_module: Write) -> None:
    """``module:object.attribute``."""
    name = write_module(f"{_APP}class Settings:\n    worker = app\n")
    assert load_worker(f"{name}:Settings.worker") is sys.modules[name].app


@pytest.mark.parametrize(
    ("target", "suggestion"),
    [
        ("worker", "worker:app"),
        ("worker.py", "worker:app"),
        ("worker.py:app", "worker:app"),
        ("./jobs/worker.py:app", "jobs.worker:app"),
    ],
)
def test_a_path_is_answered_with_what_was_meant(target: str, suggestion: str) -> None:
    """The form is ``module:object``, and the sentence shows it."""
    message = _refusal(target)
    assert repr(target) in message
    assert f"for instance {suggestion}" in message


def test_a_missing_module_names_the_folder(write_module: Write) -> None:
    """The usual reason is that the command runs in another folder."""
    write_module("")
    message = _refusal("no_such_module.at_all:app")
    assert "there is no module 'no_such_module.at_all'" in message
    assert str(Path.cwd()) in message


def test_a_missing_import_inside_names_the_import(write_module: Write) -> None:
    """The module is there; something that it wants is not, and where."""
    name = write_module("import no_such_package\n")
    message = _refusal(f"{name}:app")
    assert f"the module {name!r} imports 'no_such_package', which is not installed" in message
    assert f"({name}.py, line 1)" in message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = = 1", "SyntaxError"),
        ("\n\n1 / 0", "ZeroDivisionError: division by zero ({name}.py, line 3)"),
        ("raise SystemExit('no')", "SystemExit: no"),
        ("from effectmq import Nothing", "ImportError"),
    ],
)
def test_a_module_that_fails_says_how_and_where(
    source: str, expected: str, write_module: Write
) -> None:
    """Whatever goes wrong during the import is one sentence, with file and line."""
    name = write_module(source)
    message = _refusal(f"{name}:app")
    assert message.startswith(f"the module {name!r} cannot be imported: ")
    assert expected.format(name=name) in message


def test_a_mistake_in_the_use_of_effectmq_keeps_its_own_sentence(write_module: Write) -> None:
    """Our errors say already what to do."""
    name = write_module(
        "from effectmq import Worker\napp = Worker()\n@app.handler('bogus')\ndef f(x): ...\n"
    )
    assert _refusal(f"{name}:app").startswith("there is no effect kind 'bogus'")


def test_a_missing_object_lists_the_workers_that_there_are(write_module: Write) -> None:
    """Most often it is a misspelt name."""
    name = write_module(_APP)
    message = _refusal(f"{name}:ap")
    assert f"has no 'ap'; it has these Workers: {name}:app, {name}:other" in message


def test_a_module_without_any_worker_says_how_to_make_one(write_module: Write) -> None:
    """The first steps of somebody who has not read the guide."""
    name = write_module("x = 1\n")
    assert "it has no Worker at all. Make one: app = Worker()" in _refusal(f"{name}:app")


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("1", "an int"),
        ("'text'", "a str"),
        ("Worker", "the class Worker"),
        ("lambda: 1", "a function"),
        ("__import__('os')", "a module"),
    ],
)
def test_something_else_than_a_worker_is_named(
    expression: str, kind: str, write_module: Write
) -> None:
    """What was found under the name, and what would do."""
    name = write_module(f"{_APP}thing = {expression}\n")
    message = _refusal(f"{name}:thing")
    assert f"{name + ':thing'!r} is {kind}, expected a Worker" in message
    assert f"{name}:app" in message


def test_the_command_line_has_the_last_word(write_module: Write) -> None:
    """What is given replaces what the module said; what is not given stays."""
    name = write_module(
        "from effectmq import Worker\n"
        "app = Worker('memory://mine', namespace='mine', concurrency=5, time_limit_s=9)\n"
    )
    said = {"broker": "memory://x", "namespace": "theirs", "concurrency": 3}
    app = load_worker(f"{name}:app", said)
    assert (app.broker, app.topology.namespace) == ("memory://x", "theirs")
    assert (app.settings.concurrency, app.settings.time_limit_s) == (3, 9)
    assert Worker("memory://mine").broker == "memory://mine"


def test_options_that_come_too_late_are_refused(write_module: Write) -> None:
    """A module that was imported before has made its worker without them."""
    name = write_module(_APP)
    app = load_worker(f"{name}:app")
    assert load_worker(f"{name}:app") is app
    with pytest.raises(ConfigurationError, match="was imported before its worker was asked for"):
        load_worker(f"{name}:app", {"concurrency": 3})


async def test_a_worker_works_with_what_the_command_line_said() -> None:
    """It reaches the connection and the queues."""
    with command_line({"broker": "memory://here", "namespace": "there"}):
        app = Worker("memory://elsewhere")
    app.tool(abs_)
    async with (
        app,
        EffectClient("memory://here", topology=TopologySettings(namespace="there")) as client,
    ):
        outcome = await client.turn("s", "t").tool_call("abs_", {"x": -1}, call_id="c")
    assert outcome.type == "tool_call"


def abs_(x: int) -> int:
    """A tool."""
    return abs(x)
