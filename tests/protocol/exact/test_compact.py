"""Models without a dict of their own are as validated ones, whatever is done with them."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from effectmq.broker.client.turns.envelopes import TurnEnvelopes
from effectmq.broker.client.turns.tool_calls.batch import ToolCall
from effectmq.protocol.encoding.serde.model import canonical_bytes
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from tests.protocol.exact.both_ways import seal_both_ways

#: Eight models, their arguments and the list among these.
_TRACKED = 10


_turns = itertools.count()


def made(**args: Any) -> RuntimeEffectEnvelope:
    """The envelope of a tool call, as a turn makes it; a new turn, whose scope no other has."""
    turn = TurnEnvelopes("session", f"turn-{next(_turns)}", 1, 2)
    (envelope,) = turn.tool_envelopes([ToolCall("echo", {"text": "x", **args}, "call-1")])
    return envelope


def validated(model: Any) -> Any:
    """The same, made by the models."""
    if not isinstance(model, BaseModel):
        return model
    given = {name: validated(getattr(model, name)) for name in model.model_fields_set}
    return type(model)(**given)


def looked_at(envelope: RuntimeEffectEnvelope) -> RuntimeEffectEnvelope:
    """Somebody asked for its dict, and for that of a part."""
    assert envelope.__dict__
    assert envelope.invocation.__dict__
    return envelope


def forced(envelope: RuntimeEffectEnvelope) -> RuntimeEffectEnvelope:
    """Somebody set a member of a frozen model."""
    object.__setattr__(envelope.invocation.replay, "key", "another")
    return envelope


def broken(envelope: RuntimeEffectEnvelope) -> RuntimeEffectEnvelope:
    """Somebody took a member away."""
    object.__delattr__(envelope.invocation.subject, "effect_id")
    return envelope


def odd(envelope: RuntimeEffectEnvelope) -> RuntimeEffectEnvelope:
    """Somebody put something of another type there, and something more."""
    object.__setattr__(envelope.invocation.scope, "turn_index", "1")
    object.__setattr__(envelope.invocation.scope, "more", 1)
    return envelope


def unpickled(envelope: RuntimeEffectEnvelope) -> RuntimeEffectEnvelope:
    """It went to another process and back."""
    again: RuntimeEffectEnvelope = pickle.loads(pickle.dumps(envelope))
    return again


@pytest.mark.parametrize(
    "done",
    [looked_at, forced, broken, odd, unpickled, copy.copy, copy.deepcopy, validated],
    ids=lambda each: str(each.__name__),
)
def test_whatever_was_done_with_it_it_is_sealed_as_by_the_models(
    done: Callable[[RuntimeEffectEnvelope], RuntimeEffectEnvelope],
) -> None:
    """The same message, or the same error."""
    found, expected = seal_both_ways(done(made()))
    assert found == expected


def test_each_model_is_as_the_validated_one() -> None:
    """Equal, with the same state, text, hash, dump, copies and bytes; and frozen."""
    envelope = made()
    scope = envelope.invocation.scope
    for model in (envelope, scope, envelope.command, envelope.invocation.caused_by):
        assert isinstance(model, BaseModel)
        same = validated(model)
        assert model == same
        assert model.__getstate__() == same.__getstate__()
        assert repr(model) == repr(same)
        assert model.model_dump() == same.model_dump()
        assert canonical_bytes(model) == canonical_bytes(same)
        assert model.model_copy() == same
    assert hash(scope) == hash(validated(scope))
    with pytest.raises(ValidationError):
        scope.session_id = "other"  # type: ignore[misc]


def test_an_envelope_gives_the_garbage_collector_few_objects() -> None:
    """One for each model and each container of the arguments; counted, not timed."""
    many = 100
    made(items=[])
    gc.collect()
    before = len(gc.get_objects())
    kept = [made(items=[]) for _ in range(many)]
    gc.collect()
    # What another thread of the test runner makes meanwhile is no object of each envelope.
    assert round((len(gc.get_objects()) - before) / many) <= _TRACKED
    assert len(kept) == many
