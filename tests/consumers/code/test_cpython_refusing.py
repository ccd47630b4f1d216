"""The engine on CPython does not start where its sandbox would not hold."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from effectmq.consumers.code.cpython.engine import CPythonEngine
from effectmq.consumers.code.handler import CodeHandler
from effectmq.protocol.errors import ConfigurationError
from tests.consumers.code.sandbox import SANDBOXED, sandboxed, write_bubblewrap
from tests.consumers.stage import Stage

#: What a bubblewrap that lets something through does with its options, by what is to be found.
LEAKS = {
    "the network can be reached": '*net) ;; --unshare-all) set -- "$@" --unshare-all --share-net;;',
    "files of the machine can be read (/etc/passwd)": '--clearenv) set -- "$@" --perms '
    "0755 --dir /etc --ro-bind /etc/passwd /etc/passwd --clearenv;;",
    "files can be written (/tmp)": '--chdir) set -- "$@" --tmpfs /tmp --perms 1777 '
    "--tmpfs /tmp --chdir;;",
    "variables of the worker's environment can be read": '--chdir) set -- "$@" --setenv '
    "EFFECTMQ_BROKER secret --chdir;;",
}


async def refusal() -> str:
    """What the engine says when it is started."""
    with pytest.raises(ConfigurationError) as refused:
        await CPythonEngine(SANDBOXED).__aenter__()
    return str(refused.value)


async def test_without_bubblewrap_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And names the backend that needs nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    said = await refusal()
    assert "there is no bwrap on the PATH" in said
    assert "apt-get install bubblewrap" in said
    assert "backend monty" in said


async def test_a_worker_does_not_start_without_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: Stage
) -> None:
    """Rather than taking effects that it would run without a sandbox, or not at all."""
    monkeypatch.setenv("PATH", str(tmp_path))
    worker = stage.worker()
    worker.add(CodeHandler(SANDBOXED))
    with pytest.raises(ConfigurationError, match="no bwrap on the PATH"):
        await stage.start(worker)


async def test_a_bubblewrap_that_may_not_make_namespaces_is_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the settings of the system that usually forbid it."""
    write_bubblewrap(tmp_path, "#!/bin/sh\necho 'bwrap: No permissions to create namespace' >&2\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    said = await refusal()
    assert "the sandbox did not start: bwrap: No permissions to create namespace." in said
    assert "sysctl user.max_user_namespaces" in said


async def test_a_bubblewrap_that_is_no_program_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By its path."""
    write_bubblewrap(tmp_path, "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f"{tmp_path}/bwrap cannot be started" in await refusal()


@pytest.mark.parametrize("words", LEAKS)
async def test_a_sandbox_that_lets_something_through_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str
) -> None:
    """It is tried before anything is run in it, and the refusal says what was possible."""
    async with sandboxed():
        real = shutil.which("bwrap")
    script = (
        '#!/bin/sh\nfor one in "$@"; do\n shift\n case "$one" in\n'
        f"  {LEAKS[words]}\n"
        '  *) set -- "$@" "$one";;\n esac\ndone\n'
        f'exec {real} "$@"\n'
    )
    write_bubblewrap(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f"in the sandbox {words}. " in await refusal()


async def test_outside_of_a_sandbox_every_attempt_to_get_out_succeeds(tmp_path: Path) -> None:
    """So each of them tries what it says."""
    listener = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        text = (
            "from effectmq.consumers.code.cpython.inside.probe import breaches\n"
            f"print(*breaches({port}), sep='\\n')"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", text, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
        )
        output, _ = await process.communicate()
    found = set(output.decode().splitlines())
    assert found >= {*LEAKS, "processes can be started without a limit"}
