"""
Real worker and producer processes: started, stopped and killed, and gone with the test.

A fleet signals only processes that it started and that it has not reaped, so no signal can go to a
stranger that was given the same pid. A watchdog process kills what is left when the test process
itself dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from effectmq.protocol.topology import DEFAULT_DELAY_LEVELS_MS
from tests.scenarios.effects import Call
from tests.scenarios.ledger import Ledger
from tests.scenarios.nursery import nursery
from tests.scenarios.records import Records
from tests.scenarios.run_producer import Plan
from tests.waiting import eventually

__all__ = ["Fleet", "FleetProcess"]

_END_SECONDS = 10.0
_POLL_SECONDS = 0.005
#: What a worker that was killed held is taken over after this long, so it is short; and renewed
#: three times as often, so it outlives a busy machine's pauses.
_LEASE_S = 2.0

_WATCHDOG = """
cat > /dev/null
for pid in $(cat "$1" 2> /dev/null); do kill -9 "$pid" 2> /dev/null; done
"""


class FleetProcess:
    """
    One process of a fleet.

    Attributes:
        name: In file names and messages.
        pid: Its process id; still named when it has ended.
        log_path: Its standard output and error.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log_path: Path,
    ) -> None:
        self.name = name
        self.log_path = log_path
        log_path.touch()
        self.pid = nursery().start(module, arguments, environment, log_path)
        self._code: int | None = None

    @property
    def code(self) -> int | None:
        """Exit code, negative for a signal, or ``None`` while it runs."""
        if self._code is None:
            self._code = nursery().code(self.pid)
        return self._code

    @property
    def alive(self) -> bool:
        """Whether it runs, or is stopped by a signal."""
        return self.code is None

    def send(self, number: signal.Signals) -> None:
        """Signal it, unless it has ended."""
        if self.alive:
            os.kill(self.pid, number)

    def kill9(self) -> None:
        """End it at once, and reap it."""
        self.send(signal.SIGKILL)
        deadline = time.monotonic() + _END_SECONDS
        while self.alive:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} ({self.pid}) survives a kill")
            time.sleep(_POLL_SECONDS)

    async def ended(self, timeout_s: float = 60.0) -> int:
        """Wait until it has ended by itself and give the exit code."""
        try:
            await eventually(lambda: not self.alive, timeout_s)
        except AssertionError:
            raise AssertionError(f"{self.name} still runs:\n{self.log_tail()}") from None
        code = self.code
        assert code is not None
        return code

    def log(self) -> Iterator[dict[str, Any]]:
        """The JSON lines of its log."""
        for line in self.log_path.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                with contextlib.suppress(ValueError):  # a last line cut off by a kill
                    yield json.loads(line)

    def actions(self) -> Counter[str]:
        """How often it logged each action."""
        return Counter(str(line["action"]) for line in self.log() if "action" in line)

    def log_tail(self, lines: int = 30) -> str:
        """The end of its log, for messages."""
        text = self.log_path.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


class Fleet:
    """
    Workers and producers of one namespace, as a context manager.

    Args:
        folder: For logs, ledger, gate and plans; a test's own.
        broker: AMQP URL.
        namespace: Of everything.
        delay_levels_ms: Instead of the usual ones.
        journal: The address of the workers' journal; ``none`` for workers that remember nothing.
            Producers do not have it in reach, unless they are told so.
        environment: More variables for every process.
    """

    def __init__(
        self,
        folder: Path,
        broker: str,
        namespace: str,
        *,
        journal: str = "none",
        delay_levels_ms: Sequence[int] = DEFAULT_DELAY_LEVELS_MS,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.broker = broker
        self.namespace = namespace
        self.journal = journal
        self.delay_levels_ms = tuple(delay_levels_ms)
        self.ledger = Ledger(folder / "ledger.tsv")
        self.records = Records(folder / "records.jsonl")
        self.gate = folder / "gate"
        self._environment = {
            **{name: value for name, value in os.environ.items() if "EFFECTMQ" not in name},
            "EFFECTMQ_BROKER": broker,
            "EFFECTMQ_NAMESPACE": namespace,
            "EFFECTMQ_DELAY_LEVELS": ",".join(map(str, delay_levels_ms)),
            "SCENARIO_LEDGER": str(self.ledger.path),
            "SCENARIO_GATE": str(self.gate),
            **(environment or {}),
        }
        self._processes: list[FleetProcess] = []
        self._pids = folder / f"pids-{os.urandom(4).hex()}"

    def __enter__(self) -> Self:
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(self._pids)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in self._processes:
            process.kill9()
        self._note_pids()
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        self._watchdog.wait(_END_SECONDS)

    @property
    def workers(self) -> list[FleetProcess]:
        """Every worker that was started, those that ended included."""
        return [each for each in self._processes if each.name.startswith("worker")]

    @property
    def live_workers(self) -> list[FleetProcess]:
        """The workers that run."""
        return [each for each in self.workers if each.alive]

    def worker(
        self,
        *kinds: str,
        app: str = "tests.scenarios.app:app",
        concurrency: int = 8,
        crash_at: str = "",
        standby: Path | None = None,
        settings: Mapping[str, object] | None = None,
        transport: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> FleetProcess:
        """
        Start a worker; ``ready`` waits until it consumes.

        Args:
            kinds: What it consumes, ``tool_call`` when nothing is named.
            app: The worker, as the command line names it.
            concurrency: Effects at a time.
            crash_at: The crash point at which it dies, ``name:nth``.
            standby: Import everything, then wait for this file.
            settings: Of the worker.
            transport: Of its connections.
            environment: More variables.
        """
        command = ["worker", app]
        command += ["--log-json", "--concurrency", str(concurrency)]
        for kind in kinds or ("tool_call",):
            command += ["--kind", kind]
        usual = {} if self.journal == "none" else {"lease_s": _LEASE_S}
        more = {"SCENARIO_SETTINGS": json.dumps({**usual, **(settings or {})})}
        more["EFFECTMQ_JOURNAL"] = self.journal
        more["SCENARIO_TRANSPORT"] = json.dumps(transport or {})
        if crash_at:
            more["EFFECTMQ_CRASH_AT"] = crash_at
        if standby is not None:
            more["SCENARIO_STANDBY"] = str(standby)
        name = f"worker-{len(self.workers)}"
        return self._start(name, "effectmq", command, {**more, **(environment or {})})

    def program(self, name: str, module: str, *words: str) -> FleetProcess:
        """
        Start any module of this repository.

        Args:
            name: In file names and messages; one program each.
            module: As ``python -m`` names it.
            words: Its arguments.
        """
        return self._start(name, module, words, {})

    def producer(
        self,
        identity: str,
        submit: Sequence[Call],
        *,
        attach: Sequence[Call] = (),
        in_flight: int = 200,
        reply_timeout_s: float = 60.0,
        crash_at: str = "",
        records: Records | None = None,
        go_on: bool = False,
        stay: Path | None = None,
    ) -> FleetProcess:
        """
        Start a producer process; what it sees goes to ``records``, the fleet's by default.

        Told to ``go_on``, it begins where the records say that the one before it ended. Told to
        ``stay``, it does not end before that file is there.
        """
        plan = self.plan(
            submit,
            attach=attach,
            in_flight=in_flight,
            reply_timeout_s=reply_timeout_s,
            records=records,
            go_on=go_on,
            stay=stay,
        )
        number = len(self._processes)
        path = self.folder / f"plan-{number}.json"
        path.write_text(json.dumps(plan))
        environment = {"EFFECTMQ_IDENTITY": identity}
        if crash_at:
            environment["EFFECTMQ_CRASH_AT"] = crash_at
        module = "tests.scenarios.run_producer"
        return self._start(f"producer-{number}", module, [str(path)], environment)

    def plan(
        self,
        submit: Sequence[Call],
        *,
        attach: Sequence[Call] = (),
        in_flight: int = 200,
        reply_timeout_s: float = 60.0,
        records: Records | None = None,
        go_on: bool = False,
        stay: Path | None = None,
    ) -> Plan:
        """A plan, for ``run_producer.run`` in this process."""
        return {
            "submit": list(submit),
            "attach": list(attach),
            "in_flight": in_flight,
            "submit_timeout_s": 15.0,
            "reply_timeout_s": reply_timeout_s,
            "records": str((records or self.records).path),
            "exact": self.journal != "none",
            "go_on": go_on,
            "stay": str(stay or ""),
        }

    async def ready(self, *workers: FleetProcess, timeout_s: float = 30.0) -> None:
        """Wait until these workers consume."""

        def consuming() -> bool:
            for worker in workers:
                assert worker.alive, f"{worker.name} ended: {worker.code}\n{worker.log_tail()}"
            return all(started(worker) for worker in workers)

        await eventually(consuming, timeout_s)

    def _start(
        self, name: str, module: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> FleetProcess:
        everything = {**self._environment, **environment}
        log_path = self.folder / f"{name}.log"
        process = FleetProcess(name, module, arguments, everything, log_path)
        self._processes.append(process)
        self._note_pids()
        return process

    def _note_pids(self) -> None:
        """Tell the watchdog what lives now: a pid that is gone may soon be somebody else's."""
        alive = [str(process.pid) for process in self._processes if process.alive]
        self._pids.write_text("\n".join(alive))


def started(worker: FleetProcess) -> bool:
    """Whether a worker has begun to consume."""
    return "worker_started" in worker.log_path.read_text(errors="replace")
