"""Code that means harm, on CPython: refused, or a limit that is named; the worker goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.consumers.code.cpython.verdicts import FORGED
from effectmq.consumers.code.handler import CodeHandler
from tests.consumers.code.processes import descendants
from tests.consumers.code.sandbox import SANDBOXED, sandboxed
from tests.consumers.code.stage import FakeHost, run_block
from tests.consumers.code.test_cpython import run
from tests.consumers.stage import Stage

_NOT_KEPT = "What it changed is not kept; the session is as it was before"
_ONE_PROCESS = "a block is one process and can start no other process and no threads"

REFUSED = {
    "fork bomb": ("import os\nwhile True:\n    os.fork()", _ONE_PROCESS),
    "threads": ("import threading\nthreading.Thread(target=print).start()", _ONE_PROCESS),
    "processes": ("import subprocess, sys\nsubprocess.run([sys.executable])", _ONE_PROCESS),
    "programs": ("import os\nos.execv('/bin/sh', ['sh'])", "No such file or directory"),
    "more processes than allowed": (
        "import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (99, 99))",
        "not allowed to raise maximum limit",
    ),
    "another user": ("import os\nos.setuid(0)", "Error: [Errno"),
    "native code": ("import ctypes", "No module named '_ctypes'"),
    "reading a file": ("open('/etc/passwd').read()", "No such file or directory: '/etc/passwd'"),
    "reading the worker": ("open('/proc/1/environ').read()", "No such file or directory"),
    "reading packages": ("import pydantic", "No module named 'pydantic'"),
    "writing a file": ("open('/tmp/x', 'w')", "Read-only file system: '/tmp/x'"),
    "writing in memory": (
        "import os\nos.ftruncate(os.memfd_create('x'), 1 << 30)",
        "File too large",
    ),
    "making a folder": ("import os\nos.mkdir('/x')", "Error: [Errno"),
    "connecting to this machine": (
        "import socket\nsocket.create_connection(('127.0.0.1', 5672), 1)",
        "Connection refused",
    ),
    "connecting elsewhere": (
        "import socket\nsocket.create_connection(('192.0.2.1', 80), 1)",
        "Network is unreachable",
    ),
    "looking up a name": ("import socket\nsocket.gethostbyname('example.com')", "gaierror"),
    "killing others": ("import os\nos.kill(-1, 9)", "Error"),
}

LIMITED = {
    "10 GB at once": ("x = b'x' * 10_000_000_000", "(memory_bytes)"),
    "10 GB little by little": (
        "x = []\nwhile True:\n    x.append('x' * 100_000)",
        "(memory_bytes)",
    ),
    "endless loop": ("while True: pass", "(time_limit_s)"),
    "endless loop that catches all": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "(time_limit_s)",
    ),
    "endless forks that are caught": (
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        "(time_limit_s)",
    ),
    "sleeping past the host": (
        "import select\nselect.select([], [], [], 1000)",
        "(time_limit_s)",
    ),
    "1 GB of output": ("while True: print('x' * 10_000)", "(output_bytes)"),
    "1 GB of raw output": (
        "import os\nwhile True: os.write(2, b'x' * 60_000)",
        "(output_bytes)",
    ),
    "leaving": ("import os\nos._exit(3)", "ended its own process (exit status 3)"),
    "a signal of its own": (
        "import os\nos.kill(os.getpid(), 11)",
        "ended its own process (exit status 139)",
    ),
    "a message without end": (
        "import os\nwhile True:\n  for n in range(3, 30):\n    try: os.write(n, b'1' * 60_000)\n"
        "    except OSError: pass",
        "a larger message than its limits allow",
    ),
    "questions without end": (
        "import os\nfor n in range(3, 9):\n    try:\n        for _ in range(9_000):\n"
        '            os.write(n, b\'{"type": "now"}\\n\')\n'
        "    except OSError: pass",
        "too often",
    ),
}


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[EffectClient]:
    """A client of a worker that runs code on CPython."""
    async with sandboxed():
        worker = stage.worker()
        worker.add(CodeHandler(SANDBOXED))
        await stage.start(worker)
        yield await stage.client()


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_there_is_refused(client: EffectClient, name: str) -> None:
    """As an exception of the code, which names what was refused; nothing is left running."""
    text, words = REFUSED[name]
    response = await run_block(client, text)
    assert response.error is not None
    assert words in response.error
    assert descendants() == []
    assert (await run_block(client, "1 + 1", "2")).observations == ["2"]


@pytest.mark.parametrize("name", LIMITED)
async def test_a_limit_is_named_and_nothing_is_kept(client: EffectClient, name: str) -> None:
    """The sentence says which it is; the session is as it was before."""
    text, words = LIMITED[name]
    await run_block(client, "y = 'before'", "1")
    response = await run_block(client, f"y = 'after'\n{text}", "2")
    assert response.error is not None
    assert words in response.error
    assert _NOT_KEPT in response.error
    assert descendants() == []
    assert (await run_block(client, "y", "3")).observations == ["'before'"]


def writing(message: str) -> str:
    """A block that finds the pipe to the worker and writes a line to it, then waits for one."""
    return (
        f"import os, time\nline = {message!r} + chr(10)\nfor n in range(3, 9):\n"
        "    try: os.write(n, line.encode())\n    except OSError: pass\ntime.time()"
    )


@pytest.mark.parametrize(
    "message",
    [
        "nonsense",
        "[1]",
        "[" * 9_999,
        '{"type": "?"}',
        '{"type": "sleep", "seconds": "x"}',
        '{"type": "call", "name": "ask", "args": [1], "kwargs": {}}',
        '{"type": "call", "name": "ask", "args": [{"bytes": "?"}], "kwargs": {}}',
        '{"type": "call", "name": "ask", "args": 1, "kwargs": {}}',
    ],
    ids=range(8),
)
async def test_a_block_that_writes_to_the_pipe_itself_is_stopped(message: str) -> None:
    """Nothing that comes out of a sandbox is trusted."""
    host = FakeHost("ask")
    async with sandboxed() as engine:
        ran = await run(engine, writing(message), host=host)
    assert ran.error is not None
    assert ran.error.startswith(FORGED)
    assert ran.state is None
    assert host.asked == []


async def test_a_name_that_the_host_does_not_know_is_not_called() -> None:
    """However the block comes to ask for it."""
    message = '{"type": "call", "name": "other", "args": [], "kwargs": {}}'
    host = FakeHost("ask")
    async with sandboxed() as engine:
        ran = await run(engine, writing(message), host=host)
    assert ran.error is not None
    assert ran.error.endswith("NameError: name 'other' is not defined")
    assert host.asked == []


async def test_a_block_stays_one_process_however_often_it_forks() -> None:
    """Counted from outside, where it cannot hide any."""
    host = FakeHost("ask")
    counted: list[int] = []

    async def count(name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        counted.append(len(descendants()))
        return None

    host.call = count
    text = (
        "import os\nfor _ in range(1_000):\n    try: os.fork()\n    except OSError: pass\nask()\n"
    )
    async with sandboxed() as engine:
        assert (await run(engine, text, host=host)).error is None
    # bubblewrap, its init, and the interpreter.
    assert counted == [3]


async def test_endless_recursion_is_an_exception_that_names_its_limit(client: EffectClient) -> None:
    """As in any Python, what was done before remains."""
    response = await run_block(client, "y = 1\ndef f(n): return f(n + 1)\nf(0)")
    assert response.error is not None
    assert response.error.startswith("calls were nested deeper than the limit of 500")
    assert (await run_block(client, "y", "2")).observations == ["1"]


async def test_variables_that_grow_too_large_are_not_kept(client: EffectClient) -> None:
    """Small in the process, where one list is in it many times, and too large to write down."""
    await run_block(client, "y = 1")
    text = "y = ['x' * 100_000] * 1000"
    response = await run_block(client, text, "2")
    assert response.error is not None
    assert "(state_bytes)" in response.error
    assert (await run_block(client, "y", "3")).observations == ["1"]
