"""The engine: what a block gives, what it can reach, and what remains of it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from effectmq.consumers.code.data.values import CodeError
from effectmq.consumers.code.engine import (
    BlockStoppedError,
    EngineCrashedError,
    Program,
    Ran,
    StateUnreadableError,
)
from effectmq.consumers.code.monty.engine import MontyEngine
from effectmq.consumers.code.settings import CodeSettings
from effectmq.protocol.errors import ConfigurationError
from tests.consumers.code.processes import living
from tests.consumers.code.stage import FakeHost
from tests.waiting import eventually


async def run(
    engine: MontyEngine, code: str, state: bytes | None = None, host: FakeHost | None = None
) -> Ran:
    """Run one block."""
    return await engine.run(Program(code, state, "seed"), host or FakeHost())


def read(process_id: int, name: str) -> str:
    """What the system says of a process."""
    return Path(f"/proc/{process_id}/{name}").read_text()


async def test_a_block_gives_what_it_printed_and_its_last_value(engine: MontyEngine) -> None:
    """In the order in which it printed, the value apart."""
    ran = await run(engine, "print('a')\nprint('b', end='')\n[1, 'x']")
    assert (ran.printed, ran.value, ran.error) == ("a\nb", "[1, 'x']", None)


async def test_a_block_without_a_value_gives_none(engine: MontyEngine) -> None:
    """As at any prompt, nothing is shown for ``None``."""
    assert (await run(engine, "x = 1")).value == ""
    assert (await run(engine, "None")).value == ""


async def test_variables_and_functions_remain_for_the_next_block(engine: MontyEngine) -> None:
    """The state is all it takes; any process can go on with it."""
    first = await run(engine, "x = [1]\ndef double(n): return 2 * n")
    second = await run(engine, "x.append(double(4))\nx", first.state)
    assert second.value == "[1, 8]"
    assert (await run(engine, "x", first.state)).value == "[1]"


async def test_what_a_failing_block_did_before_it_failed_remains(engine: MontyEngine) -> None:
    """Its error is the traceback that Python would show."""
    failed = await run(engine, "x = 3\nprint('so far')\nraise ValueError('no')")
    assert failed.printed == "so far\n"
    assert failed.error is not None
    assert failed.error.startswith("Traceback (most recent call last):")
    assert failed.error.endswith("ValueError: no")
    assert (await run(engine, "x", failed.state)).value == "3"


async def test_what_is_no_python_is_an_error_of_the_block(engine: MontyEngine) -> None:
    """With the line in which it is."""
    failed = await run(engine, "x = = 1")
    assert failed.error is not None
    assert "SyntaxError" in failed.error


async def test_code_calls_functions_of_its_host(engine: MontyEngine) -> None:
    """Arguments by place and by name; awaiting the call is allowed."""
    host = FakeHost("ask")
    ran = await run(engine, "a = ask(1, b='x')\nb = await ask(2)\na + b", host=host)
    assert ran.value == "[1, 2]"
    assert host.asked == [("ask", (1,), {"b": "x"}), ("ask", (2,), {})]


async def test_a_function_can_be_passed_around_and_kept(engine: MontyEngine) -> None:
    """Its name is what crosses; the host of the next block answers for it."""
    first = await run(engine, "f = ask\n[f(1), f(2)]", host=FakeHost("ask"))
    assert first.value == "[[1], [2]]", first
    host = FakeHost("ask")
    assert (await run(engine, "f(5)", first.state, host)).value == "[5]"
    assert host.asked == [("ask", (5,), {})]


async def test_a_name_that_the_host_does_not_know_is_not_defined(engine: MontyEngine) -> None:
    """Called or only named."""
    host = FakeHost("ask")
    for text in ("nothing(1)", "nothing"):
        failed = await run(engine, text, host=host)
        assert failed.error is not None
        assert failed.error.endswith("NameError: name 'nothing' is not defined")
    assert host.asked == []


async def test_an_error_of_the_host_can_be_caught_by_the_code(engine: MontyEngine) -> None:
    """It is raised at the call."""
    host = FakeHost("ask")
    host.answers["ask"] = CodeError("PermissionError", "not you")
    ran = await run(
        engine, "try:\n    ask()\nexcept PermissionError as e:\n    print(e)", host=host
    )
    assert (ran.printed, ran.error) == ("not you\n", None)


async def test_a_stop_of_the_host_cannot_be_caught_by_the_code(engine: MontyEngine) -> None:
    """What was printed is shown; nothing is kept."""
    host = FakeHost("ask")
    host.answers["ask"] = BlockStoppedError("enough")
    ran = await run(
        engine, "print(1)\ntry:\n    ask()\nexcept BaseException:\n    print('caught')", host=host
    )
    assert (ran.printed, ran.state) == ("1\n", None)
    assert ran.error == ("enough. What it changed is not kept; the session is as it was before")
    assert (await run(engine, "1")).value == "1"


async def test_whatever_else_the_host_raises_is_raised_here(engine: MontyEngine) -> None:
    """The attempt has failed, and the next block has a clean process."""
    host = FakeHost("ask")
    host.answers["ask"] = OSError("no broker")
    with pytest.raises(OSError, match="no broker"):
        await run(engine, "ask()", host=host)
    assert (await run(engine, "1")).value == "1"


async def test_time_is_the_hosts(engine: MontyEngine) -> None:
    """All clocks of Python stand where the host says."""
    text = (
        "import time, datetime\n"
        "(time.time(), str(datetime.datetime.now()), str(datetime.date.today()),"
        " str(datetime.datetime.now(datetime.timezone.utc)))"
    )
    assert (await run(engine, text)).value == (
        "(1600000000.5, '2020-09-13 12:26:40.500000', '2020-09-13', "
        "'2020-09-13 12:26:40.500000+00:00')"
    )


async def test_sleeping_is_for_the_host(engine: MontyEngine) -> None:
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


async def test_the_same_block_from_the_same_state_does_the_same(engine: MontyEngine) -> None:
    """Random numbers, the order of sets and hashes included, in any process."""
    text = (
        "import random\nr = [random.random() for _ in range(3)]\n"
        "print(r, {'b', 'a', 'c'}, hash('x'), random.choice('abcdef'))"
    )
    async with MontyEngine(CodeSettings()) as other:
        first, again = await run(engine, text), await run(other, text)
        assert first.printed == again.printed
        after = [await run(one, text, first.state) for one in (engine, other)]
    assert after[0].printed == after[1].printed != first.printed
    different = await engine.run(Program(text, None, "another seed"), FakeHost())
    assert different.printed != first.printed


async def test_bytes_that_are_no_state_are_refused(engine: MontyEngine) -> None:
    """And do no harm."""
    with pytest.raises(StateUnreadableError, match="dump"):
        await run(engine, "1", b"nonsense")
    assert (await run(engine, "1")).value == "1"


async def test_a_killed_process_fails_its_block_and_no_other(engine: MontyEngine) -> None:
    """Kill -9 in the middle of a block; the next block gets a new process."""
    host = FakeHost("ask")
    killed: list[int] = []

    async def kill(name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        (victim,) = living()
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)
        await eventually(lambda: victim not in living())
        return None

    host.call = kill
    with pytest.raises(EngineCrashedError, match="ended"):
        await run(engine, "ask()", host=host)
    assert len(killed) == 1
    assert (await run(engine, "1 + 1")).value == "2"


async def test_a_block_that_is_cancelled_has_its_process_killed(engine: MontyEngine) -> None:
    """It may compute for ever, and nobody would wait for it."""
    (before,) = living()
    host = FakeHost("ask")
    block = asyncio.ensure_future(run(engine, "ask()\nwhile True: pass", host=host))
    await eventually(lambda: host.asked)
    block.cancel()
    with pytest.raises(asyncio.CancelledError):
        await block
    await eventually(lambda: before not in living())
    assert (await run(engine, "1 + 1")).value == "2"


async def test_the_processes_know_nothing_of_the_worker() -> None:
    """No broker address, no keys: their environment is empty. They end with the engine."""
    async with MontyEngine(CodeSettings(warm_processes=2)) as engine:
        await run(engine, "1")
        started = living()
        assert len(started) == 2
        for one in started:
            assert read(one, "environ") == ""
    await eventually(lambda: not living())


async def test_the_system_bounds_the_processes_too(engine: MontyEngine) -> None:
    """A second line, should the interpreter's own limits fail."""
    await run(engine, "1")
    (one,) = living()
    limits = {
        line[:26].strip(): line[26:].split()[0] for line in read(one, "limits").splitlines()[1:]
    }
    assert limits["Max core file size"] == "0"
    assert limits["Max file size"] == "0"
    assert int(limits["Max address space"]) == 2 * 16_000_000 + 1024 * 1024 * 1024


async def test_an_engine_that_is_not_started_says_so(settings: CodeSettings) -> None:
    """Instead of waiting for a process for ever."""
    with pytest.raises(ConfigurationError, match="not been started"):
        await run(MontyEngine(settings), "1")


async def test_a_program_that_is_missing_is_told_of_at_the_start(
    monkeypatch: pytest.MonkeyPatch, settings: CodeSettings
) -> None:
    """And what to do about it."""
    monkeypatch.setenv("MONTY_BIN", "/nowhere/monty")
    with pytest.raises(
        ConfigurationError, match=r"cannot be started: .*/nowhere/monty.*effectmq\[code\]"
    ):
        async with MontyEngine(settings):
            pass
