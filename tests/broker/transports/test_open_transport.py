"""Choosing the transport by its URL."""

from __future__ import annotations

import pytest

from effectmq.broker.transports import open_transport
from effectmq.broker.transports.memory import MemoryTransport
from effectmq.broker.transports.rabbitmq import RabbitTransport
from effectmq.protocol.errors import ConfigurationError


@pytest.mark.parametrize("url", ["memory://", "memory://demo", "MEMORY://demo", "memory://demo/"])
def test_memory_urls_give_the_memory_transport(url: str) -> None:
    """With or without a name."""
    assert isinstance(open_transport(url), MemoryTransport)


@pytest.mark.parametrize("url", ["amqp://localhost", "amqps://user:secret@host:5671/vhost"])
async def test_amqp_urls_give_the_rabbitmq_transport(url: str) -> None:
    """With or without TLS; nothing is connected yet."""
    assert isinstance(open_transport(url), RabbitTransport)


@pytest.mark.parametrize("url", ["", "localhost", "redis://user:secret@host", "amqp:host", "://"])
def test_another_url_is_refused_with_the_two_forms(url: str) -> None:
    """The error shows what was found, without its password, and both forms that work."""
    with pytest.raises(ConfigurationError) as raised:
        open_transport(url)

    text = str(raised.value)
    assert "memory://name" in text
    assert "amqp://user:password@host:port/vhost" in text
    assert "secret" not in text


@pytest.mark.parametrize("url", ["memory://demo/path", "memory://demo?a=1", "memory://demo#x"])
def test_a_memory_url_has_nothing_but_a_name(url: str) -> None:
    """What would be ignored is refused."""
    with pytest.raises(ConfigurationError, match="memory://name"):
        open_transport(url)


@pytest.mark.parametrize("url", ["memory://u:secret@demo", "memory://demo:5672"])
def test_a_memory_name_is_no_address(url: str) -> None:
    """A user or a port in front of a name is a mistake, and a password in it stays secret."""
    with pytest.raises(ConfigurationError) as raised:
        open_transport(url)

    assert "secret" not in str(raised.value)
