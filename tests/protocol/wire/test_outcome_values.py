"""What an outcome gave, of every recorded example: a value, or a failure in the same words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from effectmq.protocol.encoding.serde.model import Ok, canonical_bytes
from effectmq.protocol.errors import EffectFailedError, OutcomeFailedError
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.outcome import OUTCOME_CLASSES, RuntimeEffectOutcomeExecCode
from effectmq.protocol.wire.outcome_values import Valued
from effectmq.protocol.wire.process_commands import ProcessEffectOutcomeAwait
from effectmq.protocol.wire.process_events import ProcessAwaitOutputSuccess
from tests.protocol.documents import example, examples

#: Of each example that is no failure, where its value stands.
VALUES: dict[str, Callable[[Any], object]] = {
    "O1": lambda outcome: outcome.result.ok.full_text,
    "O3": lambda outcome: "",
    "O4": lambda outcome: {"echo": "hi"},
    "O7": lambda outcome: outcome.result.output.outcome.payload,
    "O8": lambda outcome: outcome.result.record,
    "O9": lambda outcome: outcome.result.entries,
    "O10": lambda outcome: None,
    "O11": lambda outcome: outcome.result.report,
    "O13": lambda outcome: outcome.result.record,
    "O14": lambda outcome: outcome.result.event,
    "O15": lambda outcome: "done",
    "O17": lambda outcome: outcome.result.ok,
    "O18": lambda outcome: outcome.result.ok,
    "O20": lambda outcome: None,
    "O21": lambda outcome: outcome.result.ok,
    "O23": lambda outcome: None,
}

#: Of each that is one, what failed, its class, code and message.
FAILURES = {
    "O2": ("the model", "provider_error", "rate_limited", "boom"),
    "O5": ("tool 'echo'", "timeout", "timeout", "slow"),
    "O6": ("tool 'echo'", "cancelled", "cancelled", "tool call cancelled"),
    "O12": ("the process", "execution", "process_failed", "nope"),
    "O16": ("the block", "unavailable", "code_unavailable", "code execution unavailable"),
    "O19": ("the checkpoint", "execution", "plugin_checkpoint", "no"),
    "O22": ("the surface", "execution", "surface_failed", "bad"),
    "O24": ("the process", "cancelled", "cancelled", "stopped"),
}


def test_every_recorded_outcome_is_here() -> None:
    """A new one has to say what its value is."""
    recorded = {label for label in examples() if label.startswith("O")}
    assert recorded == VALUES.keys() | FAILURES.keys()
    assert all(issubclass(class_, Valued) for class_ in OUTCOME_CLASSES)


@pytest.mark.parametrize("label", VALUES)
def test_an_outcome_has_its_value(label: str) -> None:
    outcome = example(label)
    expected = VALUES[label](outcome)
    assert outcome.value == expected
    assert outcome.value_or("another") == expected
    assert not outcome.failed


@pytest.mark.parametrize("label", FAILURES)
def test_a_failure_raises_in_the_same_words_for_all_kinds(label: str) -> None:
    """It can be asked for first, and replaced."""
    outcome = example(label)
    what, class_, code, message = FAILURES[label]
    assert outcome.failed
    assert outcome.value_or("another") == "another"
    with pytest.raises(OutcomeFailedError) as found:
        _ = outcome.value
    error = found.value
    assert isinstance(error, EffectFailedError)
    assert (error.class_, error.code, error.message) == (class_, code, message)
    assert str(error) == f"{what} failed with {code} ({class_}): {message}"


def test_a_value_of_none_is_no_failure() -> None:
    """A default stands for what failed, not for what is nothing."""
    assert example("O23").value_or("another") is None


def test_an_attachment_in_a_value_is_a_reference() -> None:
    assert isinstance(example("O7").value[1], AttachmentRef)


def ran(**members: Any) -> RuntimeEffectOutcomeExecCode:
    """The outcome of a block that ran."""
    response = example("O15").result.ok.model_copy(update={"terminal_finish": None, **members})
    return RuntimeEffectOutcomeExecCode(result=Ok(response))


def test_a_block_gives_what_it_finished_with_or_else_its_last_observation() -> None:
    assert ran(observations=["printed", "2"], terminal_finish={"a": 1}).value == {"a": 1}
    assert ran(observations=["printed", "2"]).value == "2"
    assert ran(observations=[]).value is None


def test_a_block_that_raised_has_no_value_whatever_it_printed() -> None:
    block = ran(observations=["printed"], error="ValueError: no")
    assert block.failed
    with pytest.raises(OutcomeFailedError, match=r"code_failed \(execution\): ValueError: no"):
        _ = block.value


def test_a_process_that_ended_well_gives_its_value() -> None:
    output = ProcessAwaitOutputSuccess(value={"paid": True})
    outcome = example("O12").model_copy(update={"result": ProcessEffectOutcomeAwait(output=output)})
    assert outcome.value == {"paid": True}


def test_nothing_of_it_is_written() -> None:
    """The bytes of an outcome are those of the wire format, and only they."""
    outcome = example("O4")
    assert outcome.value
    assert canonical_bytes(outcome).decode() == examples()["O4"]["document"]
