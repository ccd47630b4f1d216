"""Starts the processes of a side, tells the client what to do, and reads the clocks of all."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.sides.known import SIDES
from benchmarks.sides.machine import environment, rss_bytes, tree_cpu_s
from benchmarks.sides.spec import Spec
from tests.brokers.sweep import sweep

__all__ = ["Side", "Turn", "Worker", "worker_command"]

ROOT = Path(__file__).parents[2]
_START_S = 60.0
_STOP_S = 10.0
_POLL_S = 0.002


@dataclass(frozen=True)
class Turn:
    """
    What one side did in one turn.

    Attributes:
        cpu_us: CPU of client and workers together for one round trip, in microseconds.
    """

    calls: int
    per_second: float
    p50_ms: float
    p99_ms: float
    client_cpu_us: float
    worker_cpu_us: float

    @property
    def cpu_us(self) -> float:
        return self.client_cpu_us + self.worker_cpu_us


def worker_command(spec: Spec) -> list[str]:
    """The command line of a worker."""
    return [spec.python, *SIDES[spec.side].worker(spec)]


class Worker:
    """A worker's process, from its start until it takes requests, and to its end."""

    def __init__(
        self, command: Sequence[str], ready: str, variables: Mapping[str, str] | None = None
    ) -> None:
        began = time.perf_counter()
        with tempfile.NamedTemporaryFile(prefix="effectmq-bench-", delete=False) as said:
            self._said = Path(said.name)
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment() | dict(variables or {}),
            )
        try:
            self._wait_for(ready)
        except BaseException:
            self.close()
            raise
        #: From its start until it took requests, in seconds.
        self.start_s = time.perf_counter() - began

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def freeze(self) -> None:
        """Let it stand still."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self.thaw()
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._said.unlink(missing_ok=True)

    def _wait_for(self, text: str) -> None:
        end = time.monotonic() + _START_S
        while text not in (said := self._said.read_text(errors="replace")):
            code = self._process.poll()
            if code is not None or time.monotonic() > end:
                what = "is not ready in time" if code is None else f"ended with {code}"
                raise RuntimeError(f"{self._process.args!r} {what} and said:\n{said}")
            time.sleep(_POLL_S)


class Side:
    """
    A client and its workers, each a process; a context manager.

    Raises:
        RuntimeError: When one of them does not start, or ends; with what it said.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._variables = {"BENCHMARK_SPEC": spec.line()}
        if spec.traces:
            self._variables["BENCHMARK_TRACES"] = "1"
        if spec.uses:
            self._variables["BENCHMARK_USES"] = spec.uses
        self.workers: list[Worker] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(sweep, self.spec.broker, self.spec.namespace)
            stack.callback(lambda: [each.close() for each in self.workers])
            for _ in range(self.spec.workers):
                self.workers.append(self.start_worker())
            self._client = subprocess.Popen(
                [self.spec.python, "-m", "benchmarks.sides.client", self.spec.line()],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment() | self._variables,
            )
            stack.callback(self._end_client)
            self._answer()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def start_worker(self, **variables: str) -> Worker:
        """One more worker, which the caller closes."""
        ready = SIDES[self.spec.side].ready
        return Worker(worker_command(self.spec), ready, self._variables | variables)

    def turn(self, *, seconds: float, calls_each: int = 0, in_flight: int | None = None) -> Turn:
        """Round trips for a while, or so many of each caller."""
        before = self._clocks()
        found = self.ask(
            "turn",
            in_flight=self.spec.in_flight if in_flight is None else in_flight,
            seconds=seconds,
            calls_each=calls_each,
        )
        client, workers = (
            (after - earlier) / found["calls"] * 1e6
            for earlier, after in zip(before, self._clocks(), strict=True)
        )
        return Turn(client_cpu_us=client, worker_cpu_us=workers, **found)

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Let the client do something, and wait for it."""
        assert self._client.stdin is not None
        self._client.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self._client.stdin.flush()
        return self._answer()

    @property
    def client_rss(self) -> int:
        """What the client holds, in bytes."""
        return rss_bytes(self._client.pid)

    def _clocks(self) -> tuple[float, float]:
        return tree_cpu_s(self._client.pid), sum(tree_cpu_s(each.pid) for each in self.workers)

    def _answer(self) -> dict[str, Any]:
        assert self._client.stdout is not None
        line = self._client.stdout.readline()
        if not line:
            raise RuntimeError(
                f"the client of {self.spec.side} ended with {self._client.wait()}; what it said is "
                "above"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end_client(self) -> None:
        # It closes the pipes, and waits.
        with self._client as client:
            assert client.stdin is not None
            try:
                client.stdin.write('{"do": "end"}\n')
                client.stdin.flush()
                client.wait(_STOP_S)
            except (OSError, subprocess.TimeoutExpired):
                client.kill()
