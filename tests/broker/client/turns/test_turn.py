"""Turns and process scopes: invocations and replay keys exactly as the wire format makes them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from effectmq.broker.client.turns.process_scope import ProcessScope
from effectmq.broker.client.turns.turn import ToolCall, Turn
from effectmq.protocol.encoding.serde.model import stable_hash
from effectmq.protocol.errors import ConfigurationError, MalformedError, WrongOutcomeError
from effectmq.protocol.identity import invocations
from effectmq.protocol.messages.chunk import Chunk
from effectmq.protocol.messages.request import Request
from effectmq.protocol.tool_calls.from_model import calls_from_model
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandDirect,
    RuntimeEffectCommandProcess,
    RuntimeEffectCommandSleep,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.invocation import CausalRefToolCall
from effectmq.protocol.wire.llm_response import LlmOutputPartToolCall
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcome,
    RuntimeEffectOutcomeProcess,
    RuntimeEffectOutcomeSleep,
    RuntimeEffectOutcomeToolCall,
)
from effectmq.protocol.wire.process_commands import ProcessCommandSignal, ProcessCommandTransfer
from effectmq.protocol.wire.process_registration import ProcessScope as Owner
from tests.protocol.documents import example, examples

#: An outcome of every kind.
OUTCOMES: dict[str, RuntimeEffectOutcome] = {
    outcome.type: outcome
    for outcome in (example(label) for label in examples() if label.startswith("O"))
}

#: An outcome of every operation on processes.
PROCESS_OUTCOMES: dict[str, RuntimeEffectOutcome] = {
    outcome.result.op: outcome
    for outcome in (example(label) for label in examples() if label.startswith("O"))
    if isinstance(outcome, RuntimeEffectOutcomeProcess)
}


class Asked:
    """What would be executed, instead of executing it."""

    def __init__(self) -> None:
        self.envelopes: list[RuntimeEffectEnvelope] = []
        self.lanes: list[str | None] = []
        self.timeouts: list[float | None] = []
        self.others: list[dict[str, Any]] = []

    async def __call__(
        self,
        envelope: RuntimeEffectEnvelope,
        *,
        timeout: float | None = -1,
        lane: str | None = None,
        **others: Any,
    ) -> RuntimeEffectOutcome:
        Request.seal(envelope)
        self.lanes.append(lane)
        self.envelopes.append(envelope)
        self.timeouts.append(timeout)
        self.others.append(others)
        command = envelope.command
        if isinstance(command, RuntimeEffectCommandProcess):
            return PROCESS_OUTCOMES[command.command.op]
        return OUTCOMES[command.type]

    def check(self, *labels: str) -> None:
        """The envelopes are those examples of the contract, to the last byte."""
        assert self.envelopes == [example(label) for label in labels]
        hashes = [stable_hash(envelope) for envelope in self.envelopes]
        assert hashes == [examples()[label]["sha256"] for label in labels]


@pytest.fixture
def asked() -> Asked:
    """Collects the envelopes of a test."""
    return Asked()


def turn(asked: Asked, start: int = 1) -> Turn:
    """The turn of the examples, whose next effect has this number."""
    made = Turn(asked, "s1", "t1")
    for _ in range(start - 1):
        made.invocation("checkpoint")
    return made


def command(label: str) -> Any:
    """The command of an example."""
    return example(label).command


async def test_model_calls(asked: Asked) -> None:
    """C1 and C2: number, iteration and kind are in the key."""
    await turn(asked).llm_call(command("C1").request)
    await turn(asked, 3).llm_call(command("C2").request)
    asked.check("C1", "C2")


async def test_code_checkpoints_and_surfaces(asked: Asked) -> None:
    """C7, C8, C9."""
    made = turn(asked, 4)
    await made.exec_code(command("C7").code)
    await made.checkpoint("after_work")
    await turn(asked).sync_execution_surface(update_machine_config=False)
    asked.check("C7", "C8", "C9")


async def test_a_tool_call_is_a_child_of_its_batch(asked: Asked) -> None:
    """C5: the batch takes the number, the call is caused by it."""
    await turn(asked, 2).tool_call("echo", {"value": "hi", "count": 2}, call_id="call-1")
    asked.check("C5")


async def test_a_batch_takes_one_number(asked: Asked) -> None:
    """Each call is an effect of its own; the next effect has the next number."""
    made = turn(asked)
    envelopes = made.tool_envelopes([ToolCall("a", {}, "c1"), ToolCall("b", {"x": 1}, "c2")])
    keys = [envelope.invocation.replay.key for envelope in envelopes if envelope.invocation.replay]
    assert keys == ["s1:t1:0:0:tool_call:1:c1", "s1:t1:0:0:tool_call:1:c2"]
    assert [invocations.effect_id_of(one.invocation) for one in envelopes] == ["1:c1", "1:c2"]
    await made.exec_code("x")
    assert asked.envelopes[0].invocation.replay is not None
    assert asked.envelopes[0].invocation.replay.key == "s1:t1:0:0:exec_code:2"


async def test_a_call_of_a_model_is_the_call_that_it_asks_for(asked: Asked) -> None:
    """C5 again, out of the model's own text; calls that are none take their number, too."""
    text = '{"value": "hi", "count": 2}'
    good = LlmOutputPartToolCall(call_id="call-1", tool_name="echo", input_json=text)
    bad = LlmOutputPartToolCall(call_id="call-2", tool_name="echo", input_json="[]")
    (told,) = calls_from_model([bad])

    async def execute(envelope: RuntimeEffectEnvelope, **options: Any) -> RuntimeEffectOutcome:
        await asked(envelope, **options)
        assert isinstance(told, RuntimeEffectOutcomeToolCall)
        return told

    made = Turn(execute, "s1", "t1")
    assert await made.tool_call_from_model(bad) == told
    assert asked.envelopes == []
    assert await made.tool_calls_from_model([good, bad], lanes={"echo": "gpu"}, timeout=7) == [
        told,
        told,
    ]
    asked.check("C5")
    assert (asked.lanes, asked.timeouts) == (["gpu"], [7])
    assert await made.tool_calls_from_model([]) == []
    assert invocations.effect_id_of(made.invocation("sleep")) == "3"


async def test_numbers_follow_the_order_of_the_calls(asked: Asked) -> None:
    """Not of the awaits, nor of when tasks begin: the same program asks for the same effects."""
    made = turn(asked)
    first = made.exec_code("a")
    task = asyncio.create_task(made.checkpoint("after_work"))
    await made.sleep(duration_s=0.001)
    await first
    await task
    found = {one.command.type: invocations.effect_id_of(one.invocation) for one in asked.envelopes}
    assert found == {"exec_code": "1", "checkpoint": "2", "sleep": "3"}


@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(5, 5_000), (1.5, 1_500), (0, 0), (0.2504, 250), (1e-9, 0)]
)
async def test_a_sleep_is_given_in_seconds(asked: Asked, seconds: float, milliseconds: int) -> None:
    """The wire has whole milliseconds."""
    await turn(asked).sleep(duration_s=seconds)
    assert asked.envelopes[0].command == RuntimeEffectCommandSleep(duration_ms=milliseconds)


@pytest.mark.parametrize("how", [{}, {"former": "duration_ms"}])
async def test_a_number_without_a_name_stays_milliseconds_and_is_told(
    asked: Asked, how: dict[str, str]
) -> None:
    """At the line of the program, with the seconds to write instead."""
    made: Any = turn(asked).sleep
    with pytest.warns(DeprecationWarning, match=r"write turn\.sleep\(duration_s=1\.5\)$") as told:
        running = made(duration_ms=1_500) if how else made(1_500)
    assert told[0].filename == __file__
    await running
    assert asked.envelopes[0].command == RuntimeEffectCommandSleep(duration_ms=1_500)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"duration_s": -1}, "duration_s is -1; expected seconds from 0 to"),
        ({"duration_s": float("inf")}, "duration_s is inf; expected seconds from 0 to"),
        ({"duration_s": float("nan")}, "duration_s is nan; expected a number"),
        ({"duration_s": 4e9}, r"duration_s is 4000000000.0; .* \(100 years\)"),
        ({"duration_s": 10**5_000}, "duration_s is a huge integer; expected seconds"),
        ({"duration_s": True}, "duration_s is True; expected a number"),
        ({"duration_s": "5"}, "duration_s is '5'; expected a number"),
        ({"duration_ms": 1.5}, r"whole numbers; write turn.sleep\(duration_s=…\), in seconds"),
    ],
)
async def test_what_is_no_time_is_refused_and_takes_no_number(
    asked: Asked, given: dict[str, Any], said: str
) -> None:
    """With what was found and what was expected."""
    made = turn(asked)
    with pytest.raises(ConfigurationError, match=said):
        _ = made.sleep(**given)
    assert made.invocation("sleep") == turn(asked).invocation("sleep")


@pytest.mark.parametrize("given", [{}, {"duration_s": 1, "duration_ms": 1_000}])
async def test_a_sleep_has_one_time(asked: Asked, given: dict[str, Any]) -> None:
    """None and two are slips."""
    with pytest.raises(TypeError, match=r"takes one time: write turn.sleep\(duration_s=…\)"):
        _ = turn(asked).sleep(**given)


async def test_a_turn_has_an_index_and_an_iteration(asked: Asked) -> None:
    """Both are in the scope and in the key."""
    await Turn(asked, "s", "t", 3, 2).sleep(duration_s=0.005)
    (envelope,) = asked.envelopes
    assert envelope.invocation.replay is not None
    assert envelope.invocation.replay.key == "s:t:3:2:sleep:1"
    assert envelope.invocation.scope.turn_index == 3
    assert envelope.invocation.scope.protocol_iteration == 2
    assert envelope.command == RuntimeEffectCommandSleep(duration_ms=5)


async def test_direct_requests(asked: Asked) -> None:
    """C3: without a key of its own the content names it; it takes no number of the turn."""
    made = turn(asked)
    await made.direct(command("C3").request, usage_source="summarizer")
    asked.check("C3")
    await made.exec_code("x")
    assert invocations.effect_id_of(asked.envelopes[1].invocation) == "1"


async def test_direct_requests_with_a_key_and_a_cause(asked: Asked) -> None:
    """C4 has no turn; with one, the turn stands in front."""
    cause = CausalRefToolCall(session_id="s1", call_id="call-1")
    request = command("C4").request
    await turn(asked).direct(request, usage_source="tool", replay_key="k1", cause=cause)
    (envelope,) = asked.envelopes
    assert envelope.invocation.replay is not None
    assert envelope.invocation.replay.key == (
        "s1:t1:direct:tool:cause:tool_call:s1:call-1:request:k1"
    )
    without_turn = RuntimeEffectEnvelope(
        invocation=invocations.direct(
            request, "tool", session_id="s1", replay_key="k1", cause=cause
        ),
        command=RuntimeEffectCommandDirect(request=request, usage_source="tool"),
    )
    assert without_turn == example("C4")


def test_sleeps_of_tools_and_languages() -> None:
    """C10, C11, C12 are made with the helpers of ``invocations``."""
    call = example("C5").invocation
    block = example("C7").invocation
    made = {
        "C10": invocations.tool_retry_sleep("echo", 1, parent=call),
        "C11": invocations.language_sleep("process:p1", 0, session_id="s1"),
        "C12": invocations.language_sleep("foreground", 0, parent=block),
    }
    for label, invocation in made.items():
        assert invocation == example(label).invocation


# Processes ---------------------------------------------------------------------------------------


def scope(asked: Asked, *, parent: bool = False) -> ProcessScope:
    """The scope of the examples: session ``s1``, and perhaps the code block as its parent."""
    return ProcessScope(asked, "s1", example("C7").invocation if parent else None)


@pytest.mark.parametrize("label", ["P1", "P3", "P4"])
async def test_processes_are_started(asked: Asked, label: str) -> None:
    """Of every kind of input, as registered."""
    await scope(asked).start(command(label).command.registration)
    asked.check(label)


async def test_handles_are_listed_and_moved(asked: Asked) -> None:
    """P5 and P6."""
    made = scope(asked)
    await made.list()
    move = command("P6").command
    assert isinstance(move, ProcessCommandTransfer)
    await made.transfer(move.from_scope, move.to_scope, ("p1", "p2"))
    asked.check("P5", "P6")
    await made.list(Owner(session_id="s2", agent_frame_id="f"))
    assert invocations.effect_id_of(asked.envelopes[2].invocation) == (
        "process:list:session:s2/frame:f:live"
    )


async def test_sessions_are_deleted(asked: Asked) -> None:
    """P7 here; the host's own form P12 has another key."""
    await scope(asked).delete_session()
    await ProcessScope(asked, "s1").delete_session("s1")
    asked.check("P7", "P7")
    assert invocations.delete_session("s1") == example("P12").invocation


async def test_processes_are_awaited_cancelled_and_signalled(asked: Asked) -> None:
    """P8 with a parent; P9, P10, P11 without."""
    await scope(asked, parent=True).wait("p1")
    made = scope(asked)
    await made.cancel("p1", command("P9").command.reason)
    await made.cancel("p1")
    signal = command("P11").command
    assert isinstance(signal, ProcessCommandSignal)
    await made.signal(signal.process_id, signal.signal_id, signal.request)
    asked.check("P8", "P9", "P10", "P11")


async def test_any_operation_can_be_put_into_an_envelope(asked: Asked) -> None:
    """P2: with grant and execution context, which the shortcut does not take."""
    full = command("P2").command
    envelope = scope(asked, parent=True).envelope(full)
    assert envelope == example("P2")
    assert isinstance(envelope.command, RuntimeEffectCommandProcess)


async def test_the_turn_of_the_parent_is_inherited_when_it_has_one(asked: Asked) -> None:
    """Without a turn only the session is copied, and its own session always stays."""
    parent = example("C11").invocation
    made = ProcessScope(asked, "s9", parent)
    await made.wait("p")
    found = asked.envelopes[0].invocation
    assert found.scope.session_id == "s9"
    assert found.scope.turn_id is None
    assert found.replay is not None
    assert found.replay.key == "lashlang:process:p1:sleep:0:process:await:p"


async def test_timeouts_are_passed_on(asked: Asked) -> None:
    """30 seconds unless said otherwise."""
    await turn(asked).exec_code("x")
    await turn(asked).tool_call("t", {}, call_id="c", timeout=1.5)
    await scope(asked).wait("p", timeout=600)
    assert asked.timeouts == [30.0, 1.5, 600]


async def test_each_method_gives_the_outcome_of_its_own_kind(asked: Asked) -> None:
    """So that nobody has to tell eight of them apart."""
    made, processes = turn(asked), scope(asked)
    request = command("C1").request
    given = [
        await made.tool_call("t", {}, call_id="c"),
        await made.llm_call(request),
        await made.direct(request, usage_source="x"),
        await made.exec_code("x"),
        await made.checkpoint("after_work"),
        await made.sync_execution_surface(update_machine_config=True),
        await made.sleep(duration_s=0.001),
        await processes.list(),
    ]
    assert [one.type for one in given] == [one.command.type for one in asked.envelopes]
    assert len({one.type for one in given}) == 8


async def test_an_outcome_of_another_kind_is_an_error_that_names_both(asked: Asked) -> None:
    """Somebody else's worker may answer with anything."""

    async def execute(envelope: RuntimeEffectEnvelope, **options: Any) -> RuntimeEffectOutcome:
        return RuntimeEffectOutcomeSleep()

    with pytest.raises(WrongOutcomeError, match=r"expected tool_call outcome, got sleep"):
        await Turn(execute, "s", "t").tool_call("t", {}, call_id="c")
    with pytest.raises(WrongOutcomeError, match=r"process.*sleep"):
        await ProcessScope(execute, "s").list()


async def test_an_outcome_of_another_operation_is_an_error_with_the_wires_words() -> None:
    """It is of the right kind, and still not what was asked for."""

    async def execute(envelope: RuntimeEffectEnvelope, **options: Any) -> RuntimeEffectOutcome:
        return PROCESS_OUTCOMES["transfer"]

    with pytest.raises(WrongOutcomeError) as refused:
        await ProcessScope(execute, "s").list()
    assert refused.value.code == "runtime_effect_wrong_outcome"
    assert refused.value.message == "process list returned the wrong outcome"


async def test_how_to_wait_is_said_to_every_method(asked: Asked) -> None:
    """Deadline everywhere, a lane where a kind may have some, chunks where something streams."""
    made = turn(asked)
    chunks: list[Chunk] = []
    await made.llm_call(command("C1").request, lane="big", deadline_s=5, on_chunk=chunks.append)
    await made.checkpoint("after_work", lane="a", deadline_s=6, timeout=None)
    await made.sleep(duration_s=0.001, deadline_s=7)
    await scope(asked).list(lane="b", deadline_s=8)
    assert asked.lanes == ["big", "a", None, "b"]
    assert [one["deadline_s"] for one in asked.others] == [5, 6, 7, 8]
    assert [one.get("on_chunk") for one in asked.others] == [chunks.append, None, None, None]
    assert asked.timeouts == [30.0, None, 30.0, 30.0]


@pytest.mark.parametrize("wrong", ["tiemout", "lane"])
async def test_an_option_that_does_not_exist_takes_no_number(asked: Asked, wrong: str) -> None:
    """As Python says it of any function."""
    made = turn(asked)
    options: Any = {wrong: 1}
    with pytest.raises(TypeError, match=rf"sleep\(\) got an unexpected keyword argument '{wrong}'"):
        made.sleep(duration_s=0.001, **options)
    assert made.invocation("sleep") == turn(asked).invocation("sleep")


@pytest.mark.parametrize("args", [None, [1], "a", 5])
def test_arguments_that_are_no_dict_are_refused_with_a_sentence(asked: Asked, args: Any) -> None:
    """Before a number is taken."""
    turn = Turn(asked, "s", "t")
    with pytest.raises(MalformedError, match="expected a dict of arguments"):
        turn.tool_call("get", args, call_id="c")
    assert turn.invocation("sleep") == Turn(asked, "s", "t").invocation("sleep")


def test_a_batch_has_each_id_once(asked: Asked) -> None:
    """Two calls with one would be one effect, with two contents."""
    calls = [ToolCall("get", {"a": number}, "c") for number in range(2)]
    with pytest.raises(ConfigurationError, match="two calls of a batch have the id 'c'"):
        Turn(asked, "s", "t").tool_envelopes(calls)


async def test_what_is_no_request_and_no_lanes_is_refused_with_a_sentence(asked: Asked) -> None:
    """Never with an error of what lies below."""
    turn = Turn(asked, "s", "t")
    nothing: Any = {}
    with pytest.raises(MalformedError, match="expected an LlmRequestSpec"):
        await turn.direct(nothing, usage_source="x")
    lanes: Any = ["gpu"]
    with pytest.raises(MalformedError, match="lanes by the names"):
        turn.tool_calls_from_model([], lanes=lanes)
