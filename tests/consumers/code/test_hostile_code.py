"""Code that means harm: each is refused or runs into a limit that is named, and harms nobody."""

from __future__ import annotations

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.consumers.code.handler import CodeHandler
from effectmq.consumers.code.settings import CodeSettings
from tests.consumers.code.stage import run_block
from tests.consumers.stage import Stage

_NOT_KEPT = "What it changed is not kept; the session is as it was before"

REFUSED = {
    "fork bomb": ("import os\nwhile True:\n    os.fork()", "module 'os' has no attribute 'fork'"),
    "threads": ("import threading", "No module named 'threading'"),
    "processes": ("import subprocess", "No module named 'subprocess'"),
    "native code": ("import ctypes", "No module named 'ctypes'"),
    "reading a file": ("open('/etc/passwd').read()", "Permission denied: '/etc/passwd'"),
    "reading another way": (
        "from pathlib import Path\nPath('/etc/passwd').read_text()",
        "Permission denied: '/etc/passwd'",
    ),
    "writing a file": ("open('/tmp/x', 'w').write('x')", "Permission denied: '/tmp/x'"),
    "connecting": ("import socket\nsocket.socket()", "No module named 'socket'"),
    "environment": ("import os\nos.environ['PATH']", "'os.environ' is not supported"),
    "leaving": ("import sys\nsys.exit(3)", "Error"),
    "object graph": ("().__class__.__bases__[0].__subclasses__()", "Error"),
    "builtin import": ("__import__('os').system('ls')", "Error"),
}

LIMITED = {
    "10 GB at once": ("x = b'x' * 10_000_000_000", "memory", "memory_bytes"),
    "10 GB little by little": (
        "x = []\nwhile True:\n    x.append('x' * 100_000)",
        "memory",
        "memory_bytes",
    ),
    "so much that it cannot be written down": (
        "x = 'a' * 15_800_000",
        "memory",
        "memory_bytes",
    ),
    "endless loop": ("while True: pass", "computed longer", "time_limit_s"),
    "endless loop that catches all": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "computed longer",
        "time_limit_s",
    ),
    "1 GB of output": ("while True: print('x' * 10_000)", "printed more", "output_bytes"),
    "asking the time for ever": (
        "import time\nwhile time.time() > 0: pass",
        "asked for the time",
        "too often",
    ),
}


@pytest.fixture
async def client(stage: Stage, settings: CodeSettings) -> EffectClient:
    """A client of a worker that runs code."""
    worker = stage.worker()
    worker.add(CodeHandler(settings))
    await stage.start(worker)
    return await stage.client()


async def test_the_worker_goes_on(client: EffectClient) -> None:
    """All of it in one session, whose variables survive."""
    await run_block(client, "x = 'unharmed'", "0")
    for number, (text, _) in enumerate(REFUSED.values(), 1):
        await run_block(client, text, str(number))
    response = await run_block(client, "x", "99")
    assert response.observations == ["'unharmed'"]


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_there_is_refused(client: EffectClient, name: str) -> None:
    """As an exception of the code, which names what was refused."""
    text, words = REFUSED[name]
    response = await run_block(client, text)
    assert response.error is not None
    assert words in response.error
    assert (await run_block(client, "1 + 1", "2")).observations == ["2"]


@pytest.mark.parametrize("name", LIMITED)
async def test_a_limit_is_named_and_nothing_is_kept(client: EffectClient, name: str) -> None:
    """The sentence says which setting it is; the session is as it was before."""
    text, words, setting = LIMITED[name]
    await run_block(client, "y = 'before'", "1")
    response = await run_block(client, f"y = 'after'\n{text}", "2")
    assert response.error is not None
    assert words in response.error
    assert setting in response.error
    assert _NOT_KEPT in response.error
    assert (await run_block(client, "y", "3")).observations == ["'before'"]


async def test_endless_recursion_is_an_exception_that_names_its_limit(
    client: EffectClient,
) -> None:
    """As in any Python, what was done before remains."""
    response = await run_block(client, "y = 1\ndef f(n): return f(n + 1)\nf(0)")
    assert response.error is not None
    assert response.error.startswith("calls were nested deeper than the limit of 500")
    assert "RecursionError" in response.error
    assert (await run_block(client, "y", "2")).observations == ["1"]


@pytest.mark.parametrize(
    "text",
    [
        "a = [0] * 1000\nb = [a] * 1000\n[b] * 1000",
        "a = []\na.append(a)\na",
        "a = []\nfor _ in range(20_000): a = [a]\na",
        "10 ** 5_000",
        "'x' * 4_000_000",
        "a = [0] * 1000\nb = [a] * 1000\nraise ValueError([b] * 1000)",
    ],
)
async def test_a_value_that_is_endless_here_is_cut(client: EffectClient, text: str) -> None:
    """What is small in the interpreter, because it is shared, must not be written out in full."""
    response = await run_block(client, text)
    shown = "".join(response.observations) + (response.error or "")
    assert 0 < len(shown) <= CodeSettings().observation_chars


async def test_a_session_that_grows_too_large_is_not_kept(stage: Stage) -> None:
    """The last block is undone, and says so."""
    worker = stage.worker()
    worker.add(CodeHandler(CodeSettings(state_bytes=100_000)))
    await stage.start(worker)
    client = await stage.client()
    await run_block(client, "x = 'small'", "1")
    response = await run_block(client, "x = 'large' * 100_000", "2")
    assert response.error is not None
    assert "(state_bytes)" in response.error
    assert (await run_block(client, "x", "3")).observations == ["'small'"]
