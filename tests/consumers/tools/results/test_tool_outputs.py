"""From what a tool returned or raised to its output on the wire."""

from __future__ import annotations

import datetime
import enum
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from effectmq.broker.store.attachments import AttachmentStore
from effectmq.broker.store.attachments.memory import MemoryObjects
from effectmq.consumers.tools.results.outputs import (
    completed,
    exhausted,
    failure,
    failure_from,
    output_from,
)
from effectmq.consumers.tools.results.special import (
    Attachment,
    FailTurn,
    FinishTurn,
    SwitchAgentFrame,
    ToolReturn,
    stored,
)
from effectmq.protocol.encoding.codec import MSGPACK, encode_tree
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import ToolCallError
from effectmq.protocol.wire.attachments import AttachmentRef, MediaTypeImage
from effectmq.protocol.wire.provider_meta import ProviderReplayMeta
from effectmq.protocol.wire.tools import (
    PreparedToolCall,
    ToolCallOutcomeFailure,
    ToolCallOutcomeSuccess,
    ToolCallOutput,
    ToolRetryDispositionExhausted,
    ToolRetryDispositionNever,
    ToolRetryDispositionSafe,
)

IMAGE = AttachmentRef(id="a" * 64, media_type=MediaTypeImage(type="png"), byte_len=4)


class Colour(enum.StrEnum):
    """Text, and more than text."""

    RED = "red"


class Level(enum.IntEnum):
    """A number, and more than a number."""

    HIGH = 3


class Shade(enum.Enum):
    """Neither."""

    DARK = "dark"


class Members(BaseModel):
    """A model with a dict of anything."""

    by: dict[Any, Any]


class Text(str):
    """A subclass, as libraries have them."""


class Point(BaseModel):
    """A pydantic model."""

    x: int
    when: datetime.date


@dataclass
class Pair:
    """A dataclass."""

    left: int
    right: str


Named = namedtuple("Named", "a b")


@pytest.mark.parametrize(
    ("result", "payload"),
    [
        (None, None),
        (True, True),
        (2**64 - 1, 2**64 - 1),
        (-0.5, -0.5),
        ("é", "é"),
        ([1, (2, [3])], [1, [2, [3]]]),
        ({"b": 1, "a": {"d": 2, "c": None}}, {"a": {"c": None, "d": 2}, "b": 1}),
        (OrderedDict(z=1), {"z": 1}),
        (Named(1, 2), [1, 2]),
        (Pair(1, "r"), {"left": 1, "right": "r"}),
        (Point(x=1, when=datetime.date(2026, 1, 2)), {"x": 1, "when": "2026-01-02"}),
        ([Point(x=1, when=datetime.date(2026, 1, 2))], [{"x": 1, "when": "2026-01-02"}]),
        (datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC), "2026-01-02T03:04:00Z"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.5"), "1.5"),
        (b"bytes", "bytes"),
        ({7}, [7]),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        ([Colour.RED, Level.HIGH], ["red", 3]),
        ({Colour.RED: Level.HIGH}, {"red": 3}),
        (Text("t"), "t"),
        ({Text("k"): Text("t")}, {"k": "t"}),
        ({1: {-2: "x"}}, {"1": {"-2": "x"}}),
        ({True: 1, None: 2, 1.5: 3}, {"true": 1, "None": 2, "1.5": 3}),
        ({datetime.date(2026, 1, 2): 1}, {"2026-01-02": 1}),
        ({Level.HIGH: 1, Shade.DARK: 2}, {"3": 1, "dark": 2}),
        ({UUID(int=1): 1}, {"00000000-0000-0000-0000-000000000001": 1}),
        ({Decimal("1.10"): IMAGE}, {"1.10": IMAGE}),
        (Members(by={1: {UUID(int=2): 1}}), {"by": {"1": {str(UUID(int=2)): 1}}}),
        (IMAGE, IMAGE),
        ({"see": [IMAGE, 1]}, {"see": [IMAGE, 1]}),
    ],
)
def test_what_a_tool_returns_becomes_plain_data(result: object, payload: object) -> None:
    """Models, dataclasses, dates and the like as JSON; attachments stay references."""
    output = output_from(result)
    assert isinstance(output.outcome, ToolCallOutcomeSuccess)
    assert output.outcome.payload == payload
    encode_tree(to_tree(output), MSGPACK)


def test_names_that_become_one_are_both_told() -> None:
    """The tool's author has to find them; keeping the last one would lose the other."""
    outcome = output_from({datetime.date(2026, 1, 2): 1, "2026-01-02": 2}).outcome
    assert isinstance(outcome, ToolCallOutcomeFailure)
    message = outcome.payload.message
    assert "datetime.date(2026, 1, 2) and '2026-01-02'" in message
    assert "differ as text" in message


def test_an_output_is_taken_as_it_is() -> None:
    """A tool that knows the wire types may say exactly what it means."""
    output = failure("permission_denied", "c", "m")
    assert output_from(output) is output


def circular() -> list[Any]:
    """A list that holds itself."""
    endless: list[Any] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    "result",
    [
        object(),
        [object()],
        {object(): "x"},
        {"a": {frozenset([1]): 1}},
        {1: "x", "1": "y"},
        [{"a": {None: 1, "None": 2}}],
        {"model": Members(by={True: 1, "true": 2})},
        float("nan"),
        [float("inf")],
        2**64,
        -(2**63) - 1,
        "\ud800",
        b"\xff\xfe",
        circular(),
        ValueError("returned, not raised"),
        (x for x in [1]).gi_frame,
        test_an_output_is_taken_as_it_is,
    ],
)
def test_what_cannot_be_sent_is_a_failure_that_says_so(result: object) -> None:
    """An outcome all the same: the model that asked gets to read it."""
    output = output_from(result)
    assert isinstance(output.outcome, ToolCallOutcomeFailure)
    payload = output.outcome.payload
    assert (payload.class_, payload.code, payload.source) == (
        "internal",
        "invalid_tool_result",
        "runtime",
    )
    assert payload.message.startswith("the tool returned something that cannot be sent: ")
    encode_tree(to_tree(output), MSGPACK)


def failed(error: BaseException, *, repeatable: bool = False) -> Any:
    """The failure of a tool that raised."""
    output = failure_from(error, repeatable=repeatable)
    assert isinstance(output.outcome, ToolCallOutcomeFailure)
    encode_tree(to_tree(output), MSGPACK)
    return output.outcome.payload


def test_an_exception_is_a_failure_of_the_tool() -> None:
    """With its class and its text, safe to print."""
    found = failed(ValueError("no\nway \ud800"))
    assert (found.class_, found.code, found.source) == ("execution", "tool_error", "tool")
    assert found.message == "ValueError: no\\nway \\ud800"
    assert found.retry == ToolRetryDispositionNever()
    assert found.raw is None


def test_a_retry_policy_says_that_a_plain_exception_may_be_tried_again() -> None:
    """Whoever gave the tool a policy has said so."""
    assert failed(ValueError(), repeatable=True).retry == ToolRetryDispositionSafe()


def test_a_tool_error_says_everything_itself() -> None:
    """Class, code, message, whether to try again and when, and data to go with it."""
    error = ToolCallError(
        "busy",
        code="rate_limited",
        class_="external",
        retry=True,
        after_s=0.005,
        raw={"b": (IMAGE,)},
    )
    found = failed(error)
    assert (found.class_, found.code, found.message) == ("external", "rate_limited", "busy")
    assert found.retry == ToolRetryDispositionSafe(after_ms=5)
    assert found.raw == {"b": [IMAGE]}
    plain = failed(ToolCallError("no"), repeatable=True)
    assert plain.retry == ToolRetryDispositionNever(), "it did not ask for another try"
    assert (plain.class_, plain.code) == ("execution", "tool_error")


def test_milliseconds_of_a_tool_error_still_work_and_are_told() -> None:
    """At the line of the program, with what to write instead."""
    with pytest.warns(DeprecationWarning, match="write after_s=") as told:
        error = ToolCallError("busy", retry=True, after_ms=1_500)
    assert told[0].filename == __file__
    assert error.after_s == 1.5
    assert failed(error).retry == ToolRetryDispositionSafe(after_ms=1_500)
    assert failed(ToolCallError("busy", retry=True, after_s=0.0011)).retry == (
        ToolRetryDispositionSafe(after_ms=2)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"class_": "sad"},
        {"code": "\ud800"},
        {"retry": True, "after_s": -5},
        {"retry": True, "after_s": 2**64},
        {"retry": True, "after_s": float("inf")},
        {"retry": True, "after_s": float("nan")},
        {"raw": object()},
        {"raw": {object(): 2}},
        {"raw": {1: 2, "1": 3}},
        {"raw": circular()},
        {"raw": float("nan")},
    ],
)
def test_a_tool_error_that_cannot_be_sent_is_still_a_failure(wrong: dict[str, Any]) -> None:
    """A mistake in an error must not turn into a lost effect."""
    found = failed(ToolCallError("m", **wrong))
    assert (found.class_, found.code, found.source) == (
        "internal",
        "invalid_tool_result",
        "runtime",
    )
    assert found.message


def test_a_spent_failure_says_how_often_it_was_tried() -> None:
    """Only one that could have been tried again; the rest stays as it is."""
    safe = failure("execution", "c", "m", retry=ToolRetryDispositionSafe(after_ms=3))
    spent = exhausted(safe, 4)
    assert isinstance(spent.outcome, ToolCallOutcomeFailure)
    assert spent.outcome.payload.retry == ToolRetryDispositionExhausted(attempts=4)
    assert spent.outcome.payload.code == "c"
    never = failure("execution", "c", "m")
    assert exhausted(never, 4) is never
    success = output_from(1)
    assert exhausted(success, 4) is success
    assert exhausted(safe, 2**40).outcome.payload.retry.attempts == 2**32 - 1


def test_the_outcome_of_a_call_repeats_the_call() -> None:
    """Ids, name, arguments and the provider's replay data go back with the output."""
    call = PreparedToolCall(
        call_id="c", tool_name="t", args={"b": 1, "a": 2}, replay=ProviderReplayMeta(item_id="i")
    )
    result = completed(call, output_from("hi"), 12).result
    assert (result.call_id, result.tool_name, result.args) == ("c", "t", {"a": 2, "b": 1})
    assert result.replay == ProviderReplayMeta(item_id="i")
    assert result.duration_ms == 12
    assert [part.type for part in result.model_return.parts] == ["text"]
    assert isinstance(result.output, ToolCallOutput)


class Report(BaseModel):
    """A model with pictures."""

    cover: AttachmentRef | None = None
    pages: list[AttachmentRef] = []
    by_name: dict[str, Any] = {}
    inner: Report | None = None


@dataclass
class Shown:
    """A dataclass with one."""

    image: Any


OTHER = IMAGE.model_copy(update={"id": "b" * 64, "label": "other"})


@pytest.mark.parametrize(
    ("result", "payload"),
    [
        (Shown(IMAGE), {"image": IMAGE}),
        ([Shown([1, OTHER])], [{"image": [1, OTHER]}]),
        (Shown({"a": {IMAGE.id, 1}}), None),
        (
            Report(cover=IMAGE, pages=[OTHER], by_name={"a": Shown(OTHER)}, inner=Report()),
            {
                "cover": IMAGE,
                "pages": [OTHER],
                "by_name": {"a": {"image": OTHER}},
                "inner": {"cover": None, "pages": [], "by_name": {}, "inner": None},
            },
        ),
    ],
)
def test_references_inside_of_models_and_dataclasses_stay_references(
    result: object, payload: object
) -> None:
    """So that the model sees them; anything else becomes what it always did."""
    output = output_from(result)
    assert isinstance(output.outcome, ToolCallOutcomeSuccess)
    assert payload is None or output.outcome.payload == payload
    assert encode_tree(to_tree(output), MSGPACK)


NO_CONTROL: Any = "finish"
NO_NODES: Any = "nodes"
NO_NUMBER: Any = 5


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (ToolReturn(1, NO_CONTROL), "found a Python str as the control"),
        (ToolReturn(1, FinishTurn), "found a Python type as the control"),  # type: ignore[arg-type]
        (ToolReturn(ToolReturn(1)), "found a ToolReturn inside a result"),
        ([FinishTurn(1)], "found a FinishTurn inside a result"),
        ({"a": (FailTurn("m"),)}, "found a FailTurn inside a result"),
        (FinishTurn(FailTurn("m")), "found a FailTurn inside a result"),
        ([failure("internal", "c", "m")], "found a ToolCallOutput inside a result"),
        (FailTurn("m", raw=[SwitchAgentFrame("f")]), "found a SwitchAgentFrame inside"),
        (SwitchAgentFrame("f", initial_nodes=NO_NODES), "found a Python str as the initial nodes"),
        (SwitchAgentFrame("f", initial_nodes=NO_NUMBER), "found a Python int as the initial nodes"),
        ({b"\xff": 1}, "not UTF-8"),
    ],
)
def test_what_is_asked_of_the_session_is_never_lost_in_silence(result: object, words: str) -> None:
    """Where nobody would look for it, it is refused; and so is what is none."""
    outcome = output_from(result).outcome
    assert isinstance(outcome, ToolCallOutcomeFailure)
    assert outcome.payload.code == "invalid_tool_result"
    assert words in outcome.payload.message


@pytest.mark.parametrize(
    ("data", "media_type", "options", "words"),
    [
        ("text", "image/png", {}, "its data is a Python str, expected bytes"),
        (None, "image/png", {}, "its data is a Python NoneType"),
        (b"1", None, {}, "its media type is a Python NoneType"),
        (b"1", "image/png", {"width": -1}, "width"),
        (b"1", "image/png", {"width": "a"}, "width"),
    ],
)
async def test_an_attachment_that_is_none_is_named(
    data: Any, media_type: Any, options: dict[str, Any], words: str
) -> None:
    """As a result that cannot be sent, and not as an error of what lies below."""
    store = AttachmentStore(MemoryObjects("odd"))
    with pytest.raises(ToolCallError, match=words) as found:
        await stored([Attachment(data, media_type, **options)], store, repeatable=False)
    assert found.value.code == "invalid_tool_result"
