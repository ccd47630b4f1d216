"""A refusal costs no more than a multiple of what reading costs, whatever was sent."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from effectmq.protocol.encoding.codec import JSON, MSGPACK, Limits, encode_tree
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import FROM_WIRE
from effectmq.protocol.encoding.serde.reading import reader
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.identity.canonicalize import CANONICALIZE_LIMITS, canonicalize_line
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import read_request
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope

_MANY = 1_000
_MESSAGE = {"role": "User", "blocks": []}
_BLOCK = {"Text": {"text": "x", "response_meta": None, "cache_breakpoint": False}}
_MEDIA = {"kind": "image", "type": "png"}
_ATTACHMENT = {"reference": {"id": "a", "media_type": _MEDIA, "byte_len": 1}}
_EVENT_TYPE = {"name": "n", "payload_schema": {"schema": {}}, "semantics": {}}


def _envelope(kind: str, **members: Any) -> dict[str, Any]:
    return {
        "invocation": {
            "scope": {"session_id": "s"},
            "subject": {"type": "effect", "effect_id": "e", "kind": kind},
            "replay": {"key": "k"},
        },
        "command": {"type": kind, **members},
    }


def _asked(**members: Any) -> dict[str, Any]:
    request = {"model": "m", "messages": [], "attachments": [], "tools": [], "tool_choice": "Auto"}
    return _envelope("llm_call", request={**request, **members})


def _blocks(items: list[Any]) -> dict[str, Any]:
    return _asked(messages=[{"role": "User", "blocks": items}])


def _events(items: list[Any]) -> dict[str, Any]:
    registration = {
        "id": "p",
        "input": {"type": "external"},
        "event_types": items,
        "provenance": {"owner_scope": {"session_id": "s"}, "host_profile_id": "h"},
    }
    return _envelope(
        "process", command={"op": "start", "registration": registration, "grant": None}
    )


def _blobs(items: list[Any]) -> dict[str, Any]:
    turn = {"items": [], "image_blobs": {str(at): item for at, item in enumerate(items)}}
    made: dict[str, Any] = _events([])
    made["command"]["command"]["registration"]["input"] = {
        "type": "session_turn",
        "create_request": {"start": {"kind": "empty"}},
        "turn_input": turn,
        "output_contract": {"kind": "static"},
    }
    return made


def _called(items: list[Any]) -> dict[str, Any]:
    call = {"call_id": "c", "tool_name": "t", "args": items[:-1]}
    return _envelope("tool_call", call={**call, "replay": items[-1]})


#: How a list of items becomes an envelope, an item that is read, and items that are refused.
_FAMILIES: dict[str, tuple[Callable[[list[Any]], Any], Any, list[Any]]] = {
    "messages": (
        lambda items: _asked(messages=items),
        _MESSAGE,
        [1, {}, {"role": "Nobody", "blocks": []}, {"role": {"User": 1}, "blocks": []}, None],
    ),
    "blocks": (_blocks, _BLOCK, [{"Txt": 1}, {"Text": {}}, "Text", {}, {"Text": 1, "Image": 1}]),
    "attachments": (
        lambda items: _asked(attachments=items),
        _ATTACHMENT,
        [
            {"reference": {**_ATTACHMENT["reference"], "byte_len": -1}},
            {"reference": {**_ATTACHMENT["reference"], "media_type": {"kind": "x" * 99}}},
            {"reference": {**_ATTACHMENT["reference"], "media_type": {"kind": {"image": 1}}}},
        ],
    ),
    "event types": (_events, _EVENT_TYPE, [{"name": 1, "payload_schema": 1, "semantics": 1}, []]),
    "blobs": (_blobs, [1], [[256], 1, ["x"], None]),
    "arguments": (_called, {"opaque": None}, [1, [], {"opaque": 1}]),
    "unknown members": (
        lambda items: _asked(
            **{"generation" if items[-1] else "zz": {f"u{at}": 1 for at in range(len(items))}}
        ),
        None,
        [1],
    ),
}
_CASES = [
    (name, at, where)
    for name, (_, _, refused) in _FAMILIES.items()
    for at in range(len(refused))
    for where in ("everywhere", "last")
]


def _refused(name: str, at: int, where: str) -> Any:
    make, good, bad = _FAMILIES[name]
    return make([bad[at]] * _MANY if where == "everywhere" else [*[good] * (_MANY - 1), bad[at]])


@pytest.mark.parametrize(("name", "at", "where"), _CASES)
def test_faults_that_are_collected_do_not_grow_with_the_document(
    name: str, at: int, where: str
) -> None:
    """Of a list or a map the first fault counts; of one object there are as many as fields."""
    envelopes = reader(RuntimeEffectEnvelope)
    with pytest.raises(ValidationError) as refused:
        envelopes.validate_python(
            _refused(name, at, where), context=FROM_WIRE, by_alias=True, by_name=False
        )
    assert refused.value.error_count() <= 20


def _steps(work: Callable[[], object]) -> int:
    """Count the calls that Python makes; those inside the parsers' C and Rust do not show."""
    count = 0

    def count_one(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(count_one)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def _read(body: bytes, content_type: str) -> None:
    said = ""
    try:
        read_request(Message(body=body, content_type=content_type))
    except MalformedError as refused:
        said = str(refused)
    assert len(said) < 700


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
@pytest.mark.parametrize(("name", "at", "where"), _CASES)
def test_a_refusal_takes_no_more_steps_than_reading(
    name: str, at: int, where: str, content_type: str
) -> None:
    """Three times as many at most, as for a document of the same form that is read."""
    make, good, _ = _FAMILIES[name]
    limits = Limits(max_elements=1_000_000)
    accepted = encode_tree(make([good] * _MANY), content_type, limits)
    refused = encode_tree(_refused(name, at, where), content_type, limits)
    _read(accepted, content_type)
    for body in (accepted, refused):
        assert len(body) < 1024 * 1024
    reading = _steps(lambda: _read(accepted, content_type))
    assert _steps(lambda: _read(refused, content_type)) <= 3 * reading + 1_000


@pytest.mark.parametrize(
    "tail",
    [
        b"\xd4\x01\x01",
        b"\xc4\x01a",
        b"\xa1\xff",
        b"\xcb\x7f\xf8" + bytes(6),
        b"\xa5he",
        b"\x81\x01\x01",
    ],
)
@pytest.mark.parametrize("item", [b"\x01", b"\xa5hello"])
def test_the_place_of_a_fault_in_msgpack_is_found_in_few_steps(item: bytes, tail: bytes) -> None:
    """The slow reader passes what is plain without a call for each."""
    count = 10_000
    head = b"\xdd" + count.to_bytes(4, "big")
    taken = _steps(lambda: _read(head + item * (count - 1) + tail, MSGPACK))
    assert taken <= 6 * count


# What a document may be at most -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (
            "[" + "1," * CANONICALIZE_LIMITS.max_elements + "1]",
            "over the limit of 1000000 elements",
        ),
        ("[" + "[]," * 2_000_000 + "1]", "over the limit of 1000000 elements"),
        ('"' + "x" * CANONICALIZE_LIMITS.max_body_bytes + '"', "and the limit is 8388608"),
        ("[" * 128 + "]" * 128, "more than 127 levels"),
        ("[" * 100_000, "more than 127 levels"),
        ('{"a":1,' * 200 + "1", "more than 127 levels"),
        ("{" + '"a":1,' * 600_000 + '"a":1}', "over the limit of 1000000 elements"),
    ],
)
def test_canonicalize_has_limits_and_says_so(document: str, problem: str) -> None:
    """Size, depth and number of elements, before they cost much."""
    assert problem in canonicalize_line("value", document)["error"]
    assert len(canonicalize_line("envelope", document.encode())["error"]) < 300


def test_what_is_within_the_limits_is_canonicalized() -> None:
    """127 levels, and as many elements as there may be."""
    deep = "[" * 127 + "]" * 127
    assert canonicalize_line("value", deep)["canonical"] == deep
    wide = json.dumps([1] * 999_999, separators=(",", ":"))
    assert "sha256" in canonicalize_line("value", wide)
    assert "error" in canonicalize_line("value", wide, Limits(max_elements=10))


@pytest.mark.parametrize(
    "document",
    [
        "9" * 1_000_000,
        "-" + "9" * 1_000_000,
        "1." + "9" * 1_000_000,
        "1e" + "9" * 1_000_000,
        '"' + "\\u0041" * 100_000 + "\\ud800" + '"',
        '{"' + "k" * 1_000_000 + '":NaN}',
        '"' + "\\" * 999_999 + '"',
    ],
)
def test_long_tokens_are_read_or_refused_in_a_short_sentence(document: str) -> None:
    """No limit of Python's on digits shows, and no token is repeated as a whole."""
    said = ""
    try:
        parse_json(document)
    except MalformedError as refused:
        said = str(refused)
    assert len(said) < 200
