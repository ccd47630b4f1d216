"""The priority of an effect: a wish about order beside it, and a part of names of queues."""

from __future__ import annotations

from dataclasses import replace

import pytest

from effectmq.protocol.encoding.codec import JSON
from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.kinds import (
    kind_of,
    narrowed,
    prioritized,
    priority_in,
    unprioritized,
    unversioned,
    version_in,
    versioned,
)
from effectmq.protocol.messages import headers
from effectmq.protocol.messages.chosen.priority import (
    PRIORITIES,
    PRIORITY_TYPE,
    Priority,
    checked_priority,
)
from effectmq.protocol.messages.message import HeaderValue, Message
from effectmq.protocol.messages.notices.priority import (
    priority_notice,
    read_priority_notice,
)
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.topology import Names
from tests.protocol.messages.test_request import sleep_envelope

STRANGE: list[HeaderValue] = ["urgent", "HIGH", "", "high ", "x" * 300, 9, True]


@pytest.mark.parametrize("priority", PRIORITIES)
def test_a_priority_arrives_as_it_was_sent(priority: Priority) -> None:
    """It is beside the envelope: the effect is the same one."""
    sealed = Request.seal(sleep_envelope(), priority=checked_priority(priority))
    assert read_request(sealed.message).priority == sealed.priority == priority
    assert sealed.hash == Request.seal(sleep_envelope()).hash
    assert (
        sealed.changed({"attempt": 2}).message.headers.get(headers.PRIORITY, "normal") == priority
    )
    assert headers.revived(sealed.message.headers).get(headers.PRIORITY, "normal") == priority


def test_what_is_normal_needs_no_header() -> None:
    assert headers.PRIORITY not in Request.seal(sleep_envelope(), priority="normal").message.headers


@pytest.mark.parametrize("said", STRANGE)
def test_a_strange_one_is_refused_from_a_program_and_normal_from_a_stranger(
    said: HeaderValue,
) -> None:
    with pytest.raises(ConfigurationError, match="expected 'high', 'normal' or 'low'"):
        checked_priority(said)
    message = Request.seal(sleep_envelope()).message
    sent = replace(message, headers={**message.headers, headers.PRIORITY: said})
    assert read_request(sent).priority == "normal"


def test_a_word_of_a_newer_release_is_passed_on() -> None:
    message = Request.seal(sleep_envelope()).message
    sent = replace(message, headers={**message.headers, headers.PRIORITY: "urgent"})
    again = read_request(sent).changed({"attempt": 2})
    assert again.message.headers[headers.PRIORITY] == "urgent"


def test_routes_have_a_version_and_a_priority() -> None:
    route = narrowed("tool_call.slow", "2", "high")
    assert route == "tool_call.slow@2#high"
    assert (kind_of(route), version_in(route), priority_in(route)) == ("tool_call", "2", "high")
    assert unversioned(route) == "tool_call.slow"
    assert unprioritized(route) == narrowed("tool_call.slow", "2", "normal") == "tool_call.slow@2"
    assert prioritized(route, "low") == "tool_call.slow@2#low"
    # Workers of the version find out by the header, so nothing waits in a queue that none knows of.
    assert versioned("tool_call#high", "2") == "tool_call@2"
    assert priority_in("tool_call") == "normal"
    assert Names("n").work_queue(route) == f"n.work.{route}"
    assert Names("n").pause_mark(route) == f"n.control.paused.{route}"


@pytest.mark.parametrize("route", ["tool_call#", "#high", "tool_call#a#b", "tool_call#a b"])
def test_other_routes_are_refused(route: str) -> None:
    with pytest.raises(ConfigurationError):
        Names("n").work_queue(route)


def test_a_notice_travels() -> None:
    notice = priority_notice("tool_call@2#low")
    assert notice.type == PRIORITY_TYPE
    assert read_priority_notice(notice) == "tool_call@2#low"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"route": "tool_call"}',
        b'{"route": "tool_call", "priority": "normal"}',
        b'{"route": "tool_call", "priority": "urgent"}',
        b'{"route": "tool_call#low", "priority": "high"}',
        b'{"route": 1, "priority": "high"}',
        b'{"route": "tool_call", "priority": ["high"]}',
    ],
)
def test_rubbish_is_no_notice(body: bytes) -> None:
    with pytest.raises(MalformedError):
        read_priority_notice(Message(body=body, content_type=JSON, type=PRIORITY_TYPE))
