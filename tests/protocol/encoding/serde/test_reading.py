"""Where readers differ: what serde takes depends on whether it had to buffer what it reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from effectmq.protocol.identity.canonicalize import canonicalize_line

_CALL: dict[str, Any] = {"call_id": "c", "tool_name": "t", "args": 1}
_POLICY = '"policy":{%s}'


def _envelope(command: str, *, subject: str = "", more: str = "") -> str:
    subject = subject or '{"type":"effect","effect_id":"e","kind":"sleep"}'
    return (
        f'{{"invocation":{{"scope":{{"session_id":"s"}},"subject":{subject}{more},'
        f'"replay":{{"key":"k"}}}},"command":{command}}}'
    )


def _start(input_: str, more: str = "", *, context: str = "") -> str:
    return _envelope(
        '{"type":"process","command":{"op":"start","registration":{"id":"p","input":' + input_ + ","
        '"provenance":{"owner_scope":{"session_id":"s"},"host_profile_id":"h"}'
        + more
        + "},"
        + f'"grant":null{context}}}}}'
    )


def _turn(create: str, contract: str = '{"kind":"static"}') -> str:
    return _start(
        '{"type":"session_turn","create_request":{"start":{"kind":"empty"}' + create + "},"
        '"turn_input":{"items":[]},"output_contract":' + contract + "}"
    )


def _policy(members: str) -> str:
    return _turn(',"policy":{' + members + "}")


def _entry(entry: str) -> str:
    return _policy('"prompt":{"template":{"sections":[{"entries":[' + entry + "]}]}}")


def _contribution(members: str) -> str:
    return _policy(
        '"prompt":{"slots":{"intro":{"contributions":[{"content":"c",' + members + "}]}}}"
    )


def _tool(members: str) -> str:
    return _turn(',"tool_access":{"tools":[{"id":"i","name":"n",' + members + "}]}")


def _event(occurred_at: str, invocation: str = "") -> str:
    invocation = invocation or '{"scope":{"session_id":""},"subject":' + _SUBJECT + "}"
    return (
        '{"type":"process","result":{"op":"signal","event":{"process_id":"p","sequence":1,'
        f'"event_type":"e","payload":1,"invocation":{invocation},"semantics":{{}},'
        f'"occurred_at":{occurred_at}}}}}}}'
    )


def _ended(await_output: str) -> str:
    return f'{{"type":"process","result":{{"op":"await","output":{await_output}}}}}'


def _called(outcome: str = '{"status":"success","payload":1}', *, parts: str = "") -> str:
    return (
        '{"type":"tool_call","result":{"call_id":"c","tool_name":"t","args":1,"output":'
        f'{{"outcome":{outcome}}},"model_return":{{"call_id":"c","tool_name":"t","parts":'
        f'[{parts}]}},"duration_ms":1}}}}'
    )


def _failed(members: str) -> str:
    return _called('{"status":"failure","payload":{"code":"c","message":"m",' + members + "}}")


def _attached(media_type: str) -> str:
    reference = f'{{"id":"a","media_type":{media_type},"byte_len":1}}'
    return _called(
        f'{{"status":"success","payload":{{"$lash_tool_value":"attachment","ref":{reference}}}}}'
    )


def _inlined(media_type: str) -> str:
    part = f'{{"type":"attachment","id":"a","media_type":{media_type},"byte_len":1}}'
    return _called(parts=part)


_SUBJECT = '{"type":"process","process_id":"p"}'
_RETRY = '"class":"internal","source":"tool","retry":'
_DESCRIBED = '"description":"d","input_schema":{},"output_schema":{},'


def _read(document: str) -> dict[str, Any] | None:
    kind: Any = "envelope" if document.startswith('{"invocation"') else "outcome"
    found = canonicalize_line(kind, document)
    return json.loads(found["canonical"]) if "canonical" in found else None


# Tags -------------------------------------------------------------------------------------------

#: A document around an internally tagged enum that is buffered, a variant without its tag, and
#: where it stands in the table.
_BUFFERED_TAGS = {
    "process command": (
        lambda tag: _envelope(f'{{"type":"process","command":{{"op":{tag},"process_id":"p"}}}}'),
        ("await", 4),
    ),
    "process outcome": (
        lambda tag: f'{{"type":"process","result":{{"op":{tag}}}}}',
        ("transfer", 2),
    ),
    "retry": (lambda tag: _failed(f'{_RETRY}{{"type":{tag}}}'), ("never", 0)),
    "control": (
        lambda tag: _ended(f'{{"type":"success","value":1,"control":{{"type":{tag},"value":1}}}}'),
        ("finish", 1),
    ),
    "part": (lambda tag: _called(parts=f'{{"type":{tag},"text":"x"}}'), ("text", 0)),
    "await output": (lambda tag: _ended(f'{{"type":{tag},"message":"m"}}'), ("cancelled", 2)),
    "process input": (lambda tag: _start(f'{{"type":{tag}}}'), ("external", 3)),
    "relation": (lambda tag: _turn(f',"relation":{{"kind":{tag}}}'), ("root", 0)),
    "start point": (
        lambda tag: _turn(f',"start":{{"kind":{tag}}}').replace('"start":{"kind":"empty"},', ""),
        ("current_session", 1),
    ),
    "append node": (
        lambda tag: _turn(f',"initial_nodes":[{{"kind":{tag},"plugin_type":"p"}}]'),
        ("plugin", 2),
    ),
    "argument projection": (
        lambda tag: _tool(f'"argument_projection":{{"kind":{tag},"field":"f"}}'),
        ("preserve_projected_refs_in_field", 1),
    ),
    "retry policy": (
        lambda tag: _tool(
            f'"retry_policy":{{"type":{tag},"max_attempts":1,"base_delay_ms":1,"max_delay_ms":1}}'
        ),
        ("idempotent", 2),
    ),
    "output contract": (
        lambda tag: _turn("", f'{{"kind":{tag},"input_field":"f"}}'),
        ("from_input_schema", 1),
    ),
    "input item": (
        lambda tag: _turn("").replace('"items":[]', f'"items":[{{"type":{tag},"id":"i"}}]'),
        ("image_ref", 1),
    ),
    "subject inside": (
        lambda tag: _event(
            '{"secs_since_epoch":1,"nanos_since_epoch":1}',
            f'{{"scope":{{"session_id":""}},"subject":{{"type":{tag},"process_id":"p"}}}}',
        ),
        ("process", 1),
    ),
    "cause inside": (
        lambda tag: _turn(
            ',"relation":{"kind":"child","parent_session_id":"s","caused_by":'
            f'{{"type":{tag},"process_id":"p"}}}}'
        ),
        ("process", 3),
    ),
}


@pytest.mark.parametrize("name", _BUFFERED_TAGS)
def test_a_buffered_tag_may_be_the_index_of_its_variant(name: str) -> None:
    """The index is read as the name, and nothing but an integer token is an index."""
    document, (tag, index) = _BUFFERED_TAGS[name]
    expected = _read(document(f'"{tag}"'))
    assert expected is not None
    assert _read(document(str(index))) == expected
    for other in (
        f"{index}.0",
        "-0",
        "-1",
        f'"{index}"',
        "99",
        "true",
        "null",
        f'{{"{tag}":null}}',
    ):
        assert _read(document(other)) is None, other


@pytest.mark.parametrize(
    "document",
    [
        lambda tag: _envelope(f'{{"type":{tag},"duration_ms":1}}'),
        lambda tag: f'{{"type":{tag}}}',
        lambda tag: _envelope(
            '{"type":"sleep","duration_ms":1}',
            subject=f'{{"type":{tag},"effect_id":"e","kind":"sleep"}}',
        ),
        lambda tag: _envelope(
            '{"type":"sleep","duration_ms":1}',
            more=f',"caused_by":{{"type":{tag},"session_id":"s","turn_id":"t"}}',
        ),
        lambda tag: _entry(f'{{"kind":{tag},"content":"c"}}'),
        lambda tag: _called(f'{{"status":{tag},"payload":1}}'),
        lambda tag: _inlined(f'{{"kind":{tag},"type":"png"}}'),
        lambda tag: _failed(f'"source":"tool","retry":{{"type":"never"}},"class":{tag}'),
        lambda tag: _envelope(f'{{"type":"checkpoint","checkpoint":{tag}}}'),
    ],
)
def test_other_tags_and_names_are_never_an_index(document: Any) -> None:
    """Neither the own tag of the document, nor adjacent tags, nor names."""
    for index in range(9):
        assert _read(document(str(index))) is None


# Names ------------------------------------------------------------------------------------------

#: Documents around a name that stands alone, and the name.
_BUFFERED_NAMES = {
    "subject kind": (
        lambda name: _envelope(
            '{"type":"sleep","duration_ms":1}',
            subject=f'{{"type":"effect","effect_id":"e","kind":{name}}}',
        ),
        "sleep",
    ),
    "checkpoint": (
        lambda name: _envelope(f'{{"type":"checkpoint","checkpoint":{name}}}'),
        "after_work",
    ),
    "failure class": (
        lambda name: _failed(f'"source":"tool","retry":{{"type":"never"}},"class":{name}'),
        "timeout",
    ),
    "failure source": (
        lambda name: _failed(f'"class":"timeout","retry":{{"type":"never"}},"source":{name}'),
        "policy",
    ),
    "image type": (lambda name: _inlined(f'{{"kind":"image","type":{name}}}'), "gif"),
    "adjacent tag": (lambda name: _inlined(f'{{"kind":{name},"type":"png"}}'), "image"),
    "adjacent status": (lambda name: _called(f'{{"status":{name},"payload":1}}'), "success"),
    "list mode": (
        lambda name: _envelope(
            '{"type":"process","command":{"op":"list","owner_scope":{"session_id":"s"},'
            f'"mode":{name}}}}}'
        ),
        "all",
    ),
    "plugin source": (lambda name: _turn(f',"plugin_source":{name}'), "current_host_fresh"),
    "terminal state": (
        lambda name: _start(
            '{"type":"external"}',
            ',"event_types":[{"name":"n","payload_schema":{"schema":1},"semantics":{"terminal":'
            f'{{"state":{name}}}}}}}]',
        ),
        "failed",
    ),
    "dedupe key": (
        lambda name: _start(
            '{"type":"external"}',
            ',"event_types":[{"name":"n","payload_schema":{"schema":1},"semantics":{"wake":'
            f'{{"input":"payload","dedupe_key":{name}}}}}}}]',
        ),
        "event_identity",
    ),
    "selector": (
        lambda name: _start(
            '{"type":"external"}',
            ',"event_types":[{"name":"n","payload_schema":{"schema":1},"semantics":{"wake":'
            f'{{"input":{{"template":{{"template":"t","fields":{{"f":{name}}}}}}}}}}}}}]',
        ),
        "payload",
    ),
    "activation": (lambda name: _tool(f'"activation":{name}'), "internal"),
    "scheduling": (lambda name: _tool(f'"scheduling":{name}'), "serial"),
    "availability": (lambda name: _tool(f'"availability":{{"base":{name}}}'), "off"),
    "builtin": (lambda name: _entry(f'{{"kind":"builtin","builtin":{name}}}'), "core_guidance"),
    "slot of an entry": (lambda name: _entry(f'{{"kind":"slot","slot":{name}}}'), "guidance"),
}
#: The same where the name is read through a JSON value.
_NAMES_IN_VALUES = {
    "slot of a contribution": (lambda name: _contribution(f'"slot":{name}'), "guidance"),
    "availability of a gate": (
        lambda name: _contribution(
            f'"slot":"intro","gate":{{"tools":["t"],"minimum_availability":{name}}}'
        ),
        "callable",
    ),
    "image type of a value": (lambda name: _attached(f'{{"kind":"image","type":{name}}}'), "gif"),
    "adjacent tag of a value": (lambda name: _attached(f'{{"kind":{name},"type":"png"}}'), "image"),
}


@pytest.mark.parametrize("name", [*_BUFFERED_NAMES, *_NAMES_IN_VALUES])
def test_a_name_may_be_an_object_around_nothing(name: str) -> None:
    """``{"name": null}`` everywhere; ``{"name": {}}`` only in what was buffered."""
    document, word = {**_BUFFERED_NAMES, **_NAMES_IN_VALUES}[name]
    expected = _read(document(f'"{word}"'))
    assert expected is not None
    assert _read(document(f'{{"{word}":null}}')) == expected
    assert _read(document(f'{{"{word}":{{}}}}')) == (expected if name in _BUFFERED_NAMES else None)
    for payload in ("[]", "1", '""', "false", '{"a":1}', "[null]"):
        assert _read(document(f'{{"{word}":{payload}}}')) is None, payload
    for other in (
        f'{{"{word}":null,"x":null}}',
        '{"":null}',
        "{}",
        "0",
        "null",
        f'["{word}"]',
        f'{{"{word} ":null}}',
        f'"{word.upper()}"',
    ):
        assert _read(document(other)) is None, other


def test_a_name_given_twice_is_one_only_where_a_value_was_read_first() -> None:
    """A JSON value has no repeated members; what is buffered keeps them."""
    document, word = _BUFFERED_NAMES["checkpoint"]
    assert _read(document(f'{{"{word}":null,"{word}":null}}')) is None
    document, word = _NAMES_IN_VALUES["slot of a contribution"]
    assert _read(document(f'{{"{word}":1,"{word}":null}}')) is not None
    document, word = _NAMES_IN_VALUES["image type of a value"]
    assert _read(document(f'{{"{word}":1,"{word}":null}}')) is not None


# Members ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "is_read"),
    [
        (_policy('"autonomous":"x","autonomous":true'), True),
        (_policy('"autonomous":true,"autonomous":"x"'), False),
        (_policy('"model":1,"model":{"id":1,"id":"m","limits":{"context_window_tokens":1}}'), True),
        (_policy('"provider":1,"provider":1'), False),
        (_policy('"zz":1,"zz":1'), False),
        (_entry('{"kind":1,"kind":"text","content":1,"content":"c"}'), True),
        (_turn(',"policy":{},"policy":{}'), False),
        (_turn(',"policy":null,"policy":null'), False),
        (
            _turn(
                ',"initial_nodes":[{"kind":"protocol_event","event":'
                '{"plugin_id":1,"plugin_id":"p","payload":1,"payload":2}}]'
            ),
            True,
        ),
        (
            _turn(',"initial_nodes":[{"kind":"plugin","kind":"plugin","plugin_type":"p"}]'),
            False,
        ),
        (_turn(',"usage_source":"a","usage_source":"a"'), False),
        (_turn(',"zz":1,"zz":2'), True),
        ('{"type":"sleep","zz":1,"zz":2}', True),
        ('{"type":"sleep","type":"sleep"}', False),
        ('{"type":"exec_code","result":{"Err":"x","Err":"x"}}', False),
        # A map takes the last value, and has read the one before it.
        (_turn("").replace('"items":[]', '"items":[],"image_blobs":{"a":[1],"a":[2]}'), True),
        (_turn("").replace('"items":[]', '"items":[],"image_blobs":{"a":[256],"a":[2]}'), False),
        (_turn("").replace('"items":[]', '"items":[],"image_blobs":{"a":[1],"a":1}'), False),
        (_turn(',"plugin_options":{"plugins":{"a":1,"a":[2]}}'), True),
        (
            _start(
                '{"type":"external"}',
                ',"event_types":[{"name":"n","payload_schema":{"schema":1},"semantics":{"wake":'
                '{"input":{"template":{"template":"t","fields":{"f":1,"f":"payload"}}}}}}]',
            ),
            False,
        ),
    ],
)
def test_repeated_members(document: str, is_read: bool) -> None:
    """A struct refuses them, a map takes the last, and a JSON value has none."""
    assert (_read(document) is not None) == is_read


_HALF = '"\\ud83d"'


@pytest.mark.parametrize(
    "document",
    [
        _envelope(f'{{"type":"exec_code","code":{_HALF}}}'),
        _envelope(f'{{"type":"exec_code","code":"","zz":{_HALF}}}'),
        _envelope(f'{{"type":"exec_code","code":"","zz":{{"a":{_HALF},"a":1}}}}'),
        _envelope('{"type":"tool_call","call":{"call_id":"","tool_name":"","args":{"a":%s,"a":1}}}')
        % _HALF,
        f'{{"type":"sleep","zz":[{{{_HALF}:1}}]}}',
        f'{{"type":"sleep","zz":{{"a":{_HALF},"a":1}}}}',
        _envelope('{"type":"exec_code","code":""}', more=f',"zz":{_HALF}'),
        _policy(f'"session_id":{_HALF},"session_id":"s"'),
    ],
)
def test_half_a_surrogate_pair_is_an_error_wherever_it_is_read(document: str) -> None:
    """Also in a value that a later one replaces, and in members that nobody knows."""
    assert _read(document) is None
    assert _read(document.replace(_HALF, '"\\ud83d\\ude42"')) is not None


def test_what_is_skipped_and_then_replaced_is_not_read() -> None:
    """Serde skips the unknown members of the envelope's own structs without looking at them."""
    skipped = f',"zz":{{"a":{_HALF},"a":1}}'
    command = '{"type":"exec_code","code":""}'
    assert _read(_envelope(command, more=skipped)) is not None
    plain = _envelope(command)
    for at in ('"session_id":"s"', '"key":"k"'):
        assert _read(plain.replace(at, at + skipped)) is not None
    assert _read(plain[:-1] + skipped + "}") is not None
    # The subject is buffered, whatever stands around it.
    assert _read(plain.replace('"kind":"sleep"', '"kind":"sleep"' + skipped)) is None


@pytest.mark.parametrize(
    ("time", "written"),
    [
        ('{"secs_since_epoch":5,"nanos_since_epoch":1000000000}', (6, 0)),
        ('{"secs_since_epoch":0,"nanos_since_epoch":4294967295}', (4, 294967295)),
        ('{"nanos_since_epoch":1,"secs_since_epoch":9223372036854775807}', (2**63 - 1, 1)),
        ('{"secs_since_epoch":9223372036854775807,"nanos_since_epoch":1000000000}', None),
        (
            '{"secs_since_epoch":9223372036854775803,"nanos_since_epoch":4294967295}',
            (2**63 - 1, 294967295),
        ),
        ('{"secs_since_epoch":-2,"nanos_since_epoch":2000000001}', None),
        ('{"secs_since_epoch":-1,"nanos_since_epoch":4294967295}', None),
        ('{"secs_since_epoch":18446744073709551615,"nanos_since_epoch":1}', None),
        ('{"secs_since_epoch":18446744073709551616,"nanos_since_epoch":1}', None),
        ('{"secs_since_epoch":1,"nanos_since_epoch":4294967296}', None),
        ('{"secs_since_epoch":1,"nanos_since_epoch":-1}', None),
        ('{"secs_since_epoch":1,"nanos_since_epoch":1.0}', None),
        ('{"secs_since_epoch":true,"nanos_since_epoch":1}', None),
        ('{"secs_since_epoch":1,"nanos_since_epoch":1,"zz":1}', None),
        ('{"secs_since_epoch":1,"nanos_since_epoch":1,"":null}', None),
        ('{"secs_since_epoch":1,"nanos_since_epoch":1,"nanos_since_epoch":1}', None),
        ('{"secs_since_epoch":1}', None),
        ("null", None),
    ],
)
def test_a_time_is_checked_as_given_and_then_carried(
    time: str, written: tuple[int, int] | None
) -> None:
    """Both numbers fit their fields first; the clock of the other side counts in an i64."""
    found = _read(_event(time))
    if written is None:
        assert found is None
    else:
        time = found and found["result"]["event"]["occurred_at"]
        assert time == {"secs_since_epoch": written[0], "nanos_since_epoch": written[1]}


# Numbers ----------------------------------------------------------------------------------------

_WIDTHS = {
    "u64": (lambda n: _envelope(f'{{"type":"sleep","duration_ms":{n}}}'), 0, 2**64 - 1),
    "u32": (
        lambda n: _start(
            f'{{"type":"lashlang_process","module_ref":"","process_ref":{{"component":"","pos":{n}}},'
            '"required_surface_ref":"","process_name":""}'
        ),
        0,
        2**32 - 1,
    ),
    "u8": (
        lambda n: _turn("").replace('"items":[]', f'"items":[],"image_blobs":{{"a":[{n}]}}'),
        0,
        255,
    ),
    "i32": (lambda n: _contribution(f'"slot":"intro","priority":{n}'), -(2**31), 2**31 - 1),
    "non-zero": (
        lambda n: _policy(f'"model":{{"id":"","limits":{{"context_window_tokens":{n}}}}}'),
        1,
        2**64 - 1,
    ),
    "i64": (
        lambda n: (
            '{"type":"llm_call","text_streamed":true,"result":{"Ok":{"full_text":"","parts":[],'
            f'"usage":{{"input_tokens":{n},"output_tokens":0,"cached_input_tokens":0,'
            '"reasoning_tokens":0},"terminal_reason":"stop"}}}'
        ),
        -(2**63),
        2**63 - 1,
    ),
}


@pytest.mark.parametrize("width", _WIDTHS)
def test_a_typed_integer_is_an_integer_token_in_its_range(width: str) -> None:
    """The ends are in, one further is out, and no other spelling of a number is an integer."""
    document, low, high = _WIDTHS[width]
    for value in (low, high):
        assert _read(document(value)) is not None, value
    for value in (low - 1, high + 1, "1.0", "1e0", "-0", "1e400", "true", '"1"', "[1]", "{}", "01"):
        assert _read(document(value)) is None, value
    for value in (2**64, 10**30, "9" * 400, "9" * 5000):
        assert _read(document(value)) is None


@pytest.mark.parametrize(
    ("token", "written"),
    [
        ("-0", "-0.0"),
        ("-0.0", "-0.0"),
        ("0", "0"),
        ("-1", "-1"),
        ("1.0", "1.0"),
        ("1E5", "100000.0"),
        ("1e+2", "100.0"),
        ("1e15", "1000000000000000.0"),
        ("1e16", "1e+16"),
        ("0.00001", "0.00001"),
        ("1e-6", "1e-6"),
        ("1e-400", "0.0"),
        ("-1e-400", "-0.0"),
        ("0e999999999999", "0.0"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "1.8446744073709552e+19"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("-9223372036854775809", "-9.223372036854776e+18"),
        ("1" + "0" * 300, "1e+300"),
        ("0." + "0" * 5000 + "1", "0.0"),
        ("1" * 5000 + "e-4999", "1.1111111111111112"),
    ],
)
def test_an_opaque_number_is_printed_as_serde_prints_it(token: str, written: str) -> None:
    """Also one of more digits than Python turns into an integer."""
    assert canonicalize_line("value", token)["canonical"] == written
    call = json.dumps(_CALL).replace('"args": 1', f'"args":[{token}]')
    found = canonicalize_line("envelope", _envelope(f'{{"type":"tool_call","call":{call}}}'))
    assert f'"args":[{written}]' in found["canonical"]


@pytest.mark.parametrize("extra", ["missing", "null", "wrong"])
def test_presence_is_a_matter_of_the_field(extra: str) -> None:
    """Options may be missing or null; defaults may be missing and not null; the rest neither."""
    cases = {
        "option": (_turn(""), ',"subagent":', [True, True, False]),
        "default": (_turn(""), ',"plugin_source":', [True, False, False]),
        "list": (_turn(""), ',"initial_nodes":', [True, False, False]),
        "map": (_turn(""), ',"plugin_options":', [True, False, False]),
    }
    for name, (document, member, expected) in cases.items():
        value = {"missing": "", "null": f"{member}null", "wrong": f"{member}7"}[extra]
        at = ["missing", "null", "wrong"].index(extra)
        found = _read(
            document.replace('"start":{"kind":"empty"}', '"start":{"kind":"empty"}' + value)
        )
        assert (found is not None) == expected[at], name
