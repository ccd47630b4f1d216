"""The engine on CPython: what a block gives, what it can reach, and what remains of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from effectmq.consumers.code.cpython.engine import CPythonEngine
from effectmq.consumers.code.data.values import CodeError
from effectmq.consumers.code.engine import (
    BlockStoppedError,
    EngineCrashedError,
    Program,
    Ran,
    StateUnreadableError,
)
from effectmq.protocol.errors import ConfigurationError
from tests.consumers.code.processes import descendants, stat
from tests.consumers.code.sandbox import SANDBOXED, sandboxed
from tests.consumers.code.stage import FakeHost
from tests.consumers.code.test_monty import read
from tests.waiting import eventually

_ROOT = Path(__file__).parents[3]
_WORKER = """
import asyncio
from effectmq.consumers.code.cpython.engine import CPythonEngine
from effectmq.consumers.code.engine import Program
from effectmq.consumers.code.settings import CodeSettings
from tests.consumers.code.stage import FakeHost

async def main():
    host = FakeHost("ask")
    async def say(name, args, kwargs): print("asked", flush=True)
    host.call = say
    async with CPythonEngine(CodeSettings(time_limit_s=1_000)) as engine:
        await engine.run(Program("ask()\\nwhile True: pass", None, ""), host)

asyncio.run(main())
"""


@pytest.fixture
async def engine() -> AsyncIterator[CPythonEngine]:
    """An engine of the test's own."""
    async with sandboxed() as started:
        yield started


async def run(
    engine: CPythonEngine, code: str, state: bytes | None = None, host: FakeHost | None = None
) -> Ran:
    """Run one block."""
    return await engine.run(Program(code, state, "seed"), host or FakeHost())


async def test_a_block_gives_what_it_printed_and_its_last_value(engine: CPythonEngine) -> None:
    """Output and errors in the order in which they were written, by whatever means."""
    text = (
        "import os, sys\nprint('a')\nprint('b', file=sys.stderr)\nos.write(1, b'c')\n"
        "print('d', end='')\n[1, 'x']"
    )
    ran = await run(engine, text)
    assert (ran.printed, ran.value, ran.error) == ("a\nb\ncd", "[1, 'x']", None)


@pytest.mark.parametrize("text", ["x = 1", "None", "", "# nothing", "if True: 1"])
async def test_a_block_without_a_value_gives_none(engine: CPythonEngine, text: str) -> None:
    """As at any prompt, nothing is shown for ``None``."""
    ran = await run(engine, text)
    assert (ran.value, ran.error) == ("", None)


async def test_plain_data_remains_for_the_next_block(engine: CPythonEngine) -> None:
    """The state is all it takes; the same one can be begun with twice."""
    first = await run(engine, "x = {'a': [1, 2.5, 'ü', None, True, 10 ** 30]}\ny = 1")
    second = await run(engine, "x['a'].append(y)\nx", first.state)
    assert second.value.endswith(f"{10**30}, 1]}}")
    assert (await run(engine, "len(x['a'])", first.state)).value == "6"
    assert (await run(engine, "len(x['a'])", second.state)).value == "7"


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("import json", "json", "module"),
        ("def f(): pass", "f", "function"),
        ("s = {1, 2}", "s", "set"),
        ("t = [1, (2, 3)]", "t", "list"),
        ("d = {1: 2}", "d", "dict"),
        ("a = []\na.append(a)", "a", "list"),
        ("class C(str): pass\nc = C('x')", "c", "C"),
    ],
)
async def test_everything_else_is_forgotten_and_its_use_says_so(
    engine: CPythonEngine, text: str, name: str, kind: str
) -> None:
    """What would have to be trusted when it is read is not kept."""
    first = await run(engine, f"kept = 1\n{text}")
    failed = await run(engine, f"kept\n{name}", first.state)
    assert failed.error is not None
    assert f"NameError: name '{name}' is not defined" in failed.error
    assert f"{name} was a {kind}, and only plain data is kept" in failed.error
    assert (await run(engine, "kept", failed.state)).value == "1"


async def test_a_variable_that_is_deleted_is_gone(engine: CPythonEngine) -> None:
    """And nothing is said about it."""
    first = await run(engine, "x = 1")
    second = await run(engine, "del x", first.state)
    failed = await run(engine, "x", second.state)
    assert failed.error is not None
    assert failed.error.endswith("NameError: name 'x' is not defined")


async def test_what_a_failing_block_did_before_it_failed_remains(engine: CPythonEngine) -> None:
    """Its error is the traceback of the block alone."""
    failed = await run(engine, "x = 3\nprint('so far')\nraise ValueError('no')")
    assert failed.printed == "so far\n"
    assert failed.error == (
        "Traceback (most recent call last):\n"
        '  File "<block>", line 3, in <module>\n'
        "    raise ValueError('no')\n"
        "ValueError: no"
    )
    assert (await run(engine, "x", failed.state)).value == "3"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = = 1", "SyntaxError: invalid syntax"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
        ("class A(Exception):\n    def __str__(self): return 1\nraise A", "str() failed"),
        ("raise ValueError('x' * 10_000_000)", "ValueError: xxx"),
        ("class A:\n    def __repr__(self): return 1 / 0\nA()", "ZeroDivisionError"),
    ],
)
async def test_an_odd_error_is_one_of_the_block(
    engine: CPythonEngine, text: str, words: str
) -> None:
    """Its process goes on to say so."""
    failed = await run(engine, text)
    assert failed.error is not None
    assert words in failed.error
    assert len(failed.error) < 100_000
    assert failed.state is not None


async def test_code_calls_functions_of_its_host(engine: CPythonEngine) -> None:
    """Arguments by place and by name; awaiting the call changes nothing."""
    host = FakeHost("ask")
    ran = await run(engine, "a = ask(1, b=('x',))\nb = await ask(2)\na + b", host=host)
    assert (ran.value, ran.error) == ("[1, 2]", None)
    assert host.asked == [("ask", (1,), {"b": ["x"]}), ("ask", (2,), {})]
    failed = await run(engine, "ask", ran.state)
    assert failed.error is not None
    assert failed.error.endswith("NameError: name 'ask' is not defined")


async def test_bytes_are_sent_as_they_are(engine: CPythonEngine) -> None:
    """For images; what has no way across is a ``TypeError`` in the code."""
    host = FakeHost("ask")
    host.answers["ask"] = None
    await run(engine, r"ask(b'\x00\xff')", host=host)
    assert host.asked == [("ask", (b"\x00\xff",), {})]
    failed = await run(engine, "ask({1})", host=host)
    assert failed.error is not None
    assert failed.error.endswith(
        "TypeError: the arguments of ask() cannot be sent: it holds a set, which JSON does not have"
    )
    assert 'File "<block>"' in failed.error
    assert "wire.py" not in failed.error


async def test_an_error_of_the_host_can_be_caught_by_the_code(engine: CPythonEngine) -> None:
    """It is raised at the call."""
    host = FakeHost("ask")
    host.answers["ask"] = CodeError("PermissionError", "not you")
    ran = await run(
        engine, "try:\n    ask()\nexcept PermissionError as e:\n    print(e)", host=host
    )
    assert (ran.printed, ran.error) == ("not you\n", None)


async def test_a_stop_of_the_host_cannot_be_caught_by_the_code(engine: CPythonEngine) -> None:
    """What was printed is shown; nothing is kept."""
    host = FakeHost("ask")
    host.answers["ask"] = BlockStoppedError("enough")
    ran = await run(
        engine, "print(1)\ntry:\n    ask()\nexcept BaseException:\n    print('caught')", host=host
    )
    assert (ran.printed, ran.state) == ("1\n", None)
    assert ran.error == "enough. What it changed is not kept; the session is as it was before"


async def test_whatever_else_the_host_raises_is_raised_here(engine: CPythonEngine) -> None:
    """The attempt has failed, and no process is left of it."""
    host = FakeHost("ask")
    host.answers["ask"] = OSError("no broker")
    with pytest.raises(OSError, match="no broker"):
        await run(engine, "ask()", host=host)
    assert descendants() == []


async def test_time_is_the_hosts(engine: CPythonEngine) -> None:
    """All clocks that tell the time of day stand where the host says."""
    text = (
        "import time, datetime\n"
        "now = datetime.datetime.now()\n"
        "print(time.time(), time.time_ns(), now, datetime.date.today(), time.ctime())\n"
        "print(datetime.datetime.now(datetime.timezone.utc), datetime.datetime.utcnow())\n"
        "print(isinstance(now, datetime.date), time.strftime('%H:%M'), time.gmtime().tm_year)\n"
        "now"
    )
    ran = await run(engine, text)
    assert ran.printed == (
        "1600000000.5 1600000000500000000 2020-09-13 12:26:40.500000 2020-09-13 "
        "Sun Sep 13 12:26:40 2020\n"
        "2020-09-13 12:26:40.500000+00:00 2020-09-13 12:26:40.500000\n"
        "True 12:26 2020\n"
    )
    assert ran.value == "datetime.datetime(2020, 9, 13, 12, 26, 40, 500000)"


async def test_sleeping_is_for_the_host(engine: CPythonEngine) -> None:
    """Both ways of it, several at once included; they are slept one after another."""
    host = FakeHost()
    text = (
        "import asyncio, time\n"
        "time.sleep(7)\n"
        "await asyncio.sleep(8)\n"
        "await asyncio.gather(asyncio.sleep(9), asyncio.sleep(10))\n"
        "time.sleep(11)"
    )
    failed = await run(engine, text, host=host)
    assert host.slept_s == [7.0, 8.0, 9.0, 10.0, 11.0]
    assert failed.error is not None
    assert failed.error.endswith("ValueError: too long")


async def test_the_same_block_from_the_same_state_does_the_same(engine: CPythonEngine) -> None:
    """Random numbers, the order of sets and hashes included; each run is another process."""
    text = (
        "import random\nr = [random.random() for _ in range(3)]\n"
        "print(r, {'b', 'a', 'c'}, hash('x'), random.choice('abcdef'))"
    )
    first, again = await run(engine, text), await run(engine, text)
    assert first.error is None
    assert first.printed == again.printed
    after = [await run(engine, text, first.state) for _ in range(2)]
    assert after[0].printed == after[1].printed != first.printed
    different = await engine.run(Program(text, None, "another seed"), FakeHost())
    assert different.printed != first.printed


@pytest.mark.parametrize(
    "state", [b"monty", b"effectmq cpython 1\nnonsense\n", b"effectmq cpython 1\n[]\n"]
)
async def test_bytes_that_are_no_state_are_refused(engine: CPythonEngine, state: bytes) -> None:
    """Those of another engine, and those that were damaged."""
    with pytest.raises(StateUnreadableError):
        await run(engine, "1", state)
    assert (await run(engine, "1")).value == "1"


@pytest.mark.parametrize("which", [0, 1, 2], ids=["bubblewrap", "its init", "the interpreter"])
async def test_a_killed_process_fails_its_block_and_no_other(
    engine: CPythonEngine, which: int
) -> None:
    """Kill -9 in the middle of a block; the next block has a process of its own anyway."""
    host = FakeHost("ask")

    async def kill(name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        os.kill(descendants()[which], signal.SIGKILL)
        await eventually(lambda: len(descendants()) <= which)
        return None

    host.call = kill
    with pytest.raises(EngineCrashedError, match="signal 9 ended it"):
        await run(engine, "ask()", host=host)
    assert descendants() == []
    assert (await run(engine, "1 + 1")).value == "2"


async def test_a_block_that_is_cancelled_has_its_processes_killed(engine: CPythonEngine) -> None:
    """It may compute for ever, and nobody would wait for it."""
    host = FakeHost("ask")
    block = asyncio.ensure_future(run(engine, "ask()\nwhile True: pass", host=host))
    await eventually(lambda: host.asked)
    assert len(descendants()) == 3
    block.cancel()
    with pytest.raises(asyncio.CancelledError):
        await block
    assert descendants() == []


async def test_the_standard_library_is_there(engine: CPythonEngine) -> None:
    """With the system's libraries that it needs, and the time zones, if the system has them."""
    text = (
        "import asyncio, bz2, csv, decimal, hashlib, json, lzma, re, sqlite3, ssl, uuid, zlib\n"
        "import concurrent.futures, dataclasses, statistics, xml.etree.ElementTree, zoneinfo\n"
        "hashlib.sha256(b'x').hexdigest()[:4], sqlite3.connect(':memory:').execute("
        "'select 1 + 1').fetchone()"
    )
    ran = await run(engine, text)
    assert (ran.value, ran.error) == ("('2d71', (2,))", None)


async def test_a_worker_that_is_killed_leaves_no_process() -> None:
    """Kill -9, in the middle of a block that computes for ever."""
    async with sandboxed():
        pass
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WORKER, stdout=asyncio.subprocess.PIPE, cwd=_ROOT
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"asked\n"
    (_, *started) = descendants()
    assert len(started) == 3
    worker.kill()
    await worker.communicate()
    await eventually(lambda: not any(stat(one) for one in started))


async def test_an_engine_that_is_not_started_says_so() -> None:
    """Instead of running code without having tried the sandbox."""
    with pytest.raises(ConfigurationError, match="not been started"):
        await run(CPythonEngine(SANDBOXED), "1")


async def test_nothing_of_the_worker_is_in_the_process(
    engine: CPythonEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No broker address, no keys, no folder of its own, no other user's rights."""
    monkeypatch.setenv("EFFECTMQ_BROKER", "amqp://secret")
    text = "import os\n(sorted(os.environ), os.getcwd(), sorted(os.listdir('/')))"
    ran = await run(engine, text)
    assert "EFFECTMQ" not in ran.value
    assert "'/'" in ran.value
    assert "'etc'" not in ran.value
    assert "'proc'" not in ran.value
    host = FakeHost("ask")
    seen: list[str] = []

    async def look(name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        seen.append(read(descendants()[-1], "status"))
        return None

    host.call = look
    await run(engine, "ask()", host=host)
    status = dict(line.split(":\t", 1) for line in seen[0].splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert "0" not in status["Uid"].split()
