"""
The process registry: processes, their events, their handles, their leases.

Every rule of section 8 of the wire format holds on every database of the port, because rules are
pure functions and each change is one transaction. What a method has returned is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Self, TypeVar

from effectmq.broker.inheritance import Inheritance, inherited
from effectmq.broker.store.database.port import Database, Transaction
from effectmq.broker.store.processes import events, handles, leases, records
from effectmq.broker.store.processes.notifier import Bells
from effectmq.broker.store.processes.tables import SCHEMA
from effectmq.broker.store.processes.writes import Writes
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    ProcessRegistryError,
)
from effectmq.protocol.identity.digests import cancel_request
from effectmq.protocol.processes.appending import Append, Replayed
from effectmq.protocol.processes.outputs import completion_request, output_of
from effectmq.protocol.wire.process_events import (
    ProcessAwaitOutput,
    ProcessEvent,
    ProcessEventAppendRequest,
    ProcessEventAppendResult,
    ProcessWakeDelivery,
)
from effectmq.protocol.wire.process_registration import ProcessRegistration, ProcessScope
from effectmq.protocol.wire.processes import (
    ProcessExecutionContext,
    ProcessExternalRef,
    ProcessHandleDescriptor,
    ProcessHandleGrant,
    ProcessLease,
    ProcessListMode,
    ProcessRecord,
    ProcessSessionDeleteReport,
    ProcessStartGrant,
)

__all__ = ["ProcessRegistry"]

T = TypeVar("T")

_POLL_S = 0.05

#: Handles a wake delivery in the transaction that appends its event.
OnWake = Callable[[Transaction, ProcessWakeDelivery], None]


class ProcessRegistry:
    """
    The process registry in a database. Use it as an asynchronous context manager.

    Every method raises ``ProcessRegistryError`` when a rule is broken (an unknown process, most
    often), with the text that Lash has for it, and ``DatabaseUnavailableError`` when the database
    cannot be used; in both cases nothing was changed.

    Args:
        database: An open database; it stays open.
        poll_s: The time between two polls for changes by other programs while somebody waits, in
            seconds. Changes by this program are seen at once.
        on_wake: Delivers a wake in the transaction that appends its event, such as
            ``SessionInbox.deliver_wake``. The wake then counts as acknowledged. Without it, a
            caller of ``wake_events_after`` must deliver and acknowledge it.
    """

    def __init__(
        self, database: Database, *, poll_s: float = _POLL_S, on_wake: OnWake | None = None
    ) -> None:
        self._database = database
        self._on_wake = on_wake
        self._poll_s = poll_s
        self._open: tuple[Writes, Bells] | None = None

    async def __aenter__(self) -> Self:
        """
        Make the tables if there are none.

        Raises:
            SchemaVersionError: When they are of another version.
        """
        database = self._database
        await SCHEMA.ensure(database)
        dialect = await database.read(lambda tx: tx.dialect)
        writes = Writes(database, grouped=dialect == "sqlite")
        bells = Bells(
            lambda ids: database.read(lambda tx: records.last_sequences(tx, ids)), self._poll_s
        )
        self._open = writes, bells
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Finish the writes under way, and end every wait."""
        await self._writes.close()
        await self._bells.close()

    @property
    def _writes(self) -> Writes:
        return self._opened()[0]

    @property
    def _bells(self) -> Bells:
        return self._opened()[1]

    def _opened(self) -> tuple[Writes, Bells]:
        if self._open is None:
            raise ConfigurationError(
                f"the process registry in {self._database.where} is not open; use it as an "
                "asynchronous context manager, or give it to the worker: "
                "worker.use(database), then worker.use(registry)"
            )
        return self._open

    # Processes ---------------------------------------------------------------------------------

    async def register(self, registration: ProcessRegistration) -> ProcessRecord:
        """Register a process; the same registration again returns the stored record."""
        return await self.start(registration)

    async def start(
        self,
        registration: ProcessRegistration,
        grant: ProcessStartGrant | None = None,
        context: ProcessExecutionContext | None = None,
    ) -> ProcessRecord:
        """
        Register a process and grant its handle, both or neither.

        Args:
            registration: The process.
            grant: The scope that gets a handle.
            context: The context of the start; the one of the first start is kept.
        """
        # The trace of the current effect, which the transaction's thread does not know.
        trace = inherited()

        def work(tx: Transaction) -> ProcessRecord:
            taken = context or ProcessExecutionContext()
            record = records.register(tx, registration, taken, trace)
            if grant is not None:
                handles.grant(tx, grant.owner_scope, record.id, grant.descriptor)
            return record

        return await self._writes.write(work)

    async def get(self, process_id: str) -> ProcessRecord:
        """The process as it is now."""
        return await self._database.read(lambda tx: records.read(tx, process_id))

    async def execution_context(self, process_id: str) -> ProcessExecutionContext:
        """The context of the start of the process."""
        return await self._database.read(lambda tx: records.execution_context(tx, process_id))

    async def trace_of(self, process_id: str) -> Inheritance:
        """The trace context of the effect that started the process, without a deadline."""
        return await self._database.read(lambda tx: records.trace_of(tx, process_id))

    async def set_external_ref(self, process_id: str, ref: ProcessExternalRef) -> ProcessRecord:
        """Note in which other system the process runs; replaces an earlier note."""
        return await self._writes.write(lambda tx: records.set_external_ref(tx, process_id, ref))

    async def list_non_terminal(self) -> list[ProcessRecord]:
        """The processes that have not ended, ordered by id."""
        return await self._database.read(records.non_terminal)

    # Events ------------------------------------------------------------------------------------

    async def append_event(
        self,
        process_id: str,
        request: ProcessEventAppendRequest,
        *,
        lease: ProcessLease | None = None,
    ) -> ProcessEventAppendResult:
        """
        Append an event; the same replay key again returns the stored event.

        Args:
            process_id: The process.
            request: The event.
            lease: Append only while this lease is held.
        """

        def work(tx: Transaction) -> Append | Replayed:
            if lease is not None:
                leases.require(tx, lease)
            plan = events.append(tx, process_id, request)
            if plan.wake is not None and self._on_wake is not None:
                self._on_wake(tx, plan.wake)
                events.acknowledge_wake(tx, process_id, plan.event.sequence)
            return plan

        plan = await self._writes.write(work)
        self._bells.ring(process_id)
        return ProcessEventAppendResult(event=plan.event, wake_delivery=plan.wake)

    async def complete(
        self, process_id: str, output: ProcessAwaitOutput, *, lease: ProcessLease | None = None
    ) -> ProcessRecord:
        """
        End a process with an output; the same output again changes nothing.

        Args:
            process_id: The process.
            output: Success, failure or cancellation.
            lease: End it only while this lease is held, and give the lease back with it.
        """

        def work(tx: Transaction) -> ProcessRecord:
            if lease is not None:
                leases.require(tx, lease)
                leases.complete(tx, process_id, lease.lease_token)
            events.append(tx, process_id, completion_request(process_id, output))
            return records.read(tx, process_id)

        record = await self._writes.write(work)
        self._bells.ring(process_id)
        return record

    async def request_cancel(self, process_id: str, reason: str | None) -> ProcessRecord:
        """
        Ask a process to stop. This is an event: the runner of the process sees it and stops.

        Args:
            process_id: The process.
            reason: Asking again with the same reason changes nothing.
        """

        def work(tx: Transaction) -> ProcessRecord:
            events.append(tx, process_id, cancel_request(process_id, reason))
            return records.read(tx, process_id)

        record = await self._writes.write(work)
        self._bells.ring(process_id)
        return record

    async def events_after(self, process_id: str, sequence: int) -> list[ProcessEvent]:
        """The events with a number larger than this, in order."""
        return await self._database.read(lambda tx: events.events_after(tx, process_id, sequence))

    async def wake_events_after(self, process_id: str, sequence: int) -> list[ProcessEvent]:
        """The events of ``events_after`` whose wake is not acknowledged."""
        return await self._database.read(lambda tx: events.wakes_after(tx, process_id, sequence))

    async def acknowledge_wake(self, process_id: str, sequence: int) -> None:
        """Acknowledge the wake of an event."""
        await self._writes.write(lambda tx: events.acknowledge_wake(tx, process_id, sequence))

    async def event_after(
        self, process_id: str, event_type: str, sequence: int
    ) -> ProcessEvent | None:
        """The first event of a type with a number larger than this, if there is one."""
        return await self._database.read(
            lambda tx: events.first_after(tx, process_id, event_type, sequence)
        )

    async def wait_event_after(
        self, process_id: str, event_type: str, sequence: int
    ) -> ProcessEvent:
        """As ``event_after``, and waits until there is such an event."""
        return await self._until(
            process_id, lambda tx: events.first_after(tx, process_id, event_type, sequence)
        )

    async def output(self, process_id: str) -> ProcessAwaitOutput | None:
        """The output of a process that has ended; ``None`` while it runs."""
        return output_of((await self.get(process_id)).status)

    async def await_process(self, process_id: str) -> ProcessAwaitOutput:
        """The output of a process, now or when it ends."""
        return await self._until(
            process_id, lambda tx: output_of(records.read(tx, process_id).status)
        )

    async def _until(self, process_id: str, look: Callable[[Transaction], T | None]) -> T:
        with self._bells.listening(process_id) as bell:
            while not self._bells.closed:
                bell.clear()
                found = await self._database.read(look)
                if found is not None:
                    return found
                await bell.wait()
        raise DatabaseUnavailableError(
            f"the process registry in {self._database.where} was closed while process "
            f"`{process_id}` was waited for"
        )

    # Handles -----------------------------------------------------------------------------------

    async def grant_handle(
        self, scope: ProcessScope, process_id: str, descriptor: ProcessHandleDescriptor
    ) -> ProcessHandleGrant:
        """Give a scope a handle to a process, or give its handle another descriptor."""
        return await self._writes.write(lambda tx: handles.grant(tx, scope, process_id, descriptor))

    async def revoke_handle(self, scope: ProcessScope, process_id: str) -> None:
        """Remove a handle; does nothing when there is none."""
        await self._writes.write(lambda tx: handles.revoke(tx, scope, process_id))

    async def list_handles(
        self, scope: ProcessScope, mode: ProcessListMode = "live"
    ) -> list[tuple[ProcessHandleGrant, ProcessRecord]]:
        """The handles of exactly this scope with their processes, ordered by process id."""
        return await self._database.read(lambda tx: handles.list_of(tx, scope, mode))

    async def handle_grants_for_process(self, process_id: str) -> list[ProcessHandleGrant]:
        """Every handle to a process, ordered by session id and scope id."""
        return await self._database.read(lambda tx: handles.grants_of(tx, process_id))

    async def transfer_handles(
        self, source: ProcessScope, target: ProcessScope, process_ids: Iterable[str]
    ) -> None:
        """Move handles from one scope to another, all of them or none."""
        ids = list(process_ids)
        await self._writes.write(lambda tx: handles.transfer(tx, source, target, ids))

    async def delete_session(
        self, session_id: str, *, cancel_reason: str | None = None
    ) -> ProcessSessionDeleteReport:
        """
        Remove every handle of a session.

        Args:
            session_id: The session, with all its frames.
            cancel_reason: With a reason, processes without a remaining handle are asked to stop, in
                the same transaction: a crash between the two would leave them running for ever.

        Raises:
            ProcessRegistryError: When one of them cannot be asked. The handles are removed, and
                those before it were asked.
        """
        report, problem = await self._writes.write(
            partial(_delete_session, session_id=session_id, cancel_reason=cancel_reason)
        )
        for process_id in report.cancel_process_ids:
            self._bells.ring(process_id)
        if problem is not None:
            raise problem
        return report

    # Leases ------------------------------------------------------------------------------------

    async def claimable(self, limit: int) -> list[str]:
        """Ids of processes that have not ended and have no lease, in order."""
        return await self._database.read(lambda tx: leases.claimable(tx, limit))

    async def claim_lease(self, process_id: str, owner_id: str, ttl_ms: int) -> ProcessLease:
        """
        Take the lease of a process.

        Args:
            process_id: The process.
            owner_id: Names the worker; the present owner may claim again, which ends its old token.
            ttl_ms: How long the lease lasts, in milliseconds; 0 ends it at once.
        """
        return await self._writes.write(lambda tx: leases.claim(tx, process_id, owner_id, ttl_ms))

    async def renew_lease(self, lease: ProcessLease, ttl_ms: int) -> ProcessLease:
        """Renew a lease that is still held; only its end changes."""
        return await self._writes.write(lambda tx: leases.renew(tx, lease, ttl_ms))

    async def complete_lease(self, process_id: str, lease_token: str) -> None:
        """Give a lease back; does nothing for a token that is no longer valid."""
        await self._writes.write(lambda tx: leases.complete(tx, process_id, lease_token))


def _delete_session(
    tx: Transaction, *, session_id: str, cancel_reason: str | None
) -> tuple[ProcessSessionDeleteReport, ProcessRegistryError | None]:
    report = handles.delete_session(tx, session_id)
    if cancel_reason is not None:
        for process_id in report.cancel_process_ids:
            try:
                events.append(tx, process_id, cancel_request(process_id, cancel_reason))
            except ProcessRegistryError as problem:
                return report, problem
    return report, None
