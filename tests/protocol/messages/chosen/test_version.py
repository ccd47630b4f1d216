"""The version that an effect is bound to: a short word, also in names of queues."""

from __future__ import annotations

from dataclasses import replace

import pytest

from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.kinds import kind_of, unversioned, version_in, versioned
from effectmq.protocol.messages import headers
from effectmq.protocol.messages.chosen.version import checked_version, known_version, read_version
from effectmq.protocol.messages.message import HeaderValue
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.topology import Names
from tests.protocol.messages.test_request import sleep_envelope

GOOD = ["2", "2026-11-30", "v1.2.3+rc.1", "a" * 40]
BAD: list[HeaderValue] = [7, True, "a" * 41, "a b", "a@b", ".a", "-a", "ü", "a\n", "\x00", "#"]


@pytest.mark.parametrize("version", GOOD)
def test_a_version_arrives_as_it_was_sent(version: str) -> None:
    """It is beside the envelope, and the queue of its route has a name."""
    sealed = Request.seal(sleep_envelope(), version=checked_version(version))
    assert read_request(sealed.message).version == sealed.version == version
    assert sealed.hash == Request.seal(sleep_envelope()).hash
    assert Names("n").work_queue(versioned("sleep", version)) == f"n.work.sleep@{version}"


@pytest.mark.parametrize("version", BAD)
def test_another_one_is_refused_on_both_sides(version: HeaderValue) -> None:
    with pytest.raises(ConfigurationError, match="the version is"):
        checked_version(version)
    message = Request.seal(sleep_envelope()).message
    sent = replace(message, headers={**message.headers, headers.VERSION: version})
    with pytest.raises(MalformedError) as refused:
        read_request(sent)
    assert refused.value.path == headers.VERSION
    assert known_version(sent.headers) == ""


def test_none_is_a_version_too() -> None:
    assert read_version({}) == read_version({headers.VERSION: ""}) == checked_version("") == ""
    assert versioned("tool_call.gpu", "") == "tool_call.gpu"


def test_a_route_with_a_version_is_taken_apart() -> None:
    """A version may have dots, and a route has one version."""
    route = versioned("tool_call.gpu", "2.1")
    assert (kind_of(route), unversioned(route), version_in(route)) == (
        "tool_call",
        "tool_call.gpu",
        "2.1",
    )
    assert versioned(route, "3") == "tool_call.gpu@3"
    assert version_in("tool_call.gpu") == ""


def test_every_copy_keeps_it() -> None:
    """A retry, a delay, and the replay of a dead letter."""
    request = Request.seal(sleep_envelope(), version="2")
    assert request.changed({"attempt": 2}).message.headers[headers.VERSION] == "2"
    assert headers.carried(request.message.headers)[headers.VERSION] == "2"
    assert headers.revived(request.message.headers)[headers.VERSION] == "2"
