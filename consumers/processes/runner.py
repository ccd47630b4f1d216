"""
The runner of processes: it sweeps the registry and runs what no other runner has.

::

    sweep ─▶ claim ─▶ run, renewing ─▶ end it, with the lease ─▶ give the lease back
               │        │        │
               ▼        ▼        ▼
              skip    cancel   lease lost: stop, write nothing

The end of a process is written in the transaction that checks the lease. So a runner that lost its
connection, and its process to another runner, writes nothing when it comes back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from contextlib import suppress
from typing import Self

from effectmq.broker.inheritance import carrying_out
from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.consumers.processes.execution import Executors, cancelled, recovery_failure
from effectmq.consumers.processes.running import Program, RunningProcess, RunTool
from effectmq.consumers.processes.settings import ProcessRunnerSettings
from effectmq.protocol.errors import (
    DatabaseError,
    MalformedError,
    NotStorableError,
    ProcessLeaseLostError,
    ProcessRegistryError,
)
from effectmq.protocol.processes.appending import is_terminal
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.process_events import ProcessAwaitOutput
from effectmq.protocol.wire.process_registration import ProcessInputExternal
from effectmq.protocol.wire.processes import ProcessLease, ProcessRecord

__all__ = ["ProcessRunner"]

logger = logging.getLogger("effectmq.processes")

_CANCEL_REQUESTED = "process.cancel_requested"
#: The pause before a database that could not be used is asked again, in seconds.
_OUTAGE_S = 1.0


class ProcessRunner:
    """
    Runs processes until it is stopped. Use it as an asynchronous context manager.

    Args:
        registry: The processes; it must be open while this runs.
        run_tool: Runs ``tool_call`` processes, for instance ``tools_as_effects(client)``.
        session_turn: Runs ``session_turn`` processes.
        lashlang_process: Runs ``lashlang_process`` processes. A process of a kind that has no
            argument here fails, and its failure says so.
        owner_id: The unique name of this runner on its leases; made up by default.
        settings: Times and limits.
    """

    def __init__(
        self,
        registry: ProcessRegistry,
        *,
        run_tool: RunTool | None = None,
        session_turn: Program | None = None,
        lashlang_process: Program | None = None,
        owner_id: str | None = None,
        settings: ProcessRunnerSettings | None = None,
    ) -> None:
        self.settings = settings or ProcessRunnerSettings()
        # Host and process id are not enough: two runners of one program must not share their
        # leases.
        self.owner_id = owner_id or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._registry = registry
        self._executors = Executors(
            self.settings.host_profile_id, run_tool, session_turn, lashlang_process
        )
        self._lease_ms = round(self.settings.lease_s * 1_000)
        self._poked = asyncio.Event()
        self._sweeping: asyncio.Task[None] | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        #: Processes whose end the registry refuses; running them again would not help.
        self._hopeless: set[str] = set()
        #: Processes left to other runners, and since when, by the clock of the loop.
        self._left: dict[str, float] = {}
        #: Tasks that were asked to stop and still run; kept so that none is collected while it
        #: runs.
        self._stubborn: set[asyncio.Task[ProcessAwaitOutput]] = set()

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the processes that run here."""
        return tuple(self._running)

    # Life --------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start sweeping."""
        self._sweeping = asyncio.get_running_loop().create_task(
            self._sweep_for_ever(), name="effectmq process sweep"
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop, within the grace time of the settings; see ``stop``."""
        await self.stop(self.settings.shutdown_grace_s)

    async def stop(self, grace_s: float = 0.0) -> None:
        """
        Stop sweeping, and give back the running processes: another runner starts them from the
        beginning.

        Args:
            grace_s: How long running processes may take to end by themselves, in seconds.
        """
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is not None:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
        tasks = list(self._running.values())
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def poke(self) -> None:
        """Sweep now, because there may be a new process."""
        self._poked.set()

    # Sweeping ----------------------------------------------------------------------------------

    async def _sweep_for_ever(self) -> None:
        reached = True
        while True:
            self._poked.clear()
            try:
                await self._sweep()
                reached = True
            except Exception as problem:
                # No error may end the sweeping; it is logged once, not at every sweep.
                if reached:
                    logger.error(
                        "the process registry cannot be read, so no process is started: %s",
                        describe(problem),
                    )
                reached = False
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.sweep_s):
                    await self._poked.wait()

    async def _sweep(self) -> None:
        free = self.settings.concurrency - len(self._running)
        if free <= 0:
            return
        # A process whose claim is under way is in the list already.
        self._forget_left()
        known = len(self._running) + len(self._hopeless) + len(self._left)
        for process_id in await self._registry.claimable(free + known):
            passed = process_id in self._running or process_id in self._hopeless
            if free and not passed and not self._is_left(process_id):
                free -= 1
                self._begin(process_id)

    def _begin(self, process_id: str) -> None:
        task = asyncio.get_running_loop().create_task(
            self._run(process_id), name=f"effectmq process {printable(process_id, 100)}"
        )
        self._running[process_id] = task
        task.add_done_callback(lambda done: self._ended(process_id, done))

    def _ended(self, process_id: str, task: asyncio.Task[None]) -> None:
        del self._running[process_id]
        if not task.cancelled() and (problem := task.exception()) is not None:
            logger.error("process %s was left: %s", printable(process_id, 200), describe(problem))
        if len(self._running) == self.settings.concurrency - 1:
            # Another process may have waited for the slot.
            self.poke()

    # One process -------------------------------------------------------------------------------

    async def _run(self, process_id: str) -> None:
        lease = await self._claim(process_id)
        if lease is None:
            return
        gone = False
        try:
            record = await self._registry.get(process_id)
            if not is_terminal(record) and not self._leaves_to_others(record):
                context = await self._registry.execution_context(process_id)
                process = RunningProcess(self._registry, record, context, lease)
                with carrying_out(await self._registry.trace_of(process_id)):
                    gone = await self._carry_out(process)
        finally:
            if not gone:
                # It was left before its end, so its lease need not run out. If this cannot be
                # written either, the lease runs out.
                with suppress(DatabaseError):
                    await self._registry.complete_lease(process_id, lease.lease_token)

    def _leaves_to_others(self, record: ProcessRecord) -> bool:
        """
        Whether a process that cannot run here is left to other runners for now.

        During a rolling deployment, a newer runner may have what this one lacks.
        """
        if not self._executors.lacks(record):
            return False
        now_s = asyncio.get_running_loop().time()
        since_s = self._left.setdefault(record.id, now_s)
        if now_s - since_s >= self.settings.elsewhere_s:
            del self._left[record.id]
            return False
        if since_s == now_s:
            logger.warning(
                "process %s is left to other runners for %g s: nothing here can run it",
                printable(record.id, 200),
                self.settings.elsewhere_s,
                extra={"action": "process_left"},
            )
        return True

    def _is_left(self, process_id: str) -> bool:
        """Whether the process is still left to other runners."""
        since_s = self._left.get(process_id)
        if since_s is None:
            return False
        return asyncio.get_running_loop().time() - since_s < self.settings.elsewhere_s

    def _forget_left(self) -> None:
        """Forget processes that other runners have taken meanwhile."""
        before_s = asyncio.get_running_loop().time() - 2 * self.settings.elsewhere_s
        self._left = {id_: since_s for id_, since_s in self._left.items() if since_s >= before_s}

    async def _claim(self, process_id: str) -> ProcessLease | None:
        """The lease of a process; ``None`` when another runner has it."""
        claiming = asyncio.ensure_future(
            self._registry.claim_lease(process_id, self.owner_id, self._lease_ms)
        )
        try:
            return await asyncio.shield(claiming)
        except (ProcessRegistryError, DatabaseError) as problem:
            logger.debug("process %s is skipped: %s", printable(process_id), describe(problem))
            return None
        except asyncio.CancelledError:
            # A transaction that has begun goes on, and no other code would give its lease back.
            with suppress(ProcessRegistryError, DatabaseError):
                lease = await claiming
                await self._registry.complete_lease(process_id, lease.lease_token)
            raise

    async def _carry_out(self, process: RunningProcess) -> bool:
        """Run a process to its end; returns whether its lease is gone, too."""
        if isinstance(process.record.input, ProcessInputExternal):
            output: ProcessAwaitOutput | None = await self._executors.output(process)
        elif await self._is_cancelled(process.record.id):
            output = cancelled(process.record)
        else:
            output = await self._watched(process)
        if output is None:
            logger.warning(
                "process %s runs in another runner by now; nothing is written from here",
                printable(process.record.id, 200),
                extra={"action": "process_lease_lost"},
            )
            return True
        return await self._end(process, output)

    async def _is_cancelled(self, process_id: str) -> bool:
        return await self._registry.event_after(process_id, _CANCEL_REQUESTED, 0) is not None

    async def _watched(self, process: RunningProcess) -> ProcessAwaitOutput | None:
        """The output of a process; ``None`` when the lease was lost first."""
        loop = asyncio.get_running_loop()
        work = loop.create_task(self._executors.output(process))
        cancelling = loop.create_task(self._cancel_request(process.record.id))
        renewing = loop.create_task(self._renew(process.lease))
        try:
            await asyncio.wait((work, cancelling, renewing), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            asked = cancelling.done()
            output = await self._stopped(work)
            return (output or cancelled(process.record)) if asked else None
        finally:
            for task in (cancelling, renewing):
                task.cancel()
            await asyncio.gather(cancelling, renewing, return_exceptions=True)
            if not work.done() and work not in self._stubborn:
                # This runner is being stopped.
                await self._stopped(work)

    async def _stopped(self, work: asyncio.Task[ProcessAwaitOutput]) -> ProcessAwaitOutput | None:
        """Cancel it; returns the output that it ends with within the grace time, if any."""
        work.cancel()
        await asyncio.wait((work,), timeout=self.settings.cancel_grace_s)
        if not work.done():
            self._stubborn.add(work)
            work.add_done_callback(self._stubborn.discard)
            return None
        return None if work.cancelled() else work.result()

    async def _cancel_request(self, process_id: str) -> None:
        """Return when somebody asks the process to stop."""
        while True:
            try:
                await self._registry.wait_event_after(process_id, _CANCEL_REQUESTED, 0)
                return
            except DatabaseError:
                await asyncio.sleep(_OUTAGE_S)

    async def _renew(self, lease: ProcessLease) -> None:
        """Return when the lease is lost."""
        while True:
            await asyncio.sleep(self.settings.renew_s)
            try:
                await self._registry.renew_lease(lease, self._lease_ms)
            except ProcessLeaseLostError:
                return
            except DatabaseError as problem:
                logger.warning("a lease could not be renewed: %s", describe(problem))

    async def _end(self, process: RunningProcess, output: ProcessAwaitOutput) -> bool:
        """Write the end, unless the lease is lost; waits for a database that cannot be used."""
        while True:
            try:
                return await self._complete(process, output)
            except DatabaseError as problem:
                logger.error(
                    "the end of process %s cannot be written yet: %s",
                    printable(process.record.id, 200),
                    describe(problem),
                )
                await asyncio.sleep(_OUTAGE_S)

    async def _complete(self, process: RunningProcess, output: ProcessAwaitOutput) -> bool:
        id_ = process.record.id
        try:
            await self._registry.complete(id_, output, lease=process.lease)
        except ProcessLeaseLostError:
            logger.warning(
                "process %s was taken over while it ran here; its end is not written from here",
                printable(id_, 200),
                extra={"action": "process_lease_lost"},
            )
        except (ProcessRegistryError, MalformedError, NotStorableError) as problem:
            if is_terminal(await self._registry.get(id_)):
                # Its host has ended it meanwhile.
                return False
            return await self._complete_otherwise(process, describe(problem))
        return True

    async def _complete_otherwise(self, process: RunningProcess, problem: str) -> bool:
        """
        Write a failure instead of an output that the registry refuses, or it would run for ever.
        """
        id_ = process.record.id
        failure = recovery_failure(f"the output of the process cannot be recorded: {problem}")
        try:
            await self._registry.complete(id_, failure, lease=process.lease)
        except (ProcessRegistryError, NotStorableError) as refused:
            self._hopeless.add(id_)
            logger.error(
                "process %s cannot be ended and is not run here again: %s; then: %s",
                printable(id_, 200),
                problem,
                describe(refused),
                extra={"action": "process_hopeless"},
            )
            return False
        return True
