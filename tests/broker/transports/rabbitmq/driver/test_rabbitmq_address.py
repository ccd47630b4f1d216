"""Addresses of RabbitMQ: taken apart once, without the password, and refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from effectmq.broker.transports.rabbitmq.driver.address import (
    Address,
    heartbeat_s,
    read_address,
    read_addresses,
)
from effectmq.protocol.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "host", "port", "vhost", "tls"),
    [
        ("amqp://localhost", "localhost", 5672, "/", False),
        ("amqp://u:p@h/", "h", 5672, "/", False),
        ("amqp://u:p@h:1234/%2F", "h", 1234, "/", False),
        ("amqp://u:p@h:1234/prod", "h", 1234, "prod", False),
        ("amqps://u:p@h/a%2Fb?heartbeat=1", "h", 5671, "a/b", True),
        ("amqp://u:p@[::1]:1234/", "::1", 1234, "/", False),
    ],
)
def test_an_address_is_taken_apart(url: str, host: str, port: int, vhost: str, tls: bool) -> None:
    """Defaults are AMQP's own."""
    assert read_address(url) == Address(host=host, port=port, vhost=vhost, tls=tls)


def test_an_address_is_shown_without_login() -> None:
    """Host and port are what an error names."""
    assert str(read_address("amqp://u:hunter2@h/v")) == "h:5672"
    assert str(read_address("amqp://u:hunter2@[::1]/v")) == "[::1]:5672"
    assert "hunter2" not in repr(read_address("amqp://u:hunter2@h/v"))


@pytest.mark.parametrize(
    "url",
    [
        "amqp://",
        "amqp:///vhost",
        "amqp://u:hunter2@h:port/",
        "amqp://u:hunter2@h:99999/",
        "amqp://u:hun/ter2@h/",
        "amqp://u:hun#ter2@h/",
        "amqp://u:hunter2@[::1/",
        "amqp://u:hunter2@h:0/",
        "amqp://u:hunter2@h/#vhost",
        "amqp://u:hunter2@h/v?heartbeat=5#vhost",
    ],
)
def test_an_address_that_no_parser_understands_is_refused(url: str) -> None:
    """The sentence says what to percent-encode, and quotes no piece of the password."""
    with pytest.raises(ConfigurationError, match="expected amqp://") as raised:
        read_address(url)

    assert "hun" not in str(raised.value)
    assert "ter2" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_a_virtual_host_that_amqp_cannot_name_is_refused() -> None:
    """The client library would send nothing, and wait for an answer."""
    assert read_address(f"amqp://h/{'v' * 255}").vhost == "v" * 255
    with pytest.raises(ConfigurationError, match="is 256 bytes long"):
        read_address(f"amqp://h/{'v' * 256}")


def test_nodes_of_one_cluster_have_one_virtual_host() -> None:
    """Written in whatever way; with two, what was confirmed would be missing after a change."""
    same = ["amqp://a", "amqp://b/", "amqps://c/%2F"]
    assert [address.host for address in read_addresses(same)] == ["a", "b", "c"]
    with pytest.raises(ConfigurationError, match="virtual hosts /, other; expected the same"):
        read_addresses([*same, "amqp://d/other"])


@pytest.mark.parametrize(
    "query",
    [
        "foo=1",
        "heartbeat=abc",
        "heartbeat=",
        "heartbeat=-1",
        "heartbeat=0",
        "heartbeat=1.5",
        "heartbeat=65536",
        "heartbeat=٣",
        "heartbeat=" + "9" * 5_000,
        "heartbeat=5&heartbeat=6",
        "timeout=soon",
        "auth=none",
        "cafile=",
        "HEARTBEAT=5",
        "connection_attempts=3",
        "heartbeat=5&foo=hunter2",
        "\x1b[31m=1",
    ],
)
def test_options_that_nobody_reads_and_values_that_are_none_are_refused(query: str) -> None:
    """At once, in a sentence that says what is known or expected, and that is fit to print."""
    with pytest.raises(ConfigurationError) as raised:
        read_address(f"amqp://u:p@h/?{query}")

    said = str(raised.value)
    assert any(word in said for word in ("known are: heartbeat", "expected", "twice"))
    assert len(said) < 300
    assert said.isprintable()
    assert "hunter2" not in said


def test_the_heartbeat_of_the_address_counts() -> None:
    """Otherwise it would be an option that nobody reads."""
    assert heartbeat_s("amqp://h/", 10) == 10
    assert heartbeat_s("amqp://h/?heartbeat=3", 10) == 3


@pytest.mark.parametrize(
    "option", ["no_verify_ssl=1", "no_verify_ssl=0", "no_verify_ssl", "a=b&no_verify_ssl="]
)
def test_a_switch_for_any_certificate_is_refused(option: str) -> None:
    """Without a value it works in the client library, too, and silently."""
    with pytest.raises(ConfigurationError, match="no_verify_ssl"):
        read_address(f"amqps://h/?{option}")


@pytest.mark.parametrize("name", ["cafile", "certfile", "keyfile"])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    """The client library says 'no such file' without saying which."""
    missing = tmp_path / "missing.pem"

    with pytest.raises(ConfigurationError, match=f"{name}=.*missing.pem"):
        read_address(f"amqps://h/?{name}={missing}")
