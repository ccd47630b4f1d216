"""Statements 10 to 29 of the wire format, section 10, on every database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Database
from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.broker.store.sessions import SessionInbox
from effectmq.protocol.errors import ConfigurationError, ProcessLeaseLostError, ProcessRegistryError
from effectmq.protocol.identity.digests import cancel_request, wake_id
from effectmq.protocol.wire.invocation import CausalRefProcess, CausalRefTurn
from effectmq.protocol.wire.process_event_types import (
    ProcessTerminalSpec,
    ProcessValueSelectorConst,
    ProcessValueSelectorPointer,
    ProcessValueSelectorTemplate,
    ProcessWakeDedupeKeyConst,
    ProcessWakeDedupeKeySelector,
)
from effectmq.protocol.wire.process_events import (
    ProcessAwaitOutputCancelled,
    ProcessAwaitOutputFailure,
    ProcessAwaitOutputSuccess,
)
from effectmq.protocol.wire.process_registration import ProcessScope
from effectmq.protocol.wire.processes import (
    ProcessExecutionContext,
    ProcessExternalRef,
    ProcessHandleDescriptor,
    ProcessStatusCancelled,
    ProcessStatusCompleted,
    ProcessStatusRunning,
)
from tests.conformance.process_stage import (
    DONE,
    TARGET,
    TOOL,
    event_type,
    external,
    granted,
    held,
    registration,
    request,
    waking,
)
from tests.waiting import eventually

#: Longer than any test takes.
LONG_MS = 600_000
S1, S2 = ProcessScope(session_id="s1"), ProcessScope(session_id="s2")
TEXT = ProcessValueSelectorPointer(value="/text")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty database of each kind in turn."""
    async with open_database(database_url) as opened:
        yield opened


@pytest.fixture
async def registry(database: Database) -> AsyncIterator[ProcessRegistry]:
    """A registry in it."""
    async with ProcessRegistry(database) as opened:
        yield opened


# 10


async def test_registering_the_same_twice_gives_the_stored_record(
    registry: ProcessRegistry,
) -> None:
    """Hash and times are those of the first time."""
    first = await registry.register(registration("p1"))
    assert first.status == ProcessStatusRunning()
    assert first.created_at_ms == first.updated_at_ms > 0
    assert await registry.register(registration("p1")) == first == await registry.get("p1")


async def test_registering_something_else_under_a_known_id_fails(
    registry: ProcessRegistry,
) -> None:
    """Other event types make another hash."""
    first = await registry.register(registration("p1"))
    with pytest.raises(ProcessRegistryError, match="hash conflict: existing") as caught:
        await registry.register(registration("p1", event_type("custom")))
    assert f"process `p1` registration hash conflict: existing {first.registration_hash}, new " in (
        caught.value.text
    )
    assert await registry.get("p1") == first


async def test_many_that_register_the_same_at_once_all_get_it(registry: ProcessRegistry) -> None:
    """None of them fails because another one came first."""
    records = await asyncio.gather(*(registry.register(registration("p1")) for _ in range(8)))
    assert all(record == records[0] for record in records)


async def test_a_registration_that_breaks_a_rule_is_not_stored(registry: ProcessRegistry) -> None:
    """The text is the contract's, and the process stays unknown."""
    with pytest.raises(ProcessRegistryError, match="owner scope must include a session id"):
        await registry.register(registration("p1", owner=ProcessScope(session_id="")))
    with pytest.raises(ProcessRegistryError, match=r"^unknown process `p1`$"):
        await registry.get("p1")


# 11


async def test_a_custom_event_is_checked_and_wakes_by_its_selector(
    registry: ProcessRegistry,
) -> None:
    """A missing field is refused; acknowledging hides the wake."""
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    await registry.register(registration("p1", waking("note", TEXT, schema=schema)))
    with pytest.raises(ProcessRegistryError) as caught:
        await registry.append_event("p1", request("note", {}, key="k0", target=TARGET))
    assert caught.value.text == "invalid `note` payload: text: required property missing"

    note = request("note", {"text": "hello"}, key="k1", target=TARGET)
    result = await registry.append_event("p1", note)
    assert result.event.sequence == 1
    assert result.wake_delivery is not None
    assert result.wake_delivery.input == "hello"
    assert await registry.wake_events_after("p1", 0) == [result.event]
    await registry.acknowledge_wake("p1", 1)
    assert await registry.wake_events_after("p1", 0) == []
    assert await registry.events_after("p1", 0) == [result.event]


# 12


async def test_a_keyed_wake_repeated_is_one_event_with_everything_in_its_delivery(
    registry: ProcessRegistry,
) -> None:
    """Sequence, wake id and invocation are those of the stored event."""
    cause = CausalRefTurn(session_id="s0", turn_id="t0")
    await registry.register(registration("p1", waking("note", TEXT), caused_by=cause))
    await registry.append_event("p1", request("process.cancel_requested", {}, key="c"))
    note = request("note", {"text": "hi"}, key="k1", target=TARGET)
    first = await registry.append_event("p1", note)
    second = await registry.append_event("p1", note)
    assert second == first
    assert [event.event_type for event in await registry.events_after("p1", 0)] == [
        "process.cancel_requested",
        "note",
    ]

    invocation = first.event.invocation
    assert invocation.scope.session_id == "root"
    assert invocation.subject.type == "process_event"
    assert invocation.caused_by == CausalRefProcess(process_id="p1")
    assert invocation.replay == note.replay
    delivery = first.wake_delivery
    assert delivery is not None
    assert delivery.event_type == "note"
    assert delivery.event_invocation == invocation
    assert delivery.process_caused_by == cause
    assert delivery.target_session_id == "s1"
    assert delivery.target_scope_id == "session:s1/frame:f1"
    assert delivery.dedupe_key == "p1:2"
    assert delivery.wake_id == wake_id("session:s1/frame:f1", "p1:2")
    assert delivery.input == "hi"


# 13


async def test_events_come_in_order_and_without_the_cursor(registry: ProcessRegistry) -> None:
    """Wakes likewise, and only those."""
    await registry.register(registration("p1", event_type("plain"), waking("note", TEXT)))
    for number, name in enumerate(("plain", "note", "plain", "note"), 1):
        payload = {"text": str(number)}
        await registry.append_event("p1", request(name, payload, target=TARGET))
    after = await registry.events_after("p1", 1)
    assert [(event.sequence, event.event_type) for event in after] == [
        (2, "note"),
        (3, "plain"),
        (4, "note"),
    ]
    assert [event.sequence for event in await registry.wake_events_after("p1", 2)] == [4]
    assert await registry.events_after("p1", 4) == []
    assert await registry.events_after("p1", 2**64 - 1) == []


async def test_waiting_for_an_event_gives_one_that_is_there_at_once_and_else_the_next(
    registry: ProcessRegistry,
) -> None:
    """Events of other types are not what is waited for."""
    await registry.register(registration("p1", event_type("a"), event_type("b")))
    await registry.append_event("p1", request("a", 1))
    assert (await registry.wait_event_after("p1", "a", 0)).payload == 1
    waiting = asyncio.ensure_future(registry.wait_event_after("p1", "a", 1))
    await registry.append_event("p1", request("b", 2))
    await registry.append_event("p1", request("a", 3))
    await registry.append_event("p1", request("a", 4))
    assert (await waiting).payload == 3


async def test_an_event_that_another_program_appends_ends_the_wait(
    registry: ProcessRegistry, database_url: str
) -> None:
    """Two registries share nothing but the database."""
    await registry.register(registration("p1", event_type("a")))
    waiting = asyncio.ensure_future(registry.wait_event_after("p1", "a", 0))
    async with open_database(database_url) as other, ProcessRegistry(other) as elsewhere:
        await elsewhere.append_event("p1", request("a", "from elsewhere"))
    assert (await waiting).payload == "from elsewhere"


# 14


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ("payload", '{"n":1.5,"text":"hi"}'),
        (ProcessValueSelectorConst(value="always"), "always"),
        (
            ProcessValueSelectorTemplate(
                template="{who}: {what}",
                fields={"who": ProcessValueSelectorConst(value="it"), "what": TEXT},
            ),
            "it: hi",
        ),
    ],
)
async def test_the_input_of_a_wake_is_the_text_of_what_is_selected(
    registry: ProcessRegistry, selector: object, text: str
) -> None:
    """The whole payload, a constant, a filled template."""
    await registry.register(registration("p1", waking("note", selector)))  # type: ignore[arg-type]
    payload = {"text": "hi", "n": 1.5}
    result = await registry.append_event("p1", request("note", payload, target=TARGET))
    assert result.wake_delivery is not None
    assert result.wake_delivery.input == text


async def test_a_condition_that_is_false_gives_no_wake(registry: ProcessRegistry) -> None:
    """The event is there, and needs nobody to wake."""
    never = ProcessValueSelectorConst(value=False)
    await registry.register(
        registration("p1", waking("note", TEXT, when=never), waking("loud", TEXT))
    )
    quiet = await registry.append_event("p1", request("note", {"text": "x"}))
    assert quiet.wake_delivery is None
    assert quiet.event.semantics.wake is None
    loud = await registry.append_event("p1", request("loud", {"text": "x"}, target=TARGET))
    assert await registry.wake_events_after("p1", 0) == [loud.event]


@pytest.mark.parametrize(
    ("dedupe_key", "same"),
    [
        (ProcessWakeDedupeKeySelector(value=TEXT), True),
        (ProcessWakeDedupeKeyConst(value="one"), True),
        ("event_identity", False),
    ],
)
async def test_wakes_with_equal_dedupe_keys_have_equal_ids(
    registry: ProcessRegistry, dedupe_key: object, same: bool
) -> None:
    """Two events of the same text, told apart only by their identity."""
    note = waking("note", TEXT, dedupe_key=dedupe_key)  # type: ignore[arg-type]
    await registry.register(registration("p1", note))
    ids = set[str]()
    for _ in range(2):
        result = await registry.append_event("p1", request("note", {"text": "x"}, target=TARGET))
        assert result.wake_delivery is not None
        ids.add(result.wake_delivery.wake_id)
    assert len(ids) == (1 if same else 2)


# 15


async def test_everything_is_there_after_reopening(database_url: str) -> None:
    """A keyed append repeated then gives the old sequence."""
    context = ProcessExecutionContext(wake_target_scope=TARGET)
    note = request("note", {"text": "hi"}, key="k1", target=TARGET)
    async with open_database(database_url) as database, ProcessRegistry(database) as registry:
        await registry.start(registration("p1", waking("note", TEXT)), granted("s1"), context)
        first = await registry.append_event("p1", note)
        record = await registry.set_external_ref(
            "p1", ProcessExternalRef(backend="elsewhere", id="x", metadata={"n": 1})
        )
    async with open_database(database_url) as database, ProcessRegistry(database) as registry:
        assert await registry.get("p1") == record
        assert await registry.execution_context("p1") == context
        assert await registry.events_after("p1", 0) == [first.event]
        assert [entry[1] for entry in await registry.list_handles(S1)] == [record]
        assert await registry.append_event("p1", note) == first
        assert await registry.events_after("p1", 1) == []


# 16


async def test_a_keyed_append_with_another_payload_is_refused(registry: ProcessRegistry) -> None:
    """The same payload gives an equal delivery, for whoever is to be woken this time."""
    await registry.register(registration("p1", waking("note", TEXT)))
    note = request("note", {"text": "hi"}, key="k1", target=TARGET)
    first = await registry.append_event("p1", note)
    assert await registry.append_event("p1", note) == first
    other = await registry.append_event("p1", request("note", {"text": "hi"}, key="k1", target=S2))
    assert other.event == first.event
    assert other.wake_delivery is not None
    assert other.wake_delivery.target_scope_id == "session:s2"
    with pytest.raises(ProcessRegistryError) as caught:
        await registry.append_event("p1", request("note", {"text": "no"}, key="k1", target=TARGET))
    assert caught.value.text == (
        "process `p1` event replay key `k1` conflicts with an existing event"
    )


async def test_an_event_that_many_append_at_once_is_stored_once(
    registry: ProcessRegistry,
) -> None:
    """And without a key, each gets a number of its own, without gaps."""
    await registry.register(registration("p1", event_type("a")))
    keyed = await asyncio.gather(
        *(registry.append_event("p1", request("a", 1, key="k")) for _ in range(8))
    )
    assert {result.event.sequence for result in keyed} == {1}
    free = await asyncio.gather(*(registry.append_event("p1", request("a", n)) for n in range(8)))
    assert sorted(result.event.sequence for result in free) == list(range(2, 10))


async def test_what_is_refused_takes_nothing_else_with_it(registry: ProcessRegistry) -> None:
    """Asked for at once, and perhaps in one transaction; numbers stay without gaps."""
    await registry.register(registration("p1", event_type("a", {"type": "integer"})))
    results = await asyncio.gather(
        *(registry.append_event("p1", request("a", n if n % 2 else "no")) for n in range(10)),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, ProcessRegistryError)]
    assert len(refused) == 5
    events = await registry.events_after("p1", 0)
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert sorted(event.payload for event in events) == [1, 3, 5, 7, 9]


# 17


async def test_a_wake_without_a_target_fails_and_stores_nothing(
    registry: ProcessRegistry,
) -> None:
    """The next event is the first."""
    await registry.register(registration("p1", waking("note", TEXT), event_type("plain")))
    with pytest.raises(ProcessRegistryError) as caught:
        await registry.append_event("p1", request("note", {"text": "hi"}, key="k1"))
    assert caught.value.text == (
        "process `p1` emitted wake event `note` without a wake target scope"
    )
    assert await registry.events_after("p1", 0) == []
    assert (await registry.append_event("p1", request("plain"))).event.sequence == 1


# 18


async def test_a_cancel_request_needs_a_key_and_only_the_end_changes_the_state(
    registry: ProcessRegistry,
) -> None:
    """The built-in request has one; asking twice for the same reason is one event."""
    await registry.register(registration("p1"))
    with pytest.raises(ProcessRegistryError) as caught:
        await registry.append_event("p1", request("process.cancel_requested", {"reason": None}))
    assert caught.value.text == (
        "process `p1` event `process.cancel_requested` requires a deterministic replay key"
    )
    asked = await registry.request_cancel("p1", "enough")
    assert asked.status == ProcessStatusRunning()
    await registry.append_event("p1", cancel_request("p1", "enough"))
    assert len(await registry.events_after("p1", 0)) == 1
    output = ProcessAwaitOutputCancelled(message="stopped")
    ended = await registry.complete("p1", output)
    assert ended.status == ProcessStatusCancelled(await_output=output)


# 19


async def test_awaiting_gives_the_output_now_and_later(registry: ProcessRegistry) -> None:
    """The record is terminal then."""
    await registry.register(registration("p1"))
    assert await registry.output("p1") is None
    waiting = asyncio.ensure_future(registry.await_process("p1"))
    record = await registry.complete("p1", DONE)
    assert await waiting == await registry.await_process("p1") == DONE
    assert record.status == ProcessStatusCompleted(await_output=DONE)
    assert record == await registry.get("p1")


async def test_an_end_from_another_program_is_seen(
    registry: ProcessRegistry, database_url: str
) -> None:
    """Many wait here, and one poll serves all."""
    for number in range(20):
        await registry.register(registration(f"p{number}"))
    waiting = [asyncio.ensure_future(registry.await_process(f"p{n}")) for n in range(20)]
    async with open_database(database_url) as other, ProcessRegistry(other) as elsewhere:
        for number in range(20):
            await elsewhere.complete(f"p{number}", ProcessAwaitOutputSuccess(value=number))
    outputs = await asyncio.gather(*waiting)
    assert outputs == [ProcessAwaitOutputSuccess(value=number) for number in range(20)]


async def test_completing_again_is_fine_only_with_the_same_output(
    registry: ProcessRegistry,
) -> None:
    """Another output of the same variant is a key conflict, another variant comes too late."""
    await registry.register(registration("p1"))
    record = await registry.complete("p1", DONE)
    assert await registry.complete("p1", DONE) == record
    with pytest.raises(ProcessRegistryError, match="conflicts with an existing event"):
        await registry.complete("p1", ProcessAwaitOutputSuccess(value=2))
    failure = ProcessAwaitOutputFailure(class_="internal", code="c", message="m")
    with pytest.raises(ProcessRegistryError, match=r"^process `p1` is already terminal$"):
        await registry.complete("p1", failure)
    late = await registry.request_cancel("p1", "too late")
    assert late.status == record.status
    assert [event.sequence for event in await registry.events_after("p1", 0)] == [1, 2]


async def test_a_custom_terminal_event_ends_a_process_in_its_declared_state(
    registry: ProcessRegistry,
) -> None:
    """Whatever the variant of the output that is selected."""
    gone = event_type(
        "gone",
        terminal=ProcessTerminalSpec(
            state="failed", await_output=ProcessValueSelectorPointer(value="/out")
        ),
    )
    await registry.register(registration("p1", gone))
    with pytest.raises(ProcessRegistryError, match="payload pointer `/out` did not match"):
        await registry.append_event("p1", request("gone", {}, key="k"))
    success = {"out": {"type": "success", "value": 1}}
    await registry.append_event("p1", request("gone", success, key="k"))
    record = await registry.get("p1")
    assert record.status.state == "failed"
    assert await registry.output("p1") == ProcessAwaitOutputSuccess(value=1)
    assert record.updated_at_ms >= record.created_at_ms


async def test_an_undeclared_event_is_refused(registry: ProcessRegistry) -> None:
    """And so is everything about a process that nobody knows."""
    await registry.register(registration("p1"))
    with pytest.raises(ProcessRegistryError) as caught:
        await registry.append_event("p1", request("surprise", {}))
    assert caught.value.text == "process `p1` emitted undeclared event type `surprise`"
    assert caught.value.display == f"plugin session error: {caught.value.text}"


async def test_nothing_can_be_done_with_an_unknown_process(registry: ProcessRegistry) -> None:
    """One text for all of it."""
    ref = ProcessExternalRef(backend="b", id="i")
    attempts = [
        registry.get("no"),
        registry.execution_context("no"),
        registry.set_external_ref("no", ref),
        registry.append_event("no", request("a")),
        registry.complete("no", DONE),
        registry.request_cancel("no", None),
        registry.events_after("no", 0),
        registry.wake_events_after("no", 0),
        registry.wait_event_after("no", "a", 0),
        registry.acknowledge_wake("no", 1),
        registry.await_process("no"),
        registry.grant_handle(S1, "no", TOOL),
        registry.handle_grants_for_process("no"),
        registry.claim_lease("no", "w1", 1),
    ]
    for attempt in attempts:
        with pytest.raises(ProcessRegistryError, match=r"^unknown process `no`$"):
            await attempt


# 20


async def test_a_transfer_moves_a_handle_and_appends_no_event(registry: ProcessRegistry) -> None:
    """The descriptor goes along."""
    await held(registry, "p1", "s1")
    await registry.transfer_handles(S1, S2, ["p1"])
    assert await registry.list_handles(S1) == []
    ((handle, record),) = await registry.list_handles(S2)
    assert (handle.session_id, handle.process_id, handle.descriptor) == ("s2", "p1", TOOL)
    assert record == await registry.get("p1")
    assert await registry.events_after("p1", 0) == []


async def test_a_transfer_moves_all_or_nothing(registry: ProcessRegistry) -> None:
    """The second handle is missing, so the first one stays."""
    await held(registry, "p1", "s1")
    await held(registry, "p2")
    with pytest.raises(ProcessRegistryError) as caught:
        await registry.transfer_handles(S1, S2, ["p1", "p2"])
    assert caught.value.text == "process handle `p2` is not granted to session `s1`"
    assert len(await registry.list_handles(S1)) == 1
    assert await registry.list_handles(S2) == []


# 21


async def test_several_sessions_may_hold_one_process(registry: ProcessRegistry) -> None:
    """Listed by session; a transfer changes only the one that is moved."""
    await held(registry, "p1", "s3", "s1", "s2")
    sessions = [grant.session_id for grant in await registry.handle_grants_for_process("p1")]
    assert sessions == ["s1", "s2", "s3"]
    await registry.transfer_handles(S2, ProcessScope(session_id="s9"), ["p1"])
    sessions = [grant.session_id for grant in await registry.handle_grants_for_process("p1")]
    assert sessions == ["s1", "s3", "s9"]


async def test_a_handle_belongs_to_exactly_one_scope(registry: ProcessRegistry) -> None:
    """A frame's handle is not its session's; granting again gives it another descriptor."""
    await held(registry, "p1")
    frame = ProcessScope(session_id="s1", agent_frame_id="f1")
    await registry.grant_handle(frame, "p1", TOOL)
    await registry.grant_handle(frame, "p1", ProcessHandleDescriptor(label="renamed"))
    assert await registry.list_handles(S1) == []
    ((handle, _),) = await registry.list_handles(frame)
    assert handle.descriptor == ProcessHandleDescriptor(label="renamed")
    await registry.revoke_handle(S1, "p1")
    assert len(await registry.list_handles(frame)) == 1
    await registry.revoke_handle(frame, "p1")
    await registry.revoke_handle(frame, "p1")
    assert await registry.list_handles(frame) == []


# 22


async def test_a_process_may_have_no_handle(registry: ProcessRegistry) -> None:
    """It runs all the same."""
    await held(registry, "p1")
    assert await registry.handle_grants_for_process("p1") == []
    assert [record.id for record in await registry.list_non_terminal()] == ["p1"]


# 23


async def test_deleting_a_session_tells_what_nobody_holds_any_more(
    registry: ProcessRegistry,
) -> None:
    """One sole, one shared, one that has ended; frames count as their session."""
    await held(registry, "sole")
    await registry.grant_handle(TARGET, "sole", TOOL)
    await held(registry, "shared", "s1", "s2")
    await held(registry, "ended", "s1")
    await registry.complete("ended", DONE)
    report = await registry.delete_session("s1")
    assert report.revoked_handle_count == 3
    assert report.deleted_wake_count == 0
    assert report.cancel_process_ids == ["sole"]
    assert report.preserved_process_ids == ["shared"]
    assert await registry.list_handles(S1, "all") == []
    assert [record.id for _, record in await registry.list_handles(S2)] == ["shared"]
    assert await registry.events_after("sole", 0) == []
    again = await registry.delete_session("s1")
    assert (again.revoked_handle_count, again.cancel_process_ids) == (0, [])


async def test_deleting_a_session_with_a_reason_asks_the_forsaken_to_stop(
    registry: ProcessRegistry,
) -> None:
    """In the order of their ids, and nobody else."""
    for id_ in ("b", "a"):
        await held(registry, id_, "s1")
    await held(registry, "shared", "s1", "s2")
    report = await registry.delete_session("s1", cancel_reason="session deleted")
    assert report.cancel_process_ids == ["a", "b"]
    for id_ in ("a", "b"):
        (event,) = await registry.events_after(id_, 0)
        assert event.event_type == "process.cancel_requested"
        assert event.payload == {"reason": "session deleted"}
    assert await registry.events_after("shared", 0) == []


async def test_sessions_deleted_at_once_leave_no_process_that_nobody_holds(
    registry: ProcessRegistry,
) -> None:
    """Each of two holders might take the other one for the last."""
    for number in range(10):
        await held(registry, f"p{number}", "s1", "s2")
    reports = await asyncio.gather(registry.delete_session("s1"), registry.delete_session("s2"))
    cancelled = sorted(id_ for report in reports for id_ in report.cancel_process_ids)
    assert cancelled == sorted(f"p{number}" for number in range(10))


# 24


async def test_live_lists_leave_out_what_has_ended(registry: ProcessRegistry) -> None:
    """Ordered by id, as code points; the full list keeps everything."""
    for id_ in ("b", "Z", "é", "a", "B"):
        await held(registry, id_, "s1")
    await registry.complete("a", DONE)
    live = [record.id for record in await registry.list_non_terminal()]
    assert live == ["B", "Z", "b", "é"]
    assert [record.id for _, record in await registry.list_handles(S1)] == live
    every = [record.id for _, record in await registry.list_handles(S1, "all")]
    assert every == ["B", "Z", "a", "b", "é"]


# 25


async def test_a_live_lease_keeps_others_out_and_not_its_owner(registry: ProcessRegistry) -> None:
    """The owner's old token dies with the new one."""
    await registry.register(registration("p1"))
    first = await registry.claim_lease("p1", "w1", LONG_MS)
    assert first.schema_version == 1
    assert first.fencing_token == 1
    assert first.expires_at_epoch_ms == first.claimed_at_epoch_ms + LONG_MS
    with pytest.raises(ProcessRegistryError) as caught:
        await registry.claim_lease("p1", "w2", LONG_MS)
    assert caught.value.text == (
        f"process `p1` is already leased by `w1` until {first.expires_at_epoch_ms}"
    )
    assert await registry.claimable(10) == []
    second = await registry.claim_lease("p1", "w1", LONG_MS)
    assert second.fencing_token == 2
    with pytest.raises(ProcessLeaseLostError, match="missing or expired"):
        await registry.renew_lease(first, LONG_MS)


async def test_of_many_that_claim_at_once_one_gets_the_lease(registry: ProcessRegistry) -> None:
    """The others hear who has it."""
    await registry.register(registration("p1"))
    results = await asyncio.gather(
        *(registry.claim_lease("p1", f"w{n}", LONG_MS) for n in range(8)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, ProcessRegistryError)]
    assert len(refused) == 7
    assert len({problem.text for problem in refused}) == 1


# 26


async def test_a_lease_that_was_taken_over_cannot_be_renewed(registry: ProcessRegistry) -> None:
    """Nor can anything be written with it."""
    await registry.register(registration("p1", event_type("a")))
    lost = await registry.claim_lease("p1", "w1", 0)
    taken = await registry.claim_lease("p1", "w2", LONG_MS)
    assert taken.fencing_token > lost.fencing_token
    with pytest.raises(ProcessLeaseLostError) as caught:
        await registry.renew_lease(lost, LONG_MS)
    assert caught.value.text == "process lease for `p1` is missing or expired"
    with pytest.raises(ProcessLeaseLostError):
        await registry.append_event("p1", request("a"), lease=lost)
    with pytest.raises(ProcessLeaseLostError):
        await registry.complete("p1", DONE, lease=lost)
    assert await registry.events_after("p1", 0) == []


# 27


async def test_a_renewed_lease_outlives_its_first_time(registry: ProcessRegistry) -> None:
    """Of two short leases, only the one that was not renewed can be taken."""
    for id_ in ("renewed", "left"):
        await registry.register(registration(id_))
    short_ms = 200
    lease = await registry.claim_lease("renewed", "w1", short_ms)
    renewed = await registry.renew_lease(lease, LONG_MS)
    assert renewed.expires_at_epoch_ms > lease.expires_at_epoch_ms
    assert renewed == lease.model_copy(update={"expires_at_epoch_ms": renewed.expires_at_epoch_ms})
    await registry.claim_lease("left", "w1", short_ms)

    async def left_is_over() -> bool:
        return await registry.claimable(10) == ["left"]

    await eventually(left_is_over)
    with pytest.raises(ProcessRegistryError, match="already leased"):
        await registry.claim_lease("renewed", "w2", LONG_MS)


async def test_a_lease_of_no_time_and_one_of_all_time(registry: ProcessRegistry) -> None:
    """Nothing overflows."""
    await registry.register(registration("p1"))
    await registry.claim_lease("p1", "w1", 0)
    assert await registry.claimable(10) == ["p1"]
    lease = await registry.claim_lease("p1", "w1", 2**64 - 1)
    assert lease.expires_at_epoch_ms < 2**63
    assert await registry.claimable(10) == []


# 28


async def test_a_lease_given_back_is_free_for_another_with_a_larger_token(
    registry: ProcessRegistry,
) -> None:
    """Completing with a lease gives it back in the same moment."""
    await registry.register(registration("p1"))
    first = await registry.claim_lease("p1", "w1", LONG_MS)
    await registry.complete_lease("p1", first.lease_token)
    await registry.complete_lease("p1", first.lease_token)
    second = await registry.claim_lease("p1", "w2", LONG_MS)
    assert second.fencing_token > first.fencing_token
    await registry.complete("p1", DONE, lease=second)
    third = await registry.claim_lease("p1", "w3", LONG_MS)
    assert third.fencing_token > second.fencing_token


# 29


async def test_a_stale_token_gives_nothing_back(registry: ProcessRegistry) -> None:
    """The live owner can still renew."""
    await registry.register(registration("p1"))
    stale = await registry.claim_lease("p1", "w1", 0)
    live = await registry.claim_lease("p1", "w2", LONG_MS)
    await registry.complete_lease("p1", stale.lease_token)
    assert (await registry.renew_lease(live, LONG_MS)).lease_token == live.lease_token


# What strangers send


@pytest.mark.parametrize(
    "id_", ["with\x00nul", "x" * 5_000, "quo'te\"; DROP TABLE x", "\u2028🙂", " padded "]
)
async def test_an_id_may_be_any_text(registry: ProcessRegistry, id_: str) -> None:
    """As a process, as a session, as a key, as an owner, as a type."""
    scope = ProcessScope(session_id=id_, agent_frame_id=id_)
    await registry.start(
        registration(id_, event_type(id_), input_=external({id_: id_}), owner=scope),
        granted(id_),
    )
    await registry.append_event(id_, request(id_, {id_: id_}, key=id_))
    assert (await registry.wait_event_after(id_, id_, 0)).payload == {id_: id_}
    assert [grant.session_id for grant in await registry.handle_grants_for_process(id_)] == [id_]
    assert (await registry.claim_lease(id_, id_, 0)).owner_id == id_
    assert await registry.claimable(10) == [id_]
    await registry.complete(id_, DONE)
    assert await registry.await_process(id_) == DONE
    assert (await registry.delete_session(id_)).revoked_handle_count == 1


async def test_what_is_as_deep_as_json_can_be_is_kept(registry: ProcessRegistry) -> None:
    """Reading it back is not where it fails."""
    deep: object = 1
    for _ in range(120):
        deep = [deep]
    await registry.register(registration("p1", event_type("a"), input_=external(deep)))  # type: ignore[arg-type]
    appended = await registry.append_event("p1", request("a", deep))  # type: ignore[arg-type]
    await registry.complete("p1", ProcessAwaitOutputSuccess(value=deep))
    assert (await registry.events_after("p1", 0))[0] == appended.event
    assert await registry.output("p1") == ProcessAwaitOutputSuccess(value=deep)


async def test_a_registry_that_is_not_open_says_how_to_open_it(database: Database) -> None:
    """Forgetting it is easy."""
    with pytest.raises(ConfigurationError, match="is not open; use it as an asynchronous context"):
        await ProcessRegistry(database).register(registration("p1"))


async def test_whoever_waits_in_a_registry_that_is_closed_is_told(database: Database) -> None:
    """Instead of waiting for ever."""
    async with ProcessRegistry(database) as registry:
        await registry.register(registration("p1"))
        waiting = asyncio.ensure_future(registry.await_process("p1"))
        await eventually(lambda: registry._bells._bells)
    with pytest.raises(Exception, match="was closed while process `p1` was waited for"):
        await waiting


# 37


async def test_a_wake_is_one_entry_of_the_inbox_and_taken_once(database: Database) -> None:
    """It is kept with its event, and delivered again it is the same entry."""
    async with (
        SessionInbox(database) as inbox,
        ProcessRegistry(database, on_wake=inbox.deliver_wake) as registry,
    ):
        await registry.register(registration("p1", waking("note", TEXT)))
        note = request("note", {"text": "hi"}, key="k1", target=TARGET)
        first = await registry.append_event("p1", note)
        assert await registry.append_event("p1", note) == first
        wake = first.wake_delivery
        assert wake is not None
        await database.write(lambda tx: inbox.deliver_wake(tx, wake))
        assert await inbox.waiting("s1") == 1
        delivery = await inbox.claim("s1", "first")
        assert [cause.id for cause in delivery.turn_causes] == [wake.wake_id]
        assert (await inbox.claim("s1", "second")).turn_causes == []
        assert await registry.wake_events_after("p1", 0) == []
