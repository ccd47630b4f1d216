"""
Where processes of a fleet come from: forked off one that has imported everything already.

A Python process that imports all of effectmq takes a second of processor time, and scenarios start
hundreds. What is forked is a process like any other: of its own session, with an environment, a log
and signals of its own, running the same ``python -m`` module.

The nursery is one for each test process, and ends with it. It reaps a child only when asked how
that child does, so a pid that nobody asked about cannot belong to somebody else.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["Nursery", "nursery"]

_ROOT = Path(__file__).parents[2]
_MESSAGE_BYTES = 1 << 18
_ANSWER_SECONDS = 60.0
_END_SECONDS = 10.0

#: Imported ahead; what is run as ``__main__`` is not among them.
_MODULES = (
    "effectmq",
    "effectmq.broker.store.database.postgres.adapter",
    "effectmq.broker.store.database.sqlite.adapter",
    "effectmq.broker.transports.rabbitmq.driver",
    "effectmq.cli.worker",
    "tests.scenarios.effects",
    "tests.scenarios.ledger",
)


class Nursery:
    """The test's end."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(_ANSWER_SECONDS)
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.scenarios.nursery", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=_ROOT,
                env={name: value for name, value in os.environ.items() if "EFFECTMQ" not in name},
                start_new_session=True,
            )

    def start(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> int:
        """Start ``python -m module arguments`` and give its process id."""
        asked = {
            "module": module,
            "arguments": list(arguments),
            "environment": dict(environment),
            "log": str(log),
        }
        return int(self._ask(asked))

    def code(self, pid: int) -> int | None:
        """
        Its exit code, negative for a signal; ``None`` while it runs.

        Not to be asked again once it was given: the pid is free from then on.
        """
        found: int | None = self._ask({"pid": pid})
        return found

    def close(self) -> None:
        """No more children; those that run go on."""
        self._socket.close()
        self._process.wait(_END_SECONDS)

    def _ask(self, asked: dict[str, Any]) -> Any:
        with self._lock:
            self._socket.send(json.dumps(asked).encode())
            answer = self._socket.recv(_MESSAGE_BYTES)
        if not answer:
            raise RuntimeError(f"the nursery has ended with {self._process.wait(_END_SECONDS)}")
        return json.loads(answer)


@functools.cache
def nursery() -> Nursery:
    """The one of this process."""
    made = Nursery()
    atexit.register(made.close)
    return made


def _serve(asking: socket.socket) -> None:
    for name in _MODULES:
        importlib.import_module(name)
    gc.freeze()
    while request := asking.recv(_MESSAGE_BYTES):
        asked = json.loads(request)
        answer = _code(asked["pid"]) if "pid" in asked else _fork(asking, asked)
        asking.send(json.dumps(answer).encode())


def _code(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _fork(asking: socket.socket, asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        asking.close()
        _become(**asked)
    return pid


def _become(module: str, arguments: list[str], environment: dict[str, str], log: str) -> NoReturn:
    """Run a module as a new process would, and end with its exit code."""
    code = 1
    try:
        os.setsid()
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _asking:
        _serve(_asking)
