"""The base of the wire types: strictness, errors, presence."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import pytest

from effectmq.protocol.encoding.canonical import canonical_json, sha256_hex, tree_of
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.opaque import Repeated
from effectmq.protocol.encoding.serde.model import canonical_bytes, from_tree, stable_hash, to_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.wire import failures
from effectmq.protocol.wire.envelope import (
    ENVELOPE_MEMBERS,
    RuntimeEffectCommandSleep,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.invocation import (
    RuntimeInvocation,
    RuntimeReplay,
    RuntimeScope,
    RuntimeSubjectEffect,
)
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError, RuntimeEffectOutcome
from effectmq.protocol.wire.process_event_types import ProcessValueSelector
from effectmq.protocol.wire.sessions import PluginOptions
from effectmq.protocol.wire.tools import (
    PreparedToolCall,
    ToolFailure,
    ToolRetryDispositionNever,
)
from tests.protocol.documents import example, examples, vectors


def test_an_envelope_built_in_python_is_the_one_that_is_decoded() -> None:
    """Keywords in, contract bytes out."""
    scope = RuntimeScope(session_id="s1", turn_id="t1", turn_index=0, protocol_iteration=0)
    built = RuntimeEffectEnvelope(
        invocation=RuntimeInvocation(
            scope=scope,
            subject=RuntimeSubjectEffect(effect_id="5", kind="checkpoint"),
            replay=RuntimeReplay(key="s1:t1:0:0:checkpoint:5"),
        ),
        command=example("C8").command,
    )
    assert built == example("C8")
    assert stable_hash(built) == examples()["C8"]["sha256"]
    assert canonical_bytes(built).decode() == examples()["C8"]["document"]


def test_the_tree_is_plain_data_that_hashes_to_the_same() -> None:
    """to_tree and canonical_json together are canonical_bytes."""
    envelope = example("P2")
    data = canonical_json(to_tree(envelope))
    assert data == canonical_bytes(envelope)
    assert sha256_hex(data) == examples()["P2"]["sha256"]


def test_the_canonical_text_is_that_of_the_tree_and_spells_the_tree() -> None:
    """The writer goes past the tree, and nothing is otherwise for it; over all documents."""
    kinds = {"envelope": RuntimeEffectEnvelope, "outcome": RuntimeEffectOutcome}
    documents = [each for each in vectors() if each["kind"] in kinds and "sha256" in each]
    assert len(documents) > 500
    for document in documents:
        members = ENVELOPE_MEMBERS if document["kind"] == "envelope" else None
        parsed = parse_json(document["input"], members=members)
        model = from_tree(kinds[document["kind"]], parsed)
        tree = to_tree(model)

        assert canonical_bytes(model) == canonical_json(tree)
        assert repr(tree_of(canonical_bytes(model))) == repr(tree)


def test_text_that_looks_like_no_number_is_text() -> None:
    """It is looked at twice, and passes."""
    error = RuntimeEffectControllerError(code="NaN", message="-Infinity")

    assert canonical_bytes(error) == b'{"code":"NaN","message":"-Infinity"}'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_does_not_have_never_becomes_null(number: float) -> None:
    """A dict inside a frozen model can still be changed."""
    call = PreparedToolCall(call_id="c", tool_name="t", args={"a": 1})
    call.args["a"] = number

    with pytest.raises(MalformedError, match="finite number"):
        canonical_bytes(call)


def test_a_tag_is_given_by_the_class() -> None:
    """Nobody has to repeat in a keyword what the class says."""
    assert to_tree(RuntimeEffectCommandSleep(duration_ms=5)) == {"type": "sleep", "duration_ms": 5}


def test_a_member_with_an_impossible_name_has_another_in_python() -> None:
    """``class`` is written and read, ``class_`` is what programs say."""
    failure = ToolFailure(
        class_="internal",
        code="c",
        message="m",
        source="tool",
        retry=ToolRetryDispositionNever(),
    )
    assert list(to_tree(failure)) == ["class", "code", "message", "source", "retry"]
    assert from_tree(ToolFailure, to_tree(failure)) == failure
    by_alias: dict[str, Any] = to_tree(failure)
    assert ToolFailure(**by_alias) == failure


def test_models_cannot_be_changed() -> None:
    """A frozen model is what its hash says."""
    scope = RuntimeScope(session_id="s")
    with pytest.raises(Exception, match="frozen"):
        scope.session_id = "t"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        ('{"type":"sleepx"}', "type", "found 'sleepx', expected one of llm_call, direct"),
        ('{"type":null}', "type", "found null, expected one of llm_call"),
        ("{}", "type", "the member is missing"),
        ("[]", "", "found an array of 0, expected an object"),
        ('{"type":"sleep","type":"sleep"}', "type", "more than once"),
        ('{"type":"exec_code","result":{"Err":1.5}}', "result.Err", "found the number 1.5"),
        ('{"type":"exec_code","result":{}}', "result", "expected one of Ok, Err"),
        ('{"type":"exec_code","result":{"Bad":1}}', "result", "the member 'Bad'"),
        ('{"type":"exec_code","result":"Ok"}', "result", "the bare name 'Ok'"),
        (
            '{"type":"tool_call","result":{"call_id":"c","tool_name":"t","args":{"a":[1e300]},'
            '"output":{"outcome":{"status":"success","payload":[{"$lash_tool_value":1}]}}}}',
            "result.output.outcome.payload[0]",
            "reserved tool value tag must be a string",
        ),
        ('{"type":"exec_code","result":{"Err":"a"},"result":{"Err":"b"}}', "result", "more than"),
        ('{"type":"process","result":{"op":"start"}}', "result.record", "missing"),
        (
            '{"type":"checkpoint","result":{"Ok":{"messages":[{"role":"Userx","content":""}],'
            '"transient_messages":[],"turn_causes":[]}}}',
            "result.Ok.messages[0].role",
            "found 'Userx', expected one of User, Assistant, System, Event",
        ),
        (
            '{"type":"llm_call","result":{"Err":{}},"text_streamed":false}',
            "result.Err.message",
            "missing",
        ),
        (
            '{"type":"llm_call","result":{"Err":{}},"text_streamed":1}',
            "result.Err.message",
            "missing",
        ),
        (
            '{"type":"process","result":{"op":"list","entries":[[]]}}',
            "result.entries[0][0]",
            "missing",
        ),
        (
            '{"type":"process","result":{"op":"list","entries":[[{},{},{}]]}}',
            "result.entries[0]",
            "another number of elements",
        ),
    ],
)
def test_errors_say_where_and_what(text: str, path: str, problem: str) -> None:
    """The path is one of the document, and the sentence names what was found and expected."""
    with pytest.raises(MalformedError) as caught:
        from_tree(RuntimeEffectOutcome, parse_json(text))
    assert caught.value.path == path
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (True, "found true, expected an integer"),
        (2**64, "found an integer of more than 64 bits, expected at most 18446744073709551615"),
        (-1, "found the integer -1, expected at least 0"),
        (2.0, "found the number 2.0, expected an integer"),
        ("hunter2", "found a string, expected an integer"),
        (["hunter2"], "found an array of 1, expected an integer"),
        ({"hunter2": 1}, "found an object, expected an integer"),
        (b"hunter2", "found a Python bytes, expected an integer"),
    ],
)
def test_errors_do_not_repeat_what_may_be_secret(value: Any, problem: str) -> None:
    """Foreign text is named by its type, not quoted."""
    with pytest.raises(MalformedError) as caught:
        RuntimeEffectCommandSleep(duration_ms=value)
    assert str(caught.value) == f"duration_ms: {problem}"


def test_long_words_are_cut_in_errors() -> None:
    """A bad tag is quoted, up to a point."""
    with pytest.raises(MalformedError) as caught:
        RuntimeSubjectEffect(effect_id="1", kind="x" * 10_000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 300


def test_half_a_surrogate_pair_is_refused_in_every_string() -> None:
    """Rust has no such strings, and JSON could not carry them."""
    with pytest.raises(MalformedError, match="surrogate"):
        RuntimeReplay(key="a\ud800")
    with pytest.raises(MalformedError, match="surrogate"):
        from_tree(RuntimeReplay, {"key": "\ud800"})


def test_a_misspelt_keyword_is_refused() -> None:
    """A reader ignores unknown members, a program that writes them has a bug."""
    with pytest.raises(MalformedError, match="RuntimeScope has no member") as caught:
        RuntimeScope(session_id="s", turnid="t")
    assert caught.value.path == "turnid"


def test_a_python_name_is_no_wire_name() -> None:
    """``class_`` in a document is an unknown member like any other."""
    tree = {"class_": "internal", "code": "", "message": "", "source": "tool"}
    with pytest.raises(MalformedError) as caught:
        from_tree(ToolFailure, {**tree, "retry": {"type": "never"}})
    assert caught.value.path == "class"


def test_a_value_of_another_type_smuggled_into_a_model_is_refused_when_written() -> None:
    """What skipped validation does not reach the wire."""
    call = PreparedToolCall.model_construct(call_id=3, tool_name="t", args={})  # type: ignore[arg-type]
    with pytest.raises(MalformedError, match="PreparedToolCall"):
        to_tree(call)


def test_endless_values_are_refused() -> None:
    """Recursive types and opaque values end in an error, however deep the data is."""
    selector: Any = "payload"
    for _ in range(100_000):
        selector = {"template": {"template": "", "fields": {"a": selector}}}
    with pytest.raises(MalformedError):
        from_tree(ProcessValueSelector, selector)
    # Taken apart by hand: the interpreter would free it recursively.
    while isinstance(selector, dict):
        selector = selector.pop("template")["fields"].pop("a")


def test_a_stack_that_is_nearly_full_gives_an_error_of_ours() -> None:
    """However deep the caller already is, reading and building end in a MalformedError."""
    args: Any = 1
    for _ in range(100):
        args = [args]
    tree = {"call_id": "c", "tool_name": "t", "args": args}
    limit = sys.getrecursionlimit()
    depth = len(inspect.stack(0))
    try:
        sys.setrecursionlimit(depth + 60)
        with pytest.raises(MalformedError, match="nested too deeply"):
            from_tree(PreparedToolCall, tree)
        with pytest.raises(MalformedError, match="nested too deeply"):
            PreparedToolCall(**tree)
    finally:
        sys.setrecursionlimit(limit)


def test_maps_are_sorted_and_their_names_are_strings() -> None:
    """Maps are read as serde reads a BTreeMap, and what is no map is refused."""
    options = PluginOptions(plugins={"b": 1, "a": 2})
    assert list(options.plugins) == ["a", "b"]
    options.plugins["0"] = 3
    assert list(to_tree(options)["plugins"]) == ["0", "a", "b"]
    with pytest.raises(MalformedError, match="expected a string"):
        from_tree(PluginOptions, {"plugins": {1: 1, "a": 1}})
    with pytest.raises(MalformedError, match="found an array of 0, expected an object"):
        from_tree(PluginOptions, {"plugins": []})


def test_errors_inside_of_models_that_are_given_as_values_have_a_path() -> None:
    """Built in Python, a document is made of models; the path still names its members."""
    scope = RuntimeScope.model_construct(session_id=1)  # type: ignore[arg-type]
    with pytest.raises(MalformedError, match="expected an object") as caught:
        RuntimeInvocation(
            scope=scope,
            subject=RuntimeSubjectEffect(effect_id="1", kind="sleep"),
            replay=scope,  # type: ignore[arg-type]
        )
    assert caught.value.path == "replay"


def test_errors_show_as_code_and_message() -> None:
    """Errors that are data read like those that are exceptions."""
    assert str(RuntimeEffectControllerError(code="c", message="m")) == "c: m"
    assert str(failures.RuntimeError(code="c", message="m")) == "c: m"
    shown = {
        failures.PluginErrorRegistration: "plugin registration error: m",
        failures.PluginErrorSnapshot: "plugin snapshot error: m",
        failures.PluginErrorInvoke: "plugin invoke error: m",
        failures.PluginErrorSession: "plugin session error: m",
    }
    assert [str(error(message="m")) for error in shown] == list(shown.values())


def test_a_repeated_unknown_member_does_not_matter() -> None:
    """serde skips what it does not know without looking."""
    assert from_tree(RuntimeReplay, {"key": "k", "zz": Repeated(1)}) == RuntimeReplay(key="k")
