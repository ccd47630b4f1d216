"""Several addresses of one broker, as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from effectmq import Client, Worker
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.addresses import joined_addresses, split_addresses
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.urls import hide_secrets, mask_url


@pytest.mark.parametrize(
    ("broker", "expected"),
    [
        ("amqp://u:p@a/v", ["amqp://u:p@a/v"]),
        (
            "amqp://u:p@a,b:5673,c/v?heartbeat=5",
            [f"amqp://u:p@{host}/v?heartbeat=5" for host in ("a", "b:5673", "c")],
        ),
        ("amqp://a,b", ["amqp://a", "amqp://b"]),
        ("amqp://a, b/v", ["amqp://a/v", "amqp://b/v"]),
        ("amqp://u:p@a/v,amqps://x:y@b/w", ["amqp://u:p@a/v", "amqps://x:y@b/w"]),
        ("amqp://a/ , amqp://b/", ["amqp://a/", "amqp://b/"]),
        ("amqp://a,b/v,amqp://c/v", ["amqp://a/v", "amqp://b/v", "amqp://c/v"]),
        ("amqp://a/,amqp://a/,amqp://b/", ["amqp://a/", "amqp://b/"]),
        ("amqp://[::1]:1,[::2]/", ["amqp://[::1]:1/", "amqp://[::2]/"]),
        # A comma that is in a password, in the name of a virtual host, or in a path.
        ("amqp://u:p,q@a/v", ["amqp://u:p,q@a/v"]),
        ("amqp://u:p,q@a,b/v", ["amqp://u:p,q@a/v", "amqp://u:p,q@b/v"]),
        ("amqp://a/x,y", ["amqp://a/x,y"]),
        ("amqps://a/?cafile=/x,y.pem", ["amqps://a/?cafile=/x,y.pem"]),
        ("memory://", ["memory://"]),
        ("nonsense", ["nonsense"]),
    ],
)
def test_each_address_stands_by_itself(broker: str, expected: list[str]) -> None:
    """With the login, virtual host and options that belong to it."""
    assert split_addresses(broker) == tuple(expected)


@pytest.mark.parametrize(
    ("broker", "words"),
    [
        ("amqp://u:secret@a,,b/v", ["no host", "u:***@a,,b"]),
        ("amqp://u:secret@a,/v", ["no host"]),
        ("amqp://u:secret@,a/v", ["no host"]),
        ("amqp://u:secret@a/v,", ["no address beside", "u:***@a"]),
        ("amqp://u:secret@a/v, ", ["no address beside", "u:***@a"]),
        (",amqp://u:secret@a/v", ["no address beside", "u:***@a"]),
        ("memory://,amqp://u:secret@a/", ["memory:// alone", "u:***@a"]),
        ("amqp://u:secret@a/,memory://x", ["memory:// alone"]),
        ("amqp://u:secret@a/,http://b/", ["memory://name", "u:***@a"]),
    ],
)
def test_what_cannot_be_meant_is_refused(broker: str, words: list[str]) -> None:
    """With a sentence, and without the password."""
    with pytest.raises(ConfigurationError) as refused:
        open_transport(broker)
    assert all(word in str(refused.value) for word in words)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "wrong", ["amqp://a:x/", "amqp://b/?no_verify_ssl", "amqps://c?cafile=/no"]
)
async def test_a_mistake_in_one_address_is_told_at_once(wrong: str) -> None:
    """It must not wait for the day on which the others are down."""
    with pytest.raises(ConfigurationError):
        async with open_transport(f"amqp://u:secret@127.0.0.1:1/,{wrong}"):
            pass


@pytest.mark.parametrize("given", [["amqp://a/", "amqp://b/"], ("amqp://a/ ", " amqp://b/")])
def test_a_list_is_an_argument_too(given: Sequence[str]) -> None:
    """Of a client, and of a worker."""
    assert joined_addresses(given) == "amqp://a/,amqp://b/"
    assert Client(given).broker == Worker(given).broker == "amqp://a/,amqp://b/"


def test_a_variable_names_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Separated by commas."""
    monkeypatch.setenv("EFFECTMQ_BROKER", "amqp://a,b/")
    assert Client().broker == "amqp://a,b/"


@pytest.mark.parametrize("given", [[], [""], ["amqp://a/", 5]])
def test_a_list_of_something_else_is_refused(given: Any) -> None:
    """Before anything connects."""
    with pytest.raises(ConfigurationError, match="expected one text or a list"):
        joined_addresses(given)


@pytest.mark.parametrize(
    ("broker", "shown"),
    [
        ("amqp://u:secret@a,b/v", "amqp://u:***@a,b/v"),
        ("amqp://u:secret@a/v,amqp://x:secret@b/", "amqp://u:***@a/v,amqp://x:***@b/"),
        ("amqp://a/v,amqp://u:secret@b/", "amqp://a/v,amqp://u:***@b/"),
        ("amqp://a:5672,amqp://u:secret@b/", "amqp://a:5672,amqp://u:***@b/"),
        ("amqp://u:secret,amqp://x@b/", "amqp://u:***,amqp://x@b/"),
        ("amqp://u:12secret,amqp://x:secret@b/", "amqp://u:***,amqp://x:***@b/"),
    ],
)
def test_every_password_is_masked(broker: str, shown: str) -> None:
    """However many there are, and where a comma stands in one of them."""
    assert mask_url(broker) == shown
    assert "secret" not in hide_secrets("a b secret c", "amqp://a/,amqp://u:secret@b/")
