"""The adapters of the transport port, and the function that chooses one by its address."""

from __future__ import annotations

from effectmq.broker.transports.addresses import split_addresses
from effectmq.broker.transports.port import Transport
from effectmq.broker.transports.settings import DEFAULT_SETTINGS, TransportSettings
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.urls import mask_url

__all__ = ["open_transport"]


def open_transport(url: str, settings: TransportSettings = DEFAULT_SETTINGS) -> Transport:
    """
    The transport for a URL, not connected yet: enter it with ``async with``.

    Args:
        url: ``memory://`` or ``memory://name`` for a broker inside this process,
            ``amqp://user:password@host:port/vhost`` or ``amqps://…`` for RabbitMQ; several hosts,
            or several addresses, separated by commas for a cluster.
        settings: Timeouts and limits.

    Raises:
        ConfigurationError: When the URL has neither form.
    """
    urls = split_addresses(url)
    schemes = {each.partition("://")[0].lower() if "://" in each else "" for each in urls}
    # Not at the top: a program that stays in memory need not import the AMQP client, nor one with
    # a server the broker in memory.
    if schemes == {"memory"}:
        from effectmq.broker.transports.memory import MemoryTransport

        return MemoryTransport(url, settings)
    if schemes <= {"amqp", "amqps"}:
        from effectmq.broker.transports.rabbitmq import RabbitTransport

        return RabbitTransport(urls, settings)
    raise ConfigurationError(
        f"the broker URL is {mask_url(url)!r}; expected memory://name, for a broker inside this "
        "process, or amqp://user:password@host:port/vhost (amqps:// with TLS), for RabbitMQ"
    )
