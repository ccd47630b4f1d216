"""
The worker that runs processes: it sweeps the registry and runs what nobody else runs.

::

    sweep ─▶ claim ─▶ run, renewing ─▶ end it, with the lease ─▶ give the lease back
               │        │        │
               ▼        ▼        ▼
              skip    cancel   lease lost: stop, write nothing

What ends a process is written in the transaction that checks the lease. So a runner that was cut
off, and whose process another one has taken over, cannot write into it when it comes back.
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
#: How soon to ask a database again that could not be used, in seconds.
_OUTAGE_S = 1.0


class ProcessRunner:
    """
    Runs processes until it is stopped. Use as an asynchronous context manager.

    Args:
        registry: The processes; open for as long as this runs.
        run_tool: Runs ``tool_call`` processes, for instance ``tools_as_effects(client)``.
        session_turn: Runs ``session_turn`` processes.
        lashlang_process: Runs ``lashlang_process`` processes. A process that there is nothing for
            fails, and its failure says so.
        owner_id: Names this runner on its leases; unique, and made up by default.
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
        # Not host and process id alone: two runners of one program must not share their leases.
        self.owner_id = owner_id or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._registry = registry
        self._executors = Executors(
            self.settings.host_profile_id, run_tool, session_turn, lashlang_process
        )
        self._lease_ms = round(self.settings.lease_s * 1_000)
        self._poked = asyncio.Event()
        self._sweeping: asyncio.Task[None] | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        #: Processes whose end the registry does not take; running them again would not help.
        self._hopeless: set[str] = set()
        #: Processes left to other runners, and since when by the clock of the loop.
        self._left: dict[str, float] = {}
        #: What was asked to stop and has not; kept so that it is not collected half-way.
        self._stubborn: set[asyncio.Task[ProcessAwaitOutput]] = set()

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the processes that run here."""
        return tuple(self._running)

    # Life --------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Begin to sweep."""
        self._sweeping = asyncio.get_running_loop().create_task(
            self._sweep_for_ever(), name="effectmq process sweep"
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop, within the grace time of the settings; see ``stop``."""
        await self.stop(self.settings.shutdown_grace_s)

    async def stop(self, grace_s: float = 0.0) -> None:
        """
        Stop sweeping, and give back what runs here: another runner starts it from its beginning.

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
        """There may be something to run: sweep now."""
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
                # Whatever it is, it must not end the sweeping; said once, not at every sweep.
                if reached:
                    logger.error("no processes are started: %s", describe(problem))
                reached = False
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.sweep_s):
                    await self._poked.wait()

    async def _sweep(self) -> None:
        free = self.settings.concurrency - len(self._running)
        if free <= 0:
            return
        # What runs here is listed while its claim is still under way.
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
            # Others may have waited for the place.
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
                # Left before its end: it need not wait for the lease to run out. When this cannot
                # be written either, it does.
                with suppress(DatabaseError):
                    await self._registry.complete_lease(process_id, lease.lease_token)

    def _leaves_to_others(self, record: ProcessRecord) -> bool:
        """
        Whether a process that cannot be carried out here is left to other runners for now.

        While a deployment rolls, what this runner has nothing for may be at home in a newer one.
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
        """Whether it is not its time yet to be looked at again here."""
        since_s = self._left.get(process_id)
        if since_s is None:
            return False
        return asyncio.get_running_loop().time() - since_s < self.settings.elsewhere_s

    def _forget_left(self) -> None:
        """Those that others have taken meanwhile are no longer of interest."""
        before_s = asyncio.get_running_loop().time() - 2 * self.settings.elsewhere_s
        self._left = {id_: since_s for id_, since_s in self._left.items() if since_s >= before_s}

    async def _claim(self, process_id: str) -> ProcessLease | None:
        """The lease of a process, or None when it is not to be had."""
        claiming = asyncio.ensure_future(
            self._registry.claim_lease(process_id, self.owner_id, self._lease_ms)
        )
        try:
            return await asyncio.shield(claiming)
        except (ProcessRegistryError, DatabaseError) as problem:
            logger.debug("process %s is skipped: %s", printable(process_id), describe(problem))
            return None
        except asyncio.CancelledError:
            # A transaction that has begun is not stopped, and nobody else would give this back.
            with suppress(ProcessRegistryError, DatabaseError):
                lease = await claiming
                await self._registry.complete_lease(process_id, lease.lease_token)
            raise

    async def _carry_out(self, process: RunningProcess) -> bool:
        """Run a process to its end; whether its lease is gone with it."""
        if isinstance(process.record.input, ProcessInputExternal):
            output: ProcessAwaitOutput | None = await self._executors.output(process)
        elif await self._is_cancelled(process.record.id):
            output = cancelled(process.record)
        else:
            output = await self._watched(process)
        if output is None:
            logger.warning(
                "process %s runs elsewhere by now; nothing is written from here",
                printable(process.record.id, 200),
                extra={"action": "process_lease_lost"},
            )
            return True
        return await self._end(process, output)

    async def _is_cancelled(self, process_id: str) -> bool:
        return await self._registry.event_after(process_id, _CANCEL_REQUESTED, 0) is not None

    async def _watched(self, process: RunningProcess) -> ProcessAwaitOutput | None:
        """The output of a process, or None when the lease was lost first."""
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
        """Cancel it; the output that it ends with, if it has one within the grace time."""
        work.cancel()
        await asyncio.wait((work,), timeout=self.settings.cancel_grace_s)
        if not work.done():
            self._stubborn.add(work)
            work.add_done_callback(self._stubborn.discard)
            return None
        return None if work.cancelled() else work.result()

    async def _cancel_request(self, process_id: str) -> None:
        """Return when the process is asked to stop."""
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
        """Write the end, unless the lease is lost; wait for a database that cannot be used."""
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
                # Its host ended it meanwhile.
                return False
            return await self._complete_otherwise(process, describe(problem))
        return True

    async def _complete_otherwise(self, process: RunningProcess, problem: str) -> bool:
        """The registry does not take the output; without an end it would run again for ever."""
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
