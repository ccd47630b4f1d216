"""The decoding cases of the contract, section 11.5, and the reader rules of section 1.7."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from effectmq.protocol.errors import MalformedError
from tests.protocol.documents import wire_types


def _read(type_name: str, text: str) -> Any:
    model = from_tree(wire_types()[type_name], parse_json(text))
    return model if isinstance(model, str) else to_tree(model)


_REQUEST = '{"model":"m","messages":[],"attachments":[],"tools":[],"tool_choice":"Auto"}'
_SCOPE = '{"session_id":"s","turn_index":%s}'
_PROVENANCE = '"provenance":{"owner_scope":{"session_id":"s"},"host_profile_id":"h"}'
_EXTERNAL = '{"id":"p","input":{"type":"external"},' + _PROVENANCE + "%s}"
_CALL = '"call_id":"c","tool_name":"t","args":1'
_OUTPUT = '"output":{"outcome":{"status":"success","payload":1}}'
_RETURN = '"model_return":{"call_id":"c","tool_name":"t","parts":[]}'
_OUTCOME = '{"type":"tool_call","result":{' + f'{_CALL},{_OUTPUT},{_RETURN},"duration_ms":1' + "}}"

_REFUSED = [
    ("GenerationOptions", '{"x":1}'),
    ("GenerationOptions", '{"output_token_cap":0}'),
    ("PreparedToolCall", '{"call_id":"c","tool_name":"t"}'),
    ("RuntimeScope", _SCOPE % "1.0"),
    ("RuntimeScope", _SCOPE % "-1"),
    ("RuntimeScope", _SCOPE % "true"),
    ("RuntimeScope", _SCOPE % '"1"'),
    ("RuntimeScope", _SCOPE % "18446744073709551616"),
    ("RuntimeScope", '{"session_id":"a","session_id":"b"}'),
    ("RuntimeScope", "{}"),
    ("RuntimeScope", '["s"]'),
    ("RuntimeScope", '{"session_id":null}'),
    ("RuntimeEffectKind", '"Sleep"'),
    ("RuntimeEffectKind", '{"sleep":1}'),
    ("RuntimeEffectKind", '{"sleep":null,"direct":null}'),
    ("RuntimeEffectCommand", '{"duration_ms":1}'),
    ("RuntimeEffectCommand", '{"type":{"sleep":null},"duration_ms":1}'),
    ("ProcessRegistration", _EXTERNAL % ',"event_types":null'),
    ("SessionPolicy", '{"provider":{}}'),
    ("SessionPolicy", '{"zz":{}}'),
    ("ModelSpec", '{"id":"","limits":{"context_window_tokens":1},"zz":1}'),
    ("ModelLimits", '{"context_window_tokens":1,"zz":1}'),
    ("ModelLimits", '{"context_window_tokens":0}'),
    ("RuntimeEffectOutcome", '{"type":"exec_code","result":{"Ok":null}}'),
    ("RuntimeEffectOutcome", '{"type":"exec_code","result":{"Ok":"a","Err":"a"}}'),
    ("RuntimeEffectOutcome", '{"type":"exec_code","result":"Err"}'),
    ("ProcessAwaitOutput", '{"type":"success"}'),
    ("LlmContentBlock", '{"Text":{"text":"t"}}'),
    ("LlmContentBlock", '"Text"'),
    ("LlmContentBlock", '{"Text":{"text":"t","cache_breakpoint":true},"x":1}'),
    ("LlmOutputSpec", '"JsonSchema"'),
    ("LlmOutputSpec", '{"JsonObject":1}'),
    ("MediaType", '{"type":"png"}'),
    ("MediaType", '{"kind":"video","type":"png"}'),
    ("PruneState", '{"Intact":{}}'),
    (
        "ToolFailure",
        '{"class_":"internal","code":"c","message":"m","source":"tool","retry":{"type":"never"}}',
    ),
    ("ProtocolEvent", '{"plugin_id":"p"}'),
    ("SystemTime", '{"secs_since_epoch":9223372036854775808,"nanos_since_epoch":0}'),
    ("SystemTime", '{"secs_since_epoch":9223372036854775807,"nanos_since_epoch":1000000000}'),
    ("SystemTime", '{"secs_since_epoch":0,"nanos_since_epoch":4294967296}'),
    ("SystemTime", '{"secs_since_epoch":true,"nanos_since_epoch":0}'),
    ("SystemTime", '{"secs_since_epoch":"1","nanos_since_epoch":0}'),
    ("SystemTime", "1"),
    ("TurnInput", '{"items":[],"image_blobs":{"a":[256]}}'),
    ("PluginOptions", '{"plugins":null}'),
    ("MessageOrigin", '{"kind":"plugin","plugin_id":"p","transient":null}'),
    ("SessionNodeRecord", '{"node_id":"n","timestamp":"t"}'),
    ("SessionNodeRecord", "1"),
    ("ToolDefinition", '{"id":"t"}'),
    ("ToolEvent", '"Invocation"'),
]


@pytest.mark.parametrize(("type_name", "text"), _REFUSED)
def test_what_serde_refuses_is_refused(type_name: str, text: str) -> None:
    """Wrong types, missing members, strict objects and bad tags are errors, never guesses."""
    with pytest.raises(MalformedError):
        _read(type_name, text)


_READ: list[tuple[str, str, Any]] = [
    ("GenerationOptions", '{"output_token_cap":null}', {}),
    (
        "LlmRequestSpec",
        _REQUEST,
        {
            "model": "m",
            "messages": [],
            "attachments": [],
            "tools": [],
            "tool_choice": "Auto",
            "model_variant": None,
            "generation": {},
            "session_id": None,
            "output_spec": None,
        },
    ),
    ("RuntimeScope", _SCOPE % "18446744073709551615", {"session_id": "s", "turn_index": 2**64 - 1}),
    ("RuntimeScope", '{"zz":1,"zz":2,"session_id":"s","turn_id":null}', {"session_id": "s"}),
    ("RuntimeEffectKind", '{"sleep":null}', "sleep"),
    (
        "RuntimeEffectCommand",
        '{"duration_ms":1,"x":{},"type":"sleep"}',
        {"type": "sleep", "duration_ms": 1},
    ),
    ("RuntimeEffectOutcome", '{"type":"sleep","x":1}', {"type": "sleep"}),
    ("LlmOutputSpec", '{"JsonObject":null}', "JsonObject"),
    (
        "ProcessCommand",
        '{"op":"list","owner_scope":{"session_id":"s"}}',
        {"op": "list", "owner_scope": {"session_id": "s"}, "mode": "live"},
    ),
    (
        "ProcessCommand",
        '{"op":"cancel","process_id":"p"}',
        {"op": "cancel", "process_id": "p", "reason": None},
    ),
    (
        "SessionPolicy",
        "{}",
        {
            "model": {"id": "", "limits": {"context_window_tokens": 1}},
            "provider_id": "",
            "session_id": None,
            "autonomous": False,
            "max_turns": None,
        },
    ),
    ("MediaType", '{"type":"png","kind":"image"}', {"kind": "image", "type": "png"}),
    ("ToolCallOutcome", '{"payload":1,"status":"success"}', {"status": "success", "payload": 1}),
    (
        "ProcessAwaitOutput",
        '{"type":"cancelled","message":"m","raw":null}',
        {"type": "cancelled", "message": "m"},
    ),
    (
        "LlmContentBlock",
        '{"Text":{"text":"t","cache_breakpoint":true}}',
        {"Text": {"text": "t", "response_meta": None, "cache_breakpoint": True}},
    ),
    (
        "SystemTime",
        '{"secs_since_epoch":1,"nanos_since_epoch":4000000001}',
        {"secs_since_epoch": 5, "nanos_since_epoch": 1},
    ),
    ("PluginOptions", '{"plugins":{"b":1,"a":1,"b":2}}', {"plugins": {"a": 1, "b": 2}}),
    ("SessionToolAccess", '{"hidden_tools":["z","a","z"]}', {"hidden_tools": ["a", "z"]}),
    (
        "PreparedToolCall",
        '{"call_id":"c","tool_name":"t","args":{"a":1,"a":2},"prepared_payload":null}',
        {"call_id": "c", "tool_name": "t", "args": {"a": 2}},
    ),
    (
        "RecordedRuntimeEffect",
        '{"envelope_hash":"h","outcome":{"Err":{"code":"c","message":"m"}}}',
        {"envelope_hash": "h", "outcome": {"Err": {"code": "c", "message": "m"}}},
    ),
]


@pytest.mark.parametrize(("type_name", "text", "written"), _READ)
def test_what_serde_reads_is_read_and_completed(type_name: str, text: str, written: Any) -> None:
    """Members may come in any order, be left out where a default exists, or be unknown."""
    assert _read(type_name, text) == written
    assert list(_read(type_name, text)) == list(written)


def test_the_path_leads_through_repeated_members_of_maps() -> None:
    """The last value counts, and a problem in it is found under the member's name."""
    with pytest.raises(MalformedError) as caught:
        _read("TurnInput", '{"items":[],"image_blobs":{"a":[],"a":[1,256]}}')
    assert caught.value.path == "image_blobs.a[1]"


def test_a_registration_without_event_types_has_none() -> None:
    """A missing list is empty, and still written."""
    assert _read("ProcessRegistration", _EXTERNAL % "")["event_types"] == []


def test_a_tool_outcome_is_completed_with_a_null_replay_and_no_host_events() -> None:
    """One optional member is written as null, the other is left out."""
    written = _read("RuntimeEffectOutcome", _OUTCOME)
    assert written["result"]["replay"] is None
    assert "host_events" not in written


def test_an_envelope_decodes_even_when_it_breaks_the_rules_of_envelopes() -> None:
    """Reading does not validate."""
    text = (
        '{"invocation":{"scope":{"session_id":"s"},"subject":{"type":"process","process_id":"p"}},'
        '"command":{"type":"sleep","duration_ms":0}}'
    )
    assert _read("RuntimeEffectEnvelope", text)["invocation"]["subject"]["type"] == "process"


def test_a_process_command_without_context_has_an_empty_one() -> None:
    """The context of a start is left out when it is empty, and a null is refused."""
    start = '{"op":"start","registration":' + _EXTERNAL % "" + "%s}"
    assert "execution_context" not in _read("ProcessCommand", start % "")
    assert "execution_context" not in _read("ProcessCommand", start % ',"execution_context":{}')
    with pytest.raises(MalformedError, match="execution_context"):
        _read("ProcessCommand", start % ',"execution_context":null')


def test_the_provider_id_is_trimmed_as_rust_trims() -> None:
    """Unicode white space goes, the separators that only Python strips stay."""
    assert _read("SessionPolicy", '{"provider_id":"\\u3000\\u001fa "}')["provider_id"] == "\x1fa"


def test_a_wake_delivery_without_invocation_has_the_blank_one() -> None:
    """The default of a nested struct is a whole struct."""
    text = (
        '{"wake_id":"w","target_session_id":"s","target_scope_id":"i","process_id":"p",'
        '"sequence":1,"dedupe_key":"d","input":"","created_at_ms":0}'
    )
    blank = (
        '{"scope":{"session_id":""},"subject":{"type":"process_event","process_id":"",'
        '"sequence":0,"event_type":"process.wake"}}'
    )
    assert _read("ProcessWakeDelivery", text)["event_invocation"] == parse_json(blank)
