"""The tenant of an effect: text from strangers, short and printable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.messages import headers
from effectmq.protocol.messages.chosen.tenant import checked_tenant, known_tenant, read_tenant
from effectmq.protocol.messages.message import HeaderValue
from effectmq.protocol.messages.request import Request, read_request
from tests.protocol.messages.test_request import sleep_envelope

GOOD = ["acme", "customer 7", "a" * 128, "Zürich", "公司", "a:b/c"]
BAD: list[HeaderValue] = [
    7,
    True,
    "a" * 129,
    "公" * 43,
    "a\nb",
    "\x00",
    "\x1b[2J",
    "\ud800",
    " a",
    "a ",
]


@pytest.mark.parametrize("tenant", GOOD)
def test_a_tenant_arrives_as_it_was_sent(tenant: str) -> None:
    """It is beside the envelope: the hash is that of the effect without one."""
    sealed = Request.seal(sleep_envelope(), tenant=checked_tenant(tenant))
    read = read_request(sealed.message)
    assert (read.tenant, sealed.tenant) == (tenant, tenant)
    assert read.hash == Request.seal(sleep_envelope()).hash


@pytest.mark.parametrize("tenant", BAD)
def test_another_one_is_refused_on_both_sides(tenant: HeaderValue) -> None:
    """It ends up in tables and lists, and a database keeps no zero character."""
    with pytest.raises(ConfigurationError, match="the tenant has"):
        checked_tenant(tenant)
    message = Request.seal(sleep_envelope()).message
    sent = replace(message, headers={**message.headers, headers.TENANT: tenant})
    with pytest.raises(MalformedError) as refused:
        read_request(sent)
    assert refused.value.path == headers.TENANT
    assert known_tenant(sent.headers) == ""


def test_nobody_is_a_tenant_too() -> None:
    """A message without one, and one with an empty one."""
    assert read_tenant({}) == read_tenant({headers.TENANT: ""}) == checked_tenant("") == ""


def test_every_copy_keeps_it() -> None:
    """A retry, a delay, and the replay of a dead letter."""
    request = Request.seal(sleep_envelope(), tenant="acme")
    assert request.changed({"attempt": 2}).message.headers[headers.TENANT] == "acme"
    assert read_request(request.changed({"attempt": 2}).message).tenant == "acme"
    assert headers.revived(request.message.headers)[headers.TENANT] == "acme"
