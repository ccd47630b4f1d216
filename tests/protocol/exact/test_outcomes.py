"""An outcome is the same, whether it was read by its exact shape or by the models."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from effectmq.protocol.encoding.codec import JSON, MSGPACK, decode_tree, encode_tree
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.encoding.narrowing import members_of
from effectmq.protocol.encoding.serde.model import canonical_bytes, from_tree, to_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.exact import outcomes
from effectmq.protocol.exact.outcomes import outcome_of
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from effectmq.protocol.wire.tool_value import RESERVED_KEY
from tests.protocol.documents import vectors
from tests.protocol.strategies import json_values, wire_values

_LIMITS = Limits(max_depth=127)
_few = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

CALL = {
    "type": "tool_call",
    "result": {
        "call_id": "c1",
        "tool_name": "add",
        "args": {"a": 1, "b": {"x": [1.5, None]}},
        "output": {"outcome": {"status": "success", "payload": {"sum": 3, "t": ["é"]}}},
        "model_return": {
            "call_id": "c1",
            "tool_name": "add",
            "parts": [{"type": "text", "text": '{"sum":3,"t":["é"]}'}],
        },
        "duration_ms": 7,
        "replay": {"item_id": "i", "opaque": "o"},
    },
}


def failing(retry: dict[str, Any]) -> dict[str, Any]:
    """A call that failed."""
    tree: Any = deepcopy(CALL)
    tree["result"]["output"]["outcome"] = {
        "status": "failure",
        "payload": {
            "class": "timeout",
            "code": "c",
            "message": "m",
            "source": "runtime",
            "retry": retry,
        },
    }
    return tree


FAILED = [
    failing({"type": "never"}),
    failing({"type": "safe"}),
    failing({"type": "safe", "after_ms": 5}),
    failing({"type": "exhausted", "attempts": 2**32 - 1}),
]
EXACT: list[dict[str, Any]] = [CALL, *FAILED, {"type": "sleep"}]


def state(value: Any) -> Any:
    """Everything about a value: of a model also which fields were given."""
    if isinstance(value, BaseModel):
        kept = value.__getstate__()
        members = {name: state(member) for name, member in kept["__dict__"].items()}
        return type(value), {**kept, "__dict__": members}, list(members)
    if isinstance(value, dict):
        return [(name, state(member)) for name, member in value.items()]
    if isinstance(value, list):
        return [state(item) for item in value]
    if hasattr(value, "ok") or hasattr(value, "err"):
        return type(value), state(getattr(value, "ok", None)), state(getattr(value, "err", None))
    return type(value), repr(value)


def said(read: Any, tree: object) -> tuple[object, ...]:
    """What a reader says of a tree: everything that one may see, or the sentence of its error."""
    try:
        model = read(deepcopy(tree))
    except MalformedError as problem:
        return problem.path, problem.problem
    return state(model), repr(model), canonical_bytes(model), model.failure, model.failed


def by_the_models(tree: object) -> RuntimeEffectOutcome:
    """The reader that decides."""
    outcome: RuntimeEffectOutcome = from_tree(RuntimeEffectOutcome, tree)
    return outcome


def same(tree: object) -> None:
    """Both readers say the same."""
    assert said(outcome_of, tree) == said(by_the_models, tree)


def decoded(document: str) -> Iterator[Any]:
    """The tree of a document, when a body may hold it."""
    try:
        yield decode_tree(document.encode(), JSON, _LIMITS)
    except (MalformedError, UnicodeEncodeError):
        return


RECORDED = [
    tree for vector in vectors() if vector["kind"] == "outcome" for tree in decoded(vector["input"])
]


@pytest.fixture
def shortcut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to the models."""

    def refuse(_type: object, _tree: object) -> None:
        raise AssertionError("left to the models")

    monkeypatch.setattr(outcomes, "from_tree", refuse)


@pytest.mark.usefixtures("shortcut")
@pytest.mark.parametrize("tree", EXACT)
def test_the_frequent_shapes_need_no_models(tree: dict[str, Any]) -> None:
    """Otherwise the other tests would compare the models with themselves."""
    assert to_tree(outcome_of(deepcopy(tree))) == tree


def test_every_recorded_outcome_is_the_same() -> None:
    """Those that serde reads, and those that it refuses."""
    assert len(RECORDED) > 600
    for tree in RECORDED:
        same(tree)


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Each container in a tree with each of its keys."""
    if isinstance(tree, dict):
        for name in list(tree):
            yield tree, name
            yield from places(tree[name])
    elif isinstance(tree, list):
        for index in range(len(tree)):
            yield tree, index
            yield from places(tree[index])


_OTHERS: list[Any] = [None, True, 0, -1, 2**64 - 1, 1.5, "", "text", [], ["a"], {}, {"never": None}]


def changed(tree: Any, step: int) -> Iterator[Any]:
    """The tree with one member removed, added, moved or of another type, at every place of some."""
    for at in range(len(list(places(tree)))):
        for number in range(at % step, len(_OTHERS) + 4, step):
            copy = deepcopy(tree)
            holder, key = list(places(copy))[at]
            if number < len(_OTHERS):
                holder[key] = deepcopy(_OTHERS[number])
            elif not isinstance(holder, dict):
                holder.append(holder[0])
            elif number == len(_OTHERS):
                del holder[key]
            elif number == len(_OTHERS) + 1:
                holder[RESERVED_KEY] = "object"
            elif number == len(_OTHERS) + 2:
                holder["zz"] = {"b": 1, "a": 2}
            else:
                holder[key] = holder.pop(key)
            yield copy


@pytest.mark.parametrize("tree", EXACT)
def test_an_outcome_that_is_nearly_exact_is_the_same(tree: dict[str, Any]) -> None:
    """Each member in turn is missing, moved, of another type, or one too many."""
    for copy in changed(tree, 1):
        same(copy)


def test_a_recorded_tool_call_that_was_changed_is_the_same() -> None:
    """Starting from shapes that somebody else wrote."""
    calls = [tree for tree in RECORDED if members_of(tree).get("type") == "tool_call"]
    assert len(calls) > 50
    for tree in calls[::6]:
        for copy in changed(tree, 5):
            same(copy)


@given(outcome=wire_values(RuntimeEffectOutcome))
@_few
def test_any_outcome_is_the_same(outcome: BaseModel) -> None:
    """Built at random."""
    same(to_tree(outcome))


@given(value=json_values, args=json_values, content_type=st.sampled_from([JSON, MSGPACK]))
@_few
def test_any_value_is_the_same(value: Any, args: Any, content_type: str) -> None:
    """Also when its members are in no order, as another producer may send them."""
    tree: Any = deepcopy(CALL)
    tree["result"]["args"] = args
    tree["result"]["output"]["outcome"]["payload"] = value
    same(decode_tree(encode_tree(tree, content_type), content_type))


def hashed(model: RuntimeEffectOutcome) -> object:
    """The hash of a model, or why it has none: it holds a list."""
    try:
        return hash(model)
    except TypeError as problem:
        return str(problem)


@pytest.mark.parametrize("tree", EXACT)
def test_what_was_read_is_a_model_like_any_other(tree: dict[str, Any]) -> None:
    """It can be compared, copied, kept and written."""
    found, model = outcome_of(deepcopy(tree)), by_the_models(tree)
    assert found == model
    assert found.value_or(1) == model.value_or(1)
    assert state(pickle.loads(pickle.dumps(found))) == state(model)
    assert state(found.model_copy(deep=True)) == state(model)
    assert found.model_dump() == model.model_dump()
    assert found.model_dump_json(by_alias=True) == model.model_dump_json(by_alias=True)
    assert found.model_fields_set == model.model_fields_set
    assert hashed(found) == hashed(model)
    with pytest.raises(Exception, match="frozen"):
        found.type = "sleep"


def test_an_integer_or_a_text_beyond_the_wire_is_left_to_the_models() -> None:
    """No decoder gives them; here nobody relies on that."""
    for number in (2**64, -1, True):
        tree: Any = deepcopy(CALL)
        tree["result"]["duration_ms"] = number
        same(tree)
