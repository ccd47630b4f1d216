"""
The codec among enemies: every body is a tree within the limits or a `MalformedError` with a path.

Memory is bounded and asserted; time is bounded only by pytest's timeout, because a busy machine is
not a fault of the codec.
"""

from __future__ import annotations

import inspect
import os
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effectmq.protocol.encoding.codec import JSON, MSGPACK, Limits, decode_tree, encode_tree
from effectmq.protocol.encoding.limits import DEFAULT_LIMITS, HARD_MAX_BODY_BYTES
from effectmq.protocol.errors import MalformedError
from tests.protocol.encoding.test_codec import BOTH, in_longest_form, refusal_of_encoding, trees

#: CI has less time than a laptop; each run there draws other examples.
_SHARE = 5 if os.environ.get("CI") else 1

MIB = 1024 * 1024
NAN, INF = float("nan"), float("inf")

#: What refusing a body may need at its peak beside the body itself.
MOST_BYTES = 32 * MIB


def refusal(body: bytes, content_type: str = MSGPACK, limits: Limits = DEFAULT_LIMITS) -> Any:
    """The error that decoding this must give."""
    with pytest.raises(MalformedError) as caught:
        decode_tree(body, content_type, limits)
    return caught.value


def packed(value: object, **options: object) -> bytes:
    """MessagePack without our checks."""
    return bytes(msgpack.packb(value, **options))


def inside(value: bytes) -> bytes:
    """``{"command": {"call": {"args": {"items": [0, 1, 2, value]}}}}``."""
    head = b"\x81\xa7command\x81\xa4call\x81\xa4args\x81\xa5items\x94\x00\x01\x02"
    return head + value


# Every row of the table in the reliability notes, as one value deep inside a body.
REFUSED = {
    "an integer as key": (b"\x81\x01\x02", "", "a key that is null, a bool or an integer"),
    "null as key": (b"\x81\xc0\x02", "", "a key that is null, a bool or an integer"),
    "a float as key": (b"\x81" + packed(1.5) + b"\x02", "", "a key that is a float"),
    "a list as key": (b"\x81\x90\x02", "", "a key that is a list"),
    "a map as key": (b"\x81\x80\x02", "", "a key that is a map"),
    "bytes as key": (b"\x81\xc4\x01k\x02", "", "binary data"),
    "empty bytes as key": (b"\x81\xc4\x00\x02", "", "binary data"),
    "an extension as key": (b"\x81\xd4\x01\x00\x02", "", "extension type"),
    "bad UTF-8 as key": (b"\x81\xa2k\xff\x02", "", "not UTF-8: a bad byte at its offset 1"),
    "bytes": (packed(b"data"), "", "binary data"),
    "empty bytes": (b"\xc4\x00", "", "binary data"),
    "bytes with a 2 byte length": (packed(b"x" * 300), "", "binary data"),
    "an extension": (packed(msgpack.ExtType(5, b"xy")), "", "extension type"),
    "an empty extension": (b"\xc7\x00\x05", "", "extension type"),
    "a timestamp of 4 bytes": (packed(msgpack.Timestamp(1)), "", "extension type"),
    "a timestamp of 8 bytes": (packed(msgpack.Timestamp(1, 1)), "", "extension type"),
    "a timestamp of 12 bytes": (packed(msgpack.Timestamp(-1, 1)), "", "extension type"),
    "a datetime": (
        packed(datetime(2026, 6, 5, tzinfo=UTC), datetime=True), "", "extension type"),
    "NaN": (packed(NAN), "", "NaN or an infinity"),
    "infinity": (packed(INF), "", "NaN or an infinity"),
    "minus infinity": (packed(-INF), "", "NaN or an infinity"),
    "NaN with a payload": (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x01", "", "NaN or an infinity"),
    "NaN as float32": (b"\xca\x7f\xc0\x00\x00", "", "NaN or an infinity"),
    "infinity as float32": (b"\xca\xff\x80\x00\x00", "", "NaN or an infinity"),
    "a repeated key": (b"\x82\xa1k\x01\xa1k\x02", ".k", "given more than once"),
    "a repeated key with the same value": (b"\x82\xa1k\x01\xa1k\x01", ".k", "given more than once"),
    "a repeated key in two forms": (b"\x82\xa1k\x01\xd9\x01k\x02", ".k", "given more than once"),
    "a repeated key, not the first": (
        b"\x84\xa1a\x01\xa1k\x01\xa1b\x01\xa1k\x02", ".k", "given more than once"),
    "a repeated key further inside": (
        b"\x91\x81\xa1m\x82\xa0\x01\xa0\x02", "[0].m.", "given more than once"),
    "a lone surrogate": (b"\xa3\xed\xa0\x80", "", "not UTF-8: a bad byte at its offset 0"),
    "overlong UTF-8": (b"\xa2\xc0\xaf", "", "not UTF-8"),
    "text beyond Unicode": (b"\xa4\xf4\x90\x80\x80", "", "not UTF-8"),
    "half a character": (b"\xa3ab\xc3", "", "not UTF-8: a bad byte at its offset 2"),
    "the unused byte": (b"\xc1", "", "0xc1"),
    "cut off text": (b"\xa5ab", "", "5 bytes should follow here and 2 do"),
    "a cut off length": (b"\xdb\x00", "", "4 bytes should follow here and 1 do"),
    "a cut off integer": (b"\xcf\x01", "", "8 bytes should follow here and 1 do"),
    "a cut off float": (b"\xcb\x01", "", "8 bytes should follow here and 1 do"),
    "a cut off list": (b"\x93\x01", "[1]", "1 bytes should follow here and 0 do"),
    "a cut off map": (b"\x82\xa1k\x01", "", "1 bytes should follow here and 0 do"),
    "a map without its last value": (b"\x81\xa1k", ".k", "1 bytes should follow here and 0 do"),
    "nothing": (b"", "", "1 bytes should follow here and 0 do"),
    "text of 4 GiB": (b"\xdb\xff\xff\xff\xff", "", "4294967295 bytes should follow here and 0 do"),
    "bytes of 4 GiB": (b"\xc6\xff\xff\xff\xff", "", "binary data"),
    "an extension of 4 GiB": (b"\xc9\xff\xff\xff\xff\x01", "", "extension type"),
    "a list of 2^32": (b"\xdd\xff\xff\xff\xff", "", "limit of 100000 elements"),
    "a map of 2^32": (b"\xdf\xff\xff\xff\xff", "", "limit of 100000 elements"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_json_is_refused_with_its_place(name: str) -> None:
    """The path leads through maps and lists to the value, or to the map with the bad key."""
    value, further, problem = REFUSED[name]
    error = refusal(inside(value))
    assert error.path == "command.call.args.items[3]" + further
    assert problem in error.problem


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "nothing"])
def test_the_size_of_the_body_makes_no_difference(name: str) -> None:
    """Small, middle and large bodies take different ways to the same refusal."""
    value, further, problem = REFUSED[name]
    for padding in (3_000, 200_000):
        error = refusal(b"\x92" + packed("x" * padding) + value)
        assert error.path == "[1]" + further
        assert problem in error.problem


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "the body is empty"),
        (b"\xc1", "0xc1"),
        (b"\x01\x02", "1 bytes follow after the end"),
        (b"\x80" + b"\x00" * 9, "9 bytes follow after the end"),
        (b"\x01\xc1", "1 bytes follow after the end"),
        (packed({"a": 1}) + packed({"a": 1}), "4 bytes follow after the end"),
        (packed({"a": 1})[:-1], "should follow here"),
    ],
)
def test_a_body_is_one_whole_value(body: bytes, problem: str) -> None:
    """Nothing missing and nothing behind it."""
    error = refusal(body)
    assert problem in error.problem


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        ('{"a":1,"a":2}', "a", "given more than once"),
        ('{"a":1,"\\u0061":1}', "a", "given more than once"),
        ('{"a":[{"b":{"c":1,"d":2,"c":3}}]}', "a[0].b.c", "given more than once"),
        ("", "", "not JSON"),
        ("[1]x", "", "not JSON"),
        ("[1", "", "not JSON"),
        ("\ufeff[]", "", "not JSON"),
        ("[NaN]", "", "not JSON"),
        ("[-Infinity]", "", "not JSON"),
        ("[1e400]", "", "not JSON"),
        ('["\\ud800"]', "", "half a surrogate pair"),
        ('{"\\udc00":1}', "", "half a surrogate pair"),
        ("[01]", "", "not JSON"),
        ("['a']", "", "not JSON"),
        ('["a\nb"]', "", "not JSON"),
    ],
)
def test_json_text_is_as_strict(text: str, path: str, problem: str) -> None:
    """Of equal keys none wins, because two readers could choose two winners."""
    error = refusal(text.encode(), JSON)
    assert error.path == path
    assert problem in error.problem


def test_json_text_that_is_not_utf8_is_refused() -> None:
    """Not guessed, not replaced."""
    for body in (b'"\xff"', b'"\xed\xa0\x80"', '"é"'.encode("latin-1"), "[]".encode("utf-16")):
        assert refusal(body, JSON).path == ""


def test_integers_of_json_beyond_the_range_are_floats() -> None:
    """As serde_json reads them; then they are written as floats, and stay so."""
    assert repr(decode_tree(b"[18446744073709551616,-0]", JSON)) == "[1.8446744073709552e+19, -0.0]"
    assert "not JSON" in refusal(b"9" * 5000, JSON).problem


HEADERS = {
    "str32": b"\xdb",
    "bin32": b"\xc6",
    "ext32": b"\xc9",
    "list32": b"\xdd",
    "map32": b"\xdf",
}
BOMBS = {
    "100,000 levels of lists": b"\x91" * 100_000,
    "1 MiB of levels": b"\x91" * MIB,
    "1,000 levels of lists": b"\x91" * 1_000 + b"\xc0",
    "600 levels in a small body": b"\x91" * 600 + b"\xc0",
    "40,000 levels of maps": b"\x81\xa1a" * 40_000,
    "1,000 lists of 10^6 inside one another": (b"\xdd\x00\x0f\x42\x40" * 1_000).ljust(MIB, b"\xc0"),
    "1,000 lists of 65,000, shorter": (b"\xdc\xfd\xe8" * 1_000).ljust(90_000, b"\xc0"),
    "1,000 lists of 20,000, shorter": (b"\xdc\x4e\x20" * 1_000).ljust(30_000, b"\xc0"),
    "600 lists of 2,000 in a small body": (b"\xdc\x07\xd0" * 600).ljust(2_048, b"\xc0"),
    "1,000 maps of 60,000 inside one another": (b"\xde\xea\x60\xa0" * 1_000).ljust(90_000, b"\xc0"),
    "a list that claims the rest": (b"\x91" + b"\xdc\xff\xff") * 500 + b"\xc0" * 60_000,
    "a map of 100,000 keys": packed({f"k{i}": i for i in range(100_000)}),
    "1 MiB of nulls": b"\xdd" + (MIB - 5).to_bytes(4, "big") + b"\xc0" * (MIB - 5),
    "8 MiB of nulls": b"\xdd\x00\x7f\xff\xfb" + b"\xc0" * (8 * MIB - 5),
    "8 MiB of empty maps": b"\xdd\x00\x7f\xff\xfb" + b"\x80" * (8 * MIB - 5),
    "8 MiB of small lists": b"\xdd\x00\x20\x00\x00" + b"\x93\x80\x80\x80" * (2 * MIB - 2),
    "8 MiB of maps of one": b"\xdd\x00\x20\x00\x00" + b"\x81\xa1k\xc0" * (2 * MIB - 2),
    "8 MiB of short text": b"\xdd\x00\x20\x00\x00" + b"\xa3a\xc4\x80" * (2 * MIB - 2),
    "one element too many, at the end": packed([[0] * 49_000, [0] * 50_000, [0] * 1_000]),
    "NaN at the very end": packed([0.5] * 99_000 + [NAN]),
    "a repeated key at the very end": b"\xdf\x00\x00\xbf\x69"
    + packed({f"k{i}": i for i in range(49_000)})[3:] + b"\xa2k0\x00",
    **{f"{name} of 4 GiB": first + b"\xff" * 4 for name, first in HEADERS.items()},
    **{f"{name} of 4 GiB, 1 MiB there": (first + b"\xff" * 4).ljust(MIB, b"\0")
       for name, first in HEADERS.items()},
}  # fmt: skip
JSON_BOMBS = {
    "100,000 levels": b"[" * 100_000,
    "levels of objects": b'{"a":' * 100_000,
    "1 MiB of nulls": b"[" + b"null," * 200_000 + b"null]",
    "8 MiB of zeros": b"[" + b"0," * (4 * MIB - 2) + b"0]",
    "8 MiB of empty lists": b"[" + b"[]," * 2_700_000 + b"[]]",
    "8 MiB of empty strings": b"[" + b'"",' * 2_700_000 + b'""]',
    "8 MiB of keys": b"{" + b'"":0,' * 1_600_000 + b'"":0}',
    "quotes and commas without end": b'"\\",' * (2 * MIB),
    "a number of 1 MiB": b"1" * MIB,
    "commas and brackets": b",[" * (MIB // 2),
}


def peak_of_refusing(body: bytes, content_type: str) -> int:
    """How many bytes Python allocated at most at one time while the body was refused."""
    limits = Limits(max_body_bytes=HARD_MAX_BODY_BYTES)
    tracemalloc.start()
    try:
        refusal(body, content_type, limits)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_grows(name: str) -> None:
    """What a few bytes claim is not believed, and what many bytes hold is not built."""
    peak = peak_of_refusing(BOMBS[name], MSGPACK)
    assert peak <= MOST_BYTES, f"{peak / MIB:.1f} MiB"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", JSON_BOMBS)
def test_a_bomb_of_json_is_refused_before_it_grows(name: str) -> None:
    """Text is decoded as a whole, so that four times its size may be needed, and no more."""
    body = JSON_BOMBS[name]
    peak = peak_of_refusing(body, JSON)
    assert peak <= MOST_BYTES + 4 * len(body), f"{peak / MIB:.1f} MiB"


@BOTH
def test_large_bodies_with_few_elements_are_no_bombs(content_type: str) -> None:
    """A long text full of what could be headers or marks is one element."""
    text = "\u0700\u0740[{,:\\\"'" * 60_000
    tree = {"a": [text, "\x00" * 100_000, ",,,,"], "b": {}}
    limits = Limits(max_body_bytes=HARD_MAX_BODY_BYTES)
    assert decode_tree(encode_tree(tree, content_type), content_type, limits) == tree


_some_bytes = st.binary(max_size=200)
#: Random bytes are mostly small integers; these are mostly headers.
_FIRSTS = (0x80, 0x81, 0x82, 0x90, 0x91, 0x93, 0xA0, 0xA1, *range(0xC0, 0xE0))
_OTHERS = (b"\0", b"\0\1", b"\0\0\0\2", b"k", b"\xff", b"\x7f\xf0\0\0")
_headers = st.lists(
    st.sampled_from([*(bytes([first]) for first in _FIRSTS), *_OTHERS]), max_size=60
).map(b"".join)
_json_pieces = st.lists(
    st.sampled_from([*'[]{}:,"\\ \n0-1.eE', "null", "true", '"a"', "\\u", "d800", "NaN", "1e999"]),
    max_size=60,
).map(lambda pieces: "".join(pieces).encode())


def read_or_refuse(body: bytes, content_type: str, limits: Limits = DEFAULT_LIMITS) -> bool:
    """Decode; a tree must be stable under encoding, and a refusal must be explained."""
    refused: MalformedError | None = None
    tree: Any = None
    try:
        tree = decode_tree(body, content_type, limits)
    except MalformedError as error:
        refused = error
    if refused:
        assert "cannot be read" not in refused.problem
        assert refused.path.isprintable()
        return False
    again = encode_tree(tree, content_type, limits)
    assert repr(decode_tree(again, content_type, limits)) == repr(tree)
    assert encode_tree(decode_tree(again, content_type, limits), content_type, limits) == again
    return True


@pytest.mark.timeout(300)
@given(body=_some_bytes | _headers)
@settings(max_examples=3_000 // _SHARE, deadline=None)
def test_random_msgpack_is_read_or_refused(body: bytes) -> None:
    """And no other exception ever leaves the codec."""
    read_or_refuse(body, MSGPACK)


@pytest.mark.timeout(300)
@given(body=_some_bytes | _json_pieces)
@settings(max_examples=2_000 // _SHARE, deadline=None)
def test_random_json_is_read_or_refused(body: bytes) -> None:
    """And no other exception ever leaves the codec."""
    read_or_refuse(body, JSON)


@BOTH
@pytest.mark.timeout(300)
@given(data=st.data(), tree=trees)
@settings(max_examples=500 // _SHARE, deadline=None)
def test_a_damaged_body_is_read_or_refused(
    content_type: str, data: st.DataObject, tree: Any
) -> None:
    """Bytes changed, lost, repeated or put in anywhere."""
    body = encode_tree(tree, content_type)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(start, min(len(body), start + 4)))
        piece = data.draw(st.binary(max_size=4) | st.just(body[start:end] * 2))
        body = body[:start] + piece + body[end:]
    read_or_refuse(body, content_type)


@given(tree=trees, data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_body_cut_short_is_never_read(tree: Any, data: st.DataObject) -> None:
    """No proper beginning of a MessagePack value is a value."""
    body = encode_tree(tree, MSGPACK)
    cut = data.draw(st.integers(0, len(body) - 1))
    assert not read_or_refuse(body[:cut], MSGPACK)


_keys = st.text(max_size=2, alphabet="ab\u0100") | st.just(b"")


def anything(float_bits: Literal[32, 64]) -> st.SearchStrategy[Any]:
    """Whatever MessagePack has, JSON or not, in small and in larger bodies."""
    return st.recursive(
        st.none()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(width=float_bits)
        | st.sampled_from(["\u0100", "\u0500", "x" * 2_100, "a", ""])
        | st.sampled_from([b"", msgpack.ExtType(1, b"")]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
        max_leaves=12,
    )


def is_json(value: Any, depth: int) -> bool:
    """The definition of a tree, in the plainest words."""
    if isinstance(value, list):
        return depth > 0 and all(is_json(item, depth - 1) for item in value)
    if isinstance(value, dict):
        return (
            depth > 0
            and all(isinstance(key, str) for key in value)
            and all(is_json(item, depth - 1) for item in value.values())
        )
    if isinstance(value, float):
        return value == value and value not in (INF, -INF)
    return value is None or isinstance(value, int | str)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("elements", [100_000, 60])
@pytest.mark.parametrize("float_bits", [32, 64])
@given(data=st.data())
@settings(max_examples=700 // _SHARE, deadline=None)
def test_exactly_json_is_read(
    elements: int, float_bits: Literal[32, 64], data: st.DataObject
) -> None:
    """Small bodies are judged by their bytes alone, others by their tree: never differently."""
    value = data.draw(anything(float_bits))
    body = packed(value, use_single_float=float_bits == 32)
    limits = Limits(max_depth=3, max_elements=elements)
    assert read_or_refuse(body, MSGPACK, limits) == is_json(value, 3)


@given(tree=st.dictionaries(st.sampled_from("abc"), trees, min_size=1))
@settings(max_examples=100, deadline=None)
def test_a_repeated_key_is_found_in_foreign_forms_too(tree: dict[str, Any]) -> None:
    """Where a comparison of bytes proves nothing, each map is looked at."""
    members = [in_longest_form(key) + in_longest_form(value) for key, value in tree.items()]
    body = b"\xdf" + (len(members) + 1).to_bytes(4, "big") + b"".join([*members, members[0]])
    assert "given more than once" in refusal(body).problem
    assert "given more than once" in refusal(b"\x91" + body).problem


def with_frames_left(left: int, call: Callable[[], object]) -> None:
    """Call with this much of Python's stack left, whatever the test runner has used."""
    used = len(inspect.stack(0))
    deeper(sys.getrecursionlimit() - used - left, call)


def deeper(frames: int, call: Callable[[], object]) -> None:
    """Use up this many frames, then call."""
    if frames > 0:
        deeper(frames - 1, call)
    else:
        call()


def test_a_caller_deep_in_recursion_gets_the_same_error_without_the_place() -> None:
    """Where no stack is left to look for the fault, it is still a refusal."""
    tree: Any = [NAN]
    for _ in range(60):
        tree = [tree]
    text = b"[" * 60 + b'{"a":0,"a":0}' + b"]" * 60
    for body, content_type in ((packed(tree), MSGPACK), (text, JSON)):
        assert len(refusal(body, content_type).path) >= 3 * 60
        with_frames_left(50, partial(refusal, body, content_type))
    with_frames_left(50, partial(refusal_of_encoding, tree, MSGPACK))


def test_no_error_repeats_what_the_body_said() -> None:
    """Values may be secrets and stay out; keys are shortened and escaped."""
    secret = "hunter2" * 50
    key = "k\x1b[31m\n" * 50
    for value in (NAN, b"hunter2", {1: secret}):
        error = refusal(packed({secret: [0], key: [secret, value]}))
        assert "hunter2" not in str(error)
        assert len(str(error)) < 400
        assert str(error).isprintable()
