"""Models that are made without validation are as validated ones."""

from __future__ import annotations

import copy
import pickle
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from effectmq.protocol.encoding.serde.model import WireModel, canonical_bytes
from effectmq.protocol.exact.building import built
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import RuntimeReplay, RuntimeScope
from effectmq.protocol.wire.tools import PreparedToolCall, ToolCallOutput
from tests.protocol.strategies import wire_values

M = TypeVar("M", bound=WireModel)


def twin(model: M) -> M:
    """The same model, made without validation."""
    return built(type(model), {**model.__dict__}, {*model.model_fields_set})


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    st.one_of(
        wire_values(RuntimeEffectEnvelope), wire_values(ToolCallOutput), wire_values(RuntimeScope)
    )
)
def test_a_built_model_is_as_the_validated_one(model: WireModel) -> None:
    """Equal, with the same state, text, copies, dump, pickle and bytes."""
    made = twin(model)
    assert made == model
    assert made.__getstate__() == model.__getstate__()
    assert repr(made) == repr(model)
    assert made.model_dump() == model.model_dump()
    assert canonical_bytes(made) == canonical_bytes(model)
    for again in (copy.copy(made), copy.deepcopy(made), made.model_copy()):
        assert again == model
        assert again.model_fields_set == model.model_fields_set
    assert pickle.loads(pickle.dumps(made)).__getstate__() == model.__getstate__()


def test_a_built_model_is_frozen_and_hashed_as_the_validated_one() -> None:
    """It can be a key, cannot be changed, and a changed copy notes what was changed."""
    validated = RuntimeScope(session_id="s", turn_id="t")
    made = twin(validated)
    assert {made: 1}[validated] == 1
    with pytest.raises(ValidationError):
        made.session_id = "other"  # type: ignore[misc]
    changed = made.model_copy(update={"turn_index": 1})
    assert changed.model_fields_set == {"session_id", "turn_id", "turn_index"}
    assert made.model_fields_set == validated.model_fields_set


def test_no_class_of_the_wire_has_private_members() -> None:
    """A model without private members is made; this would be seen to be wrong at the first one."""
    for model in (RuntimeReplay, PreparedToolCall, RuntimeEffectEnvelope):
        assert not model.__private_attributes__
        assert model.__pydantic_post_init__ is None
